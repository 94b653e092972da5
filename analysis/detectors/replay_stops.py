"""Replay stopping on the recorded runs: false stops, steps saved, delay.

    python -m analysis.detectors.replay_stops

None of the recorded runs was stopped. They are judged at every evaluation, as during training.
"""

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from analysis.detectors.lib.benchmark import RESULTS, judge_of, runs
from gansweep import Judge

STOPPING = tuple(one.kind.name for one in Judge().detectors if one.kind.stops)  # the default
LABELS = ("mode_collapse", "dead_generator", "divergence")  # kinds with labels


def replay(run):
    """Return when and why the run would have been stopped, and its verdicts at the end."""
    history, judge = run["history"], judge_of(STOPPING)
    steps = history.evaluations()
    kinds_at = ((int(step), stopping(judge, history.until(step))) for step in steps)
    step, kinds = next((found for found in kinds_at if found[1]), (None, []))
    end, planted = stopping(judge, history.until(steps[-1])), run["settings"].get("step")
    labels = [run["truth"].get(kind, False) for kind in LABELS]
    return {
        "source": run["source"],
        "id": run["id"],
        "part": run["part"],
        "rate": run["settings"].get("training.learning_rate"),
        "labelled": "failing" if True in labels else "grey" if None in labels else "healthy",
        "stopped_at": step,
        "verdict_then": kinds[0] if kinds else "",
        "verdict_at_end": end[0] if end else "",
        "kept": bool(kinds) and kinds[0] in end,
        "saved": 1 - step / run["budget"] if step is not None else 0.0,
        "delay": np.ceil((step - planted) / np.diff(steps)[0]) if planted and step and step >= planted else None,
    }


def stopping(judge, history):
    """Return the kinds of verdicts that end a trial with this history."""
    return [verdict.kind for verdict in judge(history)]


def planted(table):
    return table.source.str.startswith("dynamics")


def summary(name, table):
    """Return the summary lines of a group of runs."""
    failing, healthy = table[table.labelled == "failing"], table[table.labelled == "healthy"]
    early = (healthy.stopped_at.notna() & (healthy.saved > 0)).sum()
    bound = binomtest(int(early), len(healthy)).proportion_ci(0.9, "wilson").high
    stopped = table[table.saved > 0]
    print(f"{name}")
    print(f"  false stops  {early} of {len(healthy)} runs labelled healthy (at most {bound:.1%} at 95 %)")
    print(f"  steps saved  {failing.saved.mean():.0%} of {len(failing)} runs labelled failing")
    print(f"               {stopped.saved.mean():.0%} of {len(stopped)} that were stopped")
    print(f"  verdicts     {stopped.kept.mean():.0%} of those hold at the end of the run as well")
    if table.delay.notna().any():
        causes = table.delay.notna().sum()
        print(f"  delay        {table.delay.median():.0f} evaluations, the median of {causes} planted causes")


if __name__ == "__main__":
    table = pd.DataFrame([replay(run) for source in ("natural", "dynamics") for run in runs(source)])
    table.round(4).to_csv(RESULTS / "stops.csv", index=False)
    which = table.source.str.split("-").str[0].where(table.part == "held-out", "tuning")
    summary("natural runs of the third round", table[which == "third"])
    summary("natural runs of the second round, held out", table[which == "long"])
    summary("natural runs that thresholds were tuned on", table[(which == "tuning") & ~planted(table)])
    summary("planted dynamics", table[planted(table)])
