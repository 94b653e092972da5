"""Signatures of image folders by the rules of version 0.1.0, to find the pixels that it decoded in the cache.

Version 0.1.0 selected other files than `scan` does: hidden ones as well, and none in the folder itself if subfolders
had images. It also decoded some files to other pixels than `decode` does. Trials that it recorded continue with the
pixels that they were trained on.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gansweep.gan.reader import Source

FORMAT = 2
SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".tif", ".tiff"}
KEPT = "pixels decoded by gansweep 0.1.0, on which recorded trials were trained"
ANEW = "under another name (--set name=…) the sweep decodes the folder by the current rules, which give other pixels"


def signature(source: Source) -> list[Any] | None:
    """Return the signature under which version 0.1.0 cached a folder: path, size and mtime of each image.

    None if the source has no folder, or if its files cannot be listed.
    """
    if source.path is None:
        return None
    root = Path(source.path).absolute()
    try:
        subfolders = sorted(d for d in root.iterdir() if d.is_dir() and any(_images_in(d)))
        if source.classes is not None:
            subfolders = [d for d in subfolders if d.name in source.classes]
        files = [file for folder in subfolders or [root] for file in sorted(_images_in(folder))]
        return [(str(f.relative_to(root)), (found := f.stat()).st_size, found.st_mtime_ns) for f in files]
    except OSError:
        return None


def _images_in(folder: Path) -> Iterator[Path]:
    for place, _, names in os.walk(folder):
        yield from (Path(place, name) for name in names if Path(name).suffix.lower() in SUFFIXES)
