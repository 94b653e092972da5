"""`gansweep best` and `compare`: ranking and comparison of trials, read from their folders."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gansweep.cli import options
from gansweep.cli.text import COLOURS, columns_of, measured, reached, rerun_command, to_json, varied, verdict_colour
from gansweep.errors import UserError
from gansweep.health import metrics as m
from gansweep.health.verdict import FAILURES, title
from gansweep.records import journal, outcome
from gansweep.records.figures import figures_of
from gansweep.records.layout import SweepFolder, TrialFolder, read_json
from gansweep.records.ranking import ENDED, Ranking, ranking_of
from gansweep.report.remarks import remarks
from gansweep.report.words import duration, number
from gansweep.sweepfile import settings

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

SHOWN = (
    *m.MEASURED_ONCE,
    *m.EVALUATION,
    *dict.fromkeys((*m.TRAINING, *m.CRITIC_TRAINING)),
    m.ADA_P,
    m.VALIDATION_LOSS_D,
    m.VALIDATION_LOSS_G,
    m.NONFINITE_STEP,
)


@click.command()
@click.argument("sweep")
@click.option("--count", default=5, show_default=True, type=click.IntRange(1), help="Number of trials to list.")
@options.home_option
@options.all_plans_option
@options.json_option
def best(sweep: str, count: int, home_path: Path, all_plans: bool, as_json: bool) -> None:
    """Show the best trial of SWEEP and the runners-up, ranked by the objective.

    Only trials that ended without a failure verdict are ranked; if there are none, those that are poor.
    """
    folder = options.find_sweep(options.home_of(home_path), sweep)
    ranking = ranking_of(folder)
    earlier = folder.earlier()
    ranked, left_out = _ranked(folder, folder.planned() + (earlier if all_plans else []), ranking)
    if as_json:
        objective = {"metric": ranking.metric, "mode": ranking.mode}
        counts = {"ranked": len(ranked), **left_out, "earlier": len(earlier)}
        click.echo(to_json({"sweep": sweep, "objective": objective, **counts, "trials": ranked[:count]}))
        return
    from gansweep.cli.tables import output, show

    if ranked:
        show(_best_table(ranked[:count], ranking.metric), output())
        _print_best(ranked[0], ranked[1:count], ranking.metric)
    summary = [f"{len(ranked)} ranked by {ranking.metric}"] if ranked else []
    if not ranked or ranked[0]["verdict"] in FAILURES:
        summary = ["no trial ended without failing", *(f"{one}: they are poor" for one in summary)]
    summary += [f"{count} {what.replace('_', ' ')}" for what, count in left_out.items() if count]
    click.echo(f"{sweep}: {', '.join(summary)}", err=True)
    if len({trial["data_fingerprint"] for trial in ranked}) > 1:
        click.echo("their data differ: quality is not comparable between data sets", err=True)
    if len(used := dict.fromkeys(trial["device"] for trial in ranked)) > 1:
        click.echo(f"their devices differ ({', '.join(used)}): each mean over seeds is that of one device", err=True)
    options.report_left_out(len(earlier), all_plans)


@click.command()
@click.argument("trials", nargs=-1, required=True, metavar="TRIAL TRIAL...")
@options.home_option
@options.json_option
def compare(trials: tuple[str, ...], home_path: Path, as_json: bool) -> None:
    """Compare trials: the settings in which they differ, and their results."""
    if len(trials) < 2:
        raise click.UsageError("name two trials or more: gansweep compare TRIAL TRIAL")
    home = options.home_of(home_path)
    found = [options.find_trial(home, reference) for reference in trials]
    repeated = [f"{s.name}/{t.id}" for (s, t), times in Counter(found).items() if times > 1]
    if repeated:
        raise UserError(f"{repeated[0]}: named twice; name different trials")
    facts = [_facts(sweep, folder) for sweep, folder in found]
    differing = _differing([fact.pop("settings") for fact in facts])
    metrics = [fact.pop("metrics") for fact in facts]
    same_data = len({fact["data_fingerprint"] for fact in facts}) == 1
    of_samples = m.own_metrics(name for values in metrics for name in values)
    of_samples += dict.fromkeys(name for values in metrics for name in values if name.startswith(m.MEASURED_IN))
    names = [name for name in (*of_samples, *SHOWN) if any(name in values for values in metrics)]
    of_samples += (*m.MEASURED_ONCE, *m.QUALITY)
    results = {name: [v.get(name) for v in metrics] for name in names if same_data or name not in of_samples}
    if as_json:
        shown = [{**fact, "settings": _nth(differing, i), "metrics": _nth(results, i)} for i, fact in enumerate(facts)]
        click.echo(to_json({"same_data": same_data, "trials": shown}))
        return
    from gansweep.cli.tables import output, show

    comparable = same_data and all(fact["objective"] == facts[0]["objective"] for fact in facts)
    show(_comparison(facts, differing, results, comparable), output())
    if not differing:
        click.echo("no setting differs", err=True)
    if "device" in differing:
        click.echo("their devices differ: numbers of the same configuration differ between devices", err=True)
    if not same_data:
        click.echo("their data differ: the quality of samples is not compared", err=True)


def _ranked(
    sweep: SweepFolder, folders: Sequence[TrialFolder], ranking: Ranking
) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """Return the ranked trials as in `best --json`, best first, and reason → number of trials that are not ranked."""
    documents = {folder: read_json(folder.trial) for folder in folders}
    summaries = {folder: outcome.summary(folder) for folder in folders}
    on = {folder: summary["device"] or "" for folder, summary in summaries.items()}
    varied = dict(zip(folders, settings.varied([*documents.values()], [*on.values()]), strict=True))
    values = ranking.ranked({folder: summary["outcome"] for folder, summary in summaries.items()})
    ended = {folder: one for folder, one in summaries.items() if one["outcome"] in ENDED}
    others = [one for folder, one in ended.items() if folder not in values]
    failed = sum(outcome.failure_of(one["outcome"], one["verdict"]) is not None for one in others)
    left_out = {
        "failed": failed,
        "without_a_value": len(others) - failed,
        "not_ended": len(folders) - len(ended) + read_json(sweep.plan).get("to_come", 0),
    }
    reached = {folder: figures_of(folder, ranking) for folder in ended}
    seeds: dict[str, list[TrialFolder]] = {}  # configuration → its trials
    for folder, document in documents.items():
        seeds.setdefault(settings.configuration(settings.of_trial(document, on[folder])), []).append(folder)
    over_seeds = {one: _over_seeds(some, reached, values, ranking) for some in seeds.values() for one in some}
    beside = remarks(ranking, values, values)
    ranked = []
    for rank, folder in enumerate(values, 1):
        document, summary = documents[folder], summaries[folder]
        samples, checkpoints = folder.all_samples(), folder.all_checkpoints()
        ranked.append(
            {
                "rank": rank,
                "id": folder.id,
                "varied": varied[folder],
                "seed": summary["seed"],
                **reached[folder],
                "remark": beside.get(folder, ""),
                **over_seeds[folder],
                **{key: summary[key] for key in ("outcome", "verdict", "states", "step", "steps_total")},
                "measured": m.measured_once(summary["metrics"]),
                "checkpoint": str(checkpoints[-1]) if checkpoints else None,
                "samples": str(samples[-1]) if samples else None,
                "data_fingerprint": document["data"]["fingerprint"],
                "device": summary["device"],
                "command": rerun_command(sweep, document),
            }
        )
    return ranked, left_out


def _over_seeds(
    seeds: Sequence[TrialFolder],
    reached: Mapping[TrialFolder, Mapping[str, Any]],
    ranked: Collection[TrialFolder],
    ranking: Ranking,
) -> dict[str, Any]:
    """Summarise the trials of one configuration, which differ in the seed.

    Args:
        seeds: Trials of the configuration.
        reached: Trial → figures, for trials that have ended.
        ranked: Trials of the sweep that are ranked.
        ranking: The objective.

    Returns:
        Number of trials (`seeds`), number of ranked ones (`seeds_ranked`), and mean of the final finite values of the
        objective, including those of failed trials (`seeds_mean`; None for fewer than two values).
    """
    found = [reached[one]["quality"] for one in seeds if one in reached]
    values = [value for value in found if value is not None and math.isfinite(value)]
    mean = ranking.mean(values) if len(values) > 1 else None
    return {"seeds": len(seeds), "seeds_ranked": sum(one in ranked for one in seeds), "seeds_mean": mean}


def _best_table(ranked: Sequence[Mapping[str, Any]], metric: str) -> Table:
    """Return a table with one row per trial."""
    from rich.text import Text

    from gansweep.cli.tables import beside, plain_table

    columns = columns_of([trial["varied"] for trial in ranked])
    replicated = any(trial["seeds"] > 1 for trial in ranked)
    distances = [*dict.fromkeys(name for trial in ranked for name in trial["measured"] if m.is_frechet(name))]
    table = plain_table()
    headings = [
        "rank",
        "trial",
        *(heading for heading, *_ in columns),
        "seed",
        metric,
        *(["over seeds"] if replicated else []),
        *map(m.label, distances),
    ]
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True, style="bright_black" if heading == "trial" else "")
    table.add_column("outcome", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for at, trial in enumerate(ranked, 1):
        mean = f"{measured(trial['seeds_mean'])} ({trial['seeds_ranked']} of {trial['seeds']})"
        table.add_row(
            str(trial["rank"]),
            trial["id"][:8],
            *(column[at] for column in columns),
            str(trial["seed"]),
            measured(trial["quality"]),
            *([mean] if replicated else []),
            *(measured(trial["measured"].get(name)) for name in distances),
            Text(trial["outcome"], COLOURS[trial["outcome"]]),
            beside(_verdicts([trial["verdict"]] if trial["verdict"] else []), (one["kind"] for one in trial["states"])),
        )
    return table


def _print_best(trial: Mapping[str, Any], others: Sequence[Mapping[str, Any]], metric: str) -> None:
    """Print the best trial, and how the others compare with it."""
    rows = [
        ("best", f"{trial['id']}  {varied(trial['varied'], trial['seed'])}"),
        ("step", f"{trial['step']:,} of {trial['steps_total']:,}"),
        *reached(trial, metric),
        ("runners-up", ", ".join(f"{one['id'][:8]} {one['remark']}" for one in others if one["remark"])),
        ("samples", trial["samples"]),
        ("checkpoint", trial["checkpoint"]),
        ("rerun", trial["command"]),
    ]
    for name, text in rows:
        if text:
            click.echo(f"{name:<13} {text}")


def _facts(sweep: SweepFolder, folder: TrialFolder) -> dict[str, Any]:
    """Return the progress of a trial, its settings by dotted key, and the last value of every metric."""
    document, summary, ended = read_json(folder.trial), outcome.summary(folder), outcome.read(folder)
    records = journal.read(folder.journal)
    ranking = ranking_of(sweep)
    data = document["data"]["fingerprint"]
    return {
        "sweep": sweep.name,
        **{key: summary[key] for key in ("id", "outcome", "reason", "step", "steps_total")},
        "verdicts": [v.kind for v in ended.verdicts] if ended and summary["outcome"] == ended.kind else [],
        "wall_s": records[-1].time - records[0].time if records else None,
        "objective": {"metric": ranking.metric, "mode": ranking.mode},
        **figures_of(folder, ranking),
        "data_fingerprint": data,
        "settings": {"seed": summary["seed"], **settings.of_trial(document, summary["device"] or "")},
        "metrics": {name: value for record in records for name, value in record.values.items()},
    }


def _differing(trials: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Return key → value in each trial (None if it is not set), for keys whose values differ."""
    keys = dict.fromkeys(key for of_one in trials for key in of_one)
    rows = {key: [of_one.get(key) for of_one in trials] for key in keys}
    return {key: values for key, values in rows.items() if any(value != values[0] for value in values)}


def _nth(rows: Mapping[str, Sequence[Any]], i: int) -> dict[str, Any]:
    """Return the values of trial `i` in the rows."""
    return {key: values[i] for key, values in rows.items()}


def _comparison(
    facts: Sequence[Mapping[str, Any]],
    differing: Mapping[str, Sequence[Any]],
    results: Mapping[str, Sequence[float | None]],
    with_best: bool,
) -> Table:
    """Return a table with one column per trial and one row per quantity.

    Args:
        facts: Facts of each trial, as returned by `_facts`.
        differing: Setting → its values, one per trial, for settings that differ.
        results: Metric → its last values, one per trial.
        with_best: Whether to show the best value of each trial. These are comparable only if the trials have the same
            objective and the same data.
    """
    from rich.text import Text

    from gansweep.cli.tables import plain_table

    table = plain_table()
    table.add_column("", no_wrap=True)
    several = len({fact["sweep"] for fact in facts}) > 1
    for fact in facts:
        name = f"{fact['sweep']}\n{fact['id'][:8]}" if several else fact["id"][:8]
        table.add_column(name, justify="right", no_wrap=True)
    for key, values in differing.items():
        table.add_row(key, *("–" if value is None else number(value) for value in values))
    table.add_section()
    table.add_row("outcome", *(Text(fact["outcome"], COLOURS[fact["outcome"]]) for fact in facts))
    table.add_row("verdicts", *(_verdicts(fact["verdicts"]) for fact in facts))
    table.add_row("step", *(f"{fact['step']:,} of {fact['steps_total']:,}" for fact in facts))
    table.add_row("wall time", *("–" if fact["wall_s"] is None else duration(fact["wall_s"]) for fact in facts))
    table.add_row("steps/s", *(measured(fact["steps_per_s"]) for fact in facts))
    if with_best:
        table.add_row(f"best {facts[0]['objective']['metric']}", *(measured(fact["best_value"]) for fact in facts))
        steps = (fact["best_step"] for fact in facts)
        table.add_row("at step", *("–" if step is None else f"{step:,}" for step in steps))
    table.add_section()
    for name, values in results.items():
        best = _best_of(name, values)
        cells = (Text(measured(value), "bold" if value == best else "") for value in values)
        table.add_row(name, *cells)
    return table


def _best_of(metric: str, values: Sequence[float | None]) -> float | None:
    """Return the best finite value of a metric; None if neither high nor low is better, or if all values are equal."""
    better = m.METRICS[metric].better if metric in m.METRICS else None
    finite = [value for value in values if value is not None and math.isfinite(value)]
    if better is None or not finite or len(set(values)) == 1:
        return None
    return min(finite) if better == "lower" else max(finite)


def _verdicts(kinds: Sequence[str]) -> Text:
    """Return verdicts as text, one per line."""
    from rich.text import Text

    return Text("\n").join(Text(title(kind), verdict_colour(kind)) for kind in kinds)
