"""Processes that create an experiment of one name at the same moment."""

from __future__ import annotations

from pathlib import Path

import stored
import writers
from bench import STEPS, Bench, losses
from mlflow import MlflowClient

from gansweep.records.layout import Home
from gansweep.records.outcome import Outcome
from gansweep.tracking import store

RACERS = 4


def race(uri: str, name: str, place: Path) -> None:
    """Homes with a sweep of this name; two processes of each publish it to one store."""
    homes = [Bench(Home(place / str(number)), name, uri) for number in range(RACERS // 2)]
    for number, bench in enumerate(homes):
        bench.trial("common", losses(STEPS), Outcome("completed", STEPS))
        bench.trial(f"own{number}", losses(STEPS), Outcome("completed", STEPS))
    codes = writers.together([(bench.home.path, name, uri) for bench in homes for _ in range(2)])
    assert codes == [0] * RACERS
    client = MlflowClient(uri)
    experiments = [one for one in client.search_experiments() if one.tags.get("gansweep.sweep") == name]
    assert len(experiments) == len({one.tags["gansweep.sweep_id"] for one in experiments}) == len(homes)
    for number, bench in enumerate(homes):
        trials = stored.trials(bench.home, uri, name)
        assert [trial.id for trial in trials] == ["common", f"own{number}"]
        for trial in trials:
            assert len(client.get_metric_history(trial.run_id, "loss_d")) == STEPS
    runs = client.search_runs([one.experiment_id for one in experiments])
    assert len(runs) == 3 * len(homes), "one parent run and two trials each"


def test_on_one_sqlite_store(shared_home: Home, tmp_path: Path) -> None:
    race(store.local_uri(shared_home), "raced-in-a-file", tmp_path)


def test_on_one_server_of_two_processes(server: str, tmp_path: Path) -> None:
    race(server, "raced-on-a-server", tmp_path)
