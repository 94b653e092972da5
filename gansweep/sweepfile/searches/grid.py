"""Every combination of some values."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from gansweep.sweepfile.searches.method import SearchMethod, Values


class GridSearch(SearchMethod):
    """Every combination of the values."""

    distinct = True
    axis_example = "[…]"

    method: Literal["grid"]
    over: Annotated[dict[str, list[Any]], Field(min_length=1)]

    @field_validator("over")
    @classmethod
    def _no_empty_axis(cls, over: dict[str, list[Any]]) -> dict[str, list[Any]]:
        for key, values in over.items():
            if not values:
                raise ValueError(f"{key} has no values: an empty grid has no trials")
        return over

    @property
    def count(self) -> int:
        return math.prod(len(values) for values in self.over.values())

    def varied_keys(self) -> tuple[str, ...]:
        return tuple(self.over)

    def configurations(self, own: Values) -> Iterator[dict[str, Any]]:
        for values in itertools.product(*self.over.values()):
            yield dict(zip(self.over, values, strict=True))
