"""Trial folders → MLflow. May be run at any time, any number of times: what is sent twice is stored once.

A metric's identity in MLflow's stores is (key, timestamp, step, value); sending the journalled timestamp makes
resending harmless. A run is found by its tags before it is created (see `ownership`), so a kill between creating it and
noting its id leaves no second one. `published.json` only saves work.
"""

from __future__ import annotations

import io
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from gansweep.records import identity, journal, lock, outcome
from gansweep.records.identity import Identity
from gansweep.records.layout import Home, SweepFolder, TrialFolder, flat, read_json, write_json
from gansweep.records.outcome import Outcome
from gansweep.tracking import journals, notes, ownership, store
from gansweep.tracking.ownership import FOLDER, PARENT, SWEEP, SWEEP_ID, TRIAL_ID, Owned, check_holder
from gansweep.tracking.parent import STOP, Parent, stamp

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

BATCH = 1_000  # metrics a request, MLflow's limit
# One MLflow status for each of our outcomes; it has none for "will go on".
STATUS = {
    "pending": "SCHEDULED",
    "running": "RUNNING",
    "completed": "FINISHED",
    "stopped": "KILLED",
    "crashed": "FAILED",
    "interrupted": "SCHEDULED",
}
GRID_PIXELS = 512  # sample grids are enlarged by a whole factor to about so many: the UI would blur them
PUBLISH_WAIT_S = 30.0


@dataclass
class Published:
    """How much of a trial one store has. ended_s: time of its outcome since the epoch, 0 for none. journal: digest of
    the copy of its journal, empty for none, or one of an earlier end."""

    uri: str = ""
    run_id: str = ""
    offset: int = 0
    samples: list[str] = field(default_factory=list)
    state: str = ""
    ended_s: float = 0.0
    checkpoint: str = ""
    journal: str = ""
    tags: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: TrialFolder, uri: str) -> Published:
        """Nothing, where the trial was published to another store."""
        data = read_json(folder.published)
        return cls(**data) if data.get("uri") == uri else cls(uri=uri)

    @classmethod
    def to_run(cls, folder: TrialFolder, uri: str, run_id: str) -> Published:
        """Nothing, where the trial was published to another run: one of an earlier identity."""
        found = cls.read(folder, uri)
        return found if found.run_id == run_id else cls(uri=uri, run_id=run_id)


def is_current(folder: SweepFolder, uri: str) -> bool:
    """Whether the store has all of the sweep already, found without asking it."""
    noted, own = read_json(folder.tracking), identity.read(folder)
    if noted.get("uri") != uri or own is None or noted.get("sweep_id") != own.sweep_id:
        return False
    for trial in folder.planned():
        published, now = Published.read(trial, uri), outcome.state(trial, _steps(trial))
        size = trial.journal.stat().st_size if trial.journal.exists() else 0
        if published.offset != size or (published.state or "pending") != now:
            return False
        if len(published.samples) != len(trial.all_samples()):
            return False
        if now in journals.ENDED and not published.journal:
            return False
        if now != "pending" and published.tags != _tags(trial, now, notes.ended_as(trial, now), published):
            return False
    return True


class Publisher:
    """Publishes one sweep to one store. Nothing here reads or changes what trials write."""

    def __init__(
        self,
        home: Home,
        folder: SweepFolder,
        uri: str,
        context: Mapping[str, str],
        notify: Callable[[str], None] = lambda _: None,
    ) -> None:
        """context: tags of the parent run (machine, versions, commit). notify: takes sentences for the user."""
        self._home, self._folder, self.uri, self._context, self._notify = home, folder, uri, context, notify
        self._client: MlflowClient | None = None
        self._known: dict[str, str] = {}  # trial id → run id, as the store has them
        self._settled: dict[str, tuple[int, str]] = {}  # trial id → (stamp of its outcome, state), sent
        self._experiment = ""
        self._own: Identity
        self._parent: Parent | None = None
        self.taken = 0  # how often the store took something of a trial

    def connect(self) -> None:
        """Reach the store; find or create the experiment and the parent run.

        Raises what MLflow raises, and UserError where the records belong to another folder.
        """
        if self._client is not None:
            return
        client = store.client(self._home, self.uri)
        self._own = identity.ensure(self._folder)
        own_store = self.uri == store.local_uri(self._home)
        owned = ownership.of_folder(client, self._folder, self._notify, own_store=own_store) or self._begin(client)
        if owned.experiment.lifecycle_stage == "deleted":
            client.restore_experiment(owned.experiment.experiment_id)
            owned = ownership.find(client, self._own.sweep_id) or owned
        if owned.holder and not self._folder.storage.exists() and check_holder(owned.holder, self._folder):
            self._notify(f"{self._folder.name}: was moved here from {owned.holder}; its records go on")
        self._experiment = str(owned.experiment.experiment_id)
        self._known = {trial: str(run.info.run_id) for trial, run in owned.trials.items()}
        parent = owned.parent or self._create_parent(client, owned)
        for key, value in self._context.items():
            if parent.data.tags.get(key) != value:
                client.set_tag(parent.info.run_id, key, value)
        ownership.hold(client, parent, self._folder)
        client.log_artifact(parent.info.run_id, str(self._folder.source))
        client.log_dict(parent.info.run_id, dict(self._context), "environment.json")
        noted = {"experiment_id": self._experiment, "parent_run_id": parent.info.run_id}
        write_json(self._folder.tracking, {"uri": self.uri, "sweep_id": self._own.sweep_id, **noted})
        self._parent = Parent(client, self._folder, parent.info.run_id, parent.data.tags.get(STOP, ""))
        self._client = client

    def publish(self, *, running: bool) -> None:
        """Send what is new. running: whether the sweep goes on. Raises what MLflow raises; then call it again."""
        with lock.acquire(self._folder.publish_lock, wait_s=PUBLISH_WAIT_S):
            self.connect()
            assert self._client is not None
            assert self._parent is not None
            if running:
                self._parent.heed_stop()
            states = {trial: self._publish_trial(self._client, trial) for trial in self._folder.planned()}
            self._parent.send_files()
            links = {trial: f"#/experiments/{self._experiment}/runs/{run}" for trial, run in self._known.items()}
            self._parent.mark(states, running, links)

    def _begin(self, client: MlflowClient) -> Owned:
        name = self._folder.name
        location = None if store.is_server(self.uri) else (self._home.artifacts / name).absolute().as_uri()
        experiment = client.get_experiment(ownership.create(client, name, self._own, location))
        if experiment.name != name:
            self._notify(f"{name}: {self.uri} has another experiment of that name; this sweep's is {experiment.name}")
        return Owned(experiment, None, {})

    def _create_parent(self, client: MlflowClient, owned: Owned) -> Run:
        tags = {
            SWEEP: self._folder.name,
            SWEEP_ID: self._own.sweep_id,
            FOLDER: self._own.place.to_json(),
            "mlflow.user": "gansweep",
            **self._context,
        }
        return client.create_run(self._experiment, tags=tags, run_name=owned.experiment.name)

    def _publish_trial(self, client: MlflowClient, folder: TrialFolder) -> str:
        at = stamp(folder.outcome)
        settled_at, settled = self._settled.get(folder.id, (None, ""))
        if settled_at == at:
            return settled
        published = Published.to_run(folder, self.uri, self._known.get(folder.id, ""))
        # The state first: what it vouches for is on disk by then, and is sent below.
        now = outcome.state(folder, _steps(folder))
        if now == "pending":
            return now
        before = asdict(published)
        ended = notes.ended_as(folder, now)
        ended_s = ended.time if ended else 0.0
        news = (published.state, published.ended_s) != (now, ended_s)
        if news:
            published.journal = ""
        tags = _tags(folder, now, ended, published)
        if not published.run_id:
            published.run_id, published.tags = self._create(client, folder, tags), tags
        self._known[folder.id] = published.run_id
        try:
            _send_tags(client, published, tags)
            if now == "running" and published.state != now:
                client.update_run(published.run_id, status="RUNNING")
            self._send_metrics(client, folder, published)
            self._send_samples(client, folder, published)
            if news:
                if now != "running":
                    self._end(client, folder, published, now, ended)
                published.state, published.ended_s = now, ended_s
            if now in journals.ENDED and not published.journal:
                self._attach_journal(client, folder, published)
        finally:
            if asdict(published) != before:
                write_json(folder.published, asdict(published))
                self.taken += 1
        if now in journals.ENDED:
            self._settled[folder.id] = (at, now)
        return now

    def _create(self, client: MlflowClient, folder: TrialFolder, more: Mapping[str, str]) -> str:
        from mlflow.entities import Param

        assert self._parent is not None
        trial = read_json(folder.trial)
        seed = trial["config"]["seed"]
        # Values alone: the UI's column is narrow, and names of settings stand in the parameters.
        name = " · ".join([*(_short(v) for v in trial["varied"].values()), f"seed {seed}"])
        tags = {
            SWEEP: trial["sweep"],
            SWEEP_ID: self._own.sweep_id,
            TRIAL_ID: folder.id,
            "gansweep.seed": str(seed),
            "gansweep.data_fingerprint": trial["data"]["fingerprint"],
            PARENT: self._parent.run_id,
            "mlflow.user": "gansweep",
            **more,
        }
        run = client.create_run(self._experiment, start_time=_began_ms(folder), tags=tags, run_name=name)
        parameters = {**flat(trial["config"]), **flat({"parameters": trial["parameters"]})}
        client.log_batch(run.info.run_id, params=[Param(k, str(v)[:6_000]) for k, v in parameters.items()][:100])
        return str(run.info.run_id)

    def _send_metrics(self, client: MlflowClient, folder: TrialFolder, published: Published) -> None:
        from mlflow.entities import Metric

        pending: list[Metric] = []
        offset = published.offset
        for record, end in journal.read_from(folder.journal, published.offset):
            if len(pending) + len(record.values) > BATCH:
                client.log_batch(published.run_id, metrics=pending)
                pending, published.offset = [], offset
            at = journals.at_ms(record)
            pending += [Metric(name, value, at, record.step) for name, value in record.values.items()]
            offset = end
        if pending:
            client.log_batch(published.run_id, metrics=pending)
            published.offset = offset

    def _send_samples(self, client: MlflowClient, folder: TrialFolder, published: Published) -> None:
        new = [path for path in folder.all_samples() if path.name not in published.samples]
        if not new:
            return
        with TemporaryDirectory(prefix="gansweep-") as scratch:
            for path in new:
                _image_files(path, Path(scratch))
            client.log_artifacts(published.run_id, scratch, "images")
        if not published.samples:
            client.set_tag(published.run_id, "mlflow.loggedImages", "true")
        published.samples += [path.name for path in new]

    def _end(
        self, client: MlflowClient, folder: TrialFolder, published: Published, now: str, ended: Outcome | None
    ) -> None:
        checkpoints = folder.all_checkpoints()
        if checkpoints and now != "interrupted" and published.checkpoint != checkpoints[-1].name:
            with TemporaryDirectory(prefix="gansweep-") as scratch:
                copy = Path(scratch) / "last.safetensors"
                copy.write_bytes(checkpoints[-1].read_bytes())
                client.log_artifact(published.run_id, str(copy), "checkpoints")
            published.checkpoint = checkpoints[-1].name
        if ended and now != "interrupted":
            client.set_terminated(published.run_id, STATUS[now], int(ended.time * 1000))
        else:
            client.update_run(published.run_id, status=STATUS[now])

    def _attach_journal(self, client: MlflowClient, folder: TrialFolder, published: Published) -> None:
        """As far as its metrics were sent; then vouch for it."""
        content = folder.journal.read_bytes()[: published.offset] if published.offset else b""
        with TemporaryDirectory(prefix="gansweep-") as scratch:
            copy = Path(scratch, journals.NAME)
            copy.write_bytes(journals.pack(content))
            client.log_artifact(published.run_id, str(copy))
        published.journal = journals.digest(content)
        _send_tags(client, published, {**published.tags, journals.TAG: published.journal})


def delete(home: Home, folder: SweepFolder, uri: str, notify: Callable[[str], None] = lambda _: None) -> None:
    """Delete a sweep's runs from its store, and no others. Raises what MLflow raises, and UserError where the records
    belong to another folder."""
    client = store.client(home, uri)
    owned = ownership.of_folder(client, folder, notify, own_store=uri == store.local_uri(home))
    if owned is None:
        return
    if owned.holder and not folder.storage.exists():
        check_holder(owned.holder, folder)
    ownership.delete(client, owned, folder.name)


def _began_ms(folder: TrialFolder) -> int:
    """When the trial's process opened its folder, or its first record where others opened it again since."""
    times = [record.time for record, _ in islice(journal.read_from(folder.journal, 0), 1)]
    if folder.lock.exists():
        times.append(folder.lock.stat().st_mtime)
    return int(1000 * min(times, default=time.time()))


def _steps(folder: TrialFolder) -> int:
    return int(read_json(folder.trial).get("steps", 0))


def _tags(folder: TrialFolder, now: str, ended: Outcome | None, published: Published) -> dict[str, str]:
    return {**notes.tags(folder, now, ended), journals.TAG: published.journal}


def _send_tags(client: MlflowClient, published: Published, wanted: dict[str, str]) -> None:
    """Those that the store has otherwise: one request, or none."""
    from mlflow.entities import RunTag

    new = [RunTag(key, value) for key, value in wanted.items() if published.tags.get(key) != value]
    if new:
        client.log_batch(published.run_id, tags=new)
        published.tags = wanted


def _image_files(path: Path, scratch: Path) -> None:
    """The two files that the UI's image grid wants for a step: log_image's names, but the same at every try; the
    grid as it is, and a copy for the browser, enlarged by a whole factor and lossless instead of smoothed."""
    from PIL import Image

    step, at = int(path.stem), int(path.stat().st_mtime * 1000)
    stem = scratch / f"samples+step+{step}+timestamp+{at}+{step:08d}"
    content = path.read_bytes()
    Path(f"{stem}.png").write_bytes(content)
    with Image.open(io.BytesIO(content)) as grid:
        factor = max(1, round(GRID_PIXELS / max(grid.size)))
        large = grid.resize((grid.width * factor, grid.height * factor), Image.Resampling.NEAREST)
    # method 0, the fastest: encoding is half of what publishing takes from training.
    large.convert("RGB").save(f"{stem}+compressed.webp", lossless=True, quality=0, method=0)


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) and math.isfinite(value) else str(value)
