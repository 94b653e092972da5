"""Configurations listed one by one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from gansweep.records.layout import flat
from gansweep.sweepfile.searches.method import SearchMethod, Values

if TYPE_CHECKING:
    from gansweep.sweepfile.document import Path_
    from gansweep.sweepfile.searches.method import Place


class CasesSearch(SearchMethod):
    """One configuration per case, for designs that a grid cannot express, such as one factor at a time."""

    own_places = True

    method: Literal["cases"]
    cases: Annotated[
        list[dict[str, Any]], Field(min_length=1, description="dotted key → value; {}: the file's own settings")
    ]

    @classmethod
    def places(cls, raw: Mapping[str, Any]) -> Iterator[Place]:
        if isinstance(cases := raw.get("cases"), list):
            for number, case in enumerate(cases):
                for key, value in case.items() if isinstance(case, dict) else ():
                    yield (path := ("search", "cases", number, key)), [(path, value)]

    @property
    def count(self) -> int:
        return len(self.cases)

    def varied_keys(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(key for case in self.cases for key in case))

    def configurations(self, own: Values) -> Iterator[dict[str, Any]]:
        for case in self.cases:
            holds = flat({**own, **case})  # without values that are None
            yield {key: holds.get(key, holds.get(_inherited(key))) for key in self.varied_keys()}

    def given(self, number: int, values: Values) -> Values:
        return self.cases[number]

    def place(self, number: int, key: str = "") -> Path_:
        case: Path_ = ("search", "cases", number)
        return (*case, key) if key in self.cases[number] else case


def _inherited(key: str) -> str:
    """Return the key that a key inherits its value from: training.generator.beta1 → training.beta1."""
    return key.replace(".generator.", ".").replace(".discriminator.", ".")
