"""The data sets that embeddings are measured on."""

import zipfile
from pathlib import Path, PurePosixPath

from gansweep import Source, prepare


def load(name, data, home):
    """Return a prepared set.

    Args:
        name: One of `names.SETS`.
        data: Folder with `MNIST`, `cifar10.zip` (pictures in folders of split and class) and `natural_images`.
        home: Home folder, whose cache holds the decoded images.
    """
    sources = {
        "mnist": lambda: Source("mnist", 32, data_dir=str(data)),
        "glyphs": lambda: Source("glyphs", 32),
        "cifar10": lambda: Source("image_folder", 32, channels=3, path=str(_by_class(data / "cifar10.zip", home))),
        "persons": lambda: Source("image_folder", 64, channels=3, path=str(data / "natural_images")),
    }
    return prepare(sources[name](), home.cache)


def _by_class(archive, home):
    """Return a folder with the pictures of both splits in one folder a class."""
    folder = home.cache / "cifar10-by-class"
    if not folder.exists():
        work = folder.with_suffix(".partial")
        with zipfile.ZipFile(archive) as file:
            for name in file.namelist():
                split, kind, picture = PurePosixPath(name).parts[-3:]
                path = Path(work, kind, f"{split}-{picture}")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(file.read(name))
        work.rename(folder)
    return folder
