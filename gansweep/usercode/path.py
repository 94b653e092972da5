"""Import paths of sweep files, such as `mypkg.nets:G`."""

from __future__ import annotations

import re
from dataclasses import dataclass

_DOTTED = r"[^\W\d]\w*(?:\.[^\W\d]\w*)*"
PATTERN = rf"{_DOTTED}:{_DOTTED}"


@dataclass(frozen=True)
class ImportPath:
    """The name of a function or class in a user's module.

    Attributes:
        module: Dotted name of the module.
        attribute: Name in the module, dotted for an attribute of a class or of another object.
    """

    module: str
    attribute: str

    @classmethod
    def parse(cls, text: str) -> ImportPath:
        """Parse MODULE:NAME.

        Raises:
            ValueError: The text is not an import path. The message is for the user.
        """
        if not re.fullmatch(PATTERN, text):
            raise ValueError(f"{text!r} is not an import path; write MODULE:NAME, as in mypkg.nets:G")
        return cls(*text.split(":"))

    def member(self, name: str) -> ImportPath:
        """Return the path of an attribute of what this path names."""
        return ImportPath(self.module, f"{self.attribute}.{name}")

    def __str__(self) -> str:
        return f"{self.module}:{self.attribute}"


def is_import_path(text: object) -> bool:
    """Whether a value is meant as an import path, correct or not. No registered part has a colon in its name."""
    return isinstance(text, str) and ":" in text
