"""What an extra brings along: distributions and modules, read from the metadata of what is installed here."""

from __future__ import annotations

import sysconfig
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from importlib.metadata import distributions as distributions_in

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
    """Return the top-level modules installed here that belong to none of the distributions.

    Ray's own copies of other packages, which it puts on the search path once it is imported, are no installed ones.
    """
    environment = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    installed = {canonicalize_name(one.metadata["Name"]) for one in distributions_in(path=environment)}
    owners = {module: set(map(canonicalize_name, names)) for module, names in packages_distributions().items()}
    return {module for module, names in owners.items() if names & installed and not names & distributions}


def _wanted(requirements: Iterable[str], extra: str) -> Iterator[tuple[str, str]]:
    """Yield distributions and their extras, where "" stands for the distribution itself."""
    for line in requirements:
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
            for its_extra in ("", *requirement.extras):
                yield canonicalize_name(requirement.name), its_extra
