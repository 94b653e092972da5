"""stdout and stderr that survive a lost reader: `| head`, a closed terminal, a dropped ssh connection."""

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

UNREAD = 128 + signal.SIGPIPE  # exit code, that of a program ended by SIGPIPE


class Stream(io.FileIO):
    """Raw stream of file descriptor 1 or 2. A failed write redirects the descriptor to the null device.

    Args:
        number: File descriptor.
        needed: Whether the command ends if its output cannot be written. If the reader has ended, it then exits with
            code UNREAD and without a message; otherwise it raises UserError. False for commands that have work to do
            besides printing.
    """

    def __init__(self, number: int, *, needed: bool) -> None:
        super().__init__(number, "wb", closefd=False)
        self.needed = needed

    def write(self, data: ReadableBuffer, /) -> int:
        """Write all or part of the data and return the number of bytes written.

        Waits if the descriptor is non-blocking and not ready. Data that cannot be written count as written if the
        stream is not needed.
        """
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
    """Make sys.stdout and sys.stderr write to a Stream. Call it once, before anything is printed.

    Standard descriptors that the calling process has closed are opened on the null device. Otherwise the next file that
    is opened would get such a descriptor, and with it all printed output.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            _become_null(number)
    sys.stdout = _over(sys.stdout, 1, needed=True)
    sys.stderr = _over(sys.stderr, 2, needed=False)


def outlive_stdout() -> None:
    """Let the command continue if its output can no longer be written."""
    raw = getattr(sys.stdout.buffer, "raw", None)
    if isinstance(raw, Stream):
        raw.needed = False


def _over(text: TextIO | None, number: int, *, needed: bool) -> TextIO:
    """Return a text stream that writes to a Stream of a file descriptor.

    A `text` that does not write to this descriptor, such as the capture of a test, is returned unchanged.
    """
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
