"""Child processes that a test starts, without those of other tests in the same process."""

from __future__ import annotations

from collections.abc import Callable

import psutil


def children_since() -> Callable[[], list[psutil.Process]]:
    """Return a function that returns the children of this process that were started after this call."""
    before = {*psutil.Process().children()}
    return lambda: [child for child in psutil.Process().children() if child not in before]
