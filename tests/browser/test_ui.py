"""What people see: the MLflow UI that `gansweep ui` serves, in a real browser, on a real sweep of ten trials whose home
was moved since.

GANSWEEP_SCREENSHOTS: folder for the screenshots.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect, sync_playwright
from playwright.sync_api import TimeoutError as PlaywrightTimeout
from scenes import train, warm_home
from service import Service, leftovers

pytestmark = pytest.mark.slow

TEN = """
name: ten
dataset: {name: digits, image_size: 16}
model: {latent_dim: 8, feature_maps: 4}
training: {steps: 30, batch_size: 16}
evaluation: {per_run: 0}
cadence: {metrics: 2, samples: 10, checkpoints: 30}
search:
  method: grid
  over:
    training.learning_rate: [1e-4, 2e-4, 5e-4, 1e-3, 2e-3]
    training.beta1: [0.0, 0.5]
resources: {cpus: 1, gpus: 0}
"""
# A learning rate at which weights overflow at once, on every processor.
FAILING = """
name: failing
dataset: {name: digits, image_size: 16}
model: {latent_dim: 8, feature_maps: 4}
training: {steps: 100, batch_size: 16, learning_rate: 1.0e+30}
evaluation: {per_run: 10, samples: 64}
"""
SWITCHES = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
SWITCHES += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
PATIENCE_MS = 30_000  # for a page, on a loaded machine
LAST = "0.002 · 0.5 · seed 0"


@pytest.fixture(scope="module")
def chromium() -> str:
    found = shutil.which("chromium")
    if found is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("chromium is missing")
    assert found is not None
    return found


@pytest.fixture(scope="module")
def swept(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Service:
    """Five learning rates × two beta1, trained to the end."""
    service = Service(tmp_path_factory.mktemp("ten"), {})
    home = warm_home(service.root / "elsewhere")
    for name, text in (("ten", TEN), ("failing", FAILING)):
        (service.root / f"{name}.yaml").write_text(text)
        train(home, service.root / f"{name}.yaml")
    home.path.rename(service.home.path)
    assert {trial["outcome"] for trial in service.status("ten")} == {"completed"}
    return service


@pytest.fixture(scope="module")
def link(swept: Service) -> Iterator[str]:
    """To the sweep, as `gansweep ui` prints it, which corrects the paths of artifacts. At the end Ctrl-C ends all that
    it began."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    ui = swept.start("ui", "--port", port, "--no-open")
    assert ui.stdout is not None
    try:
        links = dict(ui.stdout.readline().split() for _ in ("failing", "ten"))
        assert links["ten"].partition("/#/")[0] == f"http://127.0.0.1:{port}", ui.communicate(timeout=10)
        yield links["ten"]
        ui.send_signal(signal.SIGINT)
        _, err = ui.communicate(timeout=20)
        assert ui.returncode == 130
        assert str(swept.home.artifacts) in err
        assert leftovers(ui.pid) == []
    finally:
        ui.kill()
        ui.communicate()


@pytest.fixture(scope="module")
def page(chromium: str, link: str) -> Iterator[Page]:
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=chromium, args=SWITCHES) as browser,
    ):
        page = browser.new_page(viewport={"width": 1600, "height": 1000}, base_url=link)
        page.set_default_timeout(PATIENCE_MS)
        expect.set_options(timeout=PATIENCE_MS)
        yield page


@pytest.fixture
def shots(tmp_path: Path) -> Path:
    folder = Path(os.environ.get("GANSWEEP_SCREENSHOTS", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def ids(swept: Service) -> dict[str, str]:
    """`experiment`, `parent`, `child` (the last trial) → their ids in MLflow."""
    tracking = json.loads(swept.folder("ten").tracking.read_text())
    return {
        "experiment": tracking["experiment_id"],
        "parent": tracking["parent_run_id"],
        "child": str(swept.status("ten")[-1]["run_id"]),
    }


def chart(page: Page, metric: str) -> Locator:
    """The card with a metric's curve."""
    titled = page.get_by_text(metric, exact=True).first
    return titled.locator("xpath=ancestor::div[.//*[contains(@class,'js-plotly-plot')]][1]")


def click_until(target: Locator, shown: Locator) -> None:
    """Click as a person would: once more where nothing came of it. MLflow's list of artifacts is drawn anew whenever it
    has loaded, and then forgets which file was selected."""
    for _ in range(PATIENCE_MS // 5_000 - 1):
        target.click()
        with contextlib.suppress(PlaywrightTimeout):
            shown.wait_for(timeout=5_000)
            return
    target.click()
    expect(shown).to_be_visible()


def test_the_experiment_lists_a_parent_with_its_ten_trials(page: Page, link: str, shots: Path) -> None:
    page.goto(link)
    expect(page.get_by_text("11 matching runs")).to_be_visible(timeout=PATIENCE_MS)
    parent = page.get_by_role("row").filter(has=page.get_by_role("link", name="ten", exact=True))
    trials = page.get_by_role("row").filter(has=page.get_by_role("link", name=re.compile("· seed 0$")))
    expect(parent).to_be_visible()
    expect(trials).to_have_count(0)
    page.screenshot(path=shots / "1-experiment.png")
    parent.get_by_role("button").first.click()
    expect(trials).to_have_count(10)
    names = {link.inner_text() for link in trials.get_by_role("link").all()}
    rates, betas = ("0.0001", "0.0002", "0.0005", "0.001", "0.002"), ("0", "0.5")
    assert names == {f"{r} · {b} · seed 0" for r in rates for b in betas}
    # How long each took, never negative.
    expect(page.get_by_text(re.compile(r"^\d+(\.\d)?(ms|s|min)$"))).to_have_count(11)
    page.screenshot(path=shots / "2-expanded.png")


def test_the_parent_holds_the_sweep_file(page: Page, ids: dict[str, str], shots: Path) -> None:
    page.goto(f"/#/experiments/{ids['experiment']}/runs/{ids['parent']}/artifacts/sweep.yaml")
    expect(page.get_by_text("training.learning_rate").first).to_be_visible()
    for file in ("environment.json", "plan.json", "sweep.yaml"):
        expect(page.get_by_text(file, exact=True).first).to_be_visible()
    page.screenshot(path=shots / "3-parent.png")


def test_a_trial_tells_its_settings(page: Page, ids: dict[str, str], shots: Path) -> None:
    page.goto(f"/#/experiments/{ids['experiment']}/runs/{ids['child']}")
    expect(page.get_by_role("heading", name=LAST)).to_be_visible()
    expect(page.get_by_text("gansweep.outcome").first).to_be_visible()
    expect(page.get_by_text("training.learning_rate", exact=True).first).to_be_visible()
    page.screenshot(path=shots / "4-trial.png")


def test_a_trial_shows_its_loss_curves(page: Page, ids: dict[str, str], shots: Path) -> None:
    page.goto(f"/#/experiments/{ids['experiment']}/runs/{ids['child']}/model-metrics")
    for metric in ("loss_d", "loss_g"):
        card = chart(page, metric)
        expect(card.locator(".js-plotly-plot path.js-line").first).to_be_attached()
        assert card.locator(".points path.point").count() == 15, metric  # 30 steps, one record every two
    chart(page, "loss_g").scroll_into_view_if_needed()
    page.screenshot(path=shots / "5-curves.png")


def test_the_samples_have_a_step_slider(page: Page, ids: dict[str, str], shots: Path) -> None:
    page.goto(f"/#/experiments/{ids['experiment']}/runs/{ids['child']}/model-metrics")
    slider = page.get_by_role("slider").last
    slider.scroll_into_view_if_needed()
    assert (slider.get_attribute("aria-valuemin"), slider.get_attribute("aria-valuemax")) == ("0", "30")
    shown = []
    for step in (0, 10, 20, 30):
        if step:
            slider.press("ArrowRight")
        image = page.locator(f"img[src*='step%2B{step}%2B']")
        expect(image).to_be_visible()
        expect(slider).to_have_attribute("aria-valuenow", str(step))
        page.wait_for_function("image => image.complete && image.naturalWidth > 0", arg=image.element_handle())
        shown.append(image.screenshot(path=shots / f"6-samples-{step}.png"))
    assert len(set(shown)) == 4, "every step has a picture of its own"
    page.screenshot(path=shots / "6-samples.png")


def test_the_images_are_among_the_artifacts(page: Page, ids: dict[str, str], shots: Path) -> None:
    page.goto(f"/#/experiments/{ids['experiment']}/runs/{ids['child']}/artifacts/images")
    file = page.get_by_text("samples+step+30+").filter(has_text=".png").first
    preview = page.locator("img[src^='blob:'], .image-outer-container img, img[src*='get-artifact']").first
    click_until(file, preview)
    page.screenshot(path=shots / "7-artifacts.png")


def test_a_stopped_run_tells_its_verdict_without_its_artifacts(page: Page, swept: Service, shots: Path) -> None:
    tracking = json.loads(swept.folder("failing").tracking.read_text())
    (trial,) = swept.status("failing")
    assert trial["outcome"] == "stopped"
    verdict = str(trial["verdict"]).replace("_", " ")
    page.goto(f"/#/experiments/{tracking['experiment_id']}/runs/{trial['run_id']}")
    expect(page.get_by_text(re.compile(f"{verdict} since step")).first).to_be_visible()
    page.screenshot(path=shots / "8-verdict.png")
    page.goto(f"/#/experiments/{tracking['experiment_id']}/runs/{tracking['parent_run_id']}")
    expect(page.get_by_role("cell", name=verdict).first).to_be_visible()
    page.screenshot(path=shots / "9-sweep.png")
