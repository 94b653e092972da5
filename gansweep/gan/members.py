"""Members of .zip and .tar archives, read without extracting them."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import os
import re
import stat
import tarfile
import tempfile
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from gansweep.errors import UserError
from gansweep.gan.notes import shown
from gansweep.gan.unpacking import check_size

COMPRESSED: dict[bytes, Callable[..., Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}
DAMAGED = (
    OSError, EOFError, RuntimeError, NotImplementedError, zipfile.BadZipFile, tarfile.TarError, zlib.error,
    lzma.LZMAError,
)  # fmt: skip
ENCRYPTED = 0x1  # flag of a member of a zip archive
CHUNK = 1 << 20
DRIVE = re.compile(r"[A-Za-z]:")


@dataclass(frozen=True)
class Member:
    """A file in an archive.

    Attributes:
        name: Path in the archive, with slashes.
        size: Bytes.
        read: Returns the file's content, and may raise the errors in DAMAGED; None if it is not a plain regular file.
    """

    name: str
    size: int
    read: Callable[[], bytes] | None

    def open(self) -> IO[bytes]:
        """Return the content as a file. Raises ValueError if it is damaged, or if this is not a plain regular file."""
        if self.read is None:
            raise ValueError("is not a regular file")
        try:
            return io.BytesIO(self.read())
        except DAMAGED as error:
            raise ValueError(str(error) or type(error).__name__) from None


@contextlib.contextmanager
def members_of(path: Path, cache: Path) -> Iterator[dict[str, Member]]:
    """Open an archive for the block. Several threads can read its files.

    A compressed .tar archive is decompressed to a temporary file in `cache`.

    Yields:
        Path in the archive → file.

    Raises:
        UserError: The archive cannot be read, is encrypted, contains a path that leaves it, or unpacks to far more than
            its size.
    """
    with contextlib.ExitStack() as stack:
        try:
            found = _zip(path, stack) if zipfile.is_zipfile(path) else _tar(path, cache, stack)
        except DAMAGED as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise UserError(f"dataset.path: {path}: not a readable .zip or .tar archive ({reason})") from None
        for name in found:
            if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts or DRIVE.match(name):
                raise UserError(f"dataset.path: {path}: contains {shown(name)}, which leaves the archive; remove it")
        yield found


def _zip(path: Path, stack: contextlib.ExitStack) -> dict[str, Member]:
    archive = stack.enter_context(zipfile.ZipFile(path))
    turn = threading.Lock()

    def reader(info: zipfile.ZipInfo) -> Callable[[], bytes] | None:
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG):
            return None

        def read() -> bytes:
            with turn:
                return archive.read(info)

        return read

    files = [info for info in archive.infolist() if not info.is_dir()]
    if any(info.flag_bits & ENCRYPTED for info in files):
        raise UserError(f"dataset.path: {path}: is encrypted; pack it without a password")
    check_size(path, sum(info.file_size for info in files))
    return {(name := _name(info.filename)): Member(name, info.file_size, reader(info)) for info in files}


def _tar(path: Path, cache: Path, stack: contextlib.ExitStack) -> dict[str, Member]:
    file: IO[bytes] = stack.enter_context(path.open("rb"))
    begin = file.read(8)
    file.seek(0)
    if opener := next((opener for magic, opener in COMPRESSED.items() if begin.startswith(magic)), None):
        file = _decompressed(path, stack.enter_context(opener(file)), cache, stack)
    found = {}
    with tarfile.open(fileobj=file, mode="r:") as archive:
        for info in archive:
            if not info.isdir():
                plain = info.isreg() and not info.issparse()
                name = _name(info.name)
                found[name] = Member(name, info.size, _at(file, info.offset_data, info.size) if plain else None)
    return found


def _at(file: IO[bytes], offset: int, size: int) -> Callable[[], bytes]:
    return lambda: os.pread(file.fileno(), size, offset)


def _decompressed(path: Path, packed: IO[bytes], cache: Path, stack: contextlib.ExitStack) -> IO[bytes]:
    """Return the decompressed archive as an unnamed temporary file, which is deleted when `stack` closes it."""
    cache.mkdir(parents=True, exist_ok=True)
    file: IO[bytes] = tempfile.TemporaryFile(dir=cache)  # noqa: SIM115 (closed by the stack)
    stack.enter_context(file)
    size = 0
    while content := packed.read(CHUNK):
        size += len(content)
        check_size(path, size)
        file.write(content)
    file.flush()
    file.seek(0)
    return file


def _name(name: str) -> str:
    return name.replace("\\", "/").removeprefix("./")
