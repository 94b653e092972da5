"""Homes recorded by earlier versions, opened by today's commands on another path."""

from __future__ import annotations

import json
from pathlib import Path

import old_homes
from click.testing import CliRunner

from gansweep.cli.main import cli


def test_status_shows_the_trials_of_a_home_of_0_1_0(tmp_path: Path) -> None:
    home = old_homes.unpack(tmp_path)
    result = CliRunner().invoke(cli, ["status", "old", "--json", "--home", str(home.path)])
    assert result.exit_code == 0, result.output
    assert [(trial["id"], trial["outcome"], trial["step"]) for trial in json.loads(result.stdout)["trials"]] == [
        (old_homes.COMPLETED, "completed", 200),
        (old_homes.INTERRUPTED, "interrupted", 37),
        (old_homes.PENDING, "pending", 0),
    ]
