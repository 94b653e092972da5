"""Folders of pictures."""

from __future__ import annotations

from pathlib import Path

from gansweep.errors import UserError
from gansweep.gan.files import Files, select
from gansweep.gan.reader import Source
from gansweep.gan.scan import scan


def open_source(source: Source, cache: Path) -> Files:
    """List the images of a folder, and return their reader.

    Raises:
        UserError: The folder is missing, cannot be read, contains no images, or contains images both itself and in
            subfolders while the sweep file does not state which are meant.
    """
    assert source.path is not None
    root = Path(source.path).absolute()
    try:
        if not root.is_dir():
            raise UserError(f"dataset.path: {source.path}: does not exist; name another with --set dataset.path=FOLDER")
        contents = scan(root)
    except OSError as error:
        raise UserError(f"dataset.path: {error.filename}: cannot be read ({error.strerror})") from None
    return select(source, root, contents, root.joinpath)
