"""Distributions of single keys, and independent draws from them."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from gansweep.section import Section


class Distribution(Section):
    """Distribution of one key; `choice` draws from a list, the others from [low, high]."""

    uniform: Annotated[list[float], Field(min_length=2, max_length=2)] | None = None
    log_uniform: Annotated[list[float], Field(min_length=2, max_length=2)] | None = None
    int_uniform: Annotated[list[int], Field(min_length=2, max_length=2)] | None = None
    choice: Annotated[list[Any], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        given = [k for k, v in self if v is not None]
        if len(given) != 1:
            raise ValueError("give exactly one of uniform, log_uniform, int_uniform, choice")
        bounds = None if given == ["choice"] else getattr(self, given[0])
        if bounds and bounds[0] > bounds[1]:
            raise ValueError(f"{given[0]}: the low end {bounds[0]} is above the high end {bounds[1]}")
        if self.log_uniform and self.log_uniform[0] <= 0:
            raise ValueError("log_uniform: both ends must be greater than 0")
        return self

    def draw(self, stream: str) -> Any:
        """Return a random value of the key. The same name of a random stream, `stream`, always gives the same value."""
        rng = random.Random(stream)
        if self.choice is not None:
            return self.choice[rng.randrange(len(self.choice))]
        if self.int_uniform is not None:
            return rng.randint(*self.int_uniform)
        if self.log_uniform is not None:
            low, high = self.log_uniform
            return min(high, max(low, math.exp(rng.uniform(math.log(low), math.log(high)))))
        assert self.uniform is not None
        return rng.uniform(*self.uniform)


def draw(over: Mapping[str, Distribution], seed: int, number: int) -> dict[str, Any]:
    """Return key → value of draw `number`. It does not depend on how many draws are made."""
    return {key: distribution.draw(f"{seed}:{number}:{key}") for key, distribution in over.items()}
