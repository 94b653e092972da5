"""The tables of a sweep that was really trained, and the example notebook on them."""

from __future__ import annotations

import shutil
from pathlib import Path

import nbformat
import pytest
from mlflow import MlflowClient
from nbclient import NotebookClient
from service import Service

from gansweep import read_sweep
from gansweep.health.metrics import CLASS_SHARE, EVALUATION
from gansweep.records import journal, outcome
from gansweep.records.layout import read_json

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "docs" / "explore_sweep.ipynb"
pytestmark = pytest.mark.slow


def test_the_tables_of_a_real_sweep(swept: Service) -> None:
    tables = read_sweep("three", home=swept.home.path)
    folder = swept.folder("three")
    assert tables.settings == ("training.learning_rate",)
    assert tables.sweeps.file.tolist() == [folder.source.read_text()]
    assert tables.sweeps.command[0].startswith("gansweep run ")
    assert {"version.torch", "version.ray", "version.gansweep"} < {*tables.sweeps.columns}
    trials = tables.trials.set_index("trial")
    assert sorted(trials.configuration) == [0, 0, 1, 1, 2, 2]
    assert trials["model.feature_maps"].dtype == trials["training.batch_size"].dtype == "int64"
    assert {CLASS_SHARE + str(digit) for digit in range(10)} < {*tables.evaluations.columns}
    for trial in folder.planned():
        document, records = read_json(trial.trial), journal.read(trial.journal)
        row = trials.loc[trial.id]
        assert row["training.learning_rate"] == document["varied"]["training.learning_rate"]
        assert row["parameters.generator"] == document["parameters"]["generator"]
        assert row["real_shares"].keys() == {str(digit) for digit in range(10)}
        ended = outcome.read(trial)
        assert ended is not None
        assert (row["seed"], row["step"], row["outcome"]) == (document["config"]["seed"], ended.step, ended.kind)
        assert row["quality"] == records[-1].values["fd_ratio"]
        shown = tables.evaluations[tables.evaluations.trial == trial.id].set_index("step")
        expected = [r for r in records if "fd_ratio" in r.values]
        assert shown.index.tolist() == [r.step for r in expected]
        for record in expected:
            for name in {*EVALUATION} & {*record.values}:
                assert shown.loc[record.step, name] == pytest.approx(record.values[name], nan_ok=True)
        grids = tables.samples[tables.samples.trial == trial.id]
        assert [trial.sample(step) for step in grids.step] == trial.all_samples()
        for step, path in zip(grids.step, grids.artifact, strict=True):
            found = tables.content(("three", trial.id), path)
            assert found == trial.sample(step).read_bytes()
    runs = MlflowClient(f"sqlite:///{swept.home.database}").search_runs(tables.sweeps.experiment_id.tolist())
    assert {*trials.run_id, *tables.sweeps.parent_run_id} == {run.info.run_id for run in runs}


def test_the_example_notebook_runs(swept: Service, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GANSWEEP_HOME", str(swept.home.path))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert [cell.outputs for cell in notebook.cells if cell.cell_type == "code" and cell.outputs] == []
    (tmp_path / "sweeps").mkdir()
    shutil.copy(swept.root / "three.yaml", tmp_path / "sweeps" / "lr_grid.yaml")
    done = NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [cell.outputs for cell in done.cells if cell.cell_type == "code"]
    opened, best, failing, curves, drawn, history, verdicts, report = outputs
    assert "<SweepResult three: 6 trials>" in str(opened)
    assert "(8, 1, 16, 16)" in drawn[0].data["text/plain"]
    assert "loss_d" in history[0].data["text/plain"]
    assert "report.pdf" in report[0].data["text/plain"]
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
    trials = read_sweep("three", home=swept.home.path).trials
    first = trials.sort_values("rank").trial.iloc[0]
    assert first in best[0].data["text/plain"]
    assert trials.verdict.iloc[0] in failing[0].data["text/plain"]
    assert any("image/png" in output.get("data", {}) for output in curves)
    assert all(trial in verdicts[0].data["text/plain"] for trial in trials.trial)
