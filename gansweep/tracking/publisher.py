"""Publishing of trial folders to MLflow. It can be repeated at any time: records sent twice are stored once.

A trial's run is searched for before it is created (see `ownership`). A process that is killed after creating a run and
before noting its id thus does not cause a second run. `published.json` only saves work: it is compared with the store
when a process connects, and again after an error. Records that a run lacks are sent again; deleted runs are restored.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gansweep.errors import UserError
from gansweep.records import identity, lock, outcome
from gansweep.records.identity import Identity
from gansweep.records.layout import Home, SweepFolder, TrialFolder, read_json, write_json
from gansweep.sweeps import summary
from gansweep.sweeps.summary import Entry
from gansweep.tracking import comparison, journal_copies, ownership, places, sender, store
from gansweep.tracking.ownership import FOLDER, PARENT, SWEEP, SWEEP_ID, Owned, check_holder
from gansweep.tracking.parent import STOP, Parent, stamp
from gansweep.tracking.published import Published
from gansweep.tracking.sender import Sender
from gansweep.tracking.thorough import WRONG, Thorough
from gansweep.words import counted

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

PUBLISH_WAIT_S = 30.0
FIRST_RETRY_S, LONGEST_RETRY_S = 5.0, 320.0  # pauses before the next attempt to send a trial
MOST_NAMED = 3  # trials named in a message


class NotAllSentError(UserError):
    """Some trials could not be sent, although the store accepts others."""

    def __init__(self, sweep: str, uri: str, troubles: Mapping[str, Exception]) -> None:
        named = [f"{trial}: {_one_line(error)}" for trial, error in troubles.items()]
        rest = f"; and {len(named) - MOST_NAMED} more" if len(named) > MOST_NAMED else ""
        trials = counted(len(named), "trial")
        super().__init__(f"{sweep}: {trials} could not be sent to {uri} ({'; '.join(named[:MOST_NAMED])}{rest})")


@dataclass(frozen=True)
class Trouble:
    """Failure to send a trial, and the time of the next attempt.

    Attributes:
        error: Error of the last attempt.
        pause_s: Pause before the next attempt, in seconds. It does not apply after the first failure.
        due: time.monotonic() at which the next attempt is due.
    """

    error: Exception
    pause_s: float
    due: float

    @classmethod
    def after(cls, error: Exception, before: Trouble | None) -> Trouble:
        """Return the trouble after a failed attempt.

        The second attempt is due at once. After that, each pause is twice the previous one, up to LONGEST_RETRY_S.

        Args:
            error: Error of this attempt.
            before: Trouble after the previous attempt; None if there was no attempt before or it succeeded.
        """
        pause_s = min(2 * before.pause_s, LONGEST_RETRY_S) if before else FIRST_RETRY_S
        return cls(error, pause_s, time.monotonic() + (pause_s if before else 0))


class Publisher:
    """Publisher of one sweep to one store. It can run while trials train; it changes none of the files they write.

    Attributes:
        restored: Kind of records that the store had lost and that were sent again → number of trials.
    """

    def __init__(
        self,
        home: Home,
        folder: SweepFolder,
        uri: str,
        context: Mapping[str, str],
        notify: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Initialise the publisher.

        Args:
            home: The home folder.
            folder: The sweep's folder.
            uri: URI of the store.
            context: Tags of the parent run (machine, versions, commit).
            notify: Called with notices for the user.
        """
        self._home, self._folder, self.uri, self._context, self._notify = home, folder, uri, context, notify
        self._recorded = places.as_recorded(home, uri)
        self._client: MlflowClient | None = None
        self._sender: Sender
        self._files: comparison.Files
        self._sent_before = False  # whether the folder's notes describe the sweep in the store
        self._parent: Parent | None = None
        self._runs: dict[str, Run] = {}  # trial id → run, for runs not compared yet
        self._known: dict[str, str] = {}  # trial id → run id in the store
        self._compared: set[str] = set()  # trial ids
        self._settled: dict[str, tuple[int, str]] = {}  # trial id → (stamp of its outcome, state), sent
        self._troubles: dict[str, Trouble] = {}  # trial id → failure to send it
        self._entries: dict[str, Entry] = {}  # trial id → its entry in the parent's list
        self.taken = 0  # number of times that the store accepted records of a trial
        self.restored: Counter[str] = Counter()

    def connect(self) -> None:
        """Connect to the store; find or create the experiment and the parent run.

        Raises the errors of MLflow.

        Raises:
            UserError: The records belong to another folder.
        """
        if self._client is not None:
            return
        client = store.client(self._home, self.uri)
        own = identity.ensure(self._folder)
        own_store = self.uri == store.local_uri(self._home)
        owned = ownership.of_folder(client, self._folder, self._notify, own_store=own_store) or self._begin(client, own)
        if owned.experiment.lifecycle_stage == "deleted":
            client.restore_experiment(owned.experiment.experiment_id)
            owned = ownership.find(client, own.sweep_id) or owned
        if owned.holder and not self._folder.storage.exists() and check_holder(owned.holder, self._folder):
            self._notify(f"{self._folder.name}: was moved here from {owned.holder}; its records continue")
        experiment = str(owned.experiment.experiment_id)
        strays = {run.info.run_id: run for run in owned.strays}
        before = places.note(self._folder)
        parent = owned.parent or strays.get(before.get("parent_run_id", "")) or self._create_parent(client, owned, own)
        self._sent_before = (before.get("uri"), before.get("sweep_id")) == (self._recorded, own.sweep_id)
        ownership.hold(client, parent, self._folder)
        for key, value in {SWEEP: self._folder.name, SWEEP_ID: own.sweep_id, **self._context}.items():
            if parent.data.tags.get(key) != value:
                client.set_tag(parent.info.run_id, key, value)
        client.log_artifact(parent.info.run_id, str(self._folder.source))
        client.log_dict(parent.info.run_id, dict(self._context), "environment.json")
        noted = {"experiment_id": experiment, "parent_run_id": parent.info.run_id}
        tracking = {"uri": self._recorded, "sweep_id": own.sweep_id, **noted}
        write_json(self._folder.tracking, tracking, durable=True)
        self._runs = {**self._noted(strays), **owned.trials}
        self._known = {trial: str(run.info.run_id) for trial, run in self._runs.items()}
        labels = {SWEEP: self._folder.name, SWEEP_ID: own.sweep_id, PARENT: parent.info.run_id}
        self._sender = Sender(client, experiment, labels)
        self._files = comparison.Files(self.uri, owned.experiment.artifact_location)
        self._troubles.clear()  # every trial is compared with the new list
        if self._parent is None or self._parent.run_id != parent.info.run_id:  # else the answered stop request is known
            self._compared.clear()  # a store that lost the parent run may have lost anything
            self._settled.clear()
            self._parent = Parent(client, self._folder, parent.info.run_id, parent.data.tags.get(STOP, ""))
        self._client = client

    def publish(self, *, running: bool, verify: bool = False) -> None:
        """Send new records, and those that the store has lost.

        Call it again after NotAllSentError: it retries the trials that could not be sent and does not repeat the
        others. While the sweep is running, a trial is retried only after a growing pause. Raises the errors of MLflow.

        Args:
            running: Whether the sweep is running.
            verify: Whether to compare all values with those in the store (see `thorough`), instead of only the lists
                of runs and artifacts (see `comparison`).

        Raises:
            NotAllSentError: Some trials could not be sent. All others were.
        """
        with lock.acquire(self._folder.publish_lock, wait_s=PUBLISH_WAIT_S):
            try:
                self._publish(running, verify)
            except NotAllSentError:
                raise
            except Exception:
                self._client = None  # after any error, the store is asked again
                raise

    def _publish(self, running: bool, verify: bool) -> None:
        if verify:
            self._client = None
            self._compared.clear()
            self._settled.clear()
        self.connect()
        assert self._client is not None
        assert self._parent is not None
        if running:
            self._parent.heed_stop()
        planned = self._folder.planned()
        earlier = self._folder.earlier()
        listed = [self._runs[folder.id] for folder in (*planned, *earlier) if folder.id in self._runs]
        thorough = Thorough(self._client, self.uri, listed) if verify else None
        states: dict[TrialFolder, str] = {}
        before = self.restored.copy()
        for folder in [*planned, *earlier]:
            trouble = self._troubles.get(folder.id)
            if trouble and running and time.monotonic() < trouble.due:
                continue
            try:
                if trouble:
                    self._find_again(folder)
                states[folder] = self._publish_trial(folder, thorough)
                self._troubles.pop(folder.id, None)
            except Exception as error:
                self._compared.discard(folder.id)
                self._check_store(error)
                self._troubles[folder.id] = Trouble.after(error, trouble)
        self._parent.send_files(*self._listed(planned, earlier))
        links = {trial: f"#/experiments/{self._sender.experiment}/runs/{run}" for trial, run in self._known.items()}
        sent = {trial: states[trial] for trial in planned if trial in states}
        self._parent.mark(sent, running, links, [*self._troubles])
        if new := self.restored - before:
            told = ", ".join(f"{what} of {counted(n, 'trial')}" for what, n in new.items())
            self._notify(f"{self._folder.name}: restored in {self.uri}: {told}")
        if self._troubles:
            errors = {trial: trouble.error for trial, trouble in self._troubles.items()}
            raise NotAllSentError(self._folder.name, self.uri, errors)

    def _noted(self, strays: Mapping[str, Run]) -> dict[str, Run]:
        """Return the runs whose tags were deleted, found by the run ids noted in trials' folders: trial id → run.

        `strays`: Run id → run, for the experiment's runs without the tags of a sweep.
        """
        noted = {
            folder.id: Published.read(folder, self._recorded).run_id for folder in self._folder.all_trials() if strays
        }
        return {trial: strays[run_id] for trial, run_id in noted.items() if run_id in strays}

    def _find_again(self, folder: TrialFolder) -> None:
        """Look up a trial's run in the store again, so that the next call of `_compare` compares it."""
        noted = Published.read(folder, self._recorded).run_id
        run = ownership.run_of(self._sender.client, self._sender.experiment, folder.id, noted)
        if run is not None:
            self._runs[folder.id] = run

    def _check_store(self, error: Exception) -> None:
        """Raise a trial's error again if its cause is the store as a whole, not the trial.

        This is so if the parent run cannot be read, as then no other trial can be sent either, or if the parent run was
        deleted, as then all runs were deleted with it.
        """
        assert self._client is not None
        assert self._parent is not None
        try:
            parent = self._client.get_run(self._parent.run_id)
        except Exception:
            raise error from None
        if parent.info.lifecycle_stage != "active":
            raise error

    def _publish_trial(self, folder: TrialFolder, thorough: Thorough | None) -> str:
        at = stamp(folder.outcome)
        settled_at, settled = self._settled.get(folder.id, (None, ""))
        if settled_at == at:
            return settled
        # The state first: records that it implies are on disk by then, and are sent below.
        now = outcome.state(folder, int(read_json(folder.trial).get("steps", 0)))
        ended = outcome.ended_as(folder, now)
        if now != "pending" or folder.id not in self._entries:
            self._entries[folder.id] = summary.entry(folder, now, ended, self._known.get(folder.id, ""))
        if now == "pending":
            return now
        note = Published.read(folder, self._recorded)
        before = replace(note, samples=[*note.samples], tags={**note.tags})
        try:
            lost = self._compare(folder, note, thorough)
            if WRONG not in lost and sender.is_superseded(folder, note, now):
                lost.append(WRONG)
            if WRONG in lost:
                # First, so that a killed process finds the same note and run, and does it again.
                self._sender.set_aside(note.run_id)
                note.forget("")
            self._sender.send(folder, now, ended, note)
        finally:
            if note != before:
                note.write(folder)
                self.taken += 1
        self.restored.update(lost)
        self._known[folder.id] = self._entries[folder.id]["run_id"] = note.run_id
        if now in journal_copies.ENDED:
            self._settled[folder.id] = (at, now)
        return now

    def _compare(self, folder: TrialFolder, note: Published, thorough: Thorough | None) -> list[str]:
        """Reduce a trial's note to the records that the store has, once per connection.

        Returns:
            Kinds of the records that the store lacks or, for WRONG, has with other values. Empty if there are none, or
            if the trial was already compared.
        """
        if folder.id in self._compared:
            return []
        self._compared.add(folder.id)
        run = self._runs.pop(folder.id, None)
        run_id = run.info.run_id if run else ""
        lost = []
        if note.run_id != run_id:  # recreated, or found without a note: everything is sent to it
            lost = [comparison.RUNS] if note.run_id and self._sent_before else []
            note.forget(run_id)
        if run is None:
            return lost
        ownership.revive(self._sender.client, run)
        lost += comparison.cut_down(folder, note, run, self._files.of(run))
        if absent := comparison.missing_params(sender.params(folder), run):
            self._sender.send_params(run_id, absent)
            lost.append(comparison.PARAMETERS)
        if thorough:
            lost += [what for what in thorough.cut_down(folder, note, run) if what not in lost]
        return lost

    def _listed(self, *folders: Iterable[TrialFolder]) -> list[list[Entry]]:
        """Return each group's entries for the parent run's list of trials, without trials that could not be read."""
        return [[self._entries[one.id] for one in some if one.id in self._entries] for some in folders]

    def _begin(self, client: MlflowClient, own: Identity) -> Owned:
        name = self._folder.name
        location = None if store.is_server(self.uri) else (self._home.artifacts / name).absolute().as_uri()
        experiment = client.get_experiment(ownership.create(client, name, own, location))
        if experiment.name != name:
            self._notify(f"{name}: {self.uri} has another experiment of that name; this sweep's is {experiment.name}")
        return Owned(experiment, None, {})

    def _create_parent(self, client: MlflowClient, owned: Owned, own: Identity) -> Run:
        tags = {
            SWEEP: self._folder.name,
            SWEEP_ID: own.sweep_id,
            FOLDER: own.place.to_json(),
            "mlflow.user": "gansweep",
            **self._context,
        }
        return client.create_run(owned.experiment.experiment_id, tags=tags, run_name=owned.experiment.name)


def delete(home: Home, folder: SweepFolder, uri: str, notify: Callable[[str], None] = lambda _: None) -> None:
    """Delete a sweep's runs from its store, and no others. Raises the errors of MLflow.

    Raises:
        UserError: The records belong to another folder.
    """
    client = store.client(home, uri)
    owned = ownership.of_folder(client, folder, notify, own_store=uri == store.local_uri(home))
    if owned and owned.holder and not folder.storage.exists():
        check_holder(owned.holder, folder)
    joined = (ownership.find(client, sweep_id) for sweep_id in identity.ensure(folder).joined)
    for found in filter(None, (owned, *joined)):
        ownership.delete(client, found, folder.name)


def _one_line(error: Exception) -> str:
    """Return an error as one line."""
    text = str(error).partition("\n")[0][:200]
    return text if isinstance(error, UserError) and text else f"{type(error).__name__}: {text}".removesuffix(": ")
