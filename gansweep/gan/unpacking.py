"""Limits on what compressed files unpack to."""

from __future__ import annotations

from pathlib import Path

from gansweep.errors import UserError

HARMLESS = 1 << 30  # bytes that any file may unpack to
LARGEST_RATIO = 200  # larger files: unpacked size as a multiple of their own


def check_size(path: Path, unpacked: int) -> None:
    """Check that a file does not unpack to far more than its own size, as decompression bombs do.

    Args:
        path: The compressed file.
        unpacked: Unpacked size in bytes.

    Raises:
        UserError: The unpacked size exceeds both HARMLESS and LARGEST_RATIO times the size of the file.
    """
    packed = path.stat().st_size
    if unpacked > max(HARMLESS, LARGEST_RATIO * packed):
        raise UserError(
            f"dataset.path: {path}: unpacks from {packed / 1e6:,.1f} MB to {unpacked / 1e9:,.1f} GB or more, which no"
            " set of images does; unpack it yourself if you trust it, and name the folder or file"
        )
