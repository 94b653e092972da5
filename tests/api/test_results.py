"""Recorded sweeps in Python: `open_sweep`, and what it returns."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from service import Service

import gansweep
from gansweep import SweepResult, UserError
from gansweep.cli.main import cli
from gansweep.gan.sampling import grid_png
from gansweep.records import journal
from gansweep.records.layout import Home, write_json
from gansweep.tracking import store


@pytest.fixture
def sweep(service: Service) -> SweepResult:
    return gansweep.open_sweep("small", home=service.home.path)


def test_a_sweep_has_its_trials_as_a_table_and_one_by_one(service: Service, sweep: SweepResult) -> None:
    planned = [folder.id for folder in service.folder().planned()]
    assert (sweep.name, sweep.home, len(sweep), repr(sweep)) == (
        "small", service.home.path, 4, "<SweepResult small: 4 trials>"
    )  # fmt: skip
    assert [trial.id for trial in sweep] == planned
    assert set(sweep.trials["trial"]) == set(planned)
    trial = sweep.trial(planned[1][:11])
    assert (trial.id, trial.outcome, trial.seed) == (planned[1], "completed", 1)
    assert trial.settings["training.learning_rate"] == trial.row["training.learning_rate"]
    assert trial.verdict == trial.row["verdict"]
    assert repr(trial) == f"<TrialResult small/{trial.id}: completed, {trial.verdict}>"
    assert set(sweep.verdicts()["trial"]) == set(planned)
    assert repr(sweep.tables).startswith("<Tables: 1 sweep, 4 trials")


def test_paths_may_be_text(service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = gansweep.open_sweep("small", home=str(service.home.path))
    assert found.home == service.home.path
    assert found.report("report.pdf") == Path("report.pdf")
    assert Path("report.pdf").read_bytes().startswith(b"%PDF")
    monkeypatch.setenv("GANSWEEP_HOME", str(service.home.path))
    assert len(gansweep.open_sweep("small")) == 4


def test_the_store_has_the_same_sweep(service: Service, sweep: SweepResult) -> None:
    stored = gansweep.open_sweep("small", home=service.home.path, tracking_uri=store.local_uri(service.home))
    assert stored.trials.equals(sweep.trials)
    elsewhere = gansweep.open_sweep(
        "small", home=service.root / "empty", tracking_uri=f"sqlite:///{service.home.database}"
    )
    assert [trial.id for trial in elsewhere] == [trial.id for trial in sweep]
    assert next(iter(elsewhere)).checkpoints() == []
    with pytest.raises(UserError, match="no checkpoint is recorded"):
        next(iter(elsewhere)).sample()


def test_the_best_trial_has_rank_1(sweep: SweepResult) -> None:
    ranked = sweep.trials.dropna(subset="rank").sort_values("rank")
    if ranked.empty:  # six evaluations of so small a network may all have failed
        with pytest.raises(UserError, match="small: no trial is ranked"):
            sweep.best()
    else:
        assert sweep.best().id == ranked["trial"].iloc[0]


def test_a_history_is_the_journal(service: Service, sweep: SweepResult) -> None:
    trial = next(iter(sweep))
    history = trial.history()
    records = journal.read(service.folder().trial(trial.id).journal)
    assert history.index.tolist() == [record.step for record in records]
    assert history.index.name == "step"
    for record in records:
        recorded = history.loc[record.step].dropna().to_dict()
        assert recorded == pytest.approx({name: value for name, value in record.values.items() if value == value})


def test_samples_are_those_of_the_command(service: Service, sweep: SweepResult, tmp_path: Path) -> None:
    trial, file = next(iter(sweep)), tmp_path / "grid.png"
    steps = [int(path.stem) for path in trial.checkpoints()]
    for step in (None, steps[0]):
        chosen = [] if step is None else ["--step", str(step)]
        command = ["sample", f"small/{trial.id}", "--count", "5", "--seed", "3", "-o", str(file), *chosen]
        done = CliRunner().invoke(cli, [*command, "--home", str(service.home.path)])
        assert done.exit_code == 0, done.output
        images = trial.sample(5, seed=3, step=step)
        assert (images.shape, images.dtype) == ((5, 1, 16, 16), np.uint8)
        assert grid_png(images) == file.read_bytes()
        assert Image.open(file).size[0] > 16
    assert not np.array_equal(trial.sample(5, seed=3), trial.sample(5, seed=4))
    with pytest.raises(UserError, match=f"no checkpoint of step 7 is kept; those of {steps[0]}"):
        trial.sample(step=7)
    with pytest.raises(UserError, match=r"^label: the generator in .* is not conditional"):
        trial.sample(label="3")


def test_a_generator_is_a_module_in_eval_mode(sweep: SweepResult) -> None:
    import torch

    trial = next(iter(sweep))
    generator = trial.generator()
    assert isinstance(generator, torch.nn.Module)
    assert not generator.training
    with torch.no_grad():
        images = generator(torch.zeros(2, 8))
    assert images.shape == (2, 1, 16, 16)
    assert torch.equal(images[0], images[1])


def test_mistakes_are_user_errors_of_one_line(service: Service, sweep: SweepResult, tmp_path: Path) -> None:
    ids = [trial.id for trial in sweep]
    for wrong, message in {
        "": "small: no trial ''; ",
        "nobody": "small: no trial 'nobody'; ",
        **({ids[0][0]: f"small: {ids[0][0]!r} matches "} if sum(one[0] == ids[0][0] for one in ids) > 1 else {}),
    }.items():
        with pytest.raises(UserError) as caught:
            sweep.trial(wrong)
        assert str(caught.value).startswith(message)
    with pytest.raises(UserError, match=r"no sweep named 'smal'; did you mean 'small'\?|no sweep named") as caught:
        gansweep.open_sweep("smal", home=service.home.path)
    assert "\n" not in str(caught.value)
    write_json(Home(tmp_path).sweep("bare").plan, {"trials": []})
    with pytest.raises(UserError, match="bare: no trial is ranked"):
        gansweep.open_sweep("bare", home=tmp_path).best()


def test_what_editors_see_is_what_is_loaded() -> None:
    tree = ast.parse(inspect.getsource(gansweep))
    (checked,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.asname or alias.name: f"{node.module}:{alias.name}"
        for node in checked.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    loaded = {name: place if ":" in place else f"{place}:{name}" for name, place in vars(gansweep)["_PLACES"].items()}
    assert seen == loaded
    assert {*gansweep.__all__} == {*seen, "__version__"}
    assert all(getattr(gansweep, name) is not None for name in gansweep.__all__)
    assert {*gansweep.__all__} <= {*dir(gansweep)}
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        gansweep.nothing  # noqa: B018
