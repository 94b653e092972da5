"""Every command, table and report names the same step and value of a trial, and the same best trial."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from service import Service

from gansweep import read_sweep
from gansweep.cli.text import measured
from gansweep.records import journal
from gansweep.records.layout import TrialFolder


def facts(folder: TrialFolder) -> dict[str, Any]:
    """What a trial reached, computed from its journal without gansweep's own functions."""
    values = [(r.step, r.values["fd_ratio"]) for r in journal.read(folder.journal) if "fd_ratio" in r.values]
    speeds = sorted(r.values["steps_per_s"] for r in journal.read(folder.journal) if "steps_per_s" in r.values)
    middle = len(speeds) // 2
    best_step, best = min(values, key=lambda one: one[1])
    return {
        "quality": values[-1][1],
        "quality_step": values[-1][0],
        "best_value": best,
        "best_step": best_step,
        "steps_per_s": (speeds[middle] + speeds[~middle]) / 2,
    }


def told(service: Service, *arguments: object) -> dict[str, Any]:
    out, _ = service.ask(*arguments, "--json")
    found: dict[str, Any] = json.loads(out)
    return found


@pytest.fixture(scope="module")
def expected(swept: Service) -> dict[str, dict[str, Any]]:
    """Trial → what it reached."""
    found = {folder.id: facts(folder) for folder in swept.folder("three").planned()}
    assert any(one["quality"] != one["best_value"] for one in found.values()), "nothing to confuse"
    return found


def test_machines_read_the_same_figures_of_every_trial(swept: Service, expected: dict[str, dict[str, Any]]) -> None:
    listed = {
        "status": told(swept, "status", "three")["trials"],
        "status of the store": told(swept, "status", "three", "--tracking-uri", f"sqlite:///{swept.home.database}")[
            "trials"
        ],
        "compare": told(swept, "compare", *(f"three/{trial}" for trial in expected))["trials"],
        "best": told(swept, "best", "three", "--count", 99)["trials"],
        "show": [told(swept, "show", f"three/{trial}") for trial in expected],
    }
    for command, trials in listed.items():
        for trial in trials:
            found = {key: trial[key] for key in expected[trial["id"]]}
            assert found == pytest.approx(expected[trial["id"]], rel=1e-12), command
    assert [{one["id"] for one in listed[name]} for name in ("status", "status of the store", "compare", "show")] == [
        set(expected)
    ] * 4


@pytest.mark.parametrize("source", ["store", "folder"])
def test_tables_have_them_as_well(swept: Service, expected: dict[str, dict[str, Any]], source: Any) -> None:
    trials = read_sweep("three", home=swept.home.path, source=source).trials.set_index("trial")
    for trial, figures in expected.items():
        assert trials.loc[trial, [*figures]].to_dict() == pytest.approx(figures, rel=1e-12)


def test_people_read_the_same_best_trial_and_value(
    swept: Service, expected: dict[str, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")  # wide enough for steps/s; pytest-xdist sets 80 for its processes
    tables = read_sweep("three", home=swept.home.path)
    best = str(tables.trials.sort_values("rank")["trial"].iloc[0])
    reached = expected[best]
    final = f"fd_ratio {measured(reached['quality'])} at step {reached['quality_step']}"
    peak = f"fd_ratio {measured(reached['best_value'])} at step {reached['best_step']}"
    rows = dict(re.findall(r"^(\w+(?: \w+)*) {2,}(.*)$", swept.ask("best", "three")[0], re.MULTILINE))
    assert rows["best"].startswith(best)
    assert (rows["quality"], rows["best value"]) == (final, peak)
    _, output = swept.ask("run", swept.root / "three.yaml")
    assert re.search(rf"best: {best}, .*: {final}$", output, re.MULTILINE)

    out, _ = swept.ask("diagnose", "three", "--json")
    (reason,) = (v["reason"] for t in json.loads(out)["trials"] if t["id"] == best for v in t["verdicts"][:1])
    assert reason.endswith(f"best FD ratio {reached['best_value']:.3g} at step {reached['best_step']}")

    _, output = swept.ask("sample", f"three/{best}", "-o", tmp_path / "grid.png")
    (step,) = re.findall(r"after (\d+) steps", output)
    assert swept.folder("three").trial(best).checkpoint(int(step)).exists()
    for kind, value in (("quality", final), ("best_value", peak)):
        _, _, number = value.partition(" ")
        assert number in output, kind  # as the checkpoint's own, or as what it is not

    seen, _ = swept.ask("status", "three")
    (line,) = (line for line in seen.splitlines() if best[:8] in line)
    assert measured(reached["steps_per_s"]) in line.split()
    assert measured(reached["quality"]) in line.split()


def test_best_and_report_have_the_same_mean_over_seeds(swept: Service) -> None:
    from gansweep.report.study import Study

    tables = read_sweep("three", home=swept.home.path)
    study = Study(tables, tables.content)
    means = study.configurations_of("three").set_index("configuration")["estimate"]
    numbers = tables.trials.set_index("trial")["configuration"]
    trials = told(swept, "best", "three", "--count", 99)["trials"]
    assert trials
    for trial in trials:
        assert trial["seeds_mean"] == pytest.approx(means[numbers[trial["id"]]], rel=1e-9)
