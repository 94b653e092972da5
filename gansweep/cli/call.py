"""State of one call of the command line, which the called command may read and change."""

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
        leave: Function that is called with the exit code to end the process. `run` replaces it when Ray starts.
    """

    began: float = field(default_factory=time.monotonic)
    leave: Callable[[int], NoReturn] = sys.exit
