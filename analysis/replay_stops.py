"""What would stopping have done to the recorded runs? False stops, steps saved, delay.

    python analysis/replay_stops.py

Replays the runs of analysis/results, none of which was stopped, and judges them at every evaluation as they went.
"""

import numpy as np
import pandas as pd
from benchmark import RESULTS, runs
from scipy.stats import binomtest

from gansweep import Judge

STOPPING = ("divergence", "dead_generator", "mode_collapse", "discriminator_dominance", "not_learning")  # the default
FAILURES = ("mode_collapse", "discriminator_dominance", "dead_generator", "divergence")  # that runs are labelled for
EVERY = 20  # steps between evaluations of the recorded runs


def replay(run):
    """When and why the run would have been stopped, and what is said of it at its end."""
    history, judge = run["history"], Judge()
    kinds_at = {
        int(step): [v.kind for v in judge(history.until(step)) if v.kind in STOPPING] for step in history.evaluations()
    }
    step = next((step for step, kinds in kinds_at.items() if kinds), None)
    end, planted = kinds_at[max(kinds_at)], run["settings"].get("step")
    return {
        "source": run["source"],
        "id": run["id"],
        "rate": run["settings"].get("training.learning_rate"),
        "labelled_healthy": all(run["truth"].get(kind, False) is False for kind in FAILURES),
        "stopped_at": step,
        "verdict_then": kinds_at[step][0] if step is not None else "",
        "verdict_at_end": end[0] if end else "",
        "saved": 1 - step / run["budget"] if step is not None else 0.0,
        "delay": np.ceil((step - planted) / EVERY) if planted and step and step >= planted else None,
    }


if __name__ == "__main__":
    table = pd.DataFrame([replay(run) for source in ("natural", "dynamics") for run in runs(source)])
    table.round(4).to_csv(RESULTS / "stops.csv", index=False)
    failing, healthy = table[table.verdict_at_end != ""], table[table.labelled_healthy]
    false = int(healthy.stopped_at.notna().sum())
    bound = binomtest(false, len(healthy)).proportion_ci(0.9, "wilson").high
    delays = table.delay.dropna()
    kept = (failing.verdict_then == failing.verdict_at_end).mean()
    print(f"false stops  {false} of {len(healthy)} runs labelled healthy (at most {bound:.1%} at 95 %)")
    print(f"steps saved  {failing.saved.mean():.0%} of {len(failing)} failing runs; verdict kept to the end {kept:.0%}")
    print(
        f"delay        {delays.median():.0f} evaluations, the median of {len(delays)} planted causes that were stopped"
    )
