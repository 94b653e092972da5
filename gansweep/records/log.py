"""What a command said, kept in a file with the time: what is read when nobody was at the terminal."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path


def keep(path: Path, text: str) -> None:
    """Append it, each line with the time. Several processes and threads may do so at once.

    Does nothing where the file cannot be written: what is said there is also said on stderr, and ends nothing.
    """
    at = time.strftime("%Y-%m-%d %H:%M:%S")
    with suppress(OSError), path.open("a", encoding="utf-8") as file:
        file.write("".join(f"{at}  {line}\n" for line in text.splitlines()))
