"""Base class of the user's own features and metrics: functions that are called with images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from gansweep.usercode.code import Code
from gansweep.usercode.path import ImportPath


@dataclass(frozen=True)
class OwnFunction:
    """A function of the user that is called with images of one shape.

    Attributes:
        key: Dotted key of the sweep file that names it.
        path: Import path of the function.
        code: The code that defines it.
        channels: Number of channels of the images.
        size: Side of the images in pixels.
    """

    key: ClassVar[str]
    path: ImportPath
    code: Code
    channels: int
    size: int
