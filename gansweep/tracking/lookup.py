"""Lookup of a sweep's experiment and runs by name, for commands that only read.

A sweep whose folder is in the home is found by its id. Others are found by their name if it matches one sweep of the
store, or by their label NAME-xxxxxxxx, where the first digits of the id distinguish sweeps of one name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from gansweep.errors import UserError
from gansweep.records import identity
from gansweep.records.identity import DIGITS, Place, label
from gansweep.records.layout import Home
from gansweep.tracking import ownership, places, store
from gansweep.tracking.ownership import FOLDER, SWEEP, SWEEP_ID
from gansweep.words import names_like

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment, Run

LABEL = re.compile(rf"(?P<name>.+)-(?P<digits>[0-9a-f]{{{DIGITS}}})")


@dataclass(frozen=True)
class Located:
    """Experiment and id that identify the runs of one sweep in a store.

    `sweep_id` is empty for records of version 0.1.0, which have no id.
    """

    experiment_id: str
    sweep_id: str

    def runs(self, client: MlflowClient, condition: str = "") -> list[Run]:
        """Return the sweep's runs, except deleted ones. `condition`: Condition in MLflow's filter language."""
        found = store.runs(client, self.experiment_id, condition)
        return [run for run in found if run.data.tags.get(SWEEP_ID, "") == self.sweep_id]


def of_home(client: MlflowClient, home: Home, uri: str, name: str) -> Located:
    """Locate the sweep whose folder is in the home, if it was sent to this store; else a sweep by its name.

    Raises the errors of MLflow.

    Raises:
        UserError: The store lacks the sweep, or the name matches several.
    """
    folder = next((one for one in home.sweeps() if one.name == name), None)
    if folder is None:
        return by_name(client, home, uri, name)
    own = identity.read(folder)
    former_ids = own.was if own and uri == store.local_uri(home) else ()
    for sweep_id in (own.sweep_id, *former_ids, *own.joined) if own else ():
        owned = ownership.find(client, sweep_id)
        if owned is not None and owned.experiment.lifecycle_stage == "active":
            return Located(str(owned.experiment.experiment_id), sweep_id)
    former = ownership.former_parent(client, folder)
    if former is not None and SWEEP_ID not in former.data.tags:
        return Located(str(former.info.experiment_id), "")
    if places.recorded(home, folder) == uri:
        raise UserError(f"{store.called(home, uri)}: has no records of {name}; `gansweep sync {name}` sends them")
    return by_name(client, home, uri, name)


def by_name(client: MlflowClient, home: Home, uri: str, name: str) -> Located:
    """Locate a sweep by its name, its label or the name of its experiment.

    Raises the errors of MLflow.

    Raises:
        UserError: No sweep matches, or several do.
    """
    fitting = _fitting(client, name)
    if len(fitting) == 1:
        return Located(str(fitting[0].experiment_id), fitting[0].tags.get(SWEEP_ID, ""))
    if fitting:
        raise UserError(
            f"{store.called(home, uri)}: {name!r} matches {len(fitting)} sweeps; name {_choice(client, fitting)}"
        )
    known = [one.name for one in client.search_experiments() if one.name != "Default"]
    raise UserError(f"{store.called(home, uri)}: no sweep named {name!r}; {names_like(name, known)}")


def _fitting(client: MlflowClient, name: str) -> list[Experiment]:
    found = _labelled(client, name)
    named = client.get_experiment_by_name(name)
    if named is not None and named.lifecycle_stage == "active":
        if not found or SWEEP_ID not in named.tags:  # records of version 0.1.0 have no id
            found.append(named)
    elif not found and (match := LABEL.fullmatch(name)):
        found = [one for one in _labelled(client, match["name"]) if one.tags[SWEEP_ID].startswith(match["digits"])]
    return found


def _labelled(client: MlflowClient, name: str) -> list[Experiment]:
    """Return the experiments of sweeps with this name.

    None are found for a name with a quote, which cannot be escaped in MLflow's filters.
    """
    if "'" in name:
        return []
    found = client.search_experiments(filter_string=f"tags.`{SWEEP}` = '{name}'")
    return [one for one in found if SWEEP_ID in one.tags]


def _choice(client: MlflowClient, experiments: list[Experiment]) -> str:
    """Return a phrase that lists experiments, oldest first.

    It gives for each a unique label and the folder whose records were sent to it last.
    """
    return " or ".join(map(partial(_described, client), sorted(experiments, key=lambda one: int(one.experiment_id))))


def _described(client: MlflowClient, experiment: Experiment) -> str:
    if SWEEP_ID not in experiment.tags:
        return str(experiment.name)
    parents = store.runs(client, experiment.experiment_id, f"tags.`{FOLDER}` LIKE '%'")
    places = [place for parent in parents if (place := Place.from_json(parent.data.tags[FOLDER]))]
    return label(experiment.tags[SWEEP], experiment.tags[SWEEP_ID]) + (f" ({places[0]})" if places else "")
