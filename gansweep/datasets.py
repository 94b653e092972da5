"""Data sets that a sweep file can name: the keys that each uses, and the module that reads it.

The schema, its messages and the readers use this registry. A reader is a module of gansweep/gan/sources with a function
`open_source(source, cache)`, imported when a set is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gansweep.usercode.path import ImportPath, is_import_path

OWN_KEYS = ("path", "subfolders", "background", "per_class", "options")  # keys of `dataset` that only some sets use

FILES = ("path", "subfolders", "background", "options")


@dataclass(frozen=True)
class DataSet:
    """A kind of data set.

    Attributes:
        reader: Name of a module in gansweep/gan/sources.
        keys: Keys of OWN_KEYS that the set uses.
        path: Description of `dataset.path`; empty if the set does not need this key.
        options: Keys that `dataset.options` may have; None if any key is allowed.
        argument: Placeholder of the part of the name after a colon; empty if the name has none.
    """

    reader: str
    keys: tuple[str, ...] = ()
    path: str = ""
    options: tuple[str, ...] | None = ()
    argument: str = ""


DATA_SETS = {
    "digits": DataSet("digits"),
    "mnist": DataSet("downloaded"),
    "fashion_mnist": DataSet("downloaded"),
    "cifar10": DataSet("downloaded"),
    "glyphs": DataSet("glyphs", ("per_class",)),
    "image_folder": DataSet("folder", FILES, "the folder of images", ("unreadable",)),
    "archive": DataSet("archive", FILES, "a .zip or .tar archive of images", ("unreadable",)),
    "arrays": DataSet(
        "arrays",
        ("path", "background", "options"),
        "a file of arrays (.npz, .npy or .pt)",
        ("images", "labels", "layout", "range"),
    ),
    "huggingface": DataSet(
        "huggingface", ("options",), options=("split", "config", "revision", "image", "label"), argument="NAME"
    ),
    "huggingface_folder": DataSet(
        "huggingface", ("path", "options"), "a folder that save_to_disk wrote", ("split", "image", "label")
    ),
    "torchvision": DataSet("torchvision", ("options",), options=None, argument="CLASS"),
}
OWN = DataSet("imported", ("options",), options=None)


def is_own(name: object) -> bool:
    """Whether a name is the import path of a user's data set."""
    return is_import_path(name) and str(name).partition(":")[0] not in DATA_SETS


def data_set(name: str) -> DataSet:
    """Return the kind of data set that a name stands for. Raises ValueError if the name is unknown or incomplete."""
    kind, colon, argument = name.partition(":")
    if is_own(name):
        ImportPath.parse(name)
        return OWN
    found = DATA_SETS.get(kind)
    if found is None or bool(found.argument) != bool(argument) or (colon and not argument):
        raise ValueError(f"must be one of {', '.join(forms())}, got {name!r}")
    return found


def forms() -> Iterator[str]:
    """Yield the form of every valid name, with a placeholder for its argument, as in `huggingface:NAME`."""
    for name, kind in DATA_SETS.items():
        yield f"{name}:{kind.argument}" if kind.argument else name
    yield "MODULE:NAME"


def users_of(key: str) -> list[str]:
    """Return the names of the data sets that use a key."""
    return [name for name, kind in DATA_SETS.items() if key in kind.keys]
