"""Picture files as a source of real images: selection of the files by class, and their decoding."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial, reduce
from operator import or_
from pathlib import Path
from typing import IO, Any, ClassVar

from gansweep.errors import UserError
from gansweep.gan import decode
from gansweep.gan.decode import NOTHING, Layout, Look
from gansweep.gan.notes import Note, named, shown
from gansweep.gan.parallel import each
from gansweep.gan.reader import WHITE, Decoded, Source, chosen, layout_of
from gansweep.gan.rows import Kept, Rows
from gansweep.gan.scan import Contents, File, PassedOver, other_files
from gansweep.words import counted

MOST_BROKEN = 5  # maximum number of files named in one message
OPENED = re.compile(r" <[^>]*>")  # Pillow's description of a file that has no path


@dataclass(frozen=True)
class Files:
    """The selected images of a folder or an archive, ordered by class and path.

    Attributes:
        root: The folder or archive.
        open: Takes the name of a file, and returns its path or the file opened for reading.
        files: The image files.
        labels: For each file, the index of its class in `names`.
        names: Names of the classes; ("all",) if there are no classes.
        passed_over: Entries that were ignored, because they are not images or occur twice.
        left_out: Notes on images that the sweep file does not select.
    """

    format: ClassVar = 3
    root: Path
    open: Callable[[str], Path | IO[bytes]]
    files: tuple[File, ...]
    labels: tuple[int, ...]
    names: tuple[str, ...]
    passed_over: PassedOver
    left_out: tuple[Note, ...]

    def signature(self) -> list[Any]:
        """Return name, size, mtime, ctime and inode of all files.

        Size and mtime do not suffice: `cp -p` and `touch` can give a changed file its previous mtime.
        """
        return [[file.name, *(file.stamp or ())] for file in self.files]

    def notes(self) -> tuple[Note, ...]:
        return (*self.left_out, *self.passed_over.notes())

    def decode(self, source: Source, work: Path) -> Decoded:
        """Decode all files to `work`.

        If files cannot be read, they are skipped if `options.unreadable` is `skip`. Otherwise decoding fails, and the
        images that were decoded are kept for the next attempt.

        Raises:
            UserError: Files cannot be read and are not to be skipped, or no file can be read. The message names up to
                MOST_BROKEN of them.
        """
        skip = _skips(source)
        with decode.own_limit():
            looks = each(partial(self._attempt, decode.look), [file.name for file in self.files], "looking at images")
            sound = [found for found in looks if isinstance(found, Look)]
            layout = _layout(source, sound)
            kept = Kept(work.with_suffix(".kept.npy"), asdict(layout))
            with Rows(work, (len(self.files), layout.channels, layout.side, layout.side)) as rows:
                write = partial(self._write, rows, layout, kept, looks)
                reasons = each(write, range(len(self.files)), "decoding images")
                read = [index for index, reason in enumerate(reasons) if not reason]
                if skip and read:
                    rows.keep(read)
        if len(read) < len(reasons) and not (skip and read):
            kept.replace(rows, {self.files[i].name: (self.files[i].stamp, i) for i in read})
            raise UserError(f"dataset.path: {self._broken(reasons)}")
        kept.remove()
        skipped = [("skipped", self._skipped(reasons))] if len(read) < len(reasons) else []
        labels = [self.labels[index] for index in read]
        return Decoded(rows, labels, self.names, (*skipped, *_conversions(source, layout, sound)))

    def _attempt(self, work: Callable[..., Any], name: str) -> Any:
        """Return the result of `work` on a file, or the reason why the file cannot be read."""
        try:
            return work(self.open(name))
        except decode.UNREADABLE as error:
            reason = getattr(error, "strerror", None) or OPENED.sub("", str(error)) or type(error).__name__
            return " ".join(reason.replace(f" {str(self.root / name)!r}", "").split())

    def _write(self, rows: Rows, layout: Layout, kept: Kept, looks: Sequence[Look | str], index: int) -> str:
        """Write the image of file number `index`, and return "". If the file cannot be read, return the reason.

        Args:
            rows: The array that is written.
            layout: Format of the images.
            kept: Images that the previous attempt decoded.
            looks: For each file its properties, or the reason why it cannot be read.
            index: Number of the file.
        """
        look, file = looks[index], self.files[index]
        if isinstance(look, str):
            return look
        image = kept.find(file.name, file.stamp)
        if image is None:
            decoded = self._attempt(partial(decode.pixels, layout=layout), file.name)
            if isinstance(decoded, str):
                return decoded
            image = decoded
        rows[index] = image
        return ""

    def _broken(self, reasons: Sequence[str]) -> str:
        mend = "or skip such files with --set dataset.options.unreadable=skip"
        broken = [(file.name, reason) for file, reason in zip(self.files, reasons, strict=True) if reason]
        if len(broken) == 1:
            ((name, reason),) = broken
            return f"{shown(str(self.root / name))}: not a readable image ({reason}); replace or remove it, {mend}"
        return f"{self.root}: {self._skipped(reasons)}; replace or remove them, {mend}"

    def _skipped(self, reasons: Sequence[str]) -> str:
        broken = [f"{file.name} ({reason})" for file, reason in zip(self.files, reasons, strict=True) if reason]
        what = counted(len(broken), "file is not a readable image", "files are not readable images")
        return f"{what}: {named(broken, MOST_BROKEN)}"


def select(source: Source, root: Path, contents: Contents, open_: Callable[[str], Path | IO[bytes]]) -> Files:
    """Return the images that a source selects from a folder or archive.

    Args:
        source: The source. Subfolders are classes unless `source.subfolders` is `ignore`.
        root: The folder or archive.
        contents: The images in `root` itself and in its subfolders.
        open_: See `Files.open`.

    Raises:
        UserError: No image is selected, a class is unknown, or images are both in `root` itself and in its subfolders
            and the source does not state which to use.
    """
    _refuse_ambiguous(source, contents)
    itself, subfolders = contents.itself, contents.subfolders
    if source.subfolders == "ignore" or not (subfolders or source.classes):
        found = Files(root, open_, itself.files, (0,) * len(itself.files), ("all",), itself.passed_over, tuple(
            _left_out([below for one in subfolders.values() for below in one.files], "in subfolders")))  # fmt: skip
    else:
        names = chosen(source, list(subfolders), str(source.path))
        found = Files(
            root,
            open_,
            tuple(file for name in names for file in subfolders[name].files),
            tuple(label for label, name in enumerate(names) for _ in subfolders[name].files),
            tuple(names),
            sum((subfolders[name].passed_over for name in names), itself.passed_over),
            tuple(_left_out(itself.files, "next to the subfolders")),
        )
    if not found.files:
        there = f"; it contains {other_files(found.passed_over.others)}" if found.passed_over.others else ""
        raise UserError(f"dataset.path: {source.path}: contains no images (PNG, JPEG, WebP, TIFF, …){there}")
    return found


def _skips(source: Source) -> bool:
    """Whether files that cannot be read are skipped. Raises UserError if `options.unreadable` has another value."""
    given = (source.options or {}).get("unreadable", "refuse")
    if given not in ("refuse", "skip"):
        raise UserError(f"dataset.options.unreadable: must be refuse or skip, got {given!r}")
    return bool(given == "skip")


def _refuse_ambiguous(source: Source, contents: Contents) -> None:
    itself, subfolders = len(contents.itself.files), contents.subfolders
    if source.subfolders == "classes" and not subfolders:
        raise UserError(f"dataset.subfolders: classes, but {source.path} has no subfolders with images; leave it out")
    if source.subfolders is None and source.classes is None and itself and subfolders:
        below = sum(len(listing.files) for listing in subfolders.values())
        where = counted(len(subfolders), "subfolder")
        raise UserError(
            f"dataset.path: {source.path}: contains {counted(itself, 'image')} itself and {below:,} in {where}"
            f" ({named(list(subfolders))}); choose with --set dataset.subfolders=ignore, or =classes"
        )


def _left_out(files: Sequence[File], where: str) -> Iterable[Note]:
    if files:
        yield "skipped", f"{counted(len(files), 'image')} {where} (dataset.subfolders, dataset.classes)"


def _layout(source: Source, looks: Sequence[Look]) -> Layout:
    """Return the common format of the images, with one range per kind of deep pixels for the whole set.

    Images are in colour if any picture has colour, unless the source sets `channels`.
    """
    colour = any(look.colour for look in looks)
    kinds = {look.deep for look in looks if look.deep}
    ranges = {kind: reduce(or_, (look.range for look in looks if look.deep == kind), NOTHING) for kind in kinds}
    return replace(layout_of(source), channels=source.channels or (3 if colour else 1), ranges=ranges)


def _conversions(source: Source, layout: Layout, looks: Sequence[Look]) -> Iterable[Note]:
    """Yield notes on conversions that users should know about. Cropping and shrinking are not mentioned."""
    yield from decode.greys_among_colours(source.channels, sum(look.colour for look in looks), len(looks))
    for kind, limits in sorted(layout.ranges.items()):
        low, high = limits.ends()
        deep = [look for look in looks if look.deep == kind]
        yield "converted", f"{counted(len(deep), 'image')} of {kind}: {low:,.6g} … {high:,.6g} become 0 … 255"
        if holes := sum(look.holes for look in deep):
            yield "converted", f"{counted(holes, 'image')} with NaN (which becomes 0) or infinite values"
    ground = "white" if layout.background == WHITE else "rgb" + repr(layout.background).replace(" ", "")
    for count, text in (
        (sum(look.transparent for look in looks), f"with transparency, composed on {ground} (dataset.background)"),
        (sum(look.animated for look in looks), "with several frames or pages: the first is used"),
        (sum(look.cut for look in looks), "with 16 bits per colour channel: the upper 8 bits are used"),
        (sum(look.reduced for look in looks), "above 179 megapixels, reduced while decoding"),
    ):
        if count:
            yield "converted", f"{counted(count, 'image')} {text}"
