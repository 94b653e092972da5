"""Listing of image folders: the images of each class, and the entries that are passed over.

The rules, which docs/sweep-files.md states for users:

- Hidden entries (names that begin with a dot) and the folders and files left behind by operating systems are junk.

- An image is a regular file, or a link to one, with a suffix that Pillow decodes (see `decode.suffixes`). Files with
other suffixes are counted by suffix; FIFOs, sockets and devices are never opened.

- Links to folders are followed. Within one class every folder is read once, so cycles end.

- A broken link with the suffix of an image counts as an image that cannot be read.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from gansweep.gan import decode
from gansweep.gan.notes import Note, named
from gansweep.words import counted

JUNK = {
    "__macosx", "@eadir", "#recycle", "#snapshot", "$recycle.bin", "system volume information", "lost+found",
    "thumbs.db", "ehthumbs.db", "desktop.ini",
}  # fmt: skip
Stamp = tuple[int, int, int, int]  # size in bytes, mtime and ctime in ns, inode


@dataclass(frozen=True)
class File:
    """An image file.

    Attributes:
        name: Path relative to the scanned folder.
        stamp: Size, times and inode of the file; None for a broken link.
    """

    name: str
    stamp: Stamp | None


@dataclass
class PassedOver:
    """Entries that are not used, by reason. Names are relative to the scanned folder.

    Attributes:
        junk: Hidden entries, and files and folders left behind by operating systems.
        special: FIFOs, sockets and devices.
        repeated: Links to folders that were already read.
        others: Suffix → number of files that Pillow does not read.
    """

    junk: list[str] = field(default_factory=list)
    special: list[str] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)  # suffix → files

    def __add__(self, other: PassedOver) -> PassedOver:
        return PassedOver(
            self.junk + other.junk,
            self.special + other.special,
            self.repeated + other.repeated,
            self.others + other.others,
        )

    def notes(self) -> list[Note]:
        """Return one note per reason."""
        texts = []
        if self.junk:
            entries = counted(len(self.junk), "hidden or system entry", "hidden or system entries")
            texts.append(f"{entries}: {named(self.junk)}")
        if self.others:
            texts.append(other_files(self.others))
        if self.special:
            texts.append(f"{counted(len(self.special), 'FIFO, socket or device', 'FIFOs, sockets or devices')}:"
                         f" {named(self.special)}")  # fmt: skip
        if self.repeated:
            texts.append(f"{counted(len(self.repeated), 'link')} to a folder that was already read:"
                         f" {named(self.repeated)}")  # fmt: skip
        return [("skipped", text) for text in texts]


def other_files(others: Counter[str]) -> str:
    """Describe the number of files that Pillow cannot read, by suffix."""
    kinds = [f"{count:,} {suffix}" for suffix, count in others.most_common()]
    return f"{counted(sum(others.values()), 'file')} in formats that Pillow does not read here: {named(kinds, 5)}"


@dataclass(frozen=True)
class Listing:
    """The images of a folder in the order of their paths, and the entries that are passed over."""

    files: tuple[File, ...]
    passed_over: PassedOver


@dataclass(frozen=True)
class Contents:
    """Content of an image folder.

    Attributes:
        itself: Images directly in the folder.
        subfolders: Name of a subfolder → images in it and its own subfolders. Subfolders without images are left out.
    """

    itself: Listing
    subfolders: dict[str, Listing]


def scan(root: Path) -> Contents:
    """Return the images directly in a folder, and those of each of its subfolders.

    Raises:
        OSError: The folder, or a folder below it, cannot be read.
    """
    passed_over = PassedOver()
    files, folders = _entries(root, "", passed_over)
    above = {_identity(place.stat()) for place in (root, *root.resolve().parents)}
    subfolders = {}
    for name in folders:
        listing = _below(root, name, set(above))
        if listing.files:
            subfolders[name] = listing
        else:
            passed_over += listing.passed_over
    return Contents(Listing(tuple(files), passed_over), subfolders)


def _below(root: Path, name: str, seen: set[tuple[int, int]]) -> Listing:
    """Return all images in a subfolder and in its own subfolders.

    Args:
        root: The scanned folder.
        name: Name of the subfolder.
        seen: Device and inode of the folders that must not be read. Each folder is added when it is read.
    """
    found: list[File] = []
    passed_over, waiting = PassedOver(), [name]
    while waiting:
        folder = waiting.pop()
        identity = _identity((root / folder).stat())
        if identity in seen:
            passed_over.repeated.append(folder)
            continue
        seen.add(identity)
        files, folders = _entries(root, folder, passed_over)
        found += files
        waiting += reversed(folders)
    found.sort(key=lambda file: file.name.split("/"))
    return Listing(tuple(found), passed_over)


def _entries(root: Path, folder: str, passed_over: PassedOver) -> tuple[list[File], list[str]]:
    """Return the images and folders directly in a folder, sorted by name. Other entries go to `passed_over`."""
    files, folders = [], []
    for entry in _sorted_entries(root / folder):
        name = f"{folder}/{entry.name}" if folder else entry.name
        suffix = Path(entry.name).suffix.lower()
        try:
            found = entry.stat()
        except OSError:  # a broken link, a link to itself, or a file that has just been removed
            found = None
        if is_junk(entry.name):
            passed_over.junk.append(name)
        elif found and stat.S_ISDIR(found.st_mode):
            folders.append(name)
        elif found and not stat.S_ISREG(found.st_mode):
            passed_over.special.append(name)
        elif suffix not in decode.suffixes():
            passed_over.others[suffix or "without suffix"] += 1
        else:
            files.append(File(name, _stamp(found) if found else None))
    return files, folders


def is_junk(name: str) -> bool:
    """Whether an entry of this name is hidden, or left behind by an operating system."""
    return name.startswith(".") or name.lower() in JUNK


def _sorted_entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        yield from sorted(entries, key=lambda entry: entry.name)


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def _stamp(found: os.stat_result) -> Stamp:
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino
