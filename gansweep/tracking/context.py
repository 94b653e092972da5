"""The provenance of a sweep as tags of its parent run."""

from __future__ import annotations

from collections.abc import Mapping

from gansweep.sweeps.provenance import Provenance

MACHINE = "gansweep.machine"
_VERSION = "gansweep.version."  # + the name of a package
_DIRTY = "gansweep.git_dirty"
_COMMIT = "mlflow.source.git.commit"


def tags(found: Provenance) -> dict[str, str]:
    """Return the tags of a provenance, without unknown values."""
    versions = {f"{_VERSION}{name}": version for name, version in found.versions.items()}
    source = {_COMMIT: found.commit, _DIRTY: str(found.dirty).lower()} if found.commit else {}
    machine = {MACHINE: found.machine} if found.machine else {}
    return {**versions, **machine, **source}


def of_tags(tags: Mapping[str, str]) -> Provenance:
    """Return the provenance in the tags of a parent run."""
    versions = {tag.removeprefix(_VERSION): tags[tag] for tag in sorted(tags) if tag.startswith(_VERSION)}
    dirty = {"true": True, "false": False}.get(tags.get(_DIRTY, ""))
    return Provenance(tags.get(MACHINE, ""), tags.get(_COMMIT, ""), dirty, versions)
