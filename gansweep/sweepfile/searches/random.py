"""Independent draws."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field

from gansweep.section import Positive
from gansweep.sweepfile.searches.distribution import Distribution, draw
from gansweep.sweepfile.searches.method import SearchMethod, Values


class RandomSearch(SearchMethod):
    """Independent draws. Draw n does not depend on `trials`, so raising `trials` adds draws."""

    axis_example = "{choice: […]}"

    method: Literal["random"]
    trials: Positive
    seed: Annotated[int, Field(ge=0)] = 0
    over: Annotated[dict[str, Distribution], Field(min_length=1)]

    @property
    def count(self) -> int:
        return self.trials

    def varied_keys(self) -> tuple[str, ...]:
        return tuple(self.over)

    def configurations(self, own: Values) -> Iterator[dict[str, Any]]:
        return (draw(self.over, self.seed, number) for number in range(self.trials))
