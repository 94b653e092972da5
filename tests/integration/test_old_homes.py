"""A home recorded by version 0.1.0, in another place than the one where it was recorded: it goes on with its records,
which get an identity and paths of today once, whenever the process that does so is killed."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import old_homes
import pytest
import torch
from facts import assert_states
from scenes import prepare_digits, train, warm_home
from service import Service

import gansweep
from gansweep.gan import checkpoint
from gansweep.health import metrics
from gansweep.records import journal
from gansweep.records.layout import Home, read_json
from gansweep.sweeps.provenance import current

RATES = {old_homes.INTERRUPTED: 0.0002, old_homes.PENDING: 0.0003}
# Runs `gansweep sync` again and again in forked processes. The n-th dies at its n-th write to the store or to a note of
# the sweep, every third one being tried, until one of them comes to its end. Prints how many died.
KILLED_AT_EVERY_WRITE = """
import itertools, os, signal, sys
from click.testing import CliRunner
from mlflow import MlflowClient
from gansweep.cli.main import cli
from gansweep.records import identity
from gansweep.tracking import places, publisher, sender

CliRunner().invoke(cli, ["sync", "no such sweep"])
left = 0

def dying(function):
    def call(*arguments, **named):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **named)
    return call

WRITES = "set_tag set_experiment_tag log_batch log_artifact log_dict create_run update_run set_terminated".split()
for name in WRITES:
    setattr(MlflowClient, name, dying(getattr(MlflowClient, name)))
places.write_json, identity.write_json, publisher.write_json = map(dying, [places.write_json] * 3)
for count in itertools.count():
    left = 3 * count + 1
    child = os.fork()
    if child == 0:
        result = CliRunner().invoke(cli, ["sync", "old", "--home", sys.argv[1]])
        print(result.output, file=sys.stderr)
        os._exit(result.exit_code)
    status = os.waitpid(child, 0)[1]
    if not os.WIFSIGNALED(status):
        print(count)
        sys.exit(os.waitstatus_to_exitcode(status))
"""


@pytest.fixture
def service(tmp_path: Path) -> Service:
    """A service without a home: the old one takes its place."""
    return Service(tmp_path, {})


@pytest.fixture
def old(service: Service) -> Home:
    """The home of the service, as version 0.1.0 left it elsewhere, with its sweep file in the working directory."""
    home = old_homes.unpack(service.root)
    prepare_digits(home)
    shutil.copy(home.sweep("old").source, service.root / "old.yaml")
    return home


def rows(home: Home, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(home.database)) as database:
        return database.execute(query).fetchall()


def assert_recorded_once(home: Home) -> None:
    """One experiment with a run for each trial that has begun and one for the sweep, all of one identity and with
    artifacts in the home; every (metric, step) once."""
    own = read_json(home.sweep("old").identity)["sweep_id"]
    begun = [trial for trial in home.sweep("old").all_trials() if trial.journal.exists()]
    assert rows(home, "SELECT name FROM experiments WHERE name != 'Default'") == [("old",)]
    assert rows(home, "SELECT value FROM experiment_tags WHERE key = 'gansweep.sweep_id'") == [(own,)]
    runs = rows(home, "SELECT run_uuid, artifact_uri FROM runs WHERE lifecycle_stage = 'active'")
    assert len(runs) == len(begun) + 1
    assert all(place.startswith(f"{home.artifacts.as_uri()}/old/") for _, place in runs)
    assert rows(home, "SELECT value FROM tags WHERE key = 'gansweep.sweep_id'") == [(own,)] * len(runs)
    query = (
        "SELECT metrics.key, step FROM metrics JOIN tags USING (run_uuid)"
        " WHERE tags.key = 'gansweep.trial_id' AND tags.value = '{}'"
    )
    for trial in begun:
        recorded = [(name, record.step) for record in journal.read(trial.journal) for name in record.values]
        stored = [(metrics.current(name), step) for name, step in rows(home, query.format(trial.id))]
        assert Counter(stored) == Counter(recorded)
    assert not list(Path("/tmp").glob("gansweep-recorded-*")), "nothing is made where it was recorded"


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return checkpoint.load(sorted(folder.glob("checkpoints/*.safetensors"))[-1])[0]


@pytest.mark.slow
def test_a_home_of_0_1_0_goes_on_bit_for_bit_and_migrates_once(
    service: Service, old: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    before = rows(old, "SELECT run_uuid FROM runs ORDER BY 1")
    (recorded_on,) = rows(old, "SELECT value FROM tags WHERE key = 'gansweep.machine'")
    same_machine = recorded_on == (current(service.root).machine,)
    sweep = gansweep.run_sweep(service.root / "old.yaml", home=old.path)
    assert_states(capsys.readouterr().err, old.artifacts, "old: ", "0.1.0", "id")
    assert sweep.trials["outcome"].tolist() == ["completed"] * 3
    assert set(before) < set(rows(old, "SELECT run_uuid FROM runs")), "they go on"
    assert_recorded_once(old)
    _, again = service.ask("sync", "old")
    assert "0.1.0" not in again
    assert "it now names" not in again
    service.ask("report", "old", "-o", "report.pdf")
    assert (service.root / "report.pdf").read_bytes().startswith(b"%PDF")
    rates = f"search.over.training.learning_rate={[*RATES.values()]}"
    calm = train(warm_home(service.root / "calm"), service.root / "old.yaml", rates)
    for trial in RATES:
        ours, theirs = (weights(folder.trial(trial).path) for folder in (old.sweep("old"), calm))
        assert ours.keys() == theirs.keys()
        for name, tensor in ours.items():
            if same_machine or trial == old_homes.PENDING:
                assert torch.equal(tensor, theirs[name]), (trial, name)
            else:  # its first steps were computed elsewhere
                torch.testing.assert_close(tensor, theirs[name], rtol=1e-2, atol=1e-3)


@pytest.mark.slow
def test_a_migration_may_be_killed_at_any_write(old: Home) -> None:
    command = [sys.executable, "-c", KILLED_AT_EVERY_WRITE, str(old.path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=old.path.parent)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 3, "it was killed too seldom"
    assert_recorded_once(old)
