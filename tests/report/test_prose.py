"""What a report's sentences state about sweeps whose answer is known; the edge cases above all."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import pytest
from facts import assert_states, numbers
from frames import BETA1, RATE, frame, grid, trial

from gansweep.report import prose
from gansweep.report.configurations import configurations

BOTH = (RATE, BETA1)
RATES, BETAS = (1e-4, 1e-3, 0.02, 0.2), (0.5, 0.9)


def best(trials: pd.DataFrame, settings: tuple[str, ...] = BOTH) -> str:
    found = configurations(trials, log=True, mode="min")
    return prose.best(found, prose.called(trials, settings, with_sweep=False), "fd_ratio", log=True)


def test_what_was_tried() -> None:
    trials = grid({(rate, beta): 5.0 for rate in RATES for beta in BETAS})
    assert prose.tried("s", trials, BOTH) == (
        "s trained 8 DCGANs on digits at 32×32 pixels: 8 combinations of learning rate (1e-4, 1e-3, 0.02, 0.2) and"
        " beta1 (0.5, 0.9), one seed each, 600 steps."
    )
    one = prose.tried("s", trials.head(1), ())
    assert_states(one, "s ", "single DCGAN", "digits", "32×32", "600 steps")
    assert "seed" not in one
    assert_states(prose.tried("s", grid({(1e-3, 0.5): [1, 2, 3], (1e-3, 0.9): [1, 2, 3]}), (BETA1,)), "3 seeds")
    drawn = grid({(10 ** -(1 + number / 7), 0.5): 5.0 for number in range(20)})
    assert_states(prose.tried("s", drawn, (RATE,)), "learning rate (20 values", "1.93e-4", "0.1")
    seeds = grid({(1e-3, 0.5): [1, 2, 3]})
    assert_states(prose.tried("s", seeds, ()), "3 DCGANs", "one configuration", "3 seeds", "600 steps")
    shorter = pd.concat([trials, trials.assign(steps=300)])
    assert_states(prose.tried("s", shorter, BOTH), "300", "600 steps")


def test_different_devices_are_reported() -> None:
    assert prose.devices(pd.Series(["CPU", "", "CPU"]), "Trials") == ""
    assert prose.devices(pd.Series(["H100", "CPU", "H100"]), "Trials") == (
        "Trials were trained on different devices (CPU and H100), whose numbers differ; each device counts as another"
        " configuration."
    )


@pytest.mark.parametrize(
    ("outcomes", "planned", "facts"),
    [
        (["completed"], 1, ["It "]),
        (["completed"] * 3, 3, ["All "]),
        (["completed"] * 2 + ["stopped"], 3, ["2", "1", "stopped"]),
        (
            ["completed", "running", "interrupted", "crashed"],
            6,
            ["1", "1", "crashed", "1", "running", "1", "interrupted", "2 have not"],
        ),
        (["interrupted"], 2, ["1", "interrupted", "1 has not"]),
    ],
)
def test_how_it_ended(outcomes: list[str], planned: int, facts: list[str]) -> None:
    text = prose.ended(pd.DataFrame({"outcome": outcomes}), planned)
    assert_states(text, *facts)
    assert sum(map(int, numbers(text))) == (planned if numbers(text) else 0), "every planned trial is counted once"


def test_one_seed_gives_no_interval() -> None:
    text = best(grid({(1e-3, 0.5): 4.0, (2e-4, 0.5): 6.0, (2e-4, 0.9): 8.0}))
    best_one, runner_up = ("learning rate 1e-3, beta1 0.5", "FD ratio 4"), ("learning rate 2e-4, beta1 0.5", "50 %")
    assert_states(text, "best", *best_one, "runner-up", *runner_up, "one seed", "no interval")
    assert "95" not in text


def test_seeds_that_settle_the_order() -> None:
    clear = grid({(1e-3, 0.5): [4.0, 4.1, 3.9], (2e-4, 0.5): [8.0, 8.2, 7.9], (2e-4, 0.9): [16, 15.9, 16.2]})
    assert_states(
        best(clear),
        "learning rate 1e-3, beta1 0.5", "FD ratio 4", "95 %", "3.76", "4.26", "3 seeds",
        "every other configuration", "runner-up", "learning rate 2e-4, beta1 0.5", "101 %",
    )  # fmt: skip


def test_seeds_that_do_not_settle_the_order() -> None:
    unclear = grid({(1e-3, 0.5): [4.0, 8.0, 5.0], (2e-4, 0.5): [6.0, 5.0, 8.0], (2e-4, 0.9): [900, 800, 850]})
    text = best(unclear)
    assert_states(text, "best", "learning rate", "learning rate 2e-4, beta1 0.5 may be as good", "runner-up")
    assert "every other configuration" not in text
    assert "beta1 0.9" not in text, "850 is certainly worse"
    many = grid({(rate, 0.5): [4.0, 9.0, 5.0] for rate in (1, 2, 3, 4, 5, 6)} | {(7, 0.5): [3.9, 9.0, 5.0]})
    rivals = ("learning rate 1", "learning rate 2", "learning rate 3", "3 more")
    assert_states(best(many, (RATE,)), "learning rate 7", *rivals, "as good")


def test_ties_share_the_best() -> None:
    text = best(grid({(1e-3, 0.5): 4.0, (2e-4, 0.5): 4.0, (2e-4, 0.9): 8.0}))
    assert_states(text, "learning rate 1e-3, beta1 0.5", "learning rate 2e-4, beta1 0.5", "FD ratio 4")
    assert "beta1 0.9" not in text
    many = grid({(rate, 0.5): 4.0 for rate in range(1, 10)})
    assert_states(best(many, (RATE,)), "learning rate 4", "5 other", "FD ratio 4")


def test_what_failed_is_never_best() -> None:
    rows = [trial({RATE: 1e-3}, 2.0, "mode_collapse"), trial({RATE: 1e-4}, 9.0), trial({RATE: 2e-4}, math.nan)]
    only = best(frame(rows, [RATE]), (RATE,))
    assert_states(only, "only", "learning rate 1e-4", "FD ratio 9")
    assert "1e-3" not in only
    rows = [trial({RATE: rate}, 2.0, "mode_collapse") for rate in RATES]
    for failed in (best(frame(rows, [RATE]), (RATE,)), best(frame(rows[:1], []), ())):
        assert_states(failed, "failed", "no FD ratio")
        assert numbers(failed) == [], "no trial and no value is named"


def test_a_single_run_has_no_rivals() -> None:
    text = best(frame([trial({}, 3.456)], []), ())
    assert_states(text, "FD ratio 3.46")
    assert "best" not in text.lower()


def test_failed_seeds_of_the_best_setting_are_counted() -> None:
    rows = [
        trial({RATE: 1e-3}, q, v, seed=n)
        for n, (q, v) in enumerate([(2, "healthy"), (2.1, "healthy"), (9, "mode_dropping")])
    ]
    rows += [trial({RATE: 1e-4}, 20.0 + n, seed=n) for n in range(3)]
    assert_states(best(frame(rows, [RATE]), (RATE,)), "3 seeds", "1 of its 3 seeds failed")


def by_beta(good: str, bad: str, **more: Any) -> pd.DataFrame:
    rows = [
        trial({RATE: rate, BETA1: beta}, 5.0, bad if beta == 0.9 else good, **more) for rate in RATES for beta in BETAS
    ]
    return frame(rows, BOTH)


def test_failures_and_where_they_are_concentrated() -> None:
    counts = ("4 of 8 trials failed", "4 with mode collapse", "beta1 0.9", "4 of 4", "0 of 4")
    assert_states(prose.failures(by_beta("healthy", "mode_collapse"), BOTH), *counts)
    every = prose.failures(by_beta("mode_dropping", "mode_collapse"), BOTH)
    assert_states(every, "all 8 trials", "4 with mode collapse", "4 with mode dropping")
    assert "beta1" not in every
    high = frame([trial({RATE: rate}, 5.0, "divergence" if rate > 0.01 else "healthy") for rate in RATES * 2], [RATE])
    assert_states(prose.failures(high, (RATE,)), "4 of 8", "divergence", "learning rate ≥ 0.02", "4 of 4", "0 of 4")
    few = prose.failures(frame([trial({RATE: 1e-3}), trial({RATE: 0.2}, 5.0, "divergence")], [RATE]), (RATE,))
    assert_states(few, "1 of 2", "1 with divergence")
    assert "learning rate" not in few, "two trials are too few to say where"


def test_undecided_trials_are_stated_next_to_failed_ones() -> None:
    """The table of failures counts decided trials only."""
    some = prose.failures(by_beta("undecided", "mode_collapse"), BOTH)
    assert some == "4 of 8 trials failed: 4 with mode collapse; 4 are undecided."


def test_nothing_failed_and_too_little_is_known() -> None:
    assert prose.failures(by_beta("healthy", "healthy"), BOTH) == "None of the trials failed."
    assert_states(prose.failures(by_beta("healthy", "undecided"), BOTH), "none", "failed", "4")
    assert_states(prose.failures(by_beta("undecided", "undecided"), BOTH), "failures", "too few evaluations")
    assert_states(prose.failures(frame([trial({})], []), ()), "It did not fail")
    assert_states(prose.failures(frame([trial({}, 5.0, "late_instability")], []), ()), "late instability")


def test_crashes_are_counted_apart() -> None:
    rows = [
        trial({RATE: 1e-3}, outcome="crashed", verdict="undecided"),
        trial({RATE: 1e-4}),
        trial({RATE: 0.2}, 5.0, "divergence"),
    ]
    assert_states(prose.failures(frame(rows, [RATE]), (RATE,)), "2 of 3", "1 with divergence", "1 crash")
    assert_states(prose.failures(frame(rows[:1], [RATE]), ()), "crashed")


def test_sides_of_a_cut_are_judged_by_fishers_test() -> None:
    """5 of 5 against 1 of 5 is p = .048; 4 of 5 against 1 of 5 is p = .21."""
    rows = (
        [trial({BETA1: 0.9}, 5.0, "mode_collapse")] * 5
        + [trial({BETA1: 0.5}, 5.0, "mode_collapse")]
        + [trial({BETA1: 0.5})] * 4
    )
    assert prose.concentration(frame(rows, [BETA1]), (BETA1,)) == ["beta1 0.9 (5 of 5 failed, 1 of 5 elsewhere)"]
    assert prose.concentration(frame([trial({BETA1: 0.9}), *rows[1:]], [BETA1]), (BETA1,)) == []


def test_failures_may_sit_where_something_is_set_at_all() -> None:
    """As the store's tables have it: whole numbers, missing where it was not set."""
    growth = "model.discriminator.growth.at"
    rows = [trial({growth: at}, 5.0, "mode_collapse" if at else "healthy") for at in [300, None] * 4]
    trials = frame(rows, [growth]).astype({growth: "Int64"})
    assert prose.concentration(trials, (growth,)) == ["discriminator growth at 300 (4 of 4 failed, 0 of 4 elsewhere)"]
    drawn = frame(
        [trial({growth: at}, 5.0, "mode_collapse" if at else "healthy") for at in [1, 2, 3, 4, None]], [growth]
    )
    assert prose.concentration(drawn.astype({growth: "Int64"}), (growth,)) == []


def test_networks_are_named() -> None:
    rows = [trial({"model.architecture": name}) for name in ("dcgan", "projected")]
    text = prose.tried("s", frame(rows, ["model.architecture"]), ("model.architecture",))
    assert text.startswith("s trained 2 DCGAN or projected GANs on digits")
