"""Ownership of experiments and runs: a sweep's records are those that carry its id, whatever their names.

The experiment gets the id in the request that creates it, so that two sweeps of one name never share an experiment.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gansweep.errors import UserError
from gansweep.records import identity
from gansweep.records.identity import Identity, Place, Whereabouts
from gansweep.records.layout import Home, SweepFolder, read_json
from gansweep.tracking import places, store

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment, Run

SWEEP, SWEEP_ID, TRIAL_ID = "gansweep.sweep", "gansweep.sweep_id", "gansweep.trial_id"
FOLDER = "gansweep.folder"  # tag of the parent run: the Place that last wrote
CLEANED = "gansweep.cleaned"  # tag of an experiment: time at which `clean` deleted it, so that it is not restored
PARENT = "mlflow.parentRunId"
NOTE = "mlflow.note.content"
DEFAULT = "0"  # id of MLflow's default experiment, which belongs to no sweep
MISSING, TAKEN = "RESOURCE_DOES_NOT_EXIST", "RESOURCE_ALREADY_EXISTS"  # error codes


@dataclass(frozen=True)
class Owned:
    """The records of one sweep in one store, including deleted runs.

    Attributes:
        experiment: The experiment.
        parent: The parent run; None if it has not been created yet.
        trials: Trial id → run.
        strays: Runs of the experiment, other than the parent run, that lack tags of a sweep's trial. Among them may be
            runs of this sweep whose tags were deleted.
    """

    experiment: Experiment
    parent: Run | None
    trials: dict[str, Run]
    strays: tuple[Run, ...] = ()

    @property
    def holder(self) -> Place | None:
        """The sweep's folder that sent records last; None if that was not recorded."""
        return Place.from_json(self.parent.data.tags.get(FOLDER, "")) if self.parent else None


def find(client: MlflowClient, sweep_id: str) -> Owned | None:
    """Return the records of a sweep in a store, even if another user deleted the experiment; None if there are none.

    Raises the errors of MLflow.
    """
    from mlflow.entities import ViewType

    condition = f"tags.`{SWEEP_ID}` = '{sweep_id}'"
    found = client.search_experiments(view_type=ViewType.ALL, filter_string=condition)
    experiments = [one for one in found if one.lifecycle_stage == "active" or CLEANED not in one.tags]
    if not experiments:
        return None
    experiment = min(experiments, key=lambda one: int(one.experiment_id))
    listed = store.runs(client, experiment.experiment_id, deleted=True)
    listed.sort(key=_age)
    runs = [run for run in listed if run.data.tags.get(SWEEP_ID) == sweep_id]
    parent = next((run for run in runs if not {TRIAL_ID, PARENT} & run.data.tags.keys()), None)
    trials = {run.data.tags[TRIAL_ID]: run for run in reversed(runs) if TRIAL_ID in run.data.tags}
    strays = tuple(run for run in listed if run is not parent and not {SWEEP_ID, TRIAL_ID} <= run.data.tags.keys())
    return Owned(experiment, parent, trials, strays)


def run_of(client: MlflowClient, experiment: str, trial_id: str, noted: str) -> Run | None:
    """Return a trial's run, which may be deleted: the one with its tag, else the one noted in its folder.

    Raises the errors of MLflow.

    Args:
        client: The client.
        experiment: Id of the sweep's experiment.
        trial_id: Id of the trial.
        noted: Id of the noted run; "" for none.
    """
    from mlflow.exceptions import MlflowException

    tagged = store.runs(client, experiment, f"tags.`{TRIAL_ID}` = '{trial_id}'", deleted=True)
    if tagged or not noted:
        return min(tagged, key=_age, default=None)
    try:
        run = client.get_run(noted)
    except MlflowException as error:
        if error.error_code != MISSING:
            raise
        return None
    return run if run.info.experiment_id == experiment else None


def create(client: MlflowClient, name: str, own: Identity, location: str | None) -> str:
    """Create the experiment of a sweep and return its id.

    If another experiment has the name, even a deleted one, a suffix is added. If several processes create the
    experiment of one sweep at the same time, all return the same id. Raises the errors of MLflow.

    Args:
        client: The client.
        name: Name of the sweep.
        own: Identity of the sweep.
        location: URI for the experiment's artifacts; None for the store's default.
    """
    from mlflow.exceptions import MlflowException

    note = f"Sweep `{name}` of gansweep, recorded from `{own.place}`; its id begins with `{own.sweep_id[:8]}`."
    tags = {SWEEP: name, SWEEP_ID: own.sweep_id, NOTE: note}
    for candidate in (name, own.label(name), f"{name}-{own.sweep_id}"):
        try:
            return str(client.create_experiment(candidate, artifact_location=location, tags=tags))
        except MlflowException as error:
            if error.error_code != TAKEN:
                raise
        there = client.get_experiment_by_name(candidate)
        if there is not None and there.tags.get(SWEEP_ID) == own.sweep_id:
            return str(there.experiment_id)
    raise RuntimeError(f"{name}: every name for its experiment is taken")


def of_folder(
    client: MlflowClient, folder: SweepFolder, notify: Callable[[str], None], *, own_store: bool
) -> Owned | None:
    """Return the records in a store of the sweep in a folder, labelling its former records; None if there are none.

    Former records carry a former id of the sweep (from before its home was copied, or before it joined a storage), or
    no id if version 0.1.0 recorded them. They are labelled with the sweep's current id. Raises the errors of MLflow.

    Args:
        client: The client.
        folder: The sweep's folder.
        notify: Called with notices for the user.
        own_store: Whether the store is the home's own, which is copied with the home.
    """
    own = identity.ensure(folder)
    if own_store and own.was:
        relabel(client, own.was, own)
        identity.forget_former(folder)
    found = find(client, own.sweep_id) or find_noted(client, folder, own)
    if found is None and (joined := [one for one in own.joined if find(client, one)]):
        relabel(client, joined[-1:], own)
        found = find(client, own.sweep_id)
    former = former_parent(client, folder) if found is None else None
    if former is None:
        return found
    if not own_store:
        _check_original(folder)
    if not adopt(client, folder, own, former):
        notify(f"{folder.name}: what version 0.1.0 recorded belongs to another sweep or experiment, and stays as it is")
        return None
    notify(f"{folder.name}: the records of version 0.1.0 now carry the sweep's own id")
    return find(client, own.sweep_id)


def _age(run: Run) -> tuple[bool, int, str]:
    """Return a sort key for runs: active runs before deleted ones, each from the oldest to the newest."""
    return run.info.lifecycle_stage != "active", run.info.start_time, run.info.run_id


def find_noted(client: MlflowClient, folder: SweepFolder, own: Identity) -> Owned | None:
    """Find the sweep's records in an experiment whose tags were deleted, and set the tags again.

    The experiment is the one noted in the sweep's folder. Raises the errors of MLflow.

    Returns:
        The records; None if the folder notes no experiment of this sweep, or if the experiment is missing, still has
        its tag, was deleted by `clean`, or has no run with the sweep's id.
    """
    from mlflow.exceptions import MlflowException

    noted = places.note(folder)
    if noted.get("sweep_id") != own.sweep_id:
        return None
    try:
        experiment = client.get_experiment(noted["experiment_id"])
    except MlflowException as error:
        if error.error_code != MISSING:
            raise
        return None
    listed = store.runs(client, experiment.experiment_id, f"tags.`{SWEEP_ID}` = '{own.sweep_id}'", deleted=True)
    if not listed or SWEEP_ID in experiment.tags or CLEANED in experiment.tags:
        return None
    if experiment.lifecycle_stage == "deleted":
        client.restore_experiment(experiment.experiment_id)
    client.set_experiment_tag(experiment.experiment_id, SWEEP, folder.name)
    client.set_experiment_tag(experiment.experiment_id, SWEEP_ID, own.sweep_id)
    return find(client, own.sweep_id)


def adopt(client: MlflowClient, folder: SweepFolder, own: Identity, parent: Run) -> bool:
    """Label a parent run of version 0.1.0, the runs of its trials and its experiment with the sweep's id.

    The experiment is labelled last, so that an interrupted adoption is repeated. Raises the errors of MLflow.

    Returns:
        Whether they were labelled. False if the parent run or the experiment belongs to another sweep, or if the
        experiment is MLflow's default one.
    """
    experiment = client.get_experiment(parent.info.experiment_id)
    others = {parent.data.tags.get(SWEEP_ID), experiment.tags.get(SWEEP_ID)} - {None, own.sweep_id}
    if others or experiment.experiment_id == DEFAULT:
        return False
    if experiment.lifecycle_stage == "deleted":
        client.restore_experiment(experiment.experiment_id)
    elif parent.info.lifecycle_stage == "deleted":
        client.restore_run(parent.info.run_id)
    here = {trial.id for trial in folder.all_trials()}
    children = store.runs(client, experiment.experiment_id, f"tags.`{PARENT}` = '{parent.info.run_id}'")
    for run in children:
        if run.data.tags.get(TRIAL_ID) in here and SWEEP_ID not in run.data.tags:
            client.set_tag(run.info.run_id, SWEEP_ID, own.sweep_id)
    client.set_tag(parent.info.run_id, SWEEP_ID, own.sweep_id)
    client.set_experiment_tag(experiment.experiment_id, SWEEP, folder.name)
    client.set_experiment_tag(experiment.experiment_id, SWEEP_ID, own.sweep_id)
    return True


def former_parent(client: MlflowClient, folder: SweepFolder) -> Run | None:
    """Return the parent run that version 0.1.0 noted in a sweep's folder; None if it noted none or the store lacks it.

    Raises the errors of MLflow.
    """
    from mlflow.exceptions import MlflowException

    noted = places.note(folder)
    if "sweep_id" in noted or "parent_run_id" not in noted:
        return None
    try:
        return client.get_run(noted["parent_run_id"])
    except MlflowException as error:
        if error.error_code != MISSING:
            raise
        return None


def unlabelled_parent(client: MlflowClient, folder: SweepFolder) -> Run | None:
    """Return the parent run of `former_parent` if it carries no sweep's id yet; None otherwise.

    Raises the errors of MLflow.
    """
    former = former_parent(client, folder)
    return former if former is not None and SWEEP_ID not in former.data.tags else None


def was_made_for(client: MlflowClient, parent: Run, folder: SweepFolder) -> bool:
    """Whether the experiment of a parent run keeps its artifacts in the home that contains a sweep's folder.

    Version 0.1.0 recorded nothing else in a store that tells the home. If it sent the records to a server, it did not
    record this location either. Raises the errors of MLflow.
    """
    location = client.get_experiment(parent.info.experiment_id).artifact_location
    return bool(location == (Home(folder.path.parents[1]).artifacts / folder.name).absolute().as_uri())


def _check_original(folder: SweepFolder) -> None:
    """Check that a folder with a note of version 0.1.0 is not a copy of the folder in the home that sent the records.

    Raises:
        UserError: The folder is a copy. Ids cannot show this, because the original has none yet.
    """
    noted = places.note(folder)
    original = Home(Path(noted["uri"].removeprefix("sqlite:///")).parent).sweep(folder.name)
    try:
        is_other = original.tracking.exists() and not original.path.samefile(folder.path)
        theirs = read_json(original.tracking) if is_other else {}
    except OSError:  # it cannot be reached, and did not record its location
        return
    if theirs.get("parent_run_id") == noted["parent_run_id"]:
        raise UserError(
            f"{folder.path}: is a copy of {original.path}, whose records it would change; run `gansweep sync"
            f" {folder.name}` in the original's home first, which gives that an id of its own"
        )


def relabel(client: MlflowClient, former: Sequence[str], own: Identity) -> None:
    """Label the records that carry former ids of a sweep with its current id. May be repeated after a kill.

    Raises the errors of MLflow.

    Args:
        client: The client.
        former: The former ids.
        own: Current identity of the sweep.
    """
    for sweep_id in former:
        found = find(client, sweep_id)
        if found is None:
            continue
        if found.experiment.lifecycle_stage == "deleted":
            client.restore_experiment(found.experiment.experiment_id)
        for run in found.trials.values():
            revive(client, run)
            client.set_tag(run.info.run_id, SWEEP_ID, own.sweep_id)
        if found.parent:
            revive(client, found.parent)
            # The original does not write to this store.
            client.set_tag(found.parent.info.run_id, FOLDER, own.place.to_json())
            client.set_tag(found.parent.info.run_id, SWEEP_ID, own.sweep_id)
        client.set_experiment_tag(found.experiment.experiment_id, SWEEP_ID, own.sweep_id)


def hold(client: MlflowClient, parent: Run, folder: SweepFolder) -> None:
    """Record in the parent run and in the sweep's folder that this folder sends the sweep's records from now on."""
    revive(client, parent)
    place = Place.of(folder)
    if Place.from_json(parent.data.tags.get(FOLDER, "")) != place:
        client.set_tag(parent.info.run_id, FOLDER, place.to_json())
    identity.settle(folder)


def revive(client: MlflowClient, run: Run) -> None:
    """Restore a deleted run, because MLflow cannot change deleted runs."""
    if run.info.lifecycle_stage != "active":
        client.restore_run(run.info.run_id)


def check_holder(holder: Place, folder: SweepFolder) -> bool:
    """Whether a sweep's folder was moved since its records were last sent.

    Args:
        holder: Place of the folder that sent records last.
        folder: The sweep's folder.

    Raises:
        UserError: The folder is a copy of the holder, or may be one because the holder cannot be reached from here.
    """
    found = identity.whereabouts(holder, folder)
    if found is Whereabouts.COPIED:
        raise UserError(
            f"{folder.path}: is a copy of {holder}, whose records it would change; add --new-identity to make it a"
            " sweep of its own"
        )
    if found is Whereabouts.UNSEEN:
        raise UserError(
            f"{folder.path}: its records were last written from {holder}, which cannot be seen from here; add --moved"
            " if the folder was moved, --new-identity if it is a copy"
        )
    return found is Whereabouts.MOVED


def delete(client: MlflowClient, owned: Owned, name: str) -> None:
    """Delete a sweep's runs. If its experiment has no other runs, not even deleted ones, delete the experiment.

    The experiment is renamed first, so that its name becomes free. Raises the errors of MLflow.
    """
    experiment = owned.experiment
    sweep_id = experiment.tags[SWEEP_ID]
    runs = store.runs(client, experiment.experiment_id, deleted=True)
    ours = [run for run in runs if run.data.tags.get(SWEEP_ID) == sweep_id]
    if len(ours) < len(runs):
        for run in ours:
            if run.info.lifecycle_stage == "active":
                client.delete_run(run.info.run_id)
    elif experiment.lifecycle_stage == "active":
        at = time.strftime("%Y-%m-%d %H:%M:%S")
        client.rename_experiment(experiment.experiment_id, f"{name} (deleted {at}, {sweep_id[:8]})")
        client.set_experiment_tag(experiment.experiment_id, CLEANED, at)
        client.delete_experiment(experiment.experiment_id)
