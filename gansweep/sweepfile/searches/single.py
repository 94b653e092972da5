"""No search: the file's own settings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gansweep.sweepfile.searches.method import SearchMethod, Values


class NoSearch(SearchMethod):
    """Search method of a sweep file without a search: one configuration. Files cannot select it by name."""

    method: str = ""

    @property
    def count(self) -> int:
        return 1

    def varied_keys(self) -> tuple[str, ...]:
        return ()

    def configurations(self, own: Values) -> Iterator[dict[str, Any]]:
        yield {}
