"""Sentences on sweeps whose answer is known, edge cases above all."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import pytest
from frames import BETA1, RATE, frame, grid, trial

from gansweep.report import prose
from gansweep.report.configurations import configurations

BOTH = (RATE, BETA1)
RATES, BETAS = (1e-4, 1e-3, 0.02, 0.2), (0.5, 0.9)


def best(trials: pd.DataFrame, settings: tuple[str, ...] = BOTH) -> str:
    found = configurations(trials, log=True, mode="min")
    return prose.best(found, prose.called(trials, settings, with_sweep=False), "cfd_ratio", log=True)


def plain(text: str) -> str:
    return text.replace("\u00a0", " ")


def test_what_was_tried() -> None:
    trials = grid({(rate, beta): 5.0 for rate in RATES for beta in BETAS})
    assert prose.tried("s", trials, BOTH) == (
        "s trained 8 DCGANs on digits at 32×32 pixels: 8 combinations of learning rate (1e-4, 1e-3, 0.02, 0.2) and"
        " beta1 (0.5, 0.9), one seed each, 600 steps."
    )
    assert prose.tried("s", trials.head(1), ()) == "s is a single DCGAN on digits at 32×32 pixels, 600 steps long."
    assert "3 seeds each" in prose.tried("s", grid({(1e-3, 0.5): [1, 2, 3], (1e-3, 0.9): [1, 2, 3]}), (BETA1,))
    drawn = grid({(10 ** -(1 + number / 7), 0.5): 5.0 for number in range(20)})
    assert "learning rate (20 values from 1.93e-4 to 0.1)" in prose.tried("s", drawn, (RATE,))
    seeds = grid({(1e-3, 0.5): [1, 2, 3]})
    assert prose.tried("s", seeds, ()).endswith(
        "trained 3 DCGANs on digits at 32×32 pixels: one setting, 3 seeds, 600 steps."
    )
    shorter = pd.concat([trials, trials.assign(steps=300)])
    assert prose.tried("s", shorter, BOTH).endswith("300 to 600 steps.")


@pytest.mark.parametrize(
    ("outcomes", "planned", "said"),
    [
        (["completed"], 1, "It ran to its end."),
        (["completed"] * 3, 3, "All ran to their end."),
        (["completed"] * 2 + ["stopped"], 3, "2 ran to their end and 1 was stopped early."),
        (["completed", "running", "interrupted", "crashed"], 6,
         "1 ran to its end, 1 crashed, 1 is still running, 1 was interrupted and will go on and"
         " 2 have not begun."),
        (["interrupted"], 2, "1 was interrupted and will go on and 1 has not begun."),
    ],
)  # fmt: skip
def test_how_it_ended(outcomes: list[str], planned: int, said: str) -> None:
    assert prose.ended(pd.DataFrame({"outcome": outcomes}), planned) == said


def test_one_seed_gives_no_interval() -> None:
    assert plain(best(grid({(1e-3, 0.5): 4.0, (2e-4, 0.5): 6.0, (2e-4, 0.9): 8.0}))) == (
        "Best is learning rate 1e-3, beta1 0.5 (CFD ratio 4). The runner-up, learning rate 2e-4, beta1 0.5,"
        " is 50 % behind. With one seed a setting no interval can be given: another seed might turn the order round."
    )


def test_seeds_that_settle_it_and_seeds_that_do_not() -> None:
    clear = grid({(1e-3, 0.5): [4.0, 4.1, 3.9], (2e-4, 0.5): [8.0, 8.2, 7.9], (2e-4, 0.9): [16, 15.9, 16.2]})
    assert plain(best(clear)) == (
        "Best is learning rate 1e-3, beta1 0.5 (CFD ratio 4, 95 % interval 3.76 to 4.26 over 3 seeds). It is better"
        " than every other setting (multiple comparisons with the best, 95 %); the runner-up, learning rate 2e-4,"
        " beta1 0.5, is 101 % behind."
    )
    unclear = grid({(1e-3, 0.5): [4.0, 8.0, 5.0], (2e-4, 0.5): [6.0, 5.0, 8.0], (2e-4, 0.9): [900, 800, 850]})
    assert "The seeds do not settle it: learning rate 2e-4, beta1 0.5 may be as good" in plain(best(unclear))
    many = grid({(rate, 0.5): [4.0, 9.0, 5.0] for rate in (1, 2, 3, 4, 5, 6)} | {(7, 0.5): [3.9, 9.0, 5.0]})
    assert "learning rate 1, learning rate 2, learning rate 3 and 3 more may be as good" in plain(best(many, (RATE,)))


def test_ties_share_the_best() -> None:
    assert plain(best(grid({(1e-3, 0.5): 4.0, (2e-4, 0.5): 4.0, (2e-4, 0.9): 8.0}))) == (
        "Learning rate 1e-3, beta1 0.5 and learning rate 2e-4, beta1 0.5 share the best CFD ratio 4."
    )


def test_what_failed_is_never_best() -> None:
    rows = [trial({RATE: 1e-3}, 2.0, "mode_collapse"), trial({RATE: 1e-4}, 9.0), trial({RATE: 2e-4}, math.nan)]
    assert plain(best(frame(rows, [RATE]), (RATE,))) == "Only learning rate 1e-4 did not fail (CFD ratio 9)."
    rows = [trial({RATE: rate}, 2.0, "mode_collapse") for rate in RATES]
    assert (
        best(frame(rows, [RATE]), (RATE,)) == "Nothing can be called best: all of it failed, or has no CFD ratio yet."
    )
    assert best(frame(rows[:1], []), ()) == "Nothing can be called best: it failed, or has no CFD ratio yet."


def test_a_single_run_has_no_rivals() -> None:
    assert best(frame([trial({}, 3.456)], []), ()) == "It ended with a CFD ratio 3.46."


def test_seeds_that_failed_are_told_of_the_best() -> None:
    rows = [
        trial({RATE: 1e-3}, q, v, seed=n)
        for n, (q, v) in enumerate([(2, "healthy"), (2.1, "healthy"), (9, "mode_dropping")])
    ]
    rows += [trial({RATE: 1e-4}, 20.0 + n, seed=n) for n in range(3)]
    assert "over 3 seeds; 1 of its 3 seeds failed)" in best(frame(rows, [RATE]), (RATE,))


def by_beta(good: str, bad: str, **more: Any) -> pd.DataFrame:
    rows = [
        trial({RATE: rate, BETA1: beta}, 5.0, bad if beta == 0.9 else good, **more) for rate in RATES for beta in BETAS
    ]
    return frame(rows, BOTH)


def test_failures_and_where_they_sit() -> None:
    assert prose.failures(by_beta("healthy", "mode_collapse"), BOTH) == (
        "4 of 8 trials failed: 4 by mode collapse. Failures sit at beta1 0.9 (4 of 4 failed, 0 of 4 elsewhere)."
    )
    assert prose.failures(by_beta("mode_dropping", "mode_collapse"), BOTH) == (
        "All 8 trials failed: 4 by mode collapse and 4 by mode dropping."
    )
    high = frame([trial({RATE: rate}, 5.0, "divergence" if rate > 0.01 else "healthy") for rate in RATES * 2], [RATE])
    assert prose.failures(high, (RATE,)) == (
        "4 of 8 trials failed: 4 by divergence. Failures sit at learning rate ≥ 0.02 (4 of 4 failed, 0 of 4 elsewhere)."
    )
    few = frame([trial({RATE: 1e-3}), trial({RATE: 0.2}, 5.0, "divergence")], [RATE])
    assert prose.failures(few, (RATE,)) == "1 of 2 trials failed: 1 by divergence.", "two trials say nothing of where"


def test_nothing_failed_and_too_little_is_known() -> None:
    assert prose.failures(by_beta("healthy", "healthy"), BOTH) == "None of the trials failed."
    assert (
        prose.failures(by_beta("healthy", "undecided"), BOTH) == "None of the trials failed; of 4 too little is known."
    )
    assert prose.failures(by_beta("undecided", "undecided"), BOTH) == (
        "Nothing can be said of failures yet: too few evaluations."
    )
    assert prose.failures(frame([trial({})], []), ()) == "It did not fail."
    assert prose.failures(frame([trial({}, 5.0, "late_instability")], []), ()) == "It failed by late instability."


def test_crashes_are_counted_apart() -> None:
    rows = [
        trial({RATE: 1e-3}, outcome="crashed", verdict="undecided"),
        trial({RATE: 1e-4}),
        trial({RATE: 0.2}, 5.0, "divergence"),
    ]
    assert prose.failures(frame(rows, [RATE]), (RATE,)) == "2 of 3 trials failed: 1 by divergence and 1 crash."
    assert prose.failures(frame(rows[:1], [RATE]), ()) == "It crashed."


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
