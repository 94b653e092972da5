"""A sweep file that can be read only once, as in `gansweep run <(…)`: what was read is what is recorded."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from bad_calls import GOOD
from click.testing import CliRunner, Result

from gansweep.cli.main import cli
from gansweep.records.layout import Home, read_json
from gansweep.records.outcome import Outcome

TEXT = GOOD.replace("\n", "\r\n") + "# as it was given\n"  # line ends included


@pytest.fixture
def piped() -> Iterator[str]:
    """The path of a pipe that holds TEXT."""
    reading, writing = os.pipe()
    os.write(writing, TEXT.encode())
    os.close(writing)
    yield f"/dev/fd/{reading}"
    os.close(reading)


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str, code: int = 0) -> Result:
    monkeypatch.setattr("sys.argv", ["gansweep", *arguments])
    result = CliRunner().invoke(cli, arguments, prog_name="gansweep")
    assert result.exit_code == code, (result.output, result.exception)
    return result


def test_run_records_what_it_read(home: Home, piped: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gansweep.api.training._recorded", lambda *_: 0)
    call(monkeypatch, "run", piped, "--set", "training.steps=20")
    folder = home.sweep("s")
    assert folder.source.read_bytes() == TEXT.encode()
    plan = read_json(folder.plan)
    assert (plan["file"], plan["overrides"]) == (str(folder.source), ["training.steps=20"])
    assert shlex.split(plan["command"]) == ["gansweep", "run", str(folder.source), "--set", "training.steps=20"]


def test_the_command_of_a_trial_names_a_file_that_is_there(
    home: Home, piped: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gansweep.api.training._recorded", lambda *_: 0)
    call(monkeypatch, "run", piped)
    (trial,) = home.sweep("s").planned()
    command = json.loads(call(monkeypatch, "show", trial.id, "--json").stdout)["command"]
    again = call(monkeypatch, "plan", *shlex.split(command)[2:], "--no-timing", "--json")
    assert [one["id"] for one in json.loads(again.stdout)["trials"]] == [trial.id]


def test_a_redirected_file_has_no_name_for_later(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gansweep.api.training._recorded", lambda *_: 0)
    (tmp_path / "s.yaml").write_text(GOOD)
    with (tmp_path / "s.yaml").open() as redirected:  # what /dev/stdin is after `< s.yaml`
        call(monkeypatch, "run", f"/dev/fd/{redirected.fileno()}")
    assert read_json(home.sweep("s").plan)["file"] == str(home.sweep("s").source)
    assert home.sweep("s").source.read_text() == GOOD
    call(monkeypatch, "run", str(tmp_path / "s.yaml"))
    assert read_json(home.sweep("s").plan)["file"] == str(tmp_path / "s.yaml")


def test_train_keeps_what_it_read(home: Home, piped: str, monkeypatch: pytest.MonkeyPatch) -> None:
    messages: list[Any] = []

    def trained(*arguments: Any) -> tuple[Outcome, Any]:
        messages.extend(arguments)
        return Outcome("completed", 10), SimpleNamespace(signal=None, failure=None)

    monkeypatch.setattr("gansweep.cli.train._train", trained)
    call(monkeypatch, "train", piped)
    (folder,) = home.runs.iterdir()
    assert (folder / "sweep.yaml").read_bytes() == TEXT.encode()
    assert read_json(folder / "trial.json")["command"] == f"gansweep train {folder / 'sweep.yaml'}"
    assert messages[-1] == f"gansweep train {folder / 'sweep.yaml'}", "how it would go on"


def test_submit_uploads_what_it_read(piped: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []
    monkeypatch.setattr("gansweep.engine.submission.submit", lambda *arguments: given.extend(arguments) or "job")
    monkeypatch.setattr("gansweep.tracking.store.check", lambda _: None)
    call(monkeypatch, "submit", piped, "--address", "http://head:8265", "--tracking-uri", "http://server:5000")
    *_, files, entrypoint = given
    assert files == {"s.yaml": TEXT.encode()}
    assert shlex.split(entrypoint)[:3] == ["gansweep", "run", "./s.yaml"]


@pytest.mark.parametrize("command", ["validate", "plan"])
def test_other_commands_read_it_once_as_well(piped: str, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    call(monkeypatch, command, piped, *(["--no-timing"] if command == "plan" else []))


def test_what_never_ends_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    result = CliRunner().invoke(cli, ["validate", "/dev/zero"])
    assert str(result.exception).startswith("/dev/zero: larger than 1 MB")
