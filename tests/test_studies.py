"""The claims of the five studies: intervals against closed forms and SciPy, every rule with an example of each answer,
and the published tables, which are what the records give."""

from __future__ import annotations

import csv
import importlib
import math
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from ruamel.yaml import YAML
from scenes import judge_at_once
from scipy import stats

from gansweep.gan.sampling import grid_png
from gansweep.health.verdict import Verdict
from gansweep.planning.dispatch import jobs_of
from gansweep.planning.job import Job
from gansweep.planning.plan import make_plan, write_trials
from gansweep.records import outcome
from gansweep.records.journal import Journal, Record
from gansweep.records.layout import Home, TrialFolder, write_atomically, write_json
from gansweep.sweepfile.loader import load

ANALYSIS = Path(__file__).parents[1] / "analysis"
CLAIMS = [claim["id"] for claim in YAML(typ="safe").load(ANALYSIS / "studies" / "studies.yaml")]
STEPS = 2000
Floats = NDArray[np.floating]
Curve = Callable[[Floats], Floats]
LIB = "analysis.studies.lib"
SCRIPTS = {name: f"study_{name}" for name in ("a", "b", "c", "d", "e", "e1", "e7")}
SCRIPTS |= {name: name for name in ("rules", "runs", "statistics", "tables")}
HOLDS, NOT, UNDECIDED = "holds", "does not hold", "undecided"


SCRIPT: dict[str, Any] = {}  # by the end of its name


@pytest.fixture(scope="module", autouse=True)
def _scripts() -> Iterator[None]:
    sys.path.insert(0, str(ANALYSIS.parent))
    SCRIPT.update({name: importlib.import_module(f"{LIB}.{module}") for name, module in SCRIPTS.items()})
    yield
    sys.path.remove(str(ANALYSIS.parent))


@pytest.fixture(autouse=True)
def _no_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    """E7 runs `gansweep plan`, which the other claims of its study need not wait for."""
    monkeypatch.setattr(SCRIPT["e"], "refused", SCRIPT["rules"].Finding)


def interval(low: float, high: float) -> Any:
    return SCRIPT["statistics"].Interval((low + high) / 2, low, high, 5)


def test_the_interval_of_paired_ratios_is_that_of_a_t_test_on_their_logarithms() -> None:
    logs = np.log([1.1, 1.4, 0.9, 1.3, 1.2])
    found = SCRIPT["statistics"].ratio(logs)
    expected = stats.ttest_1samp(logs, 0).confidence_interval()
    assert (found.low, found.high) == pytest.approx((math.exp(expected.low), math.exp(expected.high)))
    assert found.estimate == pytest.approx(stats.gmean([1.1, 1.4, 0.9, 1.3, 1.2]))
    assert SCRIPT["statistics"].ratio([*logs, math.nan, math.inf]) == found


def test_a_value_alone_has_no_interval_and_none_has_no_estimate() -> None:
    one, none = SCRIPT["statistics"].mean([2.0]), SCRIPT["statistics"].mean([math.nan])
    assert (one.estimate, one.n, none.n) == (2.0, 1, 0)
    assert not any((one.above(-9), one.below(9), none.above(-9), none.below(9)))
    assert str(one) == "2 (no interval)"


def test_the_interval_of_correlations_is_made_in_fishers_z() -> None:
    r = np.array([-0.5, -0.3, -0.6])
    found = SCRIPT["statistics"].correlation(np.arctanh(r))
    expected = stats.ttest_1samp(np.arctanh(r), 0).confidence_interval()
    assert (found.low, found.high) == pytest.approx((math.tanh(expected.low), math.tanh(expected.high)))


def test_wilsons_interval_is_the_closed_form() -> None:
    n, p, z = 23, 6 / 23, stats.norm.ppf(0.975)
    middle, half = p + z**2 / (2 * n), z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    found = SCRIPT["statistics"].wilson(6, n)
    assert (found.low, found.high) == pytest.approx([(middle + s * half) / (1 + z**2 / n) for s in (-1, 1)])


def test_the_power_of_the_chi_squared_test_is_its_level_at_the_real_shares_and_else_near_the_noncentral_one() -> None:
    rejected, real = SCRIPT["statistics"].rejected, np.full(10, 0.1)
    assert rejected(real, real) == pytest.approx(0.05, abs=0.01)
    shares = np.array([0.16, 0.14, 0.12, 0.1, 0.1, 0.1, 0.1, 0.08, 0.06, 0.04])
    noncentrality = 80 * ((shares - real) ** 2 / real).sum()
    expected = stats.ncx2.sf(stats.chi2.ppf(0.95, 9), 9, noncentrality)
    assert rejected(shares, real) == pytest.approx(expected, abs=0.03)
    assert rejected(100 * shares, real) == rejected(shares, real)


def test_friedman_is_scipys_and_kendalls_w_is_that_of_rank_sums() -> None:
    blocks = np.array([[1, 2, 3, 4, 5], [2, 1, 3, 4, 5], [1, 3, 2, 5, 4], [1, 2, 4, 3, 5]])
    p, w = SCRIPT["statistics"].friedman(blocks)
    sums = blocks.sum(axis=0)
    assert w == pytest.approx(12 * ((sums - sums.mean()) ** 2).sum() / (4**2 * (5**3 - 5)))
    assert p == pytest.approx(stats.friedmanchisquare(*blocks.T).pvalue)
    assert SCRIPT["statistics"].friedman(np.ones((4, 5))) == (1.0, 0.0)
    assert np.isnan(SCRIPT["statistics"].friedman([[], []])).all()


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (1.01, 3, HOLDS), (1.01, 1.2, HOLDS), (0.5, 1.24, NOT), (0.9, 1.3, UNDECIDED), (math.nan, math.nan, UNDECIDED)
    ],
)  # fmt: skip
def test_greater_holds_first(low: float, high: float, verdict: str) -> None:
    assert SCRIPT["rules"].greater(interval(low, high), 1, 1.25) == verdict


@pytest.mark.parametrize(
    ("low", "high", "verdict"), [(0.2, 0.99, HOLDS), (0.85, 0.95, HOLDS), (0.81, 2, NOT), (0.7, 1.1, UNDECIDED)]
)
def test_less_holds_first(low: float, high: float, verdict: str) -> None:
    assert SCRIPT["rules"].less(interval(low, high), 1, 0.8) == verdict


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(0.81, 1.24, HOLDS), (1.26, 2, NOT), (0.2, 0.79, NOT), (0.79, 1.1, UNDECIDED), (0.9, 1.26, UNDECIDED),
     (1.05, 1.2, HOLDS), (math.nan, math.nan, UNDECIDED)],
)  # fmt: skip
def test_no_effect_is_an_interval_within_the_margin(low: float, high: float, verdict: str) -> None:
    assert SCRIPT["rules"].no_effect(interval(low, high)) == verdict


@pytest.mark.parametrize(
    ("hits", "of", "verdict"),
    [(4, 5, HOLDS), (3, 5, UNDECIDED), (2, 5, UNDECIDED), (1, 5, NOT), (3, 3, HOLDS), (2, 3, UNDECIDED),
     (1, 3, UNDECIDED), (0, 3, NOT), (8, 10, HOLDS), (7, 10, UNDECIDED), (2, 10, NOT),
     (2, 2, UNDECIDED), (0, 0, UNDECIDED)],
)  # fmt: skip
def test_share_of_runs_decides(hits: int, of: int, verdict: str) -> None:
    assert SCRIPT["rules"].by_count(hits, of) == verdict


def run(
    sweep: str,
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
    verdicts: Iterable[str] = ("healthy",),
    **other: Any,
) -> Any:
    """A recorded run of 2,000 steps: loss_d, loss_g, fd_ratio as functions of the share of the run that is done; by
    default flat losses with some noise, and a FD that falls from 80 to 4. Other fields by name."""
    curves: dict[str, Curve] = {name: other.pop(name, curve) for name, curve in CURVES.items()}
    rng, series = np.random.default_rng(seed), {}
    for name, curve in curves.items():
        steps = np.arange(0, STEPS + 1, STEPS // 50) if name == "fd_ratio" else np.arange(10, STEPS + 1, 10)
        values = curve(steps / STEPS) * rng.normal(1, 1e-3, len(steps))
        series[name] = [steps.tolist(), values.tolist()]
    fields = {
        "id": f"{seed}", "settings": dict(settings or {}), "steps": STEPS, "outcome": "completed", "series": series,
        "parameters": {"generator": 1000, "discriminator": 10017}, "steps_per_s": 50.0, "wall_s": 40.0,
    }  # fmt: skip
    return SCRIPT["runs"].Run(sweep=sweep, seed=seed, verdicts=[*verdicts], **{**fields, **other})


def falling(last: float, first: float = 80.0) -> Curve:
    """A FD that falls from first to last by the middle of the run, and stays."""
    return lambda share: np.maximum(last, first - (first - last) * 2 * share)


def constant(level: float) -> Curve:
    return lambda share: np.full_like(share, level)


def jump(before: float, at: float, after: float) -> Curve:
    """At that share of the run, from one level to another."""
    return lambda share: np.where(share < at - 1e-9, before, after)


def rough(size: float, level: float = 1.0) -> Curve:
    """Alternates around a level."""
    return lambda share: level * (1 + size * (-1.0) ** np.arange(len(share)))


CURVES: dict[str, Curve] = {"loss_d": constant(1.0), "loss_g": constant(1.0), "fd_ratio": falling(4.0)}


def decide(study: str, *runs: Any) -> dict[str, Any]:
    sweeps = defaultdict(list)
    for one in runs:
        sweeps[one.sweep].append(one)
    found: dict[str, Any] = SCRIPT[study].claims(sweeps)
    return found


def verdicts(study: str, *runs: Any) -> dict[str, str]:
    return {claim: finding.verdict for claim, finding in decide(study, *runs).items()}


def test_fd_at_a_share_is_the_median_of_the_three_evaluations_that_end_there() -> None:
    one = run("study-a")
    values = np.array(one.series["fd_ratio"][1])
    assert one.fd(0) == values[0]
    assert one.fd(0.48) == np.median(values[22:25])
    assert one.fd(1) == np.median(values[-3:])
    assert math.isnan(replace(one, series={}).fd(1))


def test_roughness_is_the_mean_change_over_the_mean_of_the_second_half_without_the_steps_after_a_growth() -> None:
    noise = {"loss_d": rough(0.1), "loss_g": rough(0.3)}
    assert run("study-a", **noise).roughness() == pytest.approx((0.2 + 0.6) / 2, rel=0.01)
    kinked = {name: lambda share: np.where((share > 0.5) & (share <= 0.55), 50.0, 1.0) for name in noise}
    grown = {"model.discriminator.growth.at": 1000}
    assert run("study-a", settings=grown, **kinked).roughness() < 0.01
    assert run("study-a", **kinked).roughness() > 0.05
    early = {name: jump(50.0, 0.505, 1.0) for name in noise}
    assert run("study-a", **early).roughness() < 0.01


def test_a_ratio_leaves_out_seeds_that_one_arm_lacks_and_what_is_no_number_above_0() -> None:
    runs, log_ratios = SCRIPT["runs"], SCRIPT["runs"].log_ratios
    over, under = ([run("s", seed) for seed in seeds] for seeds in ((0, 1, 2), (1, 2, 3)))
    found = log_ratios(over, under, lambda one: float(one.seed - 1))
    assert [*found] == [1, 2]
    assert math.isnan(found[1])
    assert found[2] == 0.0
    assert runs.averaged({0: 1.0, 1: 2.0}, {1: 4.0}) == {1: 3.0}


AT, ADDS = "model.discriminator.growth.at", "model.discriminator.growth.adds"


def study_a(direct: float, block: float, first: float = 1.0, **grown: Any) -> list[Any]:
    """Five seeds of every arm; roughness of the arms, that with one update of G times `first`."""
    runs = []
    for seed, updates, kind in product(range(5), (1, 2), ("direct", "block", "head")):
        size = (direct if kind == "direct" else block) * (first if updates == 1 else 1.0)
        growth = {} if kind == "direct" else {AT: 1000, ADDS: kind}
        curves = {"loss_d": rough(size), "loss_g": rough(size)} | (grown if kind == "block" else {})
        runs.append(run("study-a", seed, {"training.generator.updates": updates, **growth}, **curves))
    return runs


def test_a1_and_a3_compare_roughness() -> None:
    assert verdicts("a", *study_a(0.2, 0.1))["A1"] == HOLDS
    assert verdicts("a", *study_a(0.1, 0.1))["A1"] == NOT
    assert verdicts("a", *study_a(0.1, 0.1, first=2.0))["A3"] == HOLDS
    assert verdicts("a", *study_a(0.1, 0.2, first=0.5))["A3"] == NOT
    mixed = [*study_a(0.1, 0.05)[:6], *(replace(r, seed=r.seed + 9) for r in study_a(0.1, 0.2)[:6])]
    assert verdicts("a", *mixed)["A1"] == UNDECIDED


def test_a1_averages_ratios_over_updates_of_g_on_the_log_scale() -> None:
    runs = [one for one in study_a(0.4, 0.1) if one.settings["training.generator.updates"] == 2]
    runs += [one for one in study_a(0.1, 0.1) if one.settings["training.generator.updates"] == 1]
    assert decide("a", *runs)["A1"].interval.estimate == pytest.approx(2, rel=0.02)


def test_a2_asks_whether_the_loss_of_d_falls_from_100_steps_after_the_growth() -> None:
    def kink(level: float) -> Curve:
        """Far away in the first 100 steps, which do not count."""
        return lambda share: np.where(share <= 0.5, 1.0, np.where(share <= 0.55, 30.0, level))

    found = decide("a", *study_a(0.1, 0.1, loss_d=kink(0.5)))["A2"]
    assert found.verdict == HOLDS
    assert found.interval.estimate == pytest.approx(0.5, rel=0.01)
    assert "with a new head alone 1 (" in found.measured
    assert verdicts("a", *study_a(0.1, 0.1, loss_d=kink(1.5)))["A2"] == NOT


def test_a4_compares_the_end_with_three_quarters() -> None:
    assert verdicts("a", *study_a(0.1, 0.1))["A4"] == HOLDS
    rising = {"fd_ratio": jump(4.0, 0.8, 8.0)}
    assert verdicts("a", *study_a(0.1, 0.1, **rising))["A4"] == NOT


def test_a5_counts_falls_of_fd_between_quarters_with_flat_losses() -> None:
    def flat(seeds: int, **curves: Curve) -> Any:
        arms = (run("study-a", seed, {"training.generator.updates": 2}, **curves) for seed in range(seeds))
        return decide("a", *arms)["A5"]

    assert flat(20, fd_ratio=constant(9.0)).verdict == NOT
    found = flat(20, fd_ratio=lambda share: 80 * 0.1**share)  # by 44 % a quarter
    assert found.verdict == HOLDS
    assert found.measured.startswith("FD fell by a fifth or more over 60 of 60 pairs")
    assert "0 of 0" in flat(1, loss_d=lambda share: 1 - 0.9 * share).measured


def arm(name: str, seeds: int = 3, **changes: Any) -> list[Any]:
    settings = SCRIPT["b"].BASE | SCRIPT["b"].ARMS[name]
    return [run("study-b", seed, settings, **changes) for seed in range(seeds)]


def later(sweep: str, *runs: Any) -> list[Any]:
    """As if they had been run in that sweep."""
    return [replace(one, sweep=sweep) for one in runs]


def timed(*runs: Any) -> list[Any]:
    """These, and as if each had also been run for its time."""
    return [*runs, *later("study-b-times", *runs)]


def test_a_setting_that_a_network_lacks_is_that_of_both() -> None:
    one = run("study-b", settings={"model.feature_maps": 8, "model.generator.feature_maps": 32, "training.beta1": 0.5})
    keys = ("model.feature_maps", "model.generator.feature_maps", "model.discriminator.feature_maps")
    assert [one.get(key) for key in keys] == [8, 32, 8]
    assert one.get("training.discriminator.beta1") == 0.5
    assert one.get("model.discriminator.growth.at") is None


def test_b1_is_the_share_of_the_gain_in_the_first_40_percent() -> None:
    assert verdicts("b", *arm("baseline"))["B1"] == HOLDS
    assert verdicts("b", *arm("baseline", fd_ratio=jump(80.0, 0.6, 4.0)))["B1"] == NOT


@pytest.mark.parametrize(
    ("last", "speed", "kinds", "verdict"),
    [
        (6.0, 80.0, ("mode_collapse",), HOLDS),
        (6.0, 80.0, ("healthy",), NOT),
        (9.0, 80.0, ("mode_collapse",), NOT),
        (6.0, 60.0, ("mode_collapse",), NOT),
    ],
)
def test_b2_asks_for_quality_time_and_collapse(last: float, speed: float, kinds: tuple[str], verdict: str) -> None:
    narrow = arm("narrow", fd_ratio=falling(last), steps_per_s=speed, verdicts=kinds)
    assert verdicts("b", *timed(*arm("baseline"), *narrow))["B2"] == verdict


def test_b2_is_undecided_where_collapse_comes_at_16_as_well_or_once_alone() -> None:
    faster = {"fd_ratio": falling(6.0), "steps_per_s": 80.0}
    narrow = arm("narrow", verdicts=("mode_collapse",), **faster)
    assert verdicts("b", *timed(*arm("baseline", verdicts=("mode_collapse",)), *narrow))["B2"] == UNDECIDED
    assert verdicts("b", *timed(*arm("baseline"), *narrow[:1], *arm("narrow", **faster)[1:]))["B2"] == UNDECIDED


def test_b3_counts_failing_runs_at_high_rates() -> None:
    base, bad = arm("baseline"), {"verdicts": ("not_learning", "imbalance")}
    assert decide("b", *base, *arm("2e-2", **bad), *arm("2e-1", **bad))["B3"].verdict == HOLDS
    assert verdicts("b", *base, *arm("2e-2"), *arm("2e-1", **bad))["B3"] == NOT
    assert verdicts("b", *base, *arm("2e-2", **bad)[:1], *arm("2e-2")[1:], *arm("2e-1", **bad))["B3"] == UNDECIDED
    assert verdicts("b", *arm("baseline", **bad), *arm("2e-2", **bad), *arm("2e-1", **bad))["B3"] == UNDECIDED
    assert verdicts("b", *base, *arm("2e-1", **bad))["B3"] == UNDECIDED  # half of it was run
    informed = {"verdicts": ("healthy", "discriminator_strong")}  # which is no failure
    assert verdicts("b", *base, *arm("2e-2", **informed), *arm("2e-1", **informed))["B3"] == NOT


@pytest.mark.parametrize(
    ("fd", "loss", "kinds", "verdict"),
    [
        (constant(80.0), 0.001, ("not_learning",), HOLDS),
        (falling(4.0), 0.001, ("dead_generator",), HOLDS),
        (constant(80.0), 0.5, ("divergence",), HOLDS),
        (falling(4.0), 0.001, ("healthy",), NOT),
        (constant(80.0), 0.5, ("not_learning",), NOT),
    ],
)
def test_b4_asks_for_noise_and_a_loss_of_zero(fd: Curve, loss: float, kinds: tuple[str], verdict: str) -> None:
    near_zero = {"loss_d": lambda share: np.where(share == 0.75, loss, 1.0)}
    assert verdicts("b", *arm("2e-1", fd_ratio=fd, verdicts=kinds, **near_zero))["B4"] == verdict


def test_b5_asks_for_time_and_quality() -> None:
    base = arm("baseline")
    assert verdicts("b", *timed(*base, *arm("latent", steps_per_s=65.0)))["B5"] == HOLDS
    assert verdicts("b", *timed(*base, *arm("latent", steps_per_s=52.0)))["B5"] == NOT
    assert verdicts("b", *timed(*base, *arm("latent", steps_per_s=65.0, fd_ratio=falling(8.0))))["B5"] == NOT
    other = later("study-b-times", *base, *arm("latent", steps_per_s=65.0))
    found = decide("b", *base, *arm("latent", steps_per_s=10.0), *other)["B5"]  # what study-b itself took is not asked
    assert found.verdict == HOLDS
    better = arm("latent", steps_per_s=65.0, fd_ratio=falling(2.0))
    assert verdicts("b", *timed(*base, *better))["B5"] == UNDECIDED


def test_b6_compares_counts() -> None:
    base = arm("baseline")
    near, far = ({"parameters": {"discriminator": count}} for count in (10_145, 10_300))
    found = decide("b", *base, *arm("separable", **near))["B6"]
    assert (found.verdict, found.measured) == (HOLDS, "10,145 parameters against 10,017: 1.3% apart")
    assert verdicts("b", *base, *arm("separable", **far))["B6"] == NOT


def test_b7_compares_the_ends_of_the_later_seeds_alone() -> None:
    def verdict(*deep: Any) -> str:
        return verdicts("b", *later("study-b-more", *arm("baseline"), *deep))["B7"]

    assert verdict(*arm("deep")) == HOLDS
    assert verdict(*arm("deep", fd_ratio=falling(2.0))) == NOT
    varied = [replace(one, series=run("x", fd_ratio=falling(last)).series)
              for one, last in zip(arm("deep"), (2.0, 4.0, 8.0), strict=True)]  # fmt: skip
    assert verdict(*varied) == UNDECIDED
    assert decide("b", *arm("baseline"), *arm("deep"))["B7"].measured == "not run"


def digits(shares: Iterable[float]) -> dict[str, Any]:
    return {"names": [*"0123456789"], "real": [100] * 10, "few": [8] * 10, "samples": [round(1e4 * s) for s in shares]}


def test_c1_and_c2_ask_for_probabilities_of_80_and_60_samples() -> None:
    even, uneven = [0.1] * 10, [0.15] * 5 + [0.0] + [0.08, 0.08, 0.01, 0.08]
    found = decide("c", *(run("study-c", seed, classes=digits(uneven)) for seed in range(3)))
    assert (found["C1"].verdict, found["C2"].verdict) == (HOLDS, HOLDS)
    assert found["C2"].measured.endswith("0.55, 0.55, 0.55")  # .99 ** 60
    found = decide("c", *(run("study-c", seed, classes=digits(even)) for seed in range(3)))
    assert (found["C1"].verdict, found["C2"].verdict) == (NOT, NOT)
    mixed = (run("study-c", seed, classes=digits(even if seed else uneven)) for seed in range(3))
    assert set(verdicts("c", *mixed).values()) == {UNDECIDED}


def test_c3_is_about_the_worst_class() -> None:
    good = (np.eye(10) * 900 + 10).tolist()
    bad = [[0, 900] + [0] * 8, *good[1:]]
    for requested, verdict in ((good, HOLDS), (bad, NOT)):
        runs = [run("study-c-conditional", seed, classes={"requested": requested}) for seed in range(3)]
        assert decide("c", *runs)["C3"].verdict == verdict


def beta(value: float, seeds: int = 5, sweep: str = "study-d", **other: Any) -> list[Any]:
    settings = {"training.beta1": value, **other.pop("settings", {})}
    return [run(sweep, seed, settings, **other) for seed in range(seeds)]


def test_d1_asks_for_a_failure_and_losses_far_apart() -> None:
    apart = {"loss_d": constant(0.1), "loss_g": constant(4.0)}
    assert verdicts("d", *beta(0.9, verdicts=("mode_collapse",), **apart))["D1"] == HOLDS
    assert verdicts("d", *beta(0.9, **apart))["D1"] == NOT
    assert verdicts("d", *beta(0.9, verdicts=("mode_collapse",)))["D1"] == NOT
    late = {"loss_d": jump(3.0, 0.8, 0.1), "loss_g": jump(1.0, 0.8, 4.0)}
    assert verdicts("d", *beta(0.9, verdicts=("mode_collapse",), **late))["D1"] == HOLDS
    mixed = [*beta(0.9, verdicts=("mode_collapse",), **apart)[:3], *beta(0.9)[3:]]
    assert verdicts("d", *mixed)["D1"] == UNDECIDED


@pytest.mark.parametrize(
    ("loss_g", "verdict"),
    [
        (lambda share: 3 - 4 * (share - 0.4) ** 2, HOLDS),
        (lambda share: 3 - 2 * share, NOT),  # falls from the start
        (lambda share: 1 + 2 * share, NOT),  # never turns
        (lambda share: np.where(share < 0.8, 1 + 2.5 * share, 7 - 5 * share), NOT),  # turns late
        (lambda share: 3 - 0.5 * (share - 0.4) ** 2, NOT),  # ends 6 % below
    ],
)
def test_d2_asks_that_the_loss_of_g_turns(loss_g: Curve, verdict: str) -> None:
    assert verdicts("d", *beta(0.5, loss_g=loss_g))["D2"] == verdict
    assert verdicts("d", *beta(0.5, loss_g=loss_g, verdicts=("mode_dropping",)))["D2"] == NOT


def test_d3_compares_the_32nd_with_the_24th_evaluation() -> None:
    assert verdicts("d", *beta(0.5, fd_ratio=lambda share: 80 * 0.01**share))["D3"] == HOLDS
    assert verdicts("d", *beta(0.5, fd_ratio=constant(9.0)))["D3"] == NOT
    assert verdicts("d", *beta(0.5, fd_ratio=jump(7.0, 0.5, 9.0)))["D3"] == NOT


CURES = {
    "D4": {"training.discriminator.learning_rate": 5e-5, "training.loss": "non_saturating"},
    "D5": {"model.generator.feature_maps": 32, "model.discriminator.feature_maps": 8},
    "D6": {"training.loss": "wasserstein_gp"},
}


@pytest.mark.parametrize("claim", CURES)
def test_a_cure_keeps_runs_from_failing_and_within_twice_the_fd_of_beta1_05(claim: str) -> None:
    def tried(**other: Any) -> dict[str, str]:
        return verdicts("d", *beta(0.5), *beta(0.9, 3, "study-d-cures", settings=CURES[claim], **other))

    assert tried(fd_ratio=falling(7.5))[claim] == HOLDS
    assert tried(fd_ratio=falling(8.5))[claim] == NOT
    assert tried(verdicts=("mode_collapse",))[claim] == NOT
    assert {tried()[other] for other in CURES if other != claim} == {UNDECIDED}
    assert verdicts("d", *beta(0.9, 3, "study-d-cures", settings=CURES[claim]))[claim] == UNDECIDED


LETTERS = ("u", "W", "O", "E", "H")
RATES = (1e-4, 5e-4, 1e-3)


def letters(change: Callable[[str, float, bool], dict[str, Any]] = lambda *_: {}) -> list[Any]:
    return [
        run("study-e", 0, {"dataset.classes": [letter], "training.learning_rate": rate,
                           "dataset.augment.rotate": 10.0 * on, "dataset.augment.flip": False},
            **change(letter, rate, on))
        for letter, rate, on in product(LETTERS, RATES, (True, False))
    ]  # fmt: skip


def test_e1_asks_whether_letters_come_in_the_same_order() -> None:
    def late(letter: str, *_: Any) -> dict[str, Any]:
        return {"fd_ratio": jump(80.0, 0.1 * (1 + LETTERS.index(letter)), 10.0)}

    def seeds(of: list[Any], *numbers: int) -> list[Any]:
        return later("study-e-more", *(replace(one, seed=seed) for seed in numbers for one in of))

    found = decide("e", *seeds(letters(late), 10))["E1"]
    assert (found.verdict, found.seeds) == (HOLDS, 5)
    assert found.measured.endswith("W 1.00; from early to late: u W O E H")
    assert verdicts("e", *seeds(letters(), 10))["E1"] == NOT
    assert decide("e", *letters(late))["E1"].measured == "not run"

    def shuffled(letter: str, rate: float, on: bool) -> dict[str, Any]:
        turn = (RATES.index(rate) * 2 + on) * 2
        return late(LETTERS[(LETTERS.index(letter) + turn) % 5 if turn else LETTERS.index(letter)])

    assert verdicts("e", *seeds(letters(shuffled), 10))["E1"] == NOT
    mixed = [*seeds(letters(late), 10), *seeds(letters(late), 11), *seeds(letters(shuffled), 12)]
    assert verdicts("e", *mixed)["E1"] == HOLDS  # every seed has blocks of its own


def test_e1_takes_the_end_for_letters_that_are_never_learned() -> None:
    learned = SCRIPT["e1"].learned
    assert learned(run("study-e", fd_ratio=constant(80.0))) == STEPS
    steps = {"fd_ratio": lambda share: np.where(share < 0.3, 80.0, np.where(share < 0.5, 21.0, 19.0))}
    assert learned(run("study-e", **steps)) == 0.5 * STEPS


def test_e2_asks_whether_losses_move_against_each_other() -> None:
    opposed = {"loss_d": rough(0.1), "loss_g": rough(-0.1)}
    found = decide("e", *letters(lambda *_: opposed))["E2"]
    assert (found.verdict, found.seeds) == (HOLDS, 5)
    assert found.interval.high < -0.99
    assert verdicts("e", *letters(lambda *_: {"loss_d": rough(0.1), "loss_g": rough(0.1)}))["E2"] == NOT
    without = letters(lambda letter, rate, on: {} if on else opposed)  # does not count
    assert verdicts("e", *without)["E2"] != HOLDS


def rates(slow: float, middle: float, fast: float) -> Callable[..., dict[str, Any]]:
    sizes = dict(zip(RATES, (slow, middle, fast), strict=True))
    return lambda letter, rate, on: {name: rough(sizes[rate]) for name in ("loss_d", "loss_g")}


def test_e3_asks_whether_1e_4_is_smoothest() -> None:
    assert verdicts("e", *letters(rates(0.05, 0.1, 0.2)))["E3"] == HOLDS
    assert verdicts("e", *letters(rates(0.1, 0.1, 0.2)))["E3"] == NOT


def test_e4_asks_for_roughness_and_breakdowns() -> None:
    def broken(at: float, level: float = 20.0, size: float = 0.2) -> Callable[..., dict[str, Any]]:
        once = {"fd_ratio": lambda share: np.where(np.isclose(share, at), level, np.maximum(1.5, 5 - 8 * share))}
        return lambda letter, rate, on: rates(0.1, 0.1, size)(letter, rate, on) | once

    assert verdicts("e", *letters(broken(0.5)))["E4"] == HOLDS
    assert verdicts("e", *letters(broken(0.1)))["E4"] == NOT  # too early
    assert verdicts("e", *letters(broken(0.5, level=3.9)))["E4"] == NOT  # not to 4
    assert verdicts("e", *letters(broken(0.5, size=0.05)))["E4"] == NOT  # smoother
    some = letters(lambda letter, rate, on: broken(0.5 if letter in "uW" else 0.1)(letter, rate, on))
    assert verdicts("e", *some)["E4"] == UNDECIDED


def test_e5_and_e6_are_claims_of_no_effect() -> None:
    assert verdicts("e", *letters())["E5"] == verdicts("e", *letters())["E6"] == HOLDS
    worse = letters(lambda letter, rate, on: {"fd_ratio": falling(8.0 if rate == 5e-4 else 4.0)})
    assert verdicts("e", *worse)["E5"] == NOT

    def still(letter: str, rate: float, on: bool) -> dict[str, Any]:
        """O, W and E go on to learn; the others do not count."""
        return {"fd_ratio": jump(4.0, 0.8, 2.0)} if letter in "OWE" else {}

    found = decide("e", *letters(still))["E6"]
    assert (found.verdict, found.seeds) == (NOT, 3)
    helped = letters(lambda letter, rate, on: {"fd_ratio": falling(4.0 if on else 8.0)})
    assert "with augmentation it is 0.5 (" in decide("e", *helped)["E6"].measured


@pytest.mark.parametrize(
    ("code", "message", "verdict"),
    [
        (1, "model.channels: 1, but the images have 3 (RGB)", HOLDS),
        (1, "model.channels: 1 does not fit the images", NOT),
        (1, "1 channel, but the images have 3", NOT),
        (0, "model.channels: 1, but the images have 3 (RGB)", NOT),
    ],
)
def test_e7_asks_for_both_counts_and_the_key(code: int, message: str, verdict: str) -> None:
    assert SCRIPT["e7"].judged(code, message).verdict == verdict


@pytest.mark.slow
def test_e7_holds_for_what_plan_says() -> None:
    assert SCRIPT["e7"].refused().verdict == HOLDS


def test_every_claim_has_a_row_and_what_was_not_run_says_so() -> None:
    rows = SCRIPT["tables"].decide([])
    assert [*rows["claim"]] == CLAIMS
    assert len(CLAIMS) == 28
    assert set(rows["verdict"]) == {UNDECIDED}
    assert set(rows["measured"]) == {"not run"}


def test_the_summary_hides_no_claim_that_was_not_run() -> None:
    text = SCRIPT["tables"].summary(SCRIPT["tables"].decide(beta(0.5)))
    assert "| D: beta1 0.9 against 0.5 on MNIST | D3 | D2 | D1 (not run), D4 (not run)," in text


def write_trial(home: Home, sweep: str, name: str, kind: str | None) -> TrialFolder:
    """By hand; kind: of its outcome."""
    folder = home.sweep(sweep).trial(name)
    dataset = {"name": "mnist", "image_size": 28, "path": None, "data_dir": "/somewhere", "classes": ["u"]}
    config = {"dataset": dataset, "training": {"beta1": 0.9}, "seed": 3}
    write_json(folder.trial, {"steps": 20, "config": config, "parameters": {"generator": 5, "discriminator": 6}})
    with Journal(folder.journal) as journal:
        journal.append(Record(0, 100.0, {"fd_ratio": 81.2345678, "density": 0.5}))
        journal.append(Record(10, 101.0, {"loss_d": 1.5, "loss_g": math.nan, "steps_per_s": 10.0}))
        journal.append(Record(20, 104.0, {"loss_d": 1.25, "steps_per_s": 20.0}))
    if kind:
        found = (Verdict("mode_collapse", 5, ""), Verdict("imbalance", 5, ""))
        outcome.write(folder, outcome.Outcome(kind, 20, verdicts=found))  # type: ignore[arg-type]
    return folder


@pytest.fixture
def records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where runs are recorded."""
    path = tmp_path / "studies.jsonl.gz"
    monkeypatch.setattr(importlib.import_module(f"{LIB}.records"), "RECORDS", path)
    return path


def test_records_are_of_trials_that_completed_and_keep_those_of_other_sweeps(
    home: Home, records: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    collect = importlib.import_module(f"{LIB}.records").collect
    kinds = {"a": "completed", "b": "stopped", "c": "crashed", "d": None}
    for sweep in ("study-d", "other"):
        for name, kind in kinds.items():
            write_trial(home, sweep, name, kind)
        write_json(home.sweep(sweep).plan, {"trials": [*kinds]})
    collect(home.path)
    assert capsys.readouterr().err == "study-d: 2 of 4 trials have ended\n"
    first, second = SCRIPT["runs"].read(records)
    assert (first.id, second.id, first.outcome, second.outcome) == ("a", "b", "completed", "stopped")
    assert first.settings == {
        "dataset.name": "mnist", "dataset.image_size": 28, "dataset.classes": ["u"], "training.beta1": 0.9
    }  # fmt: skip
    assert (first.seed, first.steps_per_s, first.wall_s, first.fails) == (3, 15.0, 4.0, True)
    assert first.series["fd_ratio"] == [[0], [81.235]]
    assert math.isnan(first.series["loss_g"][1][0])
    assert "density" not in first.series

    before = records.read_bytes()
    assert before[4:8] == bytes(4)  # no time in it
    collect(home.path)
    assert records.read_bytes() == before
    home.sweep("study-d").path.rename(home.sweep("study-e").path)
    collect(home.path)
    assert [one.sweep for one in SCRIPT["runs"].read(records)] == ["study-d"] * 2 + ["study-e"] * 2


SMALL = """
name: {name}
dataset: {{name: digits, image_size: 16}}
model: {{latent_dim: 8, feature_maps: 4, conditioning: {conditioning}}}
training: {{steps: 10, batch_size: 16}}
evaluation: {{per_run: 2, samples: 64}}
stop: none
cadence: {{metrics: 5, samples: 10, checkpoints: 10}}
"""


@pytest.mark.slow
def test_classes_are_counted_of_what_was_trained(
    home: Home, records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge_at_once(monkeypatch)
    for name, conditioning in (("study-c", "none"), ("study-c-conditional", "concat")):
        file = tmp_path / f"{name}.yaml"
        file.write_text(SMALL.format(name=name, conditioning=conditioning))
        plan = make_plan(load(file, ()), home)
        write_trials(plan, "gansweep run", ())
        for config in jobs_of(plan):
            with closing(Job.from_config(config).open()) as training:
                while training.advance(60) is None:
                    pass
    importlib.import_module(f"{LIB}.records").collect(home.path)
    plain, conditional = (one.classes for one in SCRIPT["runs"].read(records))
    assert [sum(plain[kind]) for kind in ("few", "samples", "real")] == [80, 10_000, 1_797]
    assert all(few <= many for few, many in zip(plain["few"], plain["samples"], strict=True))
    assert [sum(row) for row in conditional["requested"]] == [1_000] * 10
    assert conditional["names"] == [*"0123456789"]


@pytest.mark.parametrize("channels", [1, 3])
def test_grids_are_cut_into_the_images_that_they_were_made_of(home: Home, channels: int) -> None:
    images = np.random.default_rng(0).integers(0, 255, (10, channels, 16, 16), np.uint8)
    one = run("study-c", settings={"dataset.image_size": 16})
    for step in (500, 1500):
        path = home.sweep("study-c").trial(one.id).sample(step)
        write_atomically(path, grid_png(images if step == 1500 else images[::-1], columns=5))
    grids = importlib.import_module(f"{LIB}.grids")
    cut = grids.samples(home, one, 0.7)  # nearest to 1,400
    assert np.array_equal(cut.reshape(10, 16, 16, channels), images.transpose(0, 2, 3, 1))
    assert len(grids.samples(home, replace(one, id="none"))) == 0


def test_markdown_goes_between_its_markers(tmp_path: Path) -> None:
    path = tmp_path / "a.md"
    path.write_text("before\n<!-- x -->\nold\n<!-- end of x -->\nafter\n")
    SCRIPT["tables"].put(path, "x", "new")
    assert path.read_text() == "before\n<!-- x -->\nnew\n<!-- end of x -->\nafter\n"
    with pytest.raises(ValueError, match="has no <!-- y -->"):
        SCRIPT["tables"].put(path, "y", "new")


@pytest.mark.slow
def test_the_tables_are_what_the_records_give(checkout: Path, tmp_path: Path) -> None:
    """--from-records writes the CSV and the document anew: both must be as they are committed."""
    copy = tmp_path / "copy"
    (copy / "docs").mkdir(parents=True)
    shutil.copytree(checkout / "analysis", copy / "analysis")
    files = ("docs/studies.md", "analysis/studies/results/studies.csv")
    shutil.copy(checkout / files[0], copy / files[0])
    command = [sys.executable, "-m", "analysis.studies.check_studies", "--from-records"]
    subprocess.run(command, cwd=copy, check=True, capture_output=True)
    for file in files:
        assert (copy / file).read_text() == (checkout / file).read_text(), file


def test_every_claim_is_published_with_the_command_that_regenerates_it(checkout: Path) -> None:
    with (checkout / "analysis" / "studies" / "results" / "studies.csv").open() as file:
        rows = [*csv.DictReader(file)]
    assert [row["claim"] for row in rows] == CLAIMS
    assert [
        row["claim"] for row in rows if not row["command"].startswith("python -m analysis.studies.check_studies --")
    ] == []
    assert [row["claim"] for row in rows if row["measured"] == "not run" and row["verdict"] != UNDECIDED] == []
    text = (checkout / "docs" / "studies.md").read_text()
    summary = text.partition("<!-- studies -->")[2].partition("<!-- end of studies -->")[0]
    assert [claim for claim in CLAIMS if claim not in summary] == []
