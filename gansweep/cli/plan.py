"""`gansweep plan`: list the trials of a sweep file and estimate their cost."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gansweep.cli import options
from gansweep.cli.image_lines import images_document, print_images
from gansweep.cli.text import setting_columns, size, to_json
from gansweep.records.writable import check_writable
from gansweep.report.words import counted, duration

if TYPE_CHECKING:
    from gansweep.planning.plan import Plan
    from gansweep.planning.trial import PlannedTrial

MOST_ROWS = 40
MOST_ORPHANS = 4


@click.command()
@options.file_argument
@options.set_option
@options.home_option
@options.max_trials_option
@click.option("--timing/--no-timing", default=True, show_default=True, help="Time a few training steps of each shape.")
@options.json_option
def plan(file: Path, overrides: tuple[str, ...], home_path: Path, max_trials: int, timing: bool, as_json: bool) -> None:
    """List the trials of FILE: varied settings, parameters, state, and the cost of the unfinished ones."""
    from gansweep.gan.cores import cores
    from gansweep.planning.plan import check_disk, make_plan
    from gansweep.planning.resources import concurrency, gpus
    from gansweep.sweepfile.loader import load

    sweep = load(file, overrides, max_trials)
    home = options.home_of(home_path)
    if not home.path.exists() or os.access(home.path, os.W_OK):  # otherwise only cached data can be planned
        check_writable(home)
    made = make_plan(sweep, home)
    available = gpus()
    unmeasured = sweep.resources.gpus == "auto" and available > 0
    whole = 1.0 if unmeasured else None
    slots = made.slots(concurrency(sweep.resources, cores(), available, whole))
    document = _document(made, slots, timing)
    if as_json:
        click.echo(to_json(document))
    else:
        _print(made, document, unmeasured)
    check_disk(made, home)


def _document(plan: Plan, slots: int, timing: bool) -> dict[str, Any]:
    from gansweep.planning import cost

    step_s: dict[str, float] = {}
    wall: float | None = None
    fid: dict[str, float] | None = None
    if timing and plan.left:
        step_s, of_fid = cost.seconds_a_step(plan, slots), cost.fid_cost(plan, slots)
        wall = cost.wall_s(plan, slots, step_s, of_fid)
        fid = asdict(of_fid) if plan.sweep.evaluation.fid else None
    return {
        "sweep": plan.sweep.name,
        "data": [images_document(image_set) for image_set in plan.image_sets],
        "trials": [_trial(plan, planned, step_s) for planned in plan.trials],
        "features": [*dict.fromkeys(p.features.name for p in plan.left if p.evaluation_cadence)],
        "concurrent": slots,
        "cost": {
            "wall_s": wall,
            "features_s": cost.features_s(plan),
            "fid": fid,
            "disk_bytes": plan.disk_bytes,
            "pending": len(plan.left),
        },
        "to_come": len(plan.to_come),
        "repeated": plan.repeated,
        "orphaned": plan.orphans,
    }


def _trial(plan: Plan, planned: PlannedTrial, step_s: dict[str, float]) -> dict[str, Any]:
    seconds: float | None = None
    if step_s and not planned.finished:
        from gansweep.planning import cost

        seconds = step_s[cost.shape_of(planned)]
    generator, discriminator = planned.parameters
    kept = [] if planned.finished else plan.folder.trial(planned.trial.id).all_checkpoints()
    return {
        "id": planned.trial.id,
        "varied": dict(planned.trial.varied),
        "seed": planned.trial.config.seed,
        "steps": planned.trial.steps,
        "parameters": {"generator": generator, "discriminator": discriminator},
        "finished": planned.finished,
        "goes_on_from": int(kept[-1].stem) if kept else None,
        "seconds_a_step": seconds,
    }


def _print(plan: Plan, document: dict[str, Any], unmeasured: bool) -> None:
    """Print the plan. `unmeasured`: whether `run` will measure and decide how many trials share a GPU."""
    from gansweep.cli.tables import add_settings, output, plain_table, show
    from gansweep.planning.cost import START_S

    trials, console = document["trials"], output()
    timed, begun = any(trial["seconds_a_step"] for trial in trials), any(map(_state, trials))
    with_seed = len({trial["seed"] for trial in trials}) > 1
    settings = setting_columns([trial["varied"] for trial in trials], console.width)
    table = plain_table()
    table.add_column("trial", style="bright_black", no_wrap=True)
    add_settings(table, settings)
    for title in [*["seed"] * with_seed, "steps", "params G", "params D", *["ms/step"] * timed]:
        table.add_column(title, justify="right", no_wrap=True)
    if begun:
        table.add_column("state")
    for at, trial in enumerate(trials[:MOST_ROWS], 1):
        parameters, seconds = trial["parameters"], trial["seconds_a_step"]
        table.add_row(
            trial["id"][:8],
            *(column[at] for column in settings.columns),
            *[str(trial["seed"])] * with_seed,
            f"{trial['steps']:,}",
            f"{parameters['generator']:,}",
            f"{parameters['discriminator']:,}",
            *[f"{1000 * seconds:.1f}" if seconds else "–"] * timed,
            *[_state(trial)] * begun,
        )
    if trials:
        show(table, console)
    if len(trials) > MOST_ROWS:
        click.echo(f"and {len(trials) - MOST_ROWS} more (all with --json)")
    cost = document["cost"]
    for images in plan.image_sets:
        print_images(images)
    if names := document["features"]:
        click.echo(f"features  samples are judged in {', '.join(names)} (docs/features.md)")
        if cost["features_s"] > START_S:  # otherwise it is done when Ray has started
            made = duration(cost["features_s"])
            click.echo(f"          made once for these images, before trials begin: about {made}")
    if plan.sweep.evaluation.fid:
        click.echo(f"FID       {_fid(plan, cost['fid'])}")
    click.echo(f"to train  {cost['pending']} of {counted(plan.total, 'trial')}, {document['concurrent']} at a time")
    for sentence in plan.sweep.thresholds.sentences:
        click.echo(f"note      {sentence}")
    if plan.repeated:
        click.echo(f"repeats   {plan.repeated:,} left out as duplicates")
    if plan.orphans:
        trials_left = ", ".join(f"{old[:8]} (now {new[:8]})" for old, new in [*plan.orphans.items()][:MOST_ORPHANS])
        rest = len(plan.orphans) - MOST_ORPHANS
        more = f" and {rest} more (all with --json)" if rest > 0 else ""
        click.echo(f"edited    trials of earlier code are left out: {trials_left}{more}")
    if plan.to_come:
        by = plan.sweep.method.method
        click.echo(f"search    {len(plan.to_come)} trials will be suggested by {by} during the sweep")
    if cost["wall_s"] is not None:
        about = "at most about" if plan.sweep.scheduler.rules or unmeasured else "about"
        click.echo(f"time      {about} {duration(cost['wall_s'])}")
    click.echo(f"disk      up to {size(cost['disk_bytes'])}")
    if unmeasured:
        click.echo(
            "GPUs      trials train on the GPU; `run` measures how many at a time make the most steps per second"
        )


def _fid(plan: Plan, seconds: dict[str, float] | None) -> str:
    """Return as text how many samples FID is measured on, and the seconds it takes if `seconds` is not None."""
    assert plan.sweep.evaluation.fid
    what = f"{counted(plan.sweep.evaluation.fid.samples, 'sample')} at the end of each trial"
    if seconds is None:
        return what
    once = f", and {duration(seconds['images_s'])} once for the real images" if seconds["images_s"] else ""
    return f"{what}: about {duration(seconds['samples_s'])}{once}"


def _state(trial: dict[str, Any]) -> str:
    """Return the state of a trial; empty if it has not started."""
    if trial["finished"]:
        return "finished"
    return "" if trial["goes_on_from"] is None else f"resumes at step {trial['goes_on_from']:,}"
