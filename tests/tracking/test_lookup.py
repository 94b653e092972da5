"""A sweep's name on a store where several sweeps have it."""

from __future__ import annotations

from pathlib import Path

import pytest
import stored
from bench import STEPS, Bench, losses

from gansweep.errors import UserError
from gansweep.records.layout import Home, read_json
from gansweep.records.outcome import Outcome
from gansweep.report.tables import read_sweep
from gansweep.tracking.remote import RemoteSweep


def label(bench: Bench) -> str:
    return f"{bench.folder.name}-{read_json(bench.folder.path / 'identity.json')['sweep_id'][:8]}"


@pytest.fixture
def two(bench: Bench, tmp_path: Path) -> tuple[Bench, Bench]:
    """Sweeps of one name from two homes, and no sweep of that name in the store's own home."""
    name = f"{bench.folder.name}-both"
    made = tuple(Bench(Home(tmp_path / who), name, bench.uri) for who in "ab")
    for who, one in zip("ab", made, strict=True):
        one.trial(who, losses(STEPS), Outcome("completed", STEPS))
        one.publish()
    return made[0], made[1]


def test_a_name_that_fits_several_is_answered_with_labels(bench: Bench, two: tuple[Bench, Bench]) -> None:
    first, second = two
    name = first.folder.name
    for ask in (stored.trials, lambda *where: RemoteSweep(*where).trials()):
        with pytest.raises(UserError) as caught:
            ask(bench.home, bench.uri, name)
        choice = " or ".join(f"{label(one)} ({one.folder.path})" for one in (first, second))
        assert str(caught.value).endswith(f"{name!r} matches 2 sweeps; name {choice}")
    for one in two:
        (found,) = stored.trials(bench.home, bench.uri, label(one))
        assert found.id == one.folder.planned()[0].id
        trials, _ = RemoteSweep(bench.home, bench.uri, label(one)).trials()
        assert [trial["id"] for trial in trials] == [found.id]


def test_a_home_asks_for_its_own(two: tuple[Bench, Bench]) -> None:
    for one in two:
        assert [trial.id for trial in stored.trials(one.home, one.uri, one.folder.name)] == [one.folder.planned()[0].id]


def test_a_home_whose_records_are_gone_does_not_show_those_of_others(two: tuple[Bench, Bench]) -> None:
    first, second = two
    (experiment,) = {run.info.experiment_id for run in second.client.search_runs([found_in(second)])}
    second.client.delete_experiment(experiment)
    with pytest.raises(UserError, match=f"has no records of {first.folder.name}; `gansweep sync"):
        stored.trials(second.home, second.uri, second.folder.name)


def found_in(bench: Bench) -> str:
    return stored.sweep(bench.home, bench.uri, bench.folder.name).experiment_id


def test_both_can_be_in_one_report(bench: Bench, two: tuple[Bench, Bench]) -> None:
    tables = read_sweep(*map(label, two), home=bench.home.path, tracking_uri=bench.uri)
    assert tables.trials[["sweep", "trial"]].to_numpy().tolist() == [[label(two[0]), "a"], [label(two[1]), "b"]]


def test_the_ui_tells_them_apart(two: tuple[Bench, Bench]) -> None:
    first, second = two
    experiments = [first.client.get_experiment(found_in(one)) for one in two]
    assert [one.name for one in experiments] == [first.folder.name, label(second)]
    for one, experiment in zip(two, experiments, strict=True):
        assert str(one.folder.path) in experiment.tags["mlflow.note.content"]
        (parent,) = one.client.search_runs([experiment.experiment_id], "tags.`gansweep.machine` LIKE '%'")
        assert parent.info.run_name == experiment.name
        assert str(one.folder.path) in parent.data.tags["gansweep.folder"]


def test_a_renamed_experiment_is_found_by_all_its_names(bench: Bench, two: tuple[Bench, Bench]) -> None:
    first, second = two
    first.client.rename_experiment(found_in(first), f"{first.folder.name} (baseline)")
    second.client.delete_experiment(found_in(second))
    for name in (first.folder.name, f"{first.folder.name} (baseline)", label(first)):
        assert [trial.id for trial in stored.trials(bench.home, bench.uri, name)] == ["a"]
    first.publish()
    assert found_in(first) == stored.sweep(bench.home, bench.uri, label(first)).experiment_id
