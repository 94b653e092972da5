"""What each section states about studies whose answer is known; and typeset documents of odd studies, read back."""

from __future__ import annotations

import csv
import io
import math
import re
import shlex
from collections.abc import Iterator
from dataclasses import replace
from decimal import ROUND_FLOOR, Decimal
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pypdfium2
import pytest
from bench import Bench, empty_home, losses
from facts import assert_states
from frames import BETA1, RATE, evaluations, frame, histories, study, trial
from matplotlib.figure import Figure
from PIL import Image

from gansweep.gan.sampling import grid_png
from gansweep.health.judge import judge_of
from gansweep.health.metrics import METRICS
from gansweep.health.verdict import FAILURES, KINDS, title
from gansweep.report import curves, grid, sections
from gansweep.report.appendix import appendix
from gansweep.report.document import compose, typeset
from gansweep.report.failures import failures, how_often
from gansweep.report.overview import differences, overview
from gansweep.report.palette import colour
from gansweep.report.states import states
from gansweep.report.study import Study
from gansweep.report.style import canvas
from gansweep.report.tables import read_sweep
from gansweep.report.terms import terms
from gansweep.sweepfile.loader import load
from gansweep.sweepfile.schema import TrialConfig
from gansweep.sweepfile.trials import configurations

NAN, INF = math.nan, math.inf


@pytest.fixture(autouse=True)
def _margins_as_they_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let figures have matplotlib's fixed margins: fitting them takes half of the time. test_figures fits them."""

    def plain(width: float, height: float) -> Figure:
        figure = canvas(width, height)
        figure.set_layout_engine("none")
        return figure

    for module in (curves, grid):
        monkeypatch.setattr(module, "canvas", plain)


MARKUP = ("a#b", "$x$", "*s*", "_u_", "<b>", "a&b", '"q"', "back\\slash", "`r`", "@ref", "//c", "= h", "[1]", "~")


def plain(text: str) -> str:
    """In one line, with plain spaces."""
    return re.sub(r"\s+", " ", text)


def texts(part: Any) -> Iterator[str]:
    """All text of a part of a document, in order."""
    if isinstance(part, str):
        yield part
    elif isinstance(part, dict | list):
        for one in part.values() if isinstance(part, dict) else part:
            yield from texts(one)


def text_of(part: Any) -> str:
    return plain(" | ".join(texts(part)))


def rows(section: dict[str, Any]) -> list[list[str]]:
    """Texts of the cells of a section's tables."""
    found = [row for block in section["blocks"] if block["kind"] == "rows" for row in block["rows"]]
    return [[cell if isinstance(cell, str) else cell["text"] for cell in row] for row in found]


def pdf_text(made: Study) -> str:
    pages = pypdfium2.PdfDocument(typeset(compose(made), made.files))
    return plain(" ".join(page.get_textpage().get_text_range() for page in pages))


def over(key: str, values: list[Any], qualities: list[float] | None = None, **more: Any) -> pd.DataFrame:
    """A trial a value, of quality 5, 6, … or as given."""
    each = qualities or [5.0 + number for number in range(len(values))]
    return frame([trial({key: value}, q, **more) for value, q in zip(values, each, strict=True)], [key])


# The overview


def test_the_best_settings_are_listed_in_order_with_their_best_trial() -> None:
    trials = frame(
        [
            *(trial({RATE: 1e-3}, quality, seed=seed) for seed, quality in enumerate([6.0, 4.0, 9.0])),
            *(trial({RATE: 1e-4}, quality, seed=seed) for seed, quality in enumerate([30.0, 20.0, 45.0])),
            *(trial({RATE: 0.2}, 1.0, "mode_collapse", seed=seed) for seed in range(3)),
        ],
        [RATE],
    )
    first, second = rows(overview(study(trials, [RATE])))
    assert first[:3] == ["1", "1e-3", "6"], "(6 · 4 · 9) to the third"
    assert second[:3] == ["2", "1e-4", "30"]
    assert [row[-2] for row in (first, second)] == ["3 of 3", "3 of 3"]
    assert [row[-1] for row in (first, second)] == [trials["trial"][1][:8], trials["trial"][4][:8]]


def test_of_one_seed_each_there_is_no_interval() -> None:
    found = overview(study(over(RATE, [1e-4, 1e-3]), [RATE]))
    heads = [column["title"] for block in found["blocks"] if block["kind"] == "rows" for column in block["columns"]]
    assert heads == ["", "learning rate", "FD ratio", "best trial"]


def test_what_is_to_be_maximised_is_ordered_the_other_way() -> None:
    """A training metric, without any evaluation of it."""
    trials = over(RATE, [1e-4, 1e-3, 1e-2], [-1.0, 2.0, 0.5])
    trials["rank"] = trials["quality"].rank(ascending=False).astype("Int64")
    judged = evaluations(trials).drop(columns="fd_ratio")
    made = study(trials, [RATE], objective="loss_g", mode="max", recorded={"evaluations": judged})
    assert [row[1:3] for row in rows(overview(made))] == [["1e-3", "2"], ["0.01", "0.5"], ["1e-4", "-1"]]
    text = pdf_text(made)
    assert_states(text, "best configuration is learning rate 1e-3", "loss g 2")
    assert "higher is better" in text
    assert ", mean" not in text, "one seed each"

    again = trials.assign(seed=1, trial=trials["trial"] + "again")
    twice = pd.concat([trials, again], ignore_index=True)
    averaged = study(twice, [RATE], objective="loss_g", mode="max", recorded={"evaluations": judged})
    assert "loss g, mean" in pdf_text(averaged), "-1 has no logarithm"


def test_samples_are_of_the_best_of_each_failure_and_of_a_middling_one() -> None:
    kinds = ["healthy"] * 3 + ["mode_collapse", "mode_collapse"]
    trials = frame([trial({RATE: n}, 5.0 + n, kind) for n, kind in enumerate(kinds)], [RATE])
    made = study(trials, [RATE])
    (grids,) = [block for block in overview(made)["blocks"] if block["kind"] == "grids"]
    assert [item["title"] for item in grids["items"]] == ["Best", "Mode collapse", "Rank 2 of 3", "Rank 3 of 3"]
    assert [item["colour"] for item in grids["items"][:2]] == [colour("healthy"), colour("mode_collapse")]
    assert_states(grids["items"][1]["text"], "learning rate 3", "step 600", "FD ratio 8")
    assert_states(text_of(overview(made)), "samples of 4 trials", "missing")


@pytest.mark.parametrize(("other", "ranks", "shown"), [("f", [1, 3, 2, 4], 4), ("g", [1, 2, 1, 2], 2)])
def test_ranks_are_over_all_sweeps_of_the_same_images(other: str, ranks: list[int], shown: int) -> None:
    """Sweeps with other images have ranks of their own."""
    sweeps = {"a": (1.0, 3.0), "b": (2.0, 4.0)}
    made = [trial({RATE: q}, q, sweep=name) for name, qualities in sweeps.items() for q in qualities]
    trials = frame(made, [RATE])
    trials["data_fingerprint"] = ["f", "f", other, other]
    found = study(trials, [RATE])
    assert found.trials["rank"].tolist() == ranks
    (grids,) = [block for block in overview(found)["blocks"] if block["kind"] == "grids"]
    assert grids["items"][0]["title"] == "Best"
    assert grids["items"][-1]["title"].endswith(f" of {shown}")


def test_the_grid_shown_is_the_last_that_was_recorded() -> None:
    noise = [grid_png(np.random.default_rng(n).integers(0, 256, (64, 1, 32, 32)).astype(np.uint8)) for n in range(2)]
    trials = over(RATE, [1e-3])
    made = study(trials, [], samples={trials["trial"][0]: {0: noise[0], 600: noise[1], 60: noise[0]}})
    (grids,) = [block for block in overview(made)["blocks"] if block["kind"] == "grids"]
    assert made.files[grids["items"][0]["file"]] == noise[1]
    assert made.missing == set()


def test_settings_that_differ_between_sweeps() -> None:
    more = {"training.batch_size": 64, "dataset.augment.flip": False, "training.generator.learning_rate": None}
    a = [trial({RATE: rate, **more}, sweep="a") for rate in (1e-4, 1e-3)]
    b = [trial({RATE: 1e-3, **more, "training.batch_size": 32}, sweep="b", steps=1200)]
    b[0] |= {"dataset.augment.flip": True, "training.generator.learning_rate": 0.01}
    found = differences(study(frame([*a, *b], [RATE]), [RATE]))
    assert found is not None
    assert sorted(rows(found)) == [
        ["dataset.augment.flip", "false", "true"],
        ["training.batch_size", "64", "32"],
        ["training.generator.learning_rate", "–", "0.01"],
        [RATE, "1e-4, 1e-3", "1e-3"],
        ["training.steps", "600", "1200"],
    ]
    same = differences(study(frame([a[0], a[0] | {"sweep": "b"}], [RATE]), [RATE]))
    assert same is not None
    assert rows(same) == []
    assert_states(text_of(same), "settings are the same", "seeds")
    assert differences(study(frame(a, [RATE]), [RATE])) is None


# The grid


def test_the_two_settings_that_matter_most_are_the_axes() -> None:
    third = "model.latent_dim"
    rng = np.random.default_rng(0)
    made = [
        trial({RATE: rate, BETA1: beta, third: dim}, math.exp(dim / 50 + beta + rng.normal(0, 0.01)))
        for rate in (1e-4, 1e-3)
        for beta in (0.1, 0.9)
        for dim in (10, 100)
    ]
    found = sections.whole_grid(study(frame(made, [RATE, BETA1, third]), [RATE, BETA1, third]))
    assert_states(text_of(found), "beta1 and latent dimension")


def test_a_grid_needs_something_that_varies_and_a_few_trials() -> None:
    assert sections.whole_grid(study(over(RATE, [1e-3] * 4), [RATE])) is None
    assert sections.whole_grid(study(over(RATE, [1e-3, 1e-4]), [RATE])) is None
    found = sections.whole_grid(study(over(RATE, [1e-3, 1e-4, 1e-2], [NAN] * 3), [RATE]))
    assert found is not None
    assert [block["file"] for block in found["blocks"]] == ["plane.svg"], "nothing to draw lines to"


# Samples during training

STEPS = range(0, 601, 100)


def recorded(seed: int, channels: int = 1) -> bytes:
    noise = np.random.default_rng(seed).integers(0, 255, (64, channels, 32, 32))  # never white
    return grid_png(noise.astype(np.uint8))


def step(picture: bytes, number: int) -> Any:
    """The pixels of one step of a strip: five images wide, two high."""
    left = number * (5 * 34 - 2 + 10)
    return np.asarray(Image.open(io.BytesIO(picture)))[:, left : left + 5 * 34 - 2]


@pytest.mark.parametrize("channels", [1, 3])
def test_a_row_a_trial_by_rank_with_an_early_end_and_what_is_missing(channels: int) -> None:
    trials = frame(
        [trial({RATE: 1}, 9.0), trial({RATE: 2}, 5.0), trial({RATE: 3}, 5.0, "mode_collapse", step=250)], [RATE]
    )
    grids = {name: {at: recorded(at, channels) for at in STEPS} for name in trials["trial"][:2]}
    grids[trials["trial"][0]][300] = None  # type: ignore[assignment]
    grids[trials["trial"][2]] = {at: recorded(at, channels) for at in (0, 100, 200, 250)}
    made = study(trials, [RATE], samples=grids)
    found = sections.samples(made)
    assert found is not None
    (strips,) = [block for block in found["blocks"] if block["kind"] == "strips"]
    assert strips["steps"] == [f"step {at}" for at in STEPS]
    assert [(row["name"]["text"], row["text"]) for row in strips["rows"]] == [
        ("1. healthy", "learning rate 2"),
        ("2. healthy", "learning rate 1"),
        ("mode collapse", strips["rows"][2]["text"]),
    ]
    assert_states(strips["rows"][2]["text"], "learning rate 3", "step 250")
    whole, lost, short = (made.files[row["file"]] for row in strips["rows"])
    for number, at in enumerate(STEPS):
        cut = np.asarray(Image.open(io.BytesIO(recorded(at, channels))))[: 2 * 34 - 2, : 5 * 34 - 2]
        np.testing.assert_array_equal(step(whole, number), cut)
    assert (step(lost, 3) == 0xDD).all()
    assert made.missing == {("s", trials["trial"][0])}
    last = np.asarray(Image.open(io.BytesIO(recorded(250, channels))))[: 2 * 34 - 2, : 5 * 34 - 2]
    np.testing.assert_array_equal(step(short, 3), last)
    assert all((step(short, number) == 0xFF).all() for number in (4, 5, 6))


def test_the_same_trial_in_two_sweeps_keeps_its_own_pictures() -> None:
    """A trial is its content, so both have the same id."""
    trials = frame([trial({RATE: 1e-3}, sweep=sweep) for sweep in "ab"], [RATE])
    trials["trial"] = "0" * 12
    made = study(trials, [RATE])
    listed = [{"sweep": name, "trial": "0" * 12, "step": 600, "artifact": name} for name in "ab"]
    made.tables.__dict__["samples"] = pd.DataFrame(listed)
    pictures = {"a": recorded(1), "b": recorded(2)}
    both = Study(made.tables, lambda _, artifact: pictures[artifact])
    found = sections.samples(both)
    assert found is not None
    shown = [both.files[row["file"]] for block in found["blocks"][1:] for row in block["rows"]]
    assert len(set(shown)) == 2


def test_trials_without_samples_have_no_section() -> None:
    assert sections.samples(study(over(RATE, [1e-3, 1e-4]), [RATE])) is None


# Over steps, time and cost


def test_panels_are_of_trials_that_recorded_losses() -> None:
    trials = over(RATE, [1e-4, 1e-3])
    some = histories(trials)
    made = study(trials, [RATE], recorded={"histories": some[some["trial"] == trials["trial"][0]]})
    found = sections.over_steps(made)
    assert found is not None
    assert_states(text_of(found), "1 of 2 trials")
    assert b"1e-4" in made.files["losses-0.svg"]
    assert b"1e-3" not in made.files["losses-0.svg"]
    assert sections.over_steps(study(trials, [RATE], recorded={"histories": some.iloc[:0]})) is None


def test_losses_of_another_scale_have_a_figure_of_their_own() -> None:
    loss = "training.loss"
    made = study(over(loss, ["non_saturating", "saturating", "wasserstein_gp", "hinge"]), [loss])
    found = sections.over_steps(made)
    assert found is not None
    assert [made.files[f"losses-{n}.svg"].count(b"non_saturating") for n in range(3)] == [1, 0, 0]
    assert_states(text_of(found), *(f"Losses of D and G ({scale};" for scale in ("nats", "wasserstein gp", "hinge")))
    alone = study(over(loss, ["hinge"]), [loss])
    assert "Losses of D and G." in text_of(sections.over_steps(alone)), "no scale to tell from another"


def test_metrics_of_users_have_a_figure_of_their_own() -> None:
    trials = over(RATE, [1e-4, 1e-3])
    own = evaluations(trials).assign(**{"sharp:sharpness": -1.0, "sharp:absent": NAN})
    made = study(trials, [RATE], recorded={"evaluations": own})
    assert_states(text_of(sections.over_steps(made)), "FD ratio over steps", "sharp:sharpness over steps")
    assert b"sharp:sharpness" in made.files["quality-1.svg"]
    ranked = study(trials, [RATE], objective="sharp:sharpness", recorded={"evaluations": own})
    assert text_of(sections.over_steps(ranked)).count("sharp:sharpness over steps, coloured") == 1


def test_steps_that_stopping_saved() -> None:
    ends = [("completed", 600), ("stopped", 150), ("stopped", 300), ("crashed", 100), ("running", 200)]
    made = [trial({RATE: n}, outcome=outcome, step=at) for n, (outcome, at) in enumerate(ends)]
    text = text_of(sections.cost(study(frame(made, [RATE]), [RATE])))
    assert "2 min 30 s for 1,350 steps." in text
    assert_states(text, "2 trials", "saved 750 steps", "62 %", "25 %")
    assert_states(text_of(sections.cost(study(frame(made[:1], [RATE]), [RATE]))), "no trial was stopped")
    unknown = frame([trial({RATE: 1}, steps_per_s=NAN)], [RATE])
    assert sections.cost(study(unknown, [RATE])) is None


# Failures


def measured(kind: str, loss: str = "non_saturating", conditional: bool = False) -> dict[str, str] | None:
    """The row of that tag and regime in the packaged table."""
    text = resources.files("gansweep.report").joinpath("accuracy.csv").read_text(encoding="utf-8")
    asked, rows = (kind, loss, str(conditional)), csv.DictReader(text.splitlines())
    return next((row for row in rows if (row["verdict"], row["loss"], row["conditional"]) == asked), None)


def down(bound: str) -> str:
    """A lower bound to two digits, on which it stays true."""
    return str(Decimal(bound).quantize(Decimal("0.01"), ROUND_FLOOR))


def test_a_verdict_is_shown_with_the_thresholds_of_its_own_sweep() -> None:
    trials = over(RATE, [1e-3], verdict="mode_dropping")
    name = trials["sweep"].iloc[0]
    text = text_of(failures(study(trials, [RATE], judges={name: judge_of({"mode_dropping": {"missing": 3}})})))
    assert (
        "Thresholds: signal in at least 3 of the last 5 evaluations, not before 0.7 of the steps, nor before step 50,"
        " at least 3 classes missing, density of at least 0.5, coverage of at least 0.5 times the share of the other"
        " classes, samples intact at least 0.42, if recorded." in text
    )


@pytest.mark.parametrize("kind", FAILURES)
def test_a_verdict_is_shown_with_its_thresholds_and_how_often_it_is_right(kind: str) -> None:
    found = failures(study(over(RATE, [1e-3], verdict=kind), [RATE]))
    assert [section["title"] for section in found] == ["Failures", title(kind).capitalize()]
    text = text_of(found)
    assert f"{title(kind).capitalize()}: {KINDS[kind].meaning}." in text
    assert "Thresholds: " in text or kind == "divergence"
    if row := measured(kind):
        assert_states(text, f"Of {row['runs']} held-out", f"{row['failing']} were", "95 %", down(row["bound"]))
    else:
        assert_states(text, "was not measured for unconditional runs with the loss non_saturating")


def test_an_accuracy_is_that_of_the_regime() -> None:
    """Loss, conditional or not, and the embedding: figures of others are not quoted."""

    def words(**settings: Any) -> str:
        return text_of(failures(study(over(RATE, [1e-3], verdict="poor", **settings), [RATE])))

    row = measured("poor")
    assert row
    assert f"Of {row['runs']} held-out unconditional runs" in words()
    conditional = {"training.loss": "hinge", "model.conditioning": "concat"}
    assert_states(words(**conditional), "not measured for conditional runs with the loss hinge")
    for other in ({"features": "imagenet"}, {"features_resolution": 32}, {"features_resolution": pd.NA}):
        assert_states(words(**other), "not measured in these features")
    for size in (16, 28):
        text = words(**{"dataset.image_size": size})
        assert_states(text, "was measured for images of 32 pixels only")
        assert "held-out" not in text


def test_every_row_of_the_accuracy_is_of_a_failure_and_has_a_bound_below_its_share() -> None:
    assert measured("poor")
    assert measured("healthy") is None
    for kind in FAILURES:
        if row := measured(kind):
            assert float(row["bound"]) <= int(row["failing"]) / int(row["runs"]) <= 1


def test_cases_and_crashes_are_all_listed() -> None:
    kinds = ["mode_collapse"] * 6 + ["divergence", "healthy"]
    made = [trial({RATE: n}, 5.0, kind, since_step=1000 - n) for n, kind in enumerate(kinds)]
    made.append(trial({RATE: 8}, NAN, "undecided", outcome="crashed", reason="ValueError: no", step=pd.NA))
    made[1]["reason"] = "mode collapse since step 999: coverage 0.1: few"
    _, divergence, collapse, crashed = failures(study(frame(made, [RATE]), [RATE]))
    assert [section["title"] for section in (divergence, collapse, crashed)] == [
        "Divergence", "Mode collapse", "Crashed",
    ]  # fmt: skip
    assert [row[1] for row in rows(collapse)] == ["5", "4", "3", "2", "1", "0"]
    assert rows(collapse)[4][2:] == ["999", "600", "coverage 0.1: few"]
    assert_states(text_of(collapse), "4 of 6 cases")
    assert [row[1:] for row in rows(crashed)] == [["8", "–", "ValueError: no"]]
    assert failures(study(over(RATE, [1e-3]), [RATE])) == []


# The appendix


def test_failure_rates_have_wilson_intervals() -> None:
    """5 of 5 against 1 of 5 (Wilson's bounds by his formula), a kind counted for every trial that carries it; what is
    not decided does not count."""
    made = [trial({BETA1: 0.9}, 50.0, "mode_collapse") for _ in range(5)] + [trial({BETA1: 0.5}, 50.0, "divergence")]
    made += [trial({BETA1: 0.5}, 4.0) for _ in range(4)] + [trial({BETA1: 0.5}, NAN, "undecided")]
    plain = study(frame(made, [BETA1]), [BETA1])
    table = how_often(plain)
    found = [[str(cell).replace("\u00a0", " ") for cell in row] for row in table["rows"]]
    assert found == [
        ["any failure", "6", "10", "60 %", "31 % – 83 %"],
        ["divergence", "1", "10", "10 %", "2 % – 40 %"],
        ["mode collapse", "5", "10", "50 %", "24 % – 76 %"],
        ["beta1 0.5", "1", "5", "20 %", "4 % – 62 %"],
        ["beta1 0.9", "5", "5", "100 %", "57 % – 100 %"],
    ]


def test_terms_explain_the_objective_and_the_recorded_metrics() -> None:
    trials = over(RATE, [1e-3])
    made = study(trials, [RATE], objective="label_kl", recorded={"evaluations": evaluations(trials)})
    text = text_of([terms(made)])
    for name in ("label_kl", "fd_ratio", "coverage", "d_auc"):
        assert METRICS[name].explanation in text, name
    assert METRICS["density"].explanation not in text, "not recorded"
    assert_states(text, "replicates", "seed", "docs/glossary.md")


def test_every_trial_is_in_the_appendix() -> None:
    made = [
        trial({RATE: 1e-3}, 4.0), trial({RATE: 1e-4}, 3.0),
        trial({RATE: 0.2}, INF, "divergence", step=120, outcome="stopped"),
        trial({RATE: 0.1}, NAN, "undecided", outcome="running", step=pd.NA),
    ]  # fmt: skip
    trials = frame(made, [RATE])
    _, table, file, alone = appendix(study(trials, [RATE], file="# mine\nname: s\n", commit="abc"))
    assert [row[:-2] for row in rows(table)] == [
        [trials["trial"][1], "1", "1e-4", "0", "completed", "healthy", "600", "3"],
        [trials["trial"][0], "2", "1e-3", "0", "completed", "healthy", "600", "4"],
        [trials["trial"][3], "", "0.1", "0", "running", "undecided", "–", "–"],
        [trials["trial"][2], "", "0.2", "0", "stopped", "divergence", "120", "∞"],
    ]
    assert [row[-2:] for row in rows(table)] == [["0.8", "0.95"]] * 4
    assert file["blocks"][0]["text"] == "# mine\nname: s"
    assert_states(text_of(file["blocks"][1]), "made up", "commit abc", "data f", "classifier", "99.0")
    assert len(rows(alone)) == 4


def test_the_appendix_tells_all_verdicts_and_makes_room_for_many_settings() -> None:
    trials = frame([trial({RATE: 0.2}, 50.0, "mode_collapse")], [RATE])
    both = study(trials, [RATE])
    kinds = ("mode_collapse", "mode_dropping", "imbalance")
    more = [
        {"sweep": "s", "trial": trials["trial"][0], "place": place, "kind": one, "failure": True, "since_step": 1,
         "reason": "", "evidence": {}}
        for place, one in enumerate(kinds)
    ]  # fmt: skip
    told = replace(both.tables, verdicts=pd.DataFrame(more))
    _, table, *_ = appendix(Study(told, lambda *_: None))
    (row,) = table["blocks"][0]["rows"]
    (cell,) = (one for one in row if isinstance(one, dict) and "more" in one)
    assert (cell["text"], cell["more"]) == ("mode collapse", ", mode dropping, imbalance")
    keys = (RATE, "model.latent_dim", "model.feature_maps", "training.beta1")
    wide = frame([trial(dict.fromkeys(keys, 1.0))], keys)
    assert study(wide, keys).final_names == []
    assert both.final_names != []


def test_states_stand_beside_the_verdict_wherever_it_is_shown() -> None:
    trials = over(RATE, [0.1, 0.2, 0.3], [2.0, 8.4, 3.0], verdict="healthy")
    trials.loc[1, "states"] = "discriminator_won"
    made = study(trials, [RATE], samples={one: {600: None} for one in trials["trial"]})
    _, table, *_ = appendix(made)
    cells = [row[5] for row in table["blocks"][0]["rows"]]
    assert [(cell["text"], cell.get("more", "")) for cell in cells] == [
        ("healthy", ""), ("healthy", ""), ("healthy", " · D won"),
    ]  # fmt: skip
    strips = sections.samples(made)
    assert strips is not None
    names = [row["name"] for row in strips["blocks"][1]["rows"]]
    assert [name["text"] + name.get("more", "") for name in names] == ["1. healthy", "2. healthy", "3. healthy · D won"]


def test_who_won_is_told_with_onset_and_figures() -> None:
    assert states(study(over(RATE, [0.1, 0.2]), [RATE])) == []
    trials = frame(
        [
            trial({RATE: 0.1}, 8.4, states="discriminator_won"),
            trial({RATE: 0.2}, 50.0, "mode_collapse", states="discriminator_won"),
            trial({RATE: 0.3}, 60.0, "never_took_off", states="generator_won"),
            trial({RATE: 0.4}, 2.0),
        ],
        [RATE],
    )
    made = study(trials, [RATE])
    _, of_d, of_g = states(made)
    assert [part["title"] for part in (of_d, of_g)] == ["Discriminator won", "Generator won"]
    (table,) = (block for block in of_d["blocks"] if block["kind"] == "rows")
    assert [column["title"] for column in table["columns"]] == [
        "trial", "learning rate", "verdict", "since step", "AUC of D", "σ(D(G(z)))", "loss D", "loss G",
    ]  # fmt: skip
    assert rows(of_d) == [
        ["00000000", "0.1", "healthy", "240", "0.999", "0.02", "0.05", "6.5"],
        ["00000001", "0.2", "mode collapse", "240", "0.999", "0.02", "0.05", "6.5"],
    ]
    assert [row[0] for row in rows(of_g)] == ["00000002"]
    assert_states(text_of(of_d), "D tells samples from real images", "AUC of D above 0.99")
    assert_states(pdf_text(made), "Who won: D or G", "Discriminator won", "Generator won")


def test_figures_say_what_their_lines_mark() -> None:
    trials = frame([trial({RATE: 0.1}, 8.4), trial({RATE: 0.2}, 50.0, "mode_collapse")], [RATE])
    assert "dash-dotted" not in text_of([sections.over_steps(study(trials, [RATE])), failures(study(trials, [RATE]))])
    trials["states"] = "discriminator_won"
    for part in (sections.over_steps(study(trials, [RATE])), failures(study(trials, [RATE]))):
        assert_states(text_of(part), "A dash-dotted line marks since when D or G has won")


def test_values_stand_beside_the_best_of_what_did_not_fail() -> None:
    trials = frame(
        [
            trial({RATE: 0.1}, 2.0),
            trial({RATE: 0.2}, 8.4),
            trial({RATE: 0.3}, 1.0, "mode_collapse"),
            trial({RATE: 0.4}, NAN),
        ],
        [RATE],
    )
    made = study(trials, [RATE], samples={one: {600: None} for one in trials["trial"]})
    _, table, *_ = appendix(made)
    shown = [
        row[7] if isinstance(row[7], str) else row[7]["text"] + row[7]["more"] for row in table["blocks"][0]["rows"]
    ]
    assert shown == ["2", "8.4 (4.2 × the best)", "–", "1 (0.5 × the best)"]
    assert_states(text_of(overview(made)), "FD ratio 1, 0.5 × the best")


def test_sweeps_of_other_images_have_a_best_trial_each() -> None:
    trials = frame([trial({}, 2.0), trial({}, 4.0), trial({}, 10.0, sweep="t"), trial({}, 30.0, sweep="t")], [])
    together = study(trials).remarks
    assert [*together.values()] == ["2 × the best", "5 × the best", "15 × the best"]
    trials.loc[trials["sweep"] == "t", "data_fingerprint"] = "g"
    assert [*study(trials).remarks.values()] == ["2 × the best", "3 × the best"]


def test_the_appendix_shows_fid_where_it_is_measured() -> None:
    trials = frame([trial({RATE: 0.1}), trial({RATE: 0.2})], [RATE])
    measured = evaluations(trials).assign(fid=math.nan)
    measured.loc[measured.index[measured["trial"] == trials["trial"][0]][-1], "fid"] = 12.5
    plain, with_fid = study(trials, [RATE]), study(trials, [RATE], recorded={"evaluations": measured})
    assert with_fid.final_names == ["FID", *plain.final_names]
    assert [with_fid.finals(one)[0] for _, one in trials.iterrows()] == ["12.5", "–"]
    assert "Fréchet inception distance" in text_of(terms(with_fid))


SWEEP = """
name: {name}
dataset: {{name: image_folder, path: x, channels: 3}}
training: {{steps: 600, generator: {{learning_rate: 3e-3}}}}
search:
  method: grid
  over: {over}
"""
OVER = {
    "numbers": "{training.discriminator.beta1: [0.1], model.latent_dim: [9, 8], dataset.augment.flip: [true, false]}",
    "texts": """{dataset.path: ["/a b", "1e-4", "true", "[1]", "None"], dataset.classes: [["a"], ["it's", "1"]]}""",
    "nothing": "{training.generator.learning_rate: [null, 1e-4], dataset.channels: [null, 1]}",
    "one value": "{training.beta1: [0.9]}",
}


def test_the_commands_train_the_trials_that_the_store_has(tmp_path: Path) -> None:
    """Several sweeps in one report, one of which varies a setting that another keeps fixed: types survive the store."""
    home, planned = empty_home(tmp_path / "home"), {}
    for number, over_text in enumerate(OVER.values()):
        bench = Bench(home, f"sweep-{number}")
        source = tmp_path / f"sweep-{number}.yaml"
        source.write_text(SWEEP.format(name=bench.folder.name, over=over_text))
        for place, (config, varied) in enumerate(configurations(load(source))):
            resolved = TrialConfig.model_validate({**config, "seed": 0})
            dumped = resolved.model_dump(exclude={"training": {"steps", "epochs"}})
            name = f"{number}{place:011x}"
            bench.trial(name, losses(2), config=dumped, varied=varied)
            planned[name] = resolved
        bench.publish()
    made = Study(read_sweep(*(f"sweep-{n}" for n in range(len(OVER))), home=home.path), lambda *_: None)
    assert len(made.trials) == len(planned) == 19
    for _, row in made.trials.iterrows():
        _, _, file, *options = shlex.split(made.command(row))
        sweep = load(tmp_path / file, tuple(options[1::2]))
        ((config, varied),) = configurations(sweep)
        assert varied == {}
        assert TrialConfig.model_validate({**config, "seed": sweep.seed}) == planned[row["trial"]]


# Whole documents


def test_markup_in_names_is_text_in_the_document() -> None:
    """For typst, SVG and matplotlib alike: in settings, classes, reasons, the sweep's file and its call."""
    key = "dataset.path"
    shares = dict.fromkeys(MARKUP, 1 / len(MARKUP))
    reason = "ValueError: " + " ".join(MARKUP)
    made = [trial({key: text}, 5.0, "mode_collapse", real_shares=shares) for text in MARKUP]
    made.append(trial({key: "last"}, NAN, "undecided", outcome="crashed", reason=reason, real_shares=shares))
    trials = frame(made, [key])
    lines = "\n".join(f"# {text}" for text in MARKUP)
    text = pdf_text(study(trials, [key], shares=shares, file=f"name: s\n{lines}\n", command=" ".join(MARKUP)))
    for name, row in zip(MARKUP, trials["trial"], strict=False):
        assert re.search(rf"{row} {re.escape(name)} 0 completed mode collapse", text), name
        assert f"path {name}" in text, "captions"
        assert f"# {name}" in text, "the sweep file"
    assert reason in text
    assert text.count(" ".join(MARKUP)) >= 2, "the call, and the reason of the crash"


def test_a_sweep_may_be_called_anything() -> None:
    names = ("a_b*c", '<b>#$x$&"\\')
    trials = frame([trial({RATE: rate}, 5.0, "mode_collapse", sweep=name) for name in names for rate in (1, 2)], [RATE])
    text = pdf_text(study(trials, [RATE]))
    assert text.startswith(" and ".join(names))
    for name in names:
        assert f"{name} trained 2 DCGANs" in text
        assert f"Sweep file of {name}" in text


def test_characters_that_no_font_has_are_replaced() -> None:
    """A PDF for screen readers takes none: the report would fail of a comment in a sweep file."""
    trials = over("dataset.path", ["/data/猫", "кот", "😀"], verdict="mode_collapse", real_shares={"猫": 1.0})
    made = study(trials, ["dataset.path"], shares={"猫": 1.0}, file="\ufeff# 注释 of \x1b[31mmine\n")
    text = pdf_text(made)
    assert "/data/�" in text
    assert "кот" in text
    assert "# �� of �[31mmine" in text


def without_steps() -> pd.DataFrame:
    """Trials that have just begun."""
    nothing = {"step": pd.NA, "outcome": "running", "wall_s": NAN, "steps_per_s": NAN, "started": pd.NaT}
    return over(RATE, [1e-4, 1e-3, 1e-2], [NAN] * 3, verdict="undecided", evaluator_accuracy=NAN, **nothing)


def odd(name: str) -> Study:
    rates = [1e-4, 1e-3, 1e-2]
    many = [1e-4 * n for n in range(1, 16)]
    match name:
        case "one trial":
            return study(frame([trial({})], []))
        case "one failed trial":
            return study(frame([trial({}, NAN, "divergence")], []))
        case "one setting of truth values":
            return study(over("dataset.augment.flip", [True, False, True]), ["dataset.augment.flip"])
        case "a setting that some leave out":
            return study(over("model.generator.feature_maps", [None, 8, 16]), ["model.generator.feature_maps"])
        case "only one of two values given":
            return study(over("model.generator.feature_maps", [None, 8, None]), ["model.generator.feature_maps"])
        case "quality that is not finite":
            return study(over(RATE, rates, [NAN, INF, -INF]), [RATE])
        case "quality of nothing or less":
            return study(over(RATE, rates, [0.0, -1.0, 5.0], verdict="mode_dropping"), [RATE])
        case "drawn quality of nothing or less":
            return study(over(RATE, many, [0.0, -1.0, 5.0] * 5), [RATE])
        case "no evaluations":
            trials = over(RATE, rates, [NAN] * 3, verdict="divergence")
            return study(trials, [RATE], recorded={"evaluations": evaluations(trials).iloc[:0]})
        case "nothing recorded":
            trials = without_steps()
            none = {"evaluations": evaluations(trials).iloc[:0], "histories": histories(trials).iloc[:0]}
            return study(trials, [RATE], recorded=none)
        case "all crashed":
            return study(over(RATE, rates, [NAN] * 3, verdict="undecided", outcome="crashed", since_step=pd.NA), [RATE])
        case "forty classes":
            shares = {f"class {number}": 1 / 40 for number in range(40)}
            return study(over(RATE, rates, verdict="mode_dropping", real_shares=shares), [RATE], shares=shares)
        case "a constant objective":
            trials = over(RATE, rates, [0.0] * 3, verdict="mode_collapse")
            same = evaluations(trials, "classes_missing").assign(classes_missing=0.0)
            return study(trials, [RATE], objective="classes_missing", recorded={"evaluations": same})
    raise AssertionError(name)


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("one trial", ["single DCGAN", "digits at 32×32 pixels", "600 steps"]),
        ("one failed trial", ["It failed", "divergence"]),
        ("one setting of truth values", ["2 combinations", "flip (false, true)"]),
        ("a setting that some leave out", ["3 combinations", "generator feature maps (not set, 8, 16)"]),
        ("only one of two values given", ["2 combinations", "generator feature maps (not set, 8)"]),
        ("quality that is not finite", ["no FD ratio"]),
        ("quality of nothing or less", ["every trial failed"]),
        ("drawn quality of nothing or less", ["best FD ratio -1"]),
        ("no evaluations", ["All 3 trials failed", "3 with divergence"]),
        ("nothing recorded", ["still running"]),
        ("all crashed", ["All 3 trials failed", "3 crashes"]),
        ("forty classes", ["Mode dropping"]),
        ("a constant objective", ["classes missing"]),
    ],
)
def test_odd_studies_have_a_report(name: str, facts: list[str]) -> None:
    text = pdf_text(odd(name))
    assert_states(text, *facts)
    assert not re.search(r"<NA>|\bnan\b|\bNone\b(?! of)|\bNaT\b|\binf\b", text)
