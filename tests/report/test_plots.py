"""A run's own plots, from records that are made up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from gansweep.gan.sampling import GAP, grid_png
from gansweep.health import metrics as m
from gansweep.health.history import History
from gansweep.health.verdict import Verdict
from gansweep.records import outcome
from gansweep.records.journal import Journal, Record
from gansweep.records.layout import RunFolder, write_atomically, write_json
from gansweep.report.plots import draw, enlarged, losses, quality

STEPS = 40
COLLAPSE = Verdict("mode_collapse", 20, "mode collapse since step 20: …")
TRAINED = {m.LOSS_D: 1.0, m.LOSS_G: 0.5, m.GRADIENT_NORM_D: 3.0, m.GRADIENT_NORM_G: 2.0}
JUDGED = {m.FD_RATIO: 9.0, m.COVERAGE: 0.4, m.DENSITY: 0.5, m.D_AUC: 0.9, m.SPREAD_ACROSS: 0.8, m.SPREAD_WITHIN: 0.7}


def history(values: dict[str, float]) -> History:
    return History.of(
        ((step, {k: v * (1 + step / 100) for k, v in values.items()}) for step in range(10, 41, 10)), STEPS
    )


def texts(figure: object) -> list[str]:
    """Titles and names of curves, panel by panel."""
    return [
        ", ".join([ax.get_title(loc="left"), *(text.get_text() for text in ax.texts)])
        for ax in figure.axes  # type: ignore[attr-defined]
    ]


def test_losses_show_outputs_of_d_and_name_their_curves() -> None:
    found = losses(history(TRAINED | {m.D_REAL: 0.6, m.D_FAKE: 0.3}), None)
    assert texts(found) == [
        "loss, G, D",
        "probability that D assigns to real, fake, real",
        "norm of the gradient, G, D",
    ]
    assert [ax.get_yscale() for ax in found.axes] == ["symlog", "linear", "log"]
    assert found.axes[0].get_xlim() == (0, STEPS)


@pytest.mark.parametrize(("loss_d", "loss_g"), [(1.0, 0.5), (1.2, 1.0), (0.02, 4.0), (0.6, 1.2)])
def test_the_scale_of_losses_has_ticks_among_them(loss_d: float, loss_g: float) -> None:
    ax = losses(history(TRAINED | {m.LOSS_D: loss_d, m.LOSS_G: loss_g, m.D_REAL: 0.6, m.D_FAKE: 0.3}), None).axes[0]
    low, high = ax.get_ylim()
    assert any(low <= tick <= high for tick in ax.get_yticks())


def test_the_onset_of_a_state_is_marked_where_d_is_shown() -> None:
    won = Verdict("discriminator_won", 30, "discriminator won since step 30: …")
    training, judged = history(TRAINED | {m.D_REAL: 0.6, m.D_FAKE: 0.3}), history(JUDGED | {m.D_FRESH: 0.1})

    def marked(figure: Figure) -> list[int]:
        """Panels with a vertical line at its onset."""
        lines = [[np.asarray(line.get_xdata()).tolist() for line in ax.lines] for ax in figure.axes]
        return [number for number, found in enumerate(lines) if [30, 30] in found]

    assert marked(losses(training, None, [won])) == [0, 1]
    assert marked(quality(judged, None, [won])) == [3]
    assert "D won" in texts(losses(training, None, [won]))[0]
    assert "D won" in texts(quality(judged, None, [won]))[3]
    assert marked(losses(training, None)) == marked(quality(judged, None)) == []


def test_a_critics_loss_has_a_sign_and_its_output_is_no_probability() -> None:
    found = losses(history(TRAINED | {m.LOSS_D: -2.0, m.CRITIC_REAL: 5.0, m.CRITIC_FAKE: -3.0}), None)
    assert texts(found)[1] == "output of the critic, fake, real"
    assert found.axes[0].get_yscale() == "linear"


def test_losses_on_held_out_images_are_dotted() -> None:
    found = losses(history(TRAINED | {m.VALIDATION_LOSS_D: 1.2, m.VALIDATION_LOSS_G: 0.9}), None)
    assert texts(found)[0].startswith("loss (dotted: on held-out images), ")
    assert [line.get_linestyle() for line in found.axes[0].lines] == ["-", "-", ":", ":"]


@pytest.mark.parametrize(
    ("known", "title"),
    [
        ({}, "spread of samples, relative to real images, within, across z"),
        ({m.CLASSES: 8.0}, "effective number of classes"),
        (
            {m.CLASSES: 8.0, m.REQUESTED: 0.9, m.REQUESTED_WORST: 0.4},
            "share of samples in the requested class, worst class, all classes",
        ),
    ],
)
def test_quality_shows_the_variety_that_is_known(known: dict[str, float], title: str) -> None:
    assert texts(quality(history(JUDGED | known), None))[2] == title


def test_names_of_curves_that_end_together_stand_apart() -> None:
    found = quality(history(JUDGED | {m.COVERAGE: 0.5, m.DENSITY: 0.5}), None).axes[1]
    low, high = sorted(text.xy[1] for text in found.texts)  # type: ignore[attr-defined]
    assert high - low > 0.1
    assert {text.get_text() for text in found.texts} == {"coverage", "density"}


def test_a_failure_is_marked_where_it_began() -> None:
    found = quality(history(JUDGED), COLLAPSE)
    assert "mode collapse" in texts(found)[0]
    assert all(any(list(line.get_xdata()) == [20, 20] for line in ax.lines) for ax in found.axes)


def test_values_that_are_not_finite_leave_gaps_only() -> None:
    points = [(10, {m.LOSS_D: 1.0, m.LOSS_G: np.nan}), (20, {m.LOSS_D: np.inf, m.LOSS_G: np.nan})]
    found = losses(History.of(points, STEPS), None)
    assert texts(found)[0] == "loss, D"


def test_draws_what_the_folder_has(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    write_json(folder.trial, {"steps": STEPS})
    draw(folder, folder.plots)
    assert not folder.plots.exists()
    with Journal(folder.journal) as records:
        records.append(Record(10, 0.0, TRAINED))
    draw(folder, folder.plots)
    assert [path.name for path in folder.plots.iterdir()] == ["losses.png"]
    with Journal(folder.journal) as records:
        records.append(Record(20, 1.0, JUDGED))
    write_atomically(folder.sample(20), grid_png(np.zeros((64, 1, 16, 16), np.uint8)))
    outcome.write(folder, outcome.Outcome("stopped", 20, "…", (COLLAPSE,), "mode_collapse"))
    plain = (folder.plots / "losses.png").read_bytes()
    draw(folder, folder.plots)
    assert sorted(path.name for path in folder.plots.iterdir()) == ["losses.png", "quality.png", "samples.png"]
    marked = (folder.plots / "losses.png").read_bytes()
    assert marked != plain
    draw(folder, folder.plots)
    assert (folder.plots / "losses.png").read_bytes() == marked


@pytest.mark.parametrize("channels", [1, 3])
def test_samples_are_enlarged_by_a_whole_factor(tmp_path: Path, channels: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (64, channels, 16, 16), np.uint8)
    path = tmp_path / "grid.png"
    path.write_bytes(grid_png(images))
    (tmp_path / "large.png").write_bytes(enlarged(path))
    small, large = (np.asarray(Image.open(tmp_path / name)) for name in ("grid.png", "large.png"))
    assert small.shape[0] == 8 * (16 + GAP) - GAP
    np.testing.assert_array_equal(large, small.repeat(5, 0).repeat(5, 1))
