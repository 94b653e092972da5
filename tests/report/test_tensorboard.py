"""Event files of TensorBoard, read by TensorBoard's own reader, from a sweep's folder and from a real SQLite store."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench import BEGAN, STEPS, Bench, empty_home, sound
from click.testing import CliRunner
from PIL import Image
from tensorboard.backend.event_processing import event_accumulator as accumulator
from tensorboard.plugins.hparams import metadata as hparams

from gansweep.cli.main import cli
from gansweep.errors import UserError
from gansweep.records.outcome import Outcome
from gansweep.report.tensorboard import write_runs
from gansweep.tracking.reader import Source, reader_of

GRID = (24, 16)  # pixels, width and height


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """Two trials: a completed one with sample grids, and a running one with values that are not finite."""
    bench = Bench(empty_home(tmp_path_factory.mktemp("tensorboard") / "home"), "events")
    folder = bench.trial("a", sound(STEPS, density=1 / 3), Outcome("completed", STEPS))
    folder.samples.mkdir()
    for step in (10, 20):
        Image.new("RGB", GRID, (step, 0, 255)).save(folder.sample(step))
    config = {"seed": 3, "training": {"learning_rate": 1e-4}, "model": {"generator": {"separable": False}}}
    bench.trial("b", [{"loss_d": 1 / 3, "loss_g": math.inf}, {"loss_d": math.nan}], config=config)
    bench.publish(running=True)
    folder.sample(25).write_bytes(b"damaged")
    return bench


def export(bench: Bench, folder: Path, *more: str) -> str:
    arguments = ["export", "events", "--tensorboard", str(folder), "--home", str(bench.home.path), *more]
    result = CliRunner().invoke(cli, arguments)
    assert (result.exit_code, result.stdout) == (0, ""), result.output
    return result.stderr


def opened(folder: Path) -> Any:
    """A run, with all its images and scalars."""
    reader = accumulator.EventAccumulator(str(folder), {"images": 0, "scalars": 0})
    return reader.Reload()


@pytest.mark.parametrize("source", ["folder", "store"])
def test_tensorboard_reads_what_was_recorded(bench: Bench, tmp_path: Path, source: Source) -> None:
    assert export(bench, tmp_path / "runs", "--from", source) == f"{tmp_path}/runs/events: 2 trials\n"
    sweep = reader_of(bench.home, "events", source).read()
    assert {trial.id for trial in sweep.trials} == {"a", "b"}
    for trial in sweep.trials:
        run = opened(tmp_path / "runs" / "events" / trial.id)
        assert {*run.Tags()["scalars"]} == {*trial.metrics}
        for name, points in trial.metrics.items():
            found = run.Scalars(name)
            assert [event.step for event in found] == points.steps.tolist()
            assert [round(event.wall_time * 1000) for event in found] == points.times_ms.tolist()
            np.testing.assert_array_equal([event.value for event in found], points.values.astype(np.float32))
        assert run.FirstEventTimestamp() == pytest.approx(trial.began_ms / 1000)
    assert math.isnan(run.Scalars("loss_d")[1].value)

    images = opened(tmp_path / "runs" / "events" / "a").Images("samples")
    assert [(image.step, image.wall_time, image.width, image.height) for image in images] == [
        (step, BEGAN + step, *GRID) for step in (10, 20)
    ]
    for image in images:
        assert Image.open(io.BytesIO(image.encoded_image_string)).getpixel((0, 0)) == (image.step, 0, 255)


@pytest.mark.parametrize("source", ["folder", "store"])
def test_settings_and_outcomes_are_hparams(bench: Bench, tmp_path: Path, source: Source) -> None:
    export(bench, tmp_path, "--from", source)
    plugin = {trial: opened(tmp_path / "events" / trial).PluginTagToContent("hparams") for trial in ("a", "b")}
    for trial in reader_of(bench.home, "events", source).read().trials:
        start = hparams.parse_session_start_info_plugin_data(plugin[trial.id][hparams.SESSION_START_INFO_TAG])
        kinds = {key: value.WhichOneof("kind") for key, value in start.hparams.items()}
        found = {key: getattr(value, kinds[key]) for key, value in start.hparams.items()}
        assert found == {"seed": 3, **{key: value for key, value in trial.settings.items() if value is not None}}
        assert found["training.learning_rate"] == 1e-4
        assert found.get("model.generator.separable") is (None if trial.id == "a" else False)
        assert all((kinds[key] == "bool_value") == isinstance(trial.settings.get(key), bool) for key in kinds)
    ends = [hparams.parse_session_end_info_plugin_data(plugin[name][hparams.SESSION_END_INFO_TAG]) for name in "ab"]
    assert [end.end_time_secs for end in ends] == [BEGAN + STEPS, BEGAN + 2]
    assert [end.status for end in ends] == [
        1,
        0 if ends[1].status == 0 else 3,
    ]  # api.proto: SUCCESS; UNKNOWN or RUNNING


def test_a_later_export_replaces_the_earlier_one(bench: Bench, tmp_path: Path) -> None:
    export(bench, tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    export(bench, tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert len(before) == 2


def test_a_file_that_cannot_be_replaced_is_named(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "events").write_text("mine")
    result = CliRunner().invoke(
        cli, ["export", "events", "--tensorboard", str(tmp_path), "--home", str(bench.home.path)]
    )
    assert isinstance(result.exception, UserError)
    assert str(result.exception).startswith(f"--tensorboard {tmp_path}: cannot be written (")


def test_an_id_that_is_a_path_is_refused(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tracking store may hold anything."""
    sweep = reader_of(bench.home, "events", "store").read()
    monkeypatch.setattr(type(sweep.trials[0]), "id", "../../elsewhere")
    with pytest.raises(UserError) as refused:
        write_runs(sweep, tmp_path / "runs")
    assert "'../../elsewhere'" in str(refused.value)
    assert not (tmp_path / "runs").exists()
