"""The interface of search methods. A method is a section of the sweep file that knows which trials it stands for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from gansweep.section import Positive, Section
from gansweep.sweepfile.searches.distribution import Distribution
from gansweep.sweepfile.searches.objective import Objective

if TYPE_CHECKING:
    from gansweep.sweepfile.document import Path_

    Place = tuple[Path_, list[tuple[Path_, Any]]]  # where a key is varied; values that are certainly tried, with places

Values = Mapping[str, Any]  # dotted key → value, of the keys that a search varies


class SearchMethod(Section):
    """Which configurations a sweep trains.

    A subclass declares `method: Literal["its name"]`, its keys, and the methods that raise NotImplementedError here.

    Attributes:
        distinct: Whether the values of a key must differ from each other.
        own_places: Whether each configuration has a place of its own in the file, where its errors are reported.
        axis_example: Values of a key as `--set` takes them; empty where an override cannot change one key's values.
        needs_objective: Whether its trials depend on the objective.
    """

    distinct: ClassVar[bool] = False
    own_places: ClassVar[bool] = False
    axis_example: ClassVar[str] = ""
    needs_objective: ClassVar[bool] = False

    method: str
    objective: Objective = Objective()

    @classmethod
    def places(cls, raw: Mapping[str, Any]) -> Iterator[Place]:
        """Yield every varied key of a section that was not validated yet."""
        return axes(raw)

    @property
    def count(self) -> int:
        """Return the number of configurations."""
        raise NotImplementedError

    def varied_keys(self) -> tuple[str, ...]:
        """Return the keys that trials may differ in, in the order of the file."""
        raise NotImplementedError

    def configurations(self, own: Values) -> Iterator[dict[str, Any]]:
        """Yield the varied values of each configuration that is known without results, in a fixed order.

        Args:
            own: The file's own settings, without keys that are not set.
        """
        raise NotImplementedError

    def given(self, number: int, values: Values) -> Values:
        """Return what the search states of configuration `number` with these varied values."""
        return values

    def place(self, number: int, key: str = "") -> Path_:
        """Return the place in the file of configuration `number`, or of a key in it where it states that key."""
        return ("search",)


class AdaptiveSearch(SearchMethod):
    """A search whose suggestions follow from results: suggestion n from those of 0 … n − parallel, in that order."""

    needs_objective: ClassVar[bool] = True

    trials: Positive
    parallel: Annotated[int, Field(ge=1, le=1000, description="most trials at a time, whatever would fit")] = 4

    @property
    def count(self) -> int:
        return self.trials

    def configurations(self, own: Values) -> Iterator[dict[str, Any]]:
        return iter(())

    def suggest(self, number: int, results: Sequence[Result], running: Sequence[Values]) -> dict[str, Any]:
        """Return the varied values of suggestion `number`: the same for the same arguments.

        Args:
            results: Of earlier suggestions, by number, as far as they are known.
            running: Values of the suggestions after those.
        """
        raise NotImplementedError

    def stand_ins(self, first: int = 0) -> list[dict[str, Any]]:
        """Return plausible values of the suggestions from `first` on, for estimates before they are made."""
        raise NotImplementedError

    def extreme_values(self) -> list[dict[str, Any]]:
        """Return values that no suggestion exceeds: the ends of all ranges, and every choice."""
        raise NotImplementedError


@dataclass(frozen=True)
class Result:
    """The result of a suggestion.

    Attributes:
        score: Less is better; inf for a failure.
        cut: Where a scheduler ended it, in thousandths of its steps; None where none did.
    """

    varied: Values
    score: float
    cut: int | None = None


def axes(raw: Mapping[str, Any]) -> Iterator[Place]:
    """Yield the keys below `over`: values of a list or of `choice`, and both ends of a range."""
    if isinstance(over := raw.get("over"), dict):
        for key, axis in over.items():
            path: Path_ = ("search", "over", key)
            if isinstance(axis, list):
                yield path, [((*path, i), value) for i, value in enumerate(axis)]
            else:
                lists = axis if isinstance(axis, dict) else {}
                kinds = [kind for kind in Distribution.model_fields if isinstance(lists.get(kind), list)]
                yield path, [((*path, kind, i), value) for kind in kinds for i, value in enumerate(lists[kind])]
