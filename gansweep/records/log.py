"""Log of a command: its output with times, kept in a file."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path


def keep(path: Path, text: str) -> None:
    """Append text to a log, each line with the current time. Several processes and threads may do so concurrently.

    Does nothing if the file cannot be written: the text is also printed on stderr, and a sweep must not end because of
    its log.
    """
    at = time.strftime("%Y-%m-%d %H:%M:%S")
    with suppress(OSError), path.open("a", encoding="utf-8") as file:
        file.write("".join(f"{at}  {line}\n" for line in text.splitlines()))
