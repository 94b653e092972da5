"""No search: the file's own settings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gansweep.sweepfile.searches.method import SearchMethod, Values


class NoSearch(SearchMethod):
    """One configuration. Stands for a sweep file without a search; no file can name it."""

    method: str = ""

    @property
    def count(self) -> int:
        return 1

    def varied_keys(self) -> tuple[str, ...]:
        return ()

    def configurations(self, own: Values) -> Iterator[dict[str, Any]]:
        yield {}
