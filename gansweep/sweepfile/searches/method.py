"""Interface of search methods. A method is a section of the sweep file, and determines the configurations."""

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

    Place = tuple[Path_, list[tuple[Path_, Any]]]  # place of a varied key; values that are always tried, with places

Values = Mapping[str, Any]  # dotted key → value, of the keys that a search varies


class SearchMethod(Section):
    """A search method: determines the configurations of a sweep.

    A subclass declares `method: Literal["its name"]`, its keys, and the methods that raise NotImplementedError here.

    Attributes:
        distinct: Whether the values of a key must differ from each other.
        own_places: Whether each configuration has a place of its own in the file, at which its errors are reported.
        axis_example: Example of a key's values for `--set`; empty if an override cannot change the values of one key.
        needs_objective: Whether the configurations depend on the objective.
    """

    distinct: ClassVar[bool] = False
    own_places: ClassVar[bool] = False
    axis_example: ClassVar[str] = ""
    needs_objective: ClassVar[bool] = False

    method: str
    objective: Objective = Objective()

    @classmethod
    def places(cls, raw: Mapping[str, Any]) -> Iterator[Place]:
        """Yield the path of every varied key, and the values that are always tried, with their paths.

        Args:
            raw: The section `search`, which has not been validated yet.
        """
        return axes(raw)

    @property
    def count(self) -> int:
        """Number of configurations."""
        raise NotImplementedError

    def varied_keys(self) -> tuple[str, ...]:
        """Return the keys in which trials may differ, in the order of the file."""
        raise NotImplementedError

    def configurations(self, own: Values) -> Iterator[dict[str, Any]]:
        """Yield the varied values of each configuration that is known without results, in a fixed order.

        Args:
            own: The file's own settings, without keys that are not set.
        """
        raise NotImplementedError

    def given(self, number: int, values: Values) -> Values:
        """Return key → value that the file states for a configuration.

        Args:
            number: Number of the configuration, from 0.
            values: Varied values of the configuration.
        """
        return values

    def place(self, number: int, key: str = "") -> Path_:
        """Return the place in the file of configuration `number`, or of a key in it if it states the key."""
        return ("search",)


class AdaptiveSearch(SearchMethod):
    """A search whose suggestions depend on results: suggestion n on those of 0 … n − parallel, in that order."""

    needs_objective: ClassVar[bool] = True

    trials: Positive
    parallel: Annotated[int, Field(ge=1, le=1000, description="maximum number of configurations in parallel")] = 4

    @property
    def count(self) -> int:
        return self.trials

    def configurations(self, own: Values) -> Iterator[dict[str, Any]]:
        return iter(())

    def suggest(self, number: int, results: Sequence[Result], running: Sequence[Values]) -> dict[str, Any]:
        """Return the varied values of suggestion `number`. They depend on the arguments only.

        Args:
            number: Number of the suggestion, from 0.
            results: Known results of earlier suggestions, by number.
            running: Varied values of the suggestions after those in `results`, by number.
        """
        raise NotImplementedError

    def stand_ins(self, first: int = 0) -> list[dict[str, Any]]:
        """Return plausible varied values of the suggestions from number `first` on, for estimates beforehand."""
        raise NotImplementedError

    def extreme_values(self) -> list[dict[str, Any]]:
        """Return varied values that cover both ends of all ranges, and every choice. No suggestion exceeds them."""
        raise NotImplementedError


@dataclass(frozen=True)
class Result:
    """The result of a suggestion.

    Attributes:
        varied: Varied values of the suggestion.
        score: Score; less is better, inf for a failure.
        cut: Point at which a scheduler ended the trial, in thousandths of its steps; None if it was not ended.
    """

    varied: Values
    score: float
    cut: int | None = None


def axes(raw: Mapping[str, Any]) -> Iterator[Place]:
    """Yield the path of each key below `over`, and its values with their paths.

    The values are those of a list or of `choice`, or both ends of a range.

    Args:
        raw: The section `search`, which has not been validated yet.
    """
    if isinstance(over := raw.get("over"), dict):
        for key, axis in over.items():
            path: Path_ = ("search", "over", key)
            if isinstance(axis, list):
                yield path, [((*path, i), value) for i, value in enumerate(axis)]
            else:
                lists = axis if isinstance(axis, dict) else {}
                kinds = [kind for kind in Distribution.model_fields if isinstance(lists.get(kind), list)]
                yield path, [((*path, kind, i), value) for kind in kinds for i, value in enumerate(lists[kind])]
