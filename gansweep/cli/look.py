"""`gansweep status` and `show`: read trial folders, or the tracking server of a remote sweep."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import click

from gansweep.cli import options
from gansweep.cli.text import COLOURS, measured, reached, rerun_command, to_json, varied
from gansweep.records import lock, outcome
from gansweep.records.figures import figures_of
from gansweep.records.layout import Home, SweepFolder, TrialFolder, flat, read_json
from gansweep.records.ranking import ranking_of
from gansweep.report.words import counted, number
from gansweep.sweepfile import settings
from gansweep.sweeps.summary import evaluator

OUTCOMES = ("running", "completed", "stopped", "crashed", "interrupted", "pending")


@click.command()
@click.argument("sweep", required=False)
@options.home_option
@options.server_option
@options.all_plans_option
@options.json_option
def status(sweep: str | None, home_path: Path, tracking_uri: str | None, all_plans: bool, as_json: bool) -> None:
    """Show all sweeps of the home folder, or the trials of SWEEP."""
    home = options.home_of(home_path)
    if sweep is None:
        if tracking_uri:
            raise click.UsageError("--tracking-uri: name a SWEEP as well")
        _status_of_all(home, all_plans, as_json)
        return
    if tracking_uri:
        from gansweep.tracking.remote import RemoteSweep

        remote = RemoteSweep(home, tracking_uri, sweep)
        trials, earlier = remote.trials(all_plans=all_plans)
        running = remote.is_running()
    else:
        folder = options.find_sweep(home, sweep)
        earlier, running = len(folder.earlier()), lock.is_held(folder.lock)
        trials = _summaries(folder, all_plans)
    if as_json:
        click.echo(to_json({"sweep": sweep, "earlier": earlier, "trials": trials}))
        return
    _print_trials(sweep, trials)
    counts, total = _counts(trials), counted(len(trials), "trial")
    click.echo(f"{sweep} is running: {counts} of {total}" if running else f"{total}: {counts}")
    options.report_left_out(earlier, all_plans)


@click.command()
@click.argument("trial")
@options.home_option
@options.json_option
def show(trial: str, home_path: Path, as_json: bool) -> None:
    """Show one trial, by its id or the first characters: settings, results, files and rerun command."""
    sweep, folder = options.find_trial(options.home_of(home_path), trial)
    document = read_json(folder.trial)
    summary, ranking = outcome.summary(folder), ranking_of(sweep)
    samples, checkpoints = folder.all_samples(), folder.all_checkpoints()
    found = {
        **summary,
        "sweep": sweep.name,
        "objective": {"metric": ranking.metric, "mode": ranking.mode},
        **figures_of(folder, ranking),
        "config": document["config"],
        "parameters": document["parameters"],
        "features": evaluator(folder)["features"],
        "deaths": outcome.deaths(folder),
        "command": rerun_command(sweep, document),
        "folder": str(folder.path),
        "samples": str(samples[-1]) if samples else None,
        "checkpoint": str(checkpoints[-1]) if checkpoints else None,
    }
    if as_json:
        click.echo(to_json(found))
        return
    _print_trial(found, folder)


def _summaries(folder: SweepFolder, all_plans: bool) -> list[dict[str, Any]]:
    """Return the trials of a sweep as in `status --json`; those of earlier plans only with `all_plans`."""
    trials, ranking = folder.planned() + (folder.earlier() if all_plans else []), ranking_of(folder)
    found = [outcome.summary(trial) for trial in trials]
    varied = settings.varied([read_json(trial.trial) for trial in trials], [one["device"] or "" for one in found])
    return [
        {**one, "varied": told, **figures_of(trial, ranking)}
        for trial, one, told in zip(trials, found, varied, strict=True)
    ]


def _status_of_all(home: Home, all_plans: bool, as_json: bool) -> None:
    sweeps = []
    for folder in home.sweeps():
        earlier = folder.earlier()
        trials = folder.planned() + (earlier if all_plans else [])
        states = Counter(str(outcome.state(trial, read_json(trial.trial)["steps"])) for trial in trials)
        row: dict[str, Any] = {"sweep": folder.name, "running": lock.is_held(folder.lock), "trials": len(trials)}
        sweeps.append({**row, **{kind: states[kind] for kind in OUTCOMES}, "earlier": len(earlier)})
    if as_json:
        click.echo(to_json({"sweeps": sweeps}))
    elif not sweeps:
        click.echo(f"no sweeps in {home.path}; `gansweep run FILE` starts one", err=True)
    else:
        from gansweep.cli.tables import output, plain_table, show

        table = plain_table()
        table.add_column("sweep", no_wrap=True)
        table.add_column("trials", justify="right")
        for kind in OUTCOMES:
            table.add_column(kind, justify="right", style=COLOURS[kind])
        for row in sweeps:
            table.add_row(row["sweep"], str(row["trials"]), *(str(row[k]) if row[k] else "" for k in OUTCOMES))
        show(table, output())
        options.report_left_out(sum(row["earlier"] for row in sweeps), all_plans)


def _print_trials(sweep: str, trials: list[dict[str, Any]]) -> None:
    from gansweep.cli.tables import show_trials
    from gansweep.engine.board import Row

    rows = [
        Row(
            t["id"], t["varied"], t["seed"], t["steps_total"], 1.0,
            step=t["step"], outcome=t["outcome"], verdict=t["verdict"], rule=t["rule"], metrics=t["metrics"],
            steps_per_s=t["steps_per_s"], states=[(one["kind"], one["since_step"]) for one in t["states"]],
        )
        for t in trials
    ]  # fmt: skip
    show_trials(rows, sweep)


def _counts(trials: list[dict[str, Any]]) -> str:
    counts = {kind: sum(trial["outcome"] == kind for trial in trials) for kind in OUTCOMES}
    return ", ".join(f"{n:,} {kind}" for kind, n in counts.items() if n)


def _print_trial(found: dict[str, Any], folder: TrialFolder) -> None:
    verdict = f": {found['verdict']}" if found["verdict"] else ""
    rows = [
        ("trial", f"{found['sweep']}/{found['id']}"),
        ("varied", varied(found["varied"], found["seed"])),
        ("outcome", f"{found['outcome']}{verdict}" + (f" ({found['reason']})" if found["reason"] else "")),
        *(("state", state["reason"]) for state in found["states"]),
        ("step", f"{found['step']:,} of {found['steps_total']:,}"),
        *reached(found, found["objective"]["metric"]),
        ("steps/s", "" if found["steps_per_s"] is None else measured(found["steps_per_s"])),
        ("deaths", str(found["deaths"]) if found["deaths"] else ""),
        ("parameters", ", ".join(f"{k} {v:,}" for k, v in found["parameters"].items())),
        ("judged in", found["features"]),
        ("settings", ", ".join(f"{k}={number(v)}" for k, v in flat(found["config"]).items())),
        ("metrics", ", ".join(f"{k} {measured(v)}" for k, v in found["metrics"].items())),
        ("samples", found["samples"] or ""),
        ("checkpoint", found["checkpoint"] or ""),
        ("folder", found["folder"]),
        ("MLflow run", found["run_id"] or ""),
        ("rerun", found["command"]),
    ]
    for name, text in rows:
        if text:
            click.echo(f"{name:<13} {text}")
    if found["outcome"] == "crashed" and folder.traceback.exists():
        click.echo(f"\n{folder.traceback.read_text().rstrip()}")
