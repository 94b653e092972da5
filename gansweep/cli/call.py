"""One call of the command line, as its commands know it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NoReturn


@dataclass
class Call:
    """began: time.monotonic() when the command began. leave: ends the process with an exit code."""

    began: float = field(default_factory=time.monotonic)
    leave: Callable[[int], NoReturn] = sys.exit
