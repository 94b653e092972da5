"""`gansweep export`, on a real SQLite store."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pandas as pd
import pytest
from bad_calls import Call, in_subprocess, without_root_rights
from bench import STEPS, Bench, empty_home, sound
from click.testing import CliRunner

from gansweep import read_sweep
from gansweep.cli.main import cli
from gansweep.records.layout import Home
from gansweep.records.outcome import Outcome
from gansweep.report.tables import Tables

TABLES = ("sweeps", "trials", "histories", "evaluations", "verdicts", "samples")


@pytest.fixture(scope="module")
def shared_home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return empty_home(tmp_path_factory.mktemp("export") / "home")


@pytest.fixture(scope="module")
def sweep(shared_home: Home) -> Bench:
    """Only to be looked at."""
    bench = Bench(shared_home, "exported")
    bench.trial("a", sound(STEPS, density=1.2, coverage=0.1), Outcome("completed", STEPS))
    bench.trial("b", [{"loss_d": 1 / 3, "d_auc": math.nan}, {"loss_d": math.inf}, {"loss_d": math.nan}])
    bench.publish()
    return bench


@pytest.fixture
def call_here(sweep: Bench, call: Call, monkeypatch: pytest.MonkeyPatch) -> Call:
    monkeypatch.setenv("GANSWEEP_HOME", str(sweep.home.path))
    return call


def test_the_files_hold_the_tables(sweep: Bench, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "csv"
    arguments = ["export", "exported", "--csv", str(folder), "--home", str(sweep.home.path)]
    result = CliRunner().invoke(cli, arguments)
    assert (result.exit_code, result.stdout) == (0, "")
    tables = read_sweep("exported", home=sweep.home.path)
    rows = {name: len(getattr(tables, name)) for name in TABLES}
    expected = [f"{folder}/{name}.csv: {rows[name]} row{'' if rows[name] == 1 else 's'}" for name in TABLES]
    assert result.stderr.splitlines() == expected
    assert sorted(path.name for path in folder.iterdir()) == sorted(f"{name}.csv" for name in TABLES)
    assert_equal(folder, tables)


def assert_equal(folder: Path, tables: Tables) -> None:
    """To the last bit; nested values as JSON, times as text."""
    for name in TABLES:
        expected: pd.DataFrame = getattr(tables, name).copy()
        for column in {"evidence", "real_shares", "overrides"} & {*expected.columns}:
            expected[column] = expected[column].map(json.dumps)
        kinds = {c: kind for c, kind in expected.dtypes.items() if not str(kind).startswith("datetime")}
        text = [column for column, kind in kinds.items() if str(kind) in ("str", "object")]
        found = pd.read_csv(folder / f"{name}.csv", dtype=kinds, float_precision="round_trip", keep_default_na=True)
        found[text] = found[text].fillna("")  # an empty text and none look the same
        for column in {*expected.columns} - {*kinds}:
            found[column] = pd.to_datetime(found[column], utc=True).astype(expected[column].dtype)
        pd.testing.assert_frame_equal(found, expected, check_exact=True)


def test_what_is_there_is_replaced(sweep: Bench, tmp_path: Path) -> None:
    (tmp_path / "trials.csv").write_text("old")
    (tmp_path / "mine.txt").write_text("mine")
    arguments = ["export", "exported", "--csv", str(tmp_path), "--tracking-uri", sweep.uri]
    assert CliRunner().invoke(cli, arguments).exit_code == 0
    assert (tmp_path / "trials.csv").read_text().startswith("sweep,trial,")
    assert (tmp_path / "mine.txt").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_folders_that_cannot_be_written(call_here: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gansweep.tracking.reader.reader_of", lambda *_, **__: pytest.fail("went on to read"))
    for folder, problem in (
        ("s.yaml", "Not a directory"),
        ("s.yaml/deeper", "Not a directory"),
        ("/proc/gansweep", "No such file or directory"),
    ):
        for option in ("--csv", "--tensorboard"):
            assert call_here("export", "exported", option, folder) == (
                f"{option} {folder}: cannot be written ({problem}); name another folder\n"
            )
    Path("locked").mkdir(0o500)
    done = in_subprocess("export", "exported", "--csv", "locked/csv", before=without_root_rights())
    message = "--csv locked/csv: cannot be written (Permission denied); name another folder\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", message)


def test_a_file_that_cannot_be_replaced(call_here: Call) -> None:
    Path("csv/trials.csv").mkdir(parents=True)
    found = call_here("export", "exported", "--csv", "csv")
    assert found == "csv/sweeps.csv: 1 row\ncsv/trials.csv: cannot be written (Is a directory)\n"


def test_what_is_not_there(call_here: Call, sweep: Bench, tmp_path: Path) -> None:
    found = call_here("export", "exported", "exportd", "--csv", "csv")
    assert found == f"{sweep.home.path}: no sweep named 'exportd'; did you mean 'exported'?\n"
    assert call_here("export", "exported", "--csv", "csv", "--home", tmp_path / "new") == (
        f"{tmp_path}/new: nothing is recorded yet; `gansweep run FILE` comes first\n"
    )
    assert "no MLflow server answers" in call_here(
        "export", "exported", "--csv", "csv", "--tracking-uri", "http://127.0.0.1:9"
    )
    assert not Path("csv").exists()
    assert "Missing argument 'SWEEP...'" in call_here("export", "--csv", "csv", code=2)
    assert "Missing option '--csv' or '--tensorboard'" in call_here("export", "exported", code=2)


def test_a_sweep_of_which_nothing_began(call_here: Call, shared_home: Home, tmp_path: Path) -> None:
    bench = Bench(shared_home, "to-come")
    bench.trial("a")
    bench.publish()
    result = CliRunner().invoke(cli, ["export", "to-come", "--csv", "csv", "--home", str(shared_home.path)])
    assert result.exit_code == 0, result.output
    assert Path("csv/trials.csv").read_text().count("\n") == 1
