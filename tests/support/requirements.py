"""What an extra brings along: distributions and modules, read from the metadata of what is installed here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, packages_distributions, requires

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def installed_by(requirements: Iterable[str], extra: str) -> set[str]:
    """Return the canonical names of all distributions that pip would install for the requirements of a project and one
    of its extras, as far as they are installed here."""
    found: set[tuple[str, str]] = set()  # a distribution, and one of its extras or ""
    waiting = list(_wanted(requirements, extra)) + list(_wanted(requirements, ""))
    while waiting:
        name, its_extra = one = waiting.pop()
        if one in found:
            continue
        found.add(one)
        try:
            its_requirements = requires(name) or []
        except PackageNotFoundError:
            continue
        waiting += _wanted(its_requirements, its_extra)
    return {name for name, _ in found}


def hidden_modules(distributions: set[str]) -> set[str]:
    """Return the top-level modules installed here that belong to none of the distributions."""
    owners = packages_distributions()
    return {module for module, names in owners.items() if not distributions & {canonicalize_name(n) for n in names}}


def _wanted(requirements: Iterable[str], extra: str) -> Iterator[tuple[str, str]]:
    """Yield distributions and their extras, where "" stands for the distribution itself."""
    for line in requirements:
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
            for its_extra in ("", *requirement.extras):
                yield canonicalize_name(requirement.name), its_extra
