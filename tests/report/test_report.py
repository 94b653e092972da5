"""`gansweep report` on sweeps that were really run: the PDF is read by other libraries than the one that made it, and
its numbers are compared with what MlflowClient says."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pikepdf
import pypdfium2
import pytest
from facts import assert_states
from mlflow import MlflowClient
from mlflow.entities import Run
from PIL import Image
from service import Service
from synthetic import conditional, publish, tables

from gansweep.gan.sampling import grid_png
from gansweep.report import document
from gansweep.report.make import make
from gansweep.report.study import Study
from gansweep.report.tables import Tables, read_sweep
from gansweep.tracking import store

COMPARED = "The best configuration of all sweeps"  # begins the sentence that names the best of several sweeps

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def report(swept: Service) -> Path:
    """The report of sweep `three`, written by the command."""
    path = swept.root / "three.pdf"
    out, err = swept.ask("report", "three", "-o", path, "--verbose", "--log")
    assert out == ""
    assert [line.split("  ")[0] for line in err.splitlines()] == [
        "reading", "figures", "typesetting", "sending to MLflow", f"wrote {path}",
    ]  # fmt: skip
    return path


def text_of(path: Path) -> str:
    """As a reader finds it, in one line: words may be broken across lines at hyphens."""
    pages = pypdfium2.PdfDocument(path)
    return re.sub(r"\s+", " ", " ".join(page.get_textpage().get_text_range() for page in pages))


def runs(swept: Service, sweep: str) -> dict[str, Run]:
    """Trial → its run, asked of MLflow itself."""
    client = MlflowClient(store.local_uri(swept.home))
    experiment = client.get_experiment_by_name(sweep)
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id])
    return {run.data.tags.get("gansweep.trial_id", "parent"): run for run in found}


def rounded(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def test_every_trials_numbers_are_those_in_the_store(swept: Service, report: Path) -> None:
    text = text_of(report)
    tracked = runs(swept, "three")
    client = MlflowClient(store.local_uri(swept.home))
    for name, run in tracked.items():
        if name == "parent":
            continue
        points = client.get_metric_history(run.info.run_id, "fd_ratio")
        last = max(points, key=lambda point: point.step).value
        rate = float(run.data.params["training.learning_rate"])
        rate_text = {2e-3: "2e-3", 5e-3: "5e-3", 1e-5: "1e-5"}[rate]
        row = re.search(
            rf"{name} (\d* ?){re.escape(rate_text)} {run.data.params['seed']} (\w+) (.*?) (\d+) ([\d.]+) ", text
        )
        assert row is not None, name
        assert row[2] == run.data.tags["gansweep.outcome"]
        assert row[3].startswith(run.data.tags["gansweep.verdict"].replace("_", " "))
        assert row[4] == str(int(max(client.get_metric_history(run.info.run_id, "loss_d"), key=lambda p: p.step).step))
        assert row[5] == rounded(last)


def test_the_best_setting_is_the_one_with_the_least_mean(swept: Service, report: Path) -> None:
    """Over all seeds, of settings of which not every seed failed; by MLflow's own numbers."""
    client = MlflowClient(store.local_uri(swept.home))
    groups: dict[float, list[tuple[float, bool]]] = {}
    for name, run in runs(swept, "three").items():
        if name != "parent":
            last = max(client.get_metric_history(run.info.run_id, "fd_ratio"), key=lambda point: point.step).value
            failed = run.data.tags["gansweep.verdict"] not in ("healthy", "undecided")
            groups.setdefault(float(run.data.params["training.learning_rate"]), []).append((last, failed))
    able = {rate: seeds for rate, seeds in groups.items() if not all(failed for _, failed in seeds)}
    means = {rate: float(np.exp(np.mean(np.log([value for value, _ in seeds])))) for rate, seeds in able.items()}
    best = min(means, key=lambda rate: means[rate])
    assert_states(text_of(report), f"learning rate {best * 1000:g}e-3", f"FD ratio {rounded(means[best])}")
    failures = sum(failed for seeds in groups.values() for _, failed in seeds)
    assert f"{failures} of 6 trials failed" in text_of(report)


def test_the_pdf_is_accessible(report: Path) -> None:
    with pikepdf.open(report) as pdf:
        root = pdf.Root
        assert root.MarkInfo.Marked
        assert root.Lang == "en"
        assert root.ViewerPreferences.DisplayDocTitle
        assert 'pdfuaid:part="1"' in bytes(root.Metadata.read_bytes()).decode() or "<pdfuaid:part>1<" in (
            bytes(root.Metadata.read_bytes()).decode()
        )
        kinds, alternatives = structure(root.StructTreeRoot)
        assert {"/H1", "/Table", "/TH", "/TR", "/Figure", "/P"} <= set(kinds)
        assert alternatives
        assert all(alternatives), "every figure says what it shows"
        resources = [page.Resources for page in pdf.pages if "/Resources" in page]
        fonts = [font for found in resources if "/Font" in found for font in found.Font.values()]
        assert fonts
        assert all(embedded(font) for font in fonts)
        links = [a for page in pdf.pages for a in page.get("/Annots", []) if a.Subtype == "/Link"]
        assert len(links) >= 6 + 6 + 3, "contents, trials of page 1 and the failures, commands"
        assert all("/Dest" in link or "/A" in link for link in links)
        assert pdf.docinfo["/Title"] == "three"
        assert "/CreationDate" not in pdf.docinfo


def structure(node: pikepdf.Object) -> tuple[list[str], list[str]]:
    """Kinds of all elements of the tag tree, and the alternative texts of figures."""
    kinds, alternatives = [], []
    waiting = [node]
    while waiting:
        one = waiting.pop()
        if isinstance(one, pikepdf.Array):
            waiting += list(one)
        elif isinstance(one, pikepdf.Dictionary):
            if "/S" in one:
                kinds.append(str(one.S))
                if one.S == "/Figure":
                    alternatives.append(str(one.get("/Alt", "")))
            if "/K" in one:
                waiting.append(one.K)
    return kinds, alternatives


def embedded(font: pikepdf.Object) -> bool:
    descendant = font.DescendantFonts[0] if "/DescendantFonts" in font else font
    return font.Subtype == "/Type3" or any(key in descendant.FontDescriptor for key in ("/FontFile2", "/FontFile3"))


def test_built_twice_it_is_the_same_byte_for_byte(swept: Service, report: Path, tmp_path: Path) -> None:
    make(["three"], tmp_path / "again.pdf", swept.home, None, lambda *_: None, to_mlflow=False)
    assert (tmp_path / "again.pdf").read_bytes() == report.read_bytes()


def test_sample_grids_are_shown_pixel_by_pixel(swept: Service, report: Path) -> None:
    """The images inside the PDF hold the very pixels of the recorded grid, none smoothed."""
    with pikepdf.open(report) as pdf:
        images = [image for page in pdf.pages for image in page.images.values()]
        assert all(not image.get("/Interpolate", False) for image in images)
        shown = [np.asarray(pikepdf.PdfImage(image).as_pil_image().convert("L")) for image in images]
    grids = [np.asarray(Image.open(trial.all_samples()[-1]).convert("L")) for trial in swept.folder("three").planned()]
    assert any(image.shape == grid.shape and (image == grid).all() for image in shown for grid in grids)


def test_the_report_is_among_the_parents_artifacts(swept: Service, report: Path) -> None:
    parent = runs(swept, "three")["parent"].info.run_id
    client = MlflowClient(store.local_uri(swept.home))
    assert [file.path for file in client.list_artifacts(parent, "reports")] == ["reports/three.pdf"]
    assert Path(client.download_artifacts(parent, "reports/three.pdf")).read_bytes() == report.read_bytes()


def test_the_parent_has_an_overview_since_the_sweep_ended(swept: Service) -> None:
    parent = runs(swept, "three")["parent"].info.run_id
    client = MlflowClient(store.local_uri(swept.home))
    with Image.open(client.download_artifacts(parent, "overview.png")) as picture:
        assert picture.width > 900


def test_several_sweeps_are_compared_by_name(swept: Service, tmp_path: Path) -> None:
    swept.ask("report", "three", "other", "-o", tmp_path / "both.pdf")
    text = text_of(tmp_path / "both.pdf")
    for fact in ("three trained 6 DCGANs", "other trained 4 DCGANs", COMPARED):
        assert fact in text
    assert "setting three other training.steps 200 100 " in text


def typeset(study: Study) -> bytes:
    return document.typeset(document.compose(study), study.files)


def nothing_of(tables: Tables) -> Study:
    """A study whose store has no samples any more."""
    return Study(tables, lambda *_: None)


def test_a_running_sweep_has_a_report(swept: Service, tmp_path: Path) -> None:
    """Trials without an end, without evaluations, and a sweep of which nothing has begun."""
    tables = read_sweep("three", home=swept.home.path)
    going = tables.trials.assign(outcome="running", verdict="undecided", failed=False, quality=np.nan)
    going["rank"] = pd.array([pd.NA] * len(going), dtype="Int64")
    none = {"evaluations": tables.evaluations.head(0), "verdicts": tables.verdicts.head(0)}
    running = nothing_of(replace(tables, trials=going, **none))
    path = tmp_path / "running.pdf"
    path.write_bytes(typeset(running))
    text = text_of(path)
    assert_states(text, "all", "still running")
    assert "The best configuration" not in text
    empty = nothing_of(replace(tables, trials=tables.trials.head(0), settings=()))
    path.write_bytes(typeset(empty))
    assert_states(text_of(path), "no trial of three")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["thre", "-o", "x.pdf"], "{home}: no sweep named 'thre'; did you mean 'three'?"),
        (["three", "-o", "x.html"], "x.html: unknown ending; name a file that ends in .pdf"),
        (["three", "-o", "a.pdf"], "a.pdf: is a folder; name a file in it"),
        (["three", "-o", "no/such/x.pdf"], "no/such/x.pdf: the folder no/such does not exist; create it first"),
    ],
)
def test_bad_input_is_one_line(swept: Service, arguments: list[str], message: str) -> None:
    (swept.root / "a.pdf").mkdir(exist_ok=True)
    _, err = swept.ask("report", *arguments, code=1)
    assert err.strip() == message.format(home=swept.home.path)
    assert not (swept.root / "x.pdf").exists()


def test_sweeps_of_other_images_are_not_compared_and_missing_samples_are_grey(swept: Service, tmp_path: Path) -> None:
    tables = read_sweep("three", "other", home=swept.home.path)
    other = tables.trials.assign(
        data_fingerprint=tables.trials["data_fingerprint"].where(tables.trials["sweep"] == "three", "g")
    )
    apart = nothing_of(replace(tables, trials=other))
    (tmp_path / "apart.pdf").write_bytes(typeset(apart))
    text = text_of(tmp_path / "apart.pdf")
    assert_states(text, "different images", "not compared")
    assert COMPARED not in text
    assert_states(text, "samples of 10 trials", "missing", "grey")
    grid = np.asarray(Image.open(io.BytesIO(next(v for k, v in apart.files.items() if k.startswith("grid")))))
    assert len(np.unique(grid)) == 1


@pytest.mark.parametrize(
    ("table", "column", "reason"),
    [
        ("trials", "features", "judged in different features"),
        ("trials", "features_resolution", "judged in different features"),
        ("sweeps", "objective", "different objectives"),
        ("sweeps", "mode", "different objectives"),
    ],
)
def test_sweeps_with_another_measure_of_quality_are_not_compared(
    swept: Service, table: str, column: str, reason: str
) -> None:
    tables = read_sweep("three", "other", home=swept.home.path)
    assert not nothing_of(tables).incomparable
    rows = getattr(tables, table)
    another = {"features": "imagenet", "features_resolution": 64, "objective": "loss_d", "mode": "max"}[column]
    apart = nothing_of(
        replace(tables, **{table: rows.assign(**{column: rows[column].where(rows.sweep == "three", another)})})
    )
    assert reason in apart.incomparable
    assert not apart.comparable
    estimates = [*apart.configurations_of("other")["estimate"]]
    assert estimates == sorted(estimates, reverse=column == "mode"), "by its own objective"
    assert apart.called == ("quality" if column == "objective" else "FD ratio")


def test_a_sweep_that_mixes_critics_growth_and_conditions(tmp_path: Path) -> None:
    """From the store: what each run was is told by its settings alone."""
    home = publish(tmp_path / "home", 12, "mixed", conditional)
    found = read_sweep("mixed", home=home.path)
    expected = ["healthy", "mode_collapse"] * 6
    assert found.trials.sort_values("trial")["verdict"].tolist() == expected
    assert {"requested", "requested/9", "coverage_within_worst"} <= set(found.evaluations.columns)
    critics = found.trials["training.loss"] == "wasserstein_gp"
    of_critics = found.histories["trial"].isin(found.trials["trial"][critics])
    assert set(found.histories["metric"][of_critics]) >= {"critic_real", "critic_fake"}
    pdf = tmp_path / "mixed.pdf"
    make(["mixed"], pdf, home, None, lambda *_: None, to_mlflow=False)
    text = text_of(pdf)
    axes = "loss (hinge, non_saturating, wasserstein_gp) and discriminator growth at (not set, 300)"
    assert_states(text, axes, "discriminator growth at 300", "6 of 6 failed", "0 of 6")
    assert re.search(r"class asked for, at worst 10 ?% of its images", text)
    assert "D grew" in text
    assert "mean outputs of a critic" in text


def test_two_hundred_trials_fit_in_forty_pages_and_fifteen_megabytes(tmp_path: Path) -> None:
    """Samples included: a noise grid, which no compression makes smaller, for each that is shown."""
    noise = grid_png(np.random.default_rng(0).integers(0, 256, (64, 1, 32, 32)).astype(np.uint8))
    many = tables(200)
    listed = [(trial, step) for trial in many.trials["trial"] for step in range(0, 601, 100)]
    rows = [{"sweep": "synthetic", "trial": trial, "step": step, "artifact": "a"} for trial, step in listed]
    pdf = typeset(Study(replace(many, list_samples=lambda: pd.DataFrame(rows)), lambda *_: noise))
    pages = len(pypdfium2.PdfDocument(pdf))
    assert 10 < pages < 40
    assert len(pdf) < 15e6
