"""Data sets of users, named by an import path.

`mypkg.data:dataset` is a function or class that returns a map-style data set, such as a torch.utils.data.Dataset. It is
called with the options. It is imported from the copy of the user's code that the plan has made. As with all sets, the
images are decoded once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gansweep.errors import UserError
from gansweep.gan.items import Items, Opened, class_names
from gansweep.gan.reader import Source
from gansweep.usercode.path import ImportPath


class Imported(Items):
    """Reader of a user's data set, which is identified by its code and its options."""

    def signature(self) -> Any:
        return self.source.code.digest

    def open_items(self) -> Opened:
        code = self.source.code
        path = ImportPath.parse(self.source.name)
        try:
            made = code.load(path)(**self.source.options or {})
        except UserError as error:
            raise UserError(f"dataset.name: {error}") from None
        except Exception as error:  # the code is somebody else's
            raise self._refusal(f"{code.failure(error)}; correct the code or dataset.options") from None
        return Opened(made, class_names(made))


def open_source(source: Source, cache: Path) -> Imported:
    """Return the reader of a user's data set."""
    return Imported(source)
