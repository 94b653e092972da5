"""State of one call of the command line, passed to its commands."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NoReturn


@dataclass
class Call:
    """One call of the command line.

    Attributes:
        began: time.monotonic() at the start of the command.
        leave: Function that ends the process with an exit code.
    """

    began: float = field(default_factory=time.monotonic)
    leave: Callable[[int], NoReturn] = sys.exit
