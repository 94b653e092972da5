"""What figures show is what was recorded: their texts, colours and curves, read from the SVG or the figure itself."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from frames import BETA1, RATE, evaluations, frame, histories, study, trial
from frames import grid as over_two
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from scipy.stats import gmean

from gansweep.health.kinds import INFORMATION_COLOUR
from gansweep.health.verdict import FAILURES, INFORMATION
from gansweep.report import curves, grid
from gansweep.report.curves import Curves
from gansweep.report.palette import CRASHED, GREY, colour
from gansweep.report.style import canvas, displayable, fonts, svg

NAN, INF = math.nan, math.inf
SVG = "{http://www.w3.org/2000/svg}"
MARKUP = ("a#b", "$x$", r"$\foo$", "*s*", "_u_", "<b>", "a&b", '"q"', "\\n", "`r`", "@ref")
KEY = ("s", "000000000000")


def texts(picture: bytes) -> list[str]:
    """The texts of an SVG, in the order of drawing."""
    return ["".join(text.itertext()) for text in ElementTree.fromstring(picture).iter(f"{SVG}text")]


def cells(figure: Figure) -> dict[tuple[int, int], str]:
    """(column, row) → what a heat map says there."""
    return {(int(x), int(y)): text.get_text() for text in figure.axes[0].texts for x, y in [text.get_position()]}


def stripes(figure: Figure) -> dict[tuple[int, int], list[str]]:
    """(column, row) → colours from left to right; they fill the cell and do not overlap."""
    found: dict[tuple[int, int], list[tuple[float, float, str]]] = {}
    for patch in figure.axes[1].patches:
        x, width = patch.get_x(), patch.get_width()  # type: ignore[attr-defined]
        cell = (int(x + 1e-9), int(patch.get_y()))  # type: ignore[attr-defined]
        found.setdefault(cell, []).append((x - cell[0], width, to_hex(patch.get_facecolor())))
    for one in found.values():
        assert [x for x, _, _ in one] == pytest.approx([n / len(one) for n in range(len(one))])
        assert [width for _, width, _ in one] == pytest.approx([1 / len(one)] * len(one))
    return {cell: [ink for _, _, ink in one] for cell, one in found.items()}


def hexes(*kinds: str) -> list[str]:
    return [colour(kind).lower() for kind in kinds]


# Palette and style


def test_every_verdict_has_a_colour_of_its_own() -> None:
    """Failures and conclusions name trials; information shares one."""
    assert {colour(kind) for kind in INFORMATION} == {INFORMATION_COLOUR}
    naming = [colour(kind) for kind in (*FAILURES, "healthy", "undecided", "crashed")]
    assert len(set(naming)) == len(naming)
    assert (colour("crashed"), colour("of another version")) == (CRASHED, GREY)


def test_the_faces_files_are_found() -> None:
    for weight in ("Regular", "Semibold", "Bold", "It"):
        assert (fonts() / f"SourceSansPro-{weight}.ttf").read_bytes()[:4] == b"\x00\x01\x00\x00"


def test_a_figure_is_the_same_bytes_twice() -> None:
    def make() -> bytes:
        figure = canvas(2, 1)
        figure.subplots().plot([0, 1], [1, 0])
        return svg(figure)

    assert make() == make()
    assert b"date" not in make().lower()
    trials = over_two({(1e-3, 0.5): [4.0, 6.0], (1e-4, 0.5): 5.0})
    drawn = [grid.parallel(trials, [RATE], "q", log=True, lower=True) for _ in range(2)]
    assert drawn[0] == drawn[1]


def test_text_stays_text_in_our_face_and_is_never_a_formula() -> None:
    figure = canvas(4, 3)
    for number, text in enumerate(MARKUP):
        figure.text(0.1, number / len(MARKUP), text)
    assert sorted(texts(svg(figure))) == sorted(MARKUP)
    assert b"Source Sans Pro" in svg(figure)


def test_what_no_font_has_is_drawn_without_a_warning_and_replaced_where_it_is_set() -> None:
    figure = canvas(2, 1)
    figure.text(0, 0, "猫")
    assert texts(svg(figure)) == ["猫"]
    assert displayable("a 猫, \x1b[31m and 😀\ufeff") == "a �, �[31m and ��"
    for kept in ("кот σ(D) × → ∞ – −", "two\r\nlines\tand a tab", *MARKUP):
        assert displayable(kept) == kept


# The grid


def test_cells_are_geometric_means_of_their_trials() -> None:
    rates, betas = (1e-4, 1e-3, 0.2), (0.5, 0.9)
    rng = np.random.default_rng(0)
    values = {pair: rng.lognormal(2, 1, 3).tolist() for pair in itertools.product(rates, betas)}
    figure = grid.plane(over_two(values), [RATE, BETA1], "FD ratio", log=True)
    expected = {(rates.index(r), betas.index(b)): f"{gmean(seeds):.3g}" for (r, b), seeds in values.items()}
    assert cells(figure) == expected
    shown = texts(svg(figure))
    assert set(expected.values()) <= set(shown)
    for text in ("FD ratio, geometric mean", "learning rate", "beta1", "1e-4", "1e-3", "0.2", "0.5", "0.9"):
        assert text in shown


def test_cells_are_plain_means_without_a_log_scale() -> None:
    """Less than nothing among them."""
    figure = grid.plane(over_two({(1e-3, 0.5): [-1.0, 4.0], (1e-4, 0.5): [0.0]}), [RATE, BETA1], "loss g", log=False)
    assert cells(figure) == {(0, 0): "0", (1, 0): "1.5"}
    assert figure.axes[0].get_title(loc="left") == "loss g, mean"


def test_the_map_of_one_trial_a_cell_is_no_mean() -> None:
    once = grid.plane(over_two({(1e-3, 0.5): [4.0], (1e-4, 0.5): [5.0]}), [RATE, BETA1], "FD ratio", log=True)
    assert once.axes[0].get_title(loc="left") == "FD ratio"


def test_cells_leave_out_what_is_not_finite_and_are_empty_without_anything() -> None:
    values = {(1e-4, 0.5): [4.0, NAN, INF, 9.0], (1e-3, 0.5): [NAN, INF], (1e-3, 0.9): 1000.0}
    figure = grid.plane(over_two(values), [RATE, BETA1], "q", log=True)
    assert cells(figure) == {(0, 0): "6", (1, 1): "1,000"}
    assert stripes(figure)[1, 0] == hexes("healthy") * 2, "their verdicts are there all the same"


def test_a_stripe_a_trial_in_the_colours_of_verdicts() -> None:
    """By precedence; a crash first, whatever the verdicts on the trial were."""
    kinds = {0.5: ["healthy", "mode_collapse", "healthy", "divergence"], 0.9: ["undecided"]}
    rows = [trial({BETA1: beta}, 5.0, kind) for beta, named in kinds.items() for kind in named]
    rows.append(trial({BETA1: 0.9}, 5.0, "mode_collapse", outcome="crashed"))
    figure = grid.plane(frame(rows, [BETA1]), [BETA1], "q", log=True)
    assert stripes(figure) == {
        (0, 0): hexes("divergence", "mode_collapse", "healthy", "healthy"),
        (1, 0): hexes("crashed", "undecided"),
    }
    shown = texts(svg(figure))
    assert shown[-5:] == ["crashed", "divergence", "mode collapse", "healthy", "undecided"]


def test_settings_of_text_and_truth_values_are_axes_as_well() -> None:
    key, flip = "dataset.path", "dataset.augment.flip"
    rows = [trial({key: text, flip: on}, 5.0 + on) for text in MARKUP[:3] for on in (True, False)]
    trials = frame(rows, [key, flip])
    figure = grid.plane(trials, [key, flip], "q", log=True)
    assert cells(figure) == {(x, y): ("5", "6")[y] for x in range(3) for y in range(2)}
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == sorted(MARKUP[:3])
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["false", "true"]
    assert set(MARKUP[:3]) <= set(texts(grid.parallel(trials, [key, flip], "q", log=True, lower=True)))


def drawn(count: int = 30, **more: Any) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rates, betas = 10 ** rng.uniform(-4, -1, count), rng.uniform(0.4, 0.9, count)
    rows = zip(rates.tolist(), betas.tolist(), rng.lognormal(2, 1, count).tolist(), strict=True)
    return frame([trial({RATE: rate, BETA1: beta}, quality, **more) for rate, beta, quality in rows], [RATE, BETA1])


def test_drawn_settings_are_points_where_they_were_drawn() -> None:
    trials = drawn()
    figure = grid.plane(trials, [RATE, BETA1], "q", log=True)
    for ax in figure.axes[:2]:
        np.testing.assert_allclose(ax.collections[0].get_offsets(), trials[[RATE, BETA1]].to_numpy())
        assert (ax.get_xscale(), ax.get_yscale()) == ("log", "linear")
    np.testing.assert_allclose(figure.axes[0].collections[0].get_array(), np.log(trials["quality"]))
    shown = texts(svg(figure))
    assert {"1e-4", "1e-3", "0.01", "0.1"} <= set(shown), "not 10^-4"
    assert not any("$" in text for text in shown)


@pytest.mark.parametrize("quality", [NAN, INF, 0.0, -1.0])
def test_points_of_any_quality(quality: float) -> None:
    trials = drawn().assign(quality=quality)
    for log in (True, False):
        assert svg(grid.plane(trials, [RATE, BETA1], "q", log=log))
        assert grid.parallel(trials, [RATE, BETA1], "q", log=log, lower=True)


@pytest.mark.parametrize(("lower", "order"), [(True, [2, 1, 0]), (False, [0, 1, 2])])
def test_in_parallel_coordinates_the_better_is_the_higher(lower: bool, order: list[int]) -> None:
    places, ticks = grid._quality(np.array([1.0, 10.0, 100.0, NAN, INF, 0.0, -1.0]), True, lower)
    assert places[:3] == pytest.approx([place / 2 for place in order])
    assert np.isnan(places[3:]).all()
    assert [text for _, text in ticks][:: 1 if lower else -1] == ["100", "22", "4.6", "1"]


def test_ticks_of_nearly_equal_qualities_are_told_apart() -> None:
    _, ticks = grid._quality(np.array([14.2, 14.3]), True, True)
    assert [text for _, text in ticks] == ["14.3", "14.27", "14.23", "14.2"]


def test_places_of_drawn_values_leave_out_missing_ones() -> None:
    """Only some of several sweeps have the setting."""
    values = pd.Series([*np.geomspace(1e-4, 1e-1, 13).tolist(), None])
    places, ticks = grid._scaled(values)
    assert places[[0, 6, 12]] == pytest.approx([0, 0.5, 1])
    assert math.isnan(places[13])
    assert [text for _, text in ticks] == ["1e-4", "5.62e-4", "3.16e-3", "0.0178", "0.1"]


def test_a_line_a_trial_in_its_colour() -> None:
    trials = frame([trial({BETA1: 0.5}, 5.0), trial({BETA1: 0.9}, 9.0, "mode_collapse")], [BETA1])
    strokes = grid.parallel(trials, [BETA1], "FD ratio", log=True, lower=True).decode()
    assert strokes.count(f"stroke: {colour('healthy').lower()}; stroke-opacity") == 1
    assert strokes.count(f"stroke: {colour('mode_collapse').lower()}; stroke-opacity") == 1
    assert {"0.5", "0.9", "5", "9", "(lower is better)"} <= set(texts(strokes.encode()))


def test_bars_of_importance_hold_their_shares() -> None:
    shares = {"FD ratio": {RATE: 0.75, BETA1: 0.25}, "mode_collapse": {BETA1: 1.0}}
    shown = texts(grid.importance(shares, [RATE, BETA1]))
    for text, times in {"75%": 1, "25%": 1, "100%": 1, "0%": 1, "FD ratio": 1, "mode collapse": 1}.items():
        assert shown.count(text) == times, text


# Over steps


def captions(trials: pd.DataFrame, text: str = "caption") -> dict[tuple[str, str], str]:
    return {(row.sweep, row.trial): f"{text} {number}" for number, row in enumerate(trials.itertuples())}


def series(trials: pd.DataFrame, metric: str = "fd_ratio", shares: Mapping[str, float] | None = None) -> Curves:
    return Curves(histories(trials), evaluations(trials, metric, shares or {}))


def test_series_are_found_by_trial_and_leave_out_what_is_not_finite() -> None:
    trials = frame([trial({}, 5.0), trial({}, 7.0)], [])
    judged = evaluations(trials)
    judged.loc[1, "fd_ratio"] = NAN
    judged.loc[2, "fd_ratio"] = INF
    found = Curves(histories(trials), judged)
    steps, values = found.evaluation(KEY, "fd_ratio")
    assert steps.tolist() == [0, 180, 240, 300, 360, 420, 480, 540, 600]
    assert values.tolist() == [605.0, 425.0, 365.0, 305.0, 245.0, 185.0, 125.0, 65.0, 5.0]
    assert found.training(KEY, "loss_d")[0].tolist() == list(range(60, 601, 60))
    assert found.span("fd_ratio") == (5.0, 607.0)
    for nothing in (found.evaluation(KEY, "density"), found.training(("other", "0"), "loss_d")):
        assert [len(part) for part in nothing] == [0, 0]
    assert found.span("density") is None


def test_an_objective_may_be_a_training_metric() -> None:
    trials = frame([trial({}, 2.0)], [])
    found = Curves(histories(trials), evaluations(trials))
    assert found.objective(KEY, "loss_g")[1].tolist() == [2.0] * 10
    assert found.objective(KEY, "fd_ratio")[1][-1] == 2.0
    assert found.span("loss_g") is None


def test_shares_are_those_of_the_last_evaluation() -> None:
    trials = frame([trial({})], [])
    judged = evaluations(trials, shares=dict.fromkeys(MARKUP, 0.1))
    judged.loc[judged.index[-1], "class_share/$x$"] = 0.7
    judged.loc[judged.index[-1], "class_share/<b>"] = NAN
    expected = {name: 0.7 if name == "$x$" else 0.1 for name in MARKUP if name != "<b>"}
    assert Curves(histories(trials), judged).shares(KEY) == expected
    assert Curves(histories(trials), judged.iloc[:0]).shares(KEY) == {}


def onsets(figure: Figure) -> list[list[float]]:
    """Steps of the dash-dotted lines of each panel."""
    return [
        [float(np.asarray(line.get_xdata())[0]) for line in ax.lines if line.get_linestyle() == "-."]
        for ax in figure.axes
    ]


def test_the_onset_of_a_state_is_marked_where_d_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    figures = drawn_by(monkeypatch)
    trials = frame([trial({}, 5.0, "mode_collapse"), trial({}, 7.0, "mode_collapse", states="discriminator_won")], [])
    made = study(trials)
    assert made.series.states(("s", trials["trial"][1])) == [("discriminator_won", 240)]
    assert texts(curves.losses(made.series, trials, captions(trials))).count("D won") == 1
    assert onsets(figures[-1]) == [[], [240]]
    curves.evidence(made.series, trials, captions(trials), "fd_ratio", "q")
    assert onsets(figures[-1]) == [[], [], [], [240], [], []]
    curves.game(made.series, trials[1:], captions(trials), "discriminator_won", "fd_ratio", "q")
    assert onsets(figures[-1]) == [[240], [240], [240]]
    curves.quality(made.series, trials, captions(trials), "fd_ratio", "q")
    assert onsets(figures[-1]) == [[], []]


@pytest.mark.parametrize("kind", ["healthy", "mode_collapse"])
def test_panels_say_whose_they_are_and_where_a_failure_began(kind: str) -> None:
    trials = frame([trial({BETA1: beta}, 5.0, kind) for beta in (0.5, 0.9)], [BETA1])
    named = captions(trials, "<b> $x$")
    for picture in (
        curves.losses(series(trials), trials, named),
        curves.quality(series(trials), trials, named, "fd_ratio", "FD ratio"),
    ):
        shown = texts(picture)
        assert {"<b> $x$ 0", "<b> $x$ 1", "training step"} <= set(shown)
        assert shown.count("mode collapse") == (2 if kind == "mode_collapse" else 0)


def test_the_name_of_a_failure_stands_between_the_title_and_the_axes(monkeypatch: pytest.MonkeyPatch) -> None:
    figures = drawn_by(monkeypatch)
    trials = frame([trial({BETA1: beta}, 5.0, "mode_collapse") for beta in (0.5, 0.9)], [BETA1])
    curves.losses(series(trials), trials, captions(trials, "a caption of more than one line, " * 3))
    figures[0].canvas.draw()
    for ax in figures[0].axes:
        (mark,) = (text for text in ax.texts if text.get_text() == "mode collapse")
        box = mark.get_window_extent()
        assert ax.bbox.y1 <= box.y0
        assert box.y1 <= ax._left_title.get_window_extent().y0  # type: ignore[attr-defined]


LOSS, GROWTH = "training.loss", "model.discriminator.growth.at"


def recorded(trials: pd.DataFrame, **values: float) -> pd.DataFrame:
    """Constant training metrics of each trial, at steps 60 and 600."""
    rows = [
        {"sweep": row.sweep, "trial": row.trial, "metric": name, "step": step, "value": value}
        for row in trials.itertuples()
        for name, value in values.items()
        for step in (60, 600)
    ]
    return pd.DataFrame(rows)


def drawn_by(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Figures that curves make from now on."""
    found: list[Figure] = []
    monkeypatch.setattr(curves, "svg", lambda figure: (found.append(figure), svg(figure))[1])
    return found


@pytest.mark.parametrize(
    ("loss", "least", "shown"),
    [
        (None, 0.5, "loss (nats)"),
        ("saturating", -0.7, "loss (nats)"),
        ("hinge", -3.0, "loss (hinge)"),
        ("wasserstein_gp", -40.0, "loss (wasserstein gp)"),
    ],
)
def test_losses_below_nothing_are_shown(
    monkeypatch: pytest.MonkeyPatch, loss: str | None, least: float, shown: str
) -> None:
    figures = drawn_by(monkeypatch)
    trials = frame([trial({LOSS: loss} if loss else {}, 5.0)], [])
    picture = curves.losses(
        Curves(recorded(trials, loss_d=1.0, loss_g=least), evaluations(trials)), trials, captions(trials)
    )
    (ax,) = figures[0].axes
    assert (ax.get_ylim()[0] <= min(least, 0), ax.get_ylim()[0] == 0) == (True, least > 0)
    assert shown in texts(picture)


def test_a_line_marks_where_d_grew(monkeypatch: pytest.MonkeyPatch) -> None:
    figures = drawn_by(monkeypatch)
    trials = frame([trial({GROWTH: at}) for at in (None, 300)], [])
    shown = texts(curves.losses(series(trials), trials, captions(trials)))
    lines = [
        [np.asarray(line.get_xdata())[0] for line in ax.lines if line.get_linestyle() == "--"] for ax in figures[0].axes
    ]
    assert (lines, "D grew" in shown) == ([[], [300]], True)
    plain = frame([trial({})], [])
    assert "D grew" not in texts(curves.losses(series(plain), plain, captions(plain)))


def test_outputs_of_critics_are_drawn_on_an_axis_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    figures = drawn_by(monkeypatch)
    trials = frame([trial({LOSS: loss}, 5.0, "mode_collapse") for loss in ("hinge", "wasserstein_clip")], [])
    critic = trials[1:]
    training = pd.concat([histories(trials), recorded(critic, critic_real=-7.0, critic_fake=-9.0)])
    judged = evaluations(trials)
    judged.loc[judged["trial"] == critic["trial"].iloc[0], "d_fresh"] = NAN
    for shown, head in (
        (trials, "D: AUC, outputs"),
        (trials[:1], "D: AUC, σ(D(G(z)))"),
        (critic, "critic: AUC, outputs"),
    ):
        picture = curves.evidence(Curves(training, judged), shown, captions(trials), "fd_ratio", "q")
        assert head in texts(picture)
        assert texts(picture).count("σ(D)") == len(shown) - (head != "D: AUC, σ(D(G(z)))")
    (own,) = (ax for ax in figures[0].axes if ax.yaxis.get_ticks_position() == "right")
    assert [line.get_ydata().tolist() for line in own.lines] == [[-7.0, -7.0], [-9.0, -9.0]]
    assert own.get_ylim()[1] < 0
    assert not [ax for ax in figures[1].axes if ax.yaxis.get_ticks_position() == "right"]


@pytest.mark.parametrize("quality", [NAN, INF, 0.0, -1.0, None])
def test_curves_of_any_quality(quality: float | None) -> None:
    """At the end of one trial, in all evaluations of the other; None: no evaluations."""
    at_end = 5.0 if quality is None else quality
    trials = frame([trial({BETA1: beta}, at_end, "mode_collapse") for beta in (0.5, 0.9)], [BETA1])
    evaluated = evaluations(trials)
    evaluated.loc[evaluated["trial"] == trials["trial"][1], "fd_ratio"] = quality
    evaluated = evaluated.iloc[:0] if quality is None else evaluated
    for shown in (trials, trials[1:]):
        found = Curves(histories(shown), evaluated[evaluated["trial"].isin(shown["trial"])])
        assert curves.quality(found, shown, captions(shown), "fd_ratio", "q")
        assert curves.evidence(found, shown, captions(shown), "fd_ratio", "q")


def failing(**more: Any) -> pd.DataFrame:
    return frame([trial({}, 5.0, "mode_collapse", **more)], [])


def test_evidence_names_its_classes_unless_they_are_many() -> None:
    shares = dict.fromkeys(MARKUP, 1 / len(MARKUP))
    trials = failing(real_shares=shares)
    shown = texts(curves.evidence(series(trials, shares=shares), trials, captions(trials), "fd_ratio", "q"))
    assert set(MARKUP) <= set(shown)
    assert "classes at the end" in shown
    many = {f"class {number}": 1 / 40 for number in range(40)}
    trials = failing(real_shares=many)
    shown = texts(curves.evidence(series(trials, shares=many), trials, captions(trials), "fd_ratio", "q"))
    assert not set(many) & set(shown)
    assert "classes at the end" in shown


def test_evidence_without_classes_has_no_panel_for_them() -> None:
    trials = failing()
    shown = texts(curves.evidence(series(trials), trials, captions(trials), "fd_ratio", "q"))
    assert "classes at the end" not in shown
    assert {"AUC", "σ(D)", "across z", "within", "caption 0", "q"} <= set(shown)


def test_evidence_shows_how_intact_samples_are_where_it_is_known() -> None:
    trials = failing()
    judged = evaluations(trials)
    for known in (False, True):
        judged = judged.assign(intact=0.2) if known else judged
        found = Curves(histories(trials), judged)
        shown = texts(curves.evidence(found, trials, captions(trials), "fd_ratio", "q"))
        assert ("intact" in shown) is known
        assert ("samples: spread, intact" if known else "spread of samples") in shown


def ticks(picture: bytes) -> list[str]:
    """Labels of the first panel's horizontal axis."""
    root = ElementTree.fromstring(picture)
    axis = root.find(f".//{SVG}g[@id='matplotlib.axis_1']")
    assert axis is not None
    return ["".join(text.itertext()) for text in axis.iter(f"{SVG}text")]


def test_cost_has_a_place_for_each_of_a_few_values_and_a_scale_for_many() -> None:
    key, names = "model.feature_maps", {"model.feature_maps": "feature maps"}
    few = frame([trial({key: maps}) for maps in (8, 8, 16, None)], [key])
    assert ticks(curves.cost(few, [key], names)) == ["8", "16", "–", "feature maps"]
    many = frame([trial({key: maps}) for maps in range(8, 48)], [key])
    assert 2 < len(ticks(curves.cost(many, [key], names))) < 12
    assert ticks(curves.cost(many, [], names)) == []
    unknown = few.assign(steps_per_s=NAN, wall_s=NAN)
    assert curves.cost(unknown, [key], names)
