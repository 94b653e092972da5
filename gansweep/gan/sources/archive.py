"""Pictures in .zip and .tar archives, which are read in place.

If the archive has a `dataset.json` of StyleGAN, {"labels": [["00000/img00000000.png", 6], …]}, its labels are the
classes. Else the folders are, as in an image folder, except a folder that contains all pictures.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from gansweep.errors import UserError
from gansweep.gan import decode
from gansweep.gan.files import Files, select
from gansweep.gan.members import Member, members_of
from gansweep.gan.notes import Note, named
from gansweep.gan.pictures import stamp
from gansweep.gan.reader import Decoded, Source, chosen
from gansweep.gan.scan import Contents, File, Listing, PassedOver, Stamp, is_junk
from gansweep.words import counted

LABELS = "dataset.json"


@dataclass(frozen=True)
class Archive:
    """Reader of the pictures in an archive. The archive is opened and listed only when it is decoded."""

    format: ClassVar = 1
    path: Path
    cache: Path

    def signature(self) -> list[int]:
        return stamp(self.path)

    def notes(self) -> tuple[Note, ...]:
        return ()

    def decode(self, source: Source, work: Path) -> Decoded:
        with members_of(self.path, self.cache) as members:
            files = self._files(source, members)
            decoded = files.decode(source, work)
        return replace(decoded, notes=(*files.notes(), *decoded.notes))

    def _files(self, source: Source, members: Mapping[str, Member]) -> Files:
        size, *rest = stamp(self.path)
        labels = self._labels(members) if source.subfolders is None else None
        listing = _listing([one for one in members.values() if one.name != LABELS], (size, *rest))
        if labels is None:
            return select(source, self.path, _by_folder(listing), lambda name: members[name].open())
        everything = select(
            replace(source, classes=None, subfolders="ignore"),
            self.path, Contents(listing, {}), lambda name: members[name].open(),
        )  # fmt: skip
        return self._labelled(source, everything, labels)

    def _labels(self, members: Mapping[str, Member]) -> dict[str, int] | None:
        """Return name → label from dataset.json; None if the archive has no such file, or the file no labels."""
        if LABELS not in members:
            return None
        try:
            pairs: Any = json.load(members[LABELS].open())["labels"]
            if pairs is None:
                return None
            labels = {str(name): label for name, label in pairs}
        except (ValueError, TypeError, KeyError, RecursionError):
            raise self._refusal('is not JSON of the form {"labels": [[NAME, NUMBER], …]}') from None
        if wrong := [name for name, label in labels.items() if not isinstance(label, int) or isinstance(label, bool)]:
            raise self._refusal(f"labels must be whole numbers, but {named(wrong, 1)} has {labels[wrong[0]]!r}"[:300])
        return labels

    def _labelled(self, source: Source, files: Files, labels: Mapping[str, int]) -> Files:
        there = {file.name for file in files.files}
        if unlabelled := there - labels.keys():
            raise self._refusal(f"has no label for {counted(len(unlabelled), 'image')} ({named(sorted(unlabelled))})")
        if missing := labels.keys() - there:
            raise self._refusal(f"names {counted(len(missing), 'missing file')} ({named(sorted(missing))})")
        known = [str(label) for label in sorted(set(labels.values()))]
        classes = chosen(source, known, str(source.path))
        kept = [file for file in files.files if str(labels[file.name]) in classes]
        numbers = tuple(classes.index(str(labels[file.name])) for file in kept)
        return replace(files, files=tuple(kept), labels=numbers, names=tuple(classes))

    def _refusal(self, what: str) -> UserError:
        return UserError(f"dataset.path: {self.path}: {LABELS} {what}")


def open_source(source: Source, cache: Path) -> Archive:
    """Return the reader of an archive. Raises UserError if it does not exist."""
    assert source.path is not None
    path = Path(source.path)
    try:
        stamp(path)
    except OSError as error:
        raise UserError(f"dataset.path: {path}: cannot be read ({error.strerror})") from None
    return Archive(path, cache)


def _listing(members: Iterable[Member], of_archive: Sequence[int]) -> Listing:
    """Return the pictures in the order of their paths, and the members that are passed over.

    Args:
        members: Members of the archive.
        of_archive: Size, times and inode of the archive. Its pictures are given the same times and inode.
    """
    passed_over, files = PassedOver(), []
    _, *times = of_archive
    for member in sorted(members, key=lambda one: one.name.split("/")):
        suffix = Path(member.name).suffix.lower()
        if any(map(is_junk, member.name.split("/"))):
            passed_over.junk.append(member.name)
        elif member.read is None:
            passed_over.special.append(member.name)
        elif suffix not in decode.suffixes():
            passed_over.others[suffix or "without suffix"] += 1
        else:
            found: Stamp = (member.size, times[0], times[1], times[2])
            files.append(File(member.name, found))
    return Listing(tuple(files), passed_over)


def _by_folder(listing: Listing) -> Contents:
    """Group pictures by the first folder of their paths, after removing leading folders that contain all pictures."""
    depth, parts = 0, {file.name: file.name.split("/") for file in listing.files}
    while parts and len({tuple(path[: depth + 1]) for path in parts.values()}) == 1 and all(
        len(path) > depth + 2 for path in parts.values()
    ):  # fmt: skip
        depth += 1
    itself = [file for file in listing.files if len(parts[file.name]) == depth + 1]
    folders: dict[str, list[File]] = {}
    for file in listing.files:
        if len(parts[file.name]) > depth + 1:
            folders.setdefault(parts[file.name][depth], []).append(file)
    below = {name: Listing(tuple(files), PassedOver()) for name, files in folders.items()}
    return Contents(Listing(tuple(itself), listing.passed_over), below)
