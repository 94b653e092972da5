"""stdout and stderr that outlive whoever reads them: `| head`, a closed terminal, a dropped ssh connection."""

from __future__ import annotations

import io
import os
import select
import signal
import sys
from errno import EIO, EPIPE
from typing import TYPE_CHECKING, TextIO

from gansweep.errors import UserError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

UNREAD = 128 + signal.SIGPIPE  # exit code, as of a program that SIGPIPE ended


class Stream(io.FileIO):
    """The raw stream of file descriptor 1 or 2. After the first failed write the descriptor is the null device.

    needed: whether a command ends when its output cannot be written: quietly with UNREAD where the reader is gone, with
    UserError otherwise. A command with more to do than to print does not need it.
    """

    def __init__(self, number: int, *, needed: bool) -> None:
        super().__init__(number, "wb", closefd=False)
        self.needed = needed

    def write(self, data: ReadableBuffer, /) -> int:
        """Write all or a part of data; returns the number of bytes. Waits where the descriptor is non-blocking."""
        try:
            while (written := super().write(data)) is None:
                select.select([], [self], [])
        except OSError as error:
            _become_null(self.fileno())
            if not self.needed:
                return memoryview(data).nbytes
            if error.errno in (EPIPE, EIO):
                raise SystemExit(UNREAD) from None
            raise UserError(f"stdout: cannot be written ({error.strerror}); send it elsewhere") from None
        return written


def settle() -> None:
    """Put a Stream under sys.stdout and sys.stderr. Call once, before anything is printed.

    Standard descriptors that the caller closed become the null device: otherwise the next file that is opened would get
    their number, and everything that is printed.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            _become_null(number)
    sys.stdout = _over(sys.stdout, 1, needed=True)
    sys.stderr = _over(sys.stderr, 2, needed=False)


def outlive_stdout() -> None:
    """The command goes on when nobody takes its output any more."""
    raw = getattr(sys.stdout.buffer, "raw", None)
    if isinstance(raw, Stream):
        raw.needed = False


def _over(text: TextIO | None, number: int, *, needed: bool) -> TextIO:
    """The same text stream over a Stream; unchanged where it is not the process's own (a test captures it)."""
    if text is not None and (type(text) is not io.TextIOWrapper or text.fileno() != number):
        return text
    encoding, errors = (text.encoding, text.errors) if text else ("utf-8", "backslashreplace")
    by_line = text.line_buffering if text else True
    buffer = io.BufferedWriter(Stream(number, needed=needed))
    return io.TextIOWrapper(buffer, encoding, errors, line_buffering=by_line)


def _become_null(number: int) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    if null != number:
        os.dup2(null, number)
        os.close(null)
