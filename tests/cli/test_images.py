"""`gansweep sample` and `animate`, on a sweep that was really trained."""

from __future__ import annotations

import io
import json
import pickle
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bad_calls import GOOD, Call, in_subprocess, without_root_rights
from click.testing import CliRunner, Result
from facts import assert_states
from numpy.typing import NDArray
from PIL import Image, ImageSequence
from safetensors.torch import save_file
from scenes import train, warm_home
from service import Service

from gansweep.cli.main import cli
from gansweep.gan import checkpoint
from gansweep.gan.restore import generator_of
from gansweep.gan.sampling import GAP, grid_png, in_chunks, noise
from gansweep.gan.sampling import sample as images_of
from gansweep.records import journal
from gansweep.records.layout import Home, TrialFolder, read_json, write_json

STEPS = 60
SIDE = 16
HEAVY = {"ray", "mlflow", "torchvision", "sklearn", "pandas", "matplotlib", "torch._dynamo"}


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Service:
    """One trial of 60 steps: grids at 0, 20, 40 and 60, checkpoints at 50, 60 and the best."""
    service = Service(tmp_path_factory.mktemp("swept"), {})
    train(warm_home(service.home.path), service.write(steps=STEPS, rates="[2e-3]", evaluations=6))
    return service


@pytest.fixture
def trial(swept: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrialFolder:
    """A copy of it in a home of its own, which tests may damage; we work in an empty folder beside."""
    shutil.copytree(swept.home.path / "sweeps", tmp_path / "home" / "sweeps")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    (found,) = Home(tmp_path / "home").sweep("small").planned()
    return found


def run(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(cli, list(map(str, arguments)), prog_name="gansweep")
    assert result.exit_code == code, (result.output, result.exception)
    return result


def cells(grid: Path | bytes, side: int = SIDE) -> list[NDArray[np.uint8]]:
    """Every image of a grid and the empty places behind them, row by row."""
    sheet = np.asarray(Image.open(io.BytesIO(grid) if isinstance(grid, bytes) else grid))
    ways = (range(0, length, side + GAP) for length in sheet.shape[:2])
    tops, lefts = map(list, ways)
    return [sheet[top : top + side, left : left + side] for top in tops for left in lefts]


def scores(trial: TrialFolder) -> dict[int, float]:
    """Checkpoint's step → FD ratio at the last evaluation that it had seen."""
    seen = [(r.step, r.values["fd_ratio"]) for r in journal.read(trial.journal) if "fd_ratio" in r.values]
    return {int(p.stem): [v for s, v in seen if s <= int(p.stem)][-1] for p in trial.all_checkpoints()}


def aim(trial: TrialFolder, **objective: str) -> None:
    plan = trial.path.parents[1] / "plan.json"
    write_json(plan, {**read_json(plan), "objective": objective})


def test_a_checkpoint_makes_the_recorded_samples_again(trial: TrialFolder) -> None:
    file = trial.checkpoint(STEPS)
    tensors, meta = checkpoint.load(file)
    settings = meta["settings"]
    described = (settings["networks"]["architecture"], settings["latent_dim"], settings["generator_maps"])
    assert described == ("dcgan", 8, 4)
    again = grid_png(images_of(generator_of(file).generator, tensors["fixed_noise"]))
    assert again == trial.sample(STEPS).read_bytes()


@pytest.mark.parametrize("mode", ["min", "max"])
def test_a_trial_is_sampled_at_its_best_checkpoint(trial: TrialFolder, mode: str) -> None:
    aim(trial, metric="fd_ratio", mode=mode)
    kept = scores(trial)
    expected = (min if mode == "min" else max)(kept, key=lambda step: kept[step])
    message = run("sample", trial.id[:6], "-o", "grid.png").stderr
    assert_states(message, "grid.png: 64 images", expected, f"small/{trial.id}", "best", len(kept), "fd_ratio")
    named = run("sample", f"small/{trial.id}", "--step", expected, "-o", "named.png").stderr
    assert_states(named, "named.png: 64 images", expected, f"small/{trial.id}")
    assert "fd_ratio" not in named
    run("sample", trial.checkpoint(expected), "-o", "file.png")
    grids = [Path(name).read_bytes() for name in ("grid.png", "named.png", "file.png")]
    assert grids[0] == grids[1] == grids[2]
    other = next(step for step in kept if step != expected)
    run("sample", trial.id, "--step", other, "-o", "other.png")
    assert Path("other.png").read_bytes() != grids[0]
    assert sorted(path.name for path in Path().iterdir()) == ["file.png", "grid.png", "named.png", "other.png"]


def test_a_trial_that_was_never_evaluated_is_sampled_at_its_last(trial: TrialFolder) -> None:
    aim(trial, metric="fid", mode="min")
    message = run("sample", trial.id, "-o", "grid.png").stderr
    count = len(trial.all_checkpoints())
    assert_states(message, STEPS, f"small/{trial.id}", "last", count)


def test_the_seed_alone_decides_which_images_come_and_the_count_how_many(trial: TrialFolder) -> None:
    for name, count, seed in [("a", 70, 3), ("b", 70, 3), ("few", 5, 3), ("other", 70, 4)]:
        run("sample", trial.id, "--count", count, "--seed", seed, "-o", f"{name}.png")
    assert Path("a.png").read_bytes() == Path("b.png").read_bytes() != Path("other.png").read_bytes()
    many, few = cells(Path("a.png")), cells(Path("few.png"))
    assert (len(many), len(few)) == (72, 6)
    np.testing.assert_array_equal(few[:5], many[:5])
    assert all((empty == 255).all() for empty in [few[5], *many[70:]])
    assert len({image.tobytes() for image in many[:70]}) == 70


def test_a_checkpoint_file_is_all_that_is_needed(trial: TrialFolder, tmp_path: Path) -> None:
    """As it is downloaded from MLflow: elsewhere, under another name, without any home."""
    run("sample", trial.id, "--step", STEPS, "-o", "expected.png")
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.move(trial.checkpoint(STEPS), alone / "last.safetensors")
    shutil.rmtree(tmp_path / "home")
    program = (
        "import sys; from gansweep.cli.main import cli\n"
        "cli.main(['sample', 'last.safetensors', '-o', 'grid.png'], standalone_mode=False)\n"
        "print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=alone, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert_states(done.stderr, "grid.png: 64 images", STEPS, "last.safetensors")
    assert set(done.stdout.split()) & HEAVY == set()
    assert (alone / "grid.png").read_bytes() == Path("expected.png").read_bytes()
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("name", ["absolute", "relative", "dotted.name"])
def test_a_folder_may_be_named_instead_of_a_trial(trial: TrialFolder, tmp_path: Path, name: str) -> None:
    """A run's own folder is like a trial's. Its home is not asked."""
    folder = trial.path
    if name != "absolute":
        folder = Path(shutil.move(trial.path, name))
    run("sample", folder, "--step", STEPS, "-o", "folder.png", "--home", tmp_path / "none")
    run("sample", TrialFolder(folder).checkpoint(STEPS), "-o", "file.png")
    assert Path("folder.png").read_bytes() == Path("file.png").read_bytes()
    message = run("animate", folder, "-o", "run.gif", "--home", tmp_path / "none").stderr
    assert_states(message, "run.gif: 4 frames", "0", STEPS)
    assert_states(run("sample", folder, "-o", "best.png").stderr, folder, "best", "fd_ratio")


class Canary:
    """Writes a file when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("executed"),))


def test_files_that_are_no_checkpoints_are_refused(trial: TrialFolder, tmp_path: Path, call: Call) -> None:
    whole = trial.checkpoint(STEPS).read_bytes()
    Path("pickle.pt").write_bytes(pickle.dumps(Canary()))
    Path("disguised.safetensors").write_bytes(pickle.dumps(Canary()))
    Path("cut.safetensors").write_bytes(whole[: len(whole) // 2])
    Path("empty.safetensors").touch()
    Path("flipped.safetensors").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    save_file({"weights.0": torch.zeros(2, 2)}, "other.safetensors")
    checkpoint.save(Path("classifier.safetensors"), {"mean": torch.zeros(2)}, {"accuracy": 0.9})
    Path("folder.safetensors").mkdir()
    for name, says in {
        "pickle.pt": "not a checkpoint of gansweep",
        "disguised.safetensors": "damaged (",
        "cut.safetensors": "damaged (",
        "empty.safetensors": "damaged (",
        "flipped.safetensors": "damaged (its checksum",
        "other.safetensors": "",
        "classifier.safetensors": "contains no generator",
        "folder.safetensors": "cannot be read (Is a directory)",
        "missing.safetensors": "cannot be read (No such file or directory)",
    }.items():
        err = call("sample", tmp_path / name, "-o", "grid.png")
        assert err.startswith(f"{tmp_path / name}: {says}"), err
        assert err.count("\n") == 1, err
    assert not Path("executed").exists()
    assert not Path("grid.png").exists()


def test_a_step_must_be_one_that_is_kept(trial: TrialFolder, call: Call) -> None:
    err = call("sample", trial.id, "--step", 55, "-o", "grid.png")
    kept = ", ".join(str(step) for step in sorted(scores(trial)))
    assert_states(err, f"small/{trial.id}: no checkpoint of step 55", kept)
    err = call("sample", trial.checkpoint(STEPS), "--step", STEPS, "-o", "grid.png", code=2)
    assert_states(err, "--step", "trial")
    shutil.rmtree(trial.checkpoints)
    err = call("sample", trial.id, "-o", "grid.png")
    assert_states(err, f"small/{trial.id}: no checkpoint", "cadence.checkpoints")
    assert not Path("grid.png").exists()


@pytest.mark.parametrize("command", ["sample", "animate"])
def test_an_output_that_cannot_be_written_is_refused_before_any_work(command: str, tmp_path: Path, call: Call) -> None:
    """The trial does not exist either, which would be reported later."""
    ending = {"sample": ".png", "animate": ".gif"}[command]
    folder = Path(f"folder{ending}")
    folder.mkdir()
    closed = Path("closed")
    closed.mkdir(mode=0o500)
    assert_states(call(command, "nobody", "-o", folder), f"{folder}: ", "is a folder")
    missing = Path("missing", f"x{ending}")
    assert_states(call(command, "nobody", "-o", missing), f"{missing}: ", "folder missing")
    endings = {"sample": ".png", "animate": ".webp or .gif"}[command]
    for name in ("x.jpg", "x"):
        assert_states(call(command, "nobody", "-o", name), f"{name}: ", endings)
    refused = in_subprocess(command, "nobody", "-o", closed / f"x{ending}", before=without_root_rights())
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert_states(refused.stderr, f"{closed}/x{ending}: cannot be written (Permission denied)")
    assert call(command, "nobody", "-o", f"x{ending.upper()}").startswith("no trial 'nobody'")
    too_long = f"{'x' * 300}{ending}"
    assert "File name too long" in call(command, "nobody", "-o", too_long)


def frames_of(path: str) -> tuple[list[NDArray[np.uint8]], list[int], int]:
    """RGB frames, their durations in ms, and how often they are repeated (0: for ever)."""
    with Image.open(path) as picture:
        loops = picture.info["loop"]
        frames, durations = [], []
        for frame in ImageSequence.Iterator(picture):
            frames.append(np.asarray(frame.convert("RGB")))
            durations.append(int(frame.info.get("duration", 0)))
    return frames, durations, loops


def assert_shows(frame: NDArray[np.uint8], grid: Path, factor: int) -> None:
    """The grid, enlarged exactly, below a white margin and above the step."""
    expected = np.asarray(Image.open(grid).convert("RGB")).repeat(factor, 0).repeat(factor, 1)
    height, width = expected.shape[:2]
    margin = (frame.shape[1] - width) // 2
    np.testing.assert_array_equal(frame[margin : margin + height, margin : margin + width], expected)
    around = frame.copy()
    around[margin : margin + height, margin : margin + width] = 255
    assert (around[: margin + height] == 255).all()
    strip = around[margin + height :]
    assert strip.min() < 100  # the step
    assert (strip[[0, -1]] == 255).all()  # whole letters
    assert len(np.unique(strip.max(axis=2) - strip.min(axis=2))) == 1  # grey


@pytest.mark.parametrize("ending", ["webp", "gif"])
@pytest.mark.parametrize(("options", "factor", "frame_ms"), [((), 4, 250), (("--fps", 10, "--scale", 2), 2, 100)])
def test_every_frame_is_a_recorded_grid_with_its_step_below(
    trial: TrialFolder, ending: str, options: tuple[object, ...], factor: int, frame_ms: int
) -> None:
    grids = trial.all_samples()
    message = run("animate", trial.id[:6], "-o", f"run.{ending}", *options).stderr
    assert_states(message, f"run.{ending}: {len(grids)} frames", "0", STEPS)
    frames, durations, loops = frames_of(f"run.{ending}")
    assert (len(frames), loops) == (len(grids), 0)
    for frame, grid in zip(frames, grids, strict=True):
        assert_shows(frame, grid, factor)
    bottom = frames[0].shape[0] - frames[0].shape[1] // 20
    strips = {frame[bottom:].tobytes() for frame in frames}
    assert len(strips) == len(frames)
    if ending == "gif":  # Pillow does not say those of a WebP
        assert durations == [frame_ms] * (len(frames) - 1) + [frame_ms + 2000]
    assert [path.name for path in Path().iterdir()] == [f"run.{ending}"]


def test_a_frame_says_its_step_and_stands_still_otherwise(trial: TrialFolder) -> None:
    """The same grid at all steps: frames differ in the strip alone, and there where the number stands."""
    for path in trial.all_samples()[1:]:
        shutil.copyfile(trial.sample(0), path)
    run("animate", trial.id, "-o", "run.gif")
    frames, _, _ = frames_of("run.gif")
    assert len(frames) == len(trial.all_samples())
    for a, b in pairwise(frames):
        rows, columns = (np.flatnonzero((a != b).any(axis=(2, axis))) for axis in (1, 0))
        assert rows.min() > 0.93 * len(a)
        assert 0.08 < columns.min() / a.shape[1] < columns.max() / a.shape[1] < 0.2


def test_colours_are_kept_in_webp(trial: TrialFolder) -> None:
    rng = np.random.default_rng(0)
    for path in trial.all_samples():
        path.write_bytes(grid_png(rng.integers(0, 256, (64, 3, SIDE, SIDE), np.uint8)))
    run("animate", trial.id, "-o", "run.webp")
    frames, _, _ = frames_of("run.webp")
    for frame, grid in zip(frames, trial.all_samples(), strict=True):
        assert_shows(frame, grid, 4)
    run("animate", trial.id, "-o", "run.gif")
    assert len(frames_of("run.gif")[0]) == len(frames)


def test_what_cannot_be_animated_is_refused(trial: TrialFolder, call: Call, tmp_path: Path) -> None:
    home = ("--home", tmp_path / "home")
    grids = trial.all_samples()
    grids[1].write_bytes(grid_png(np.zeros((9, 1, SIDE, SIDE), np.uint8)))
    err = call("animate", trial.id, "-o", "run.gif", *home)
    assert_states(err, f"{grids[1]}: 52×52 pixels", "142×142")
    grids[1].write_bytes(b"no picture")
    assert call("animate", trial.id, "-o", "run.gif", *home).startswith(f"{grids[1]}: not a readable image (")
    for path in grids[1:]:
        path.unlink()
    err = call("animate", trial.id, "-o", "run.gif", *home)
    assert_states(err, f"small/{trial.id}: one sample grid", "two")
    grids[0].unlink()
    err = call("animate", trial.id, "-o", "run.gif", *home)
    assert_states(err, f"small/{trial.id}: no sample grid", "two")
    assert not Path("run.gif").exists()


@pytest.fixture(scope="module")
def conditional(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a generator that can be asked for the ten digits."""
    root = tmp_path_factory.mktemp("conditional")
    (root / "s.yaml").write_text(f"{GOOD}evaluation: {{per_run: 0}}\n")
    given = ("--set", "model.conditioning=concat", "--set", "training.learning_rate=0.01", "--home", root / "home")
    folder = run("train", root / "s.yaml", *given).stdout.strip()
    return TrialFolder(Path(folder)).checkpoint(10)


def test_a_conditional_generator_gives_a_row_a_class(conditional: Path, tmp_path: Path) -> None:
    message = run("sample", conditional, "--count", 25, "-o", tmp_path / "all.png").stderr
    assert_states(message, ": 30 images", "10")
    rows = np.asarray(cells(tmp_path / "all.png")).reshape(10, 3, SIDE, SIDE)
    found = generator_of(conditional)
    for digit in range(10):
        expected = in_chunks(found.generator, noise(8, 3, 0), torch.full((3,), digit))
        np.testing.assert_array_equal(rows[digit], expected[:, 0])
    assert (rows[:1] != rows[1:]).any(axis=(1, 2, 3)).all()
    run("sample", conditional, "--count", 6, "--class", "7", "--class", "2", "-o", tmp_path / "two.png")
    np.testing.assert_array_equal(np.asarray(cells(tmp_path / "two.png")).reshape(2, 3, SIDE, SIDE), rows[[7, 2]])
    run("sample", conditional, "--count", 4, "--class", "7", "-o", tmp_path / "one.png")
    assert np.asarray(Image.open(tmp_path / "one.png")).shape == (2 * SIDE + GAP, 2 * SIDE + GAP)
    np.testing.assert_array_equal(cells(tmp_path / "one.png")[:3], rows[7])


@pytest.mark.parametrize("command", ["sample", "animate"])
def test_classes_that_a_generator_does_not_know_are_refused(
    conditional: Path, trial: TrialFolder, call: Call, command: str
) -> None:
    output = {"sample": "x.png", "animate": "x.gif"}[command]
    err = call(command, conditional, "--class", "3", "--class", "ten", "-o", output)
    assert_states(err, "--class ten: unknown", conditional, "0, 1, 2, 3, 4, 5, 6, 7, 8, 9")
    plain = trial.checkpoint(STEPS)
    err = call(command, plain, "--class", "3", "-o", output)
    assert_states(err, "--class: ", plain, "not conditional")
    assert not Path(output).exists()


@pytest.mark.parametrize("ending", ["webp", "gif"])
def test_a_checkpoint_file_alone_gives_a_walk_that_begins_at_its_samples(
    trial: TrialFolder, tmp_path: Path, ending: str
) -> None:
    file = shutil.move(trial.checkpoint(STEPS), tmp_path / "alone.safetensors")
    shutil.rmtree(tmp_path / "home")
    walk = ("--seconds", 3, "--fps", 5, "--count", 10, "--seed", 4, "--scale", 2)
    message = run("animate", file, "-o", f"walk.{ending}", *walk).stderr
    assert_states(message, f"walk.{ending}: 15 frames", "latent", STEPS)
    frames, durations, loops = frames_of(f"walk.{ending}")
    assert (len(frames), loops) == (15, 0)
    run("sample", file, "--count", 10, "--seed", 4, "-o", "start.png")
    assert_shows(frames[0], Path("start.png"), 2)
    changes = [np.abs(a.astype(float) - b).mean() for a, b in pairwise([*frames, frames[0]])]
    assert min(changes) > 0
    assert max(changes) < 4 * np.median(changes)  # the end goes over into the beginning
    if ending == "gif":
        assert durations == [200] * 15


def test_a_walk_has_defaults_and_a_row_a_class(conditional: Path, tmp_path: Path) -> None:
    message = run("animate", conditional, "-o", tmp_path / "walk.webp", "--seconds", 1).stderr
    assert ": 12 frames, " in message
    run("sample", conditional, "--count", 36, "-o", tmp_path / "start.png")
    frames, _, _ = frames_of(str(tmp_path / "walk.webp"))
    assert_shows(frames[0], tmp_path / "start.png", 3)


@pytest.mark.parametrize("option", ["--seconds", "--count", "--seed", "--class"])
def test_options_of_a_walk_are_refused_where_grids_are_shown(trial: TrialFolder, call: Call, option: str) -> None:
    for subject in (trial.id, trial.path):
        err = call("animate", subject, "-o", "x.gif", option, 3, code=2)
        assert_states(err, option, "FILE", subject)


@pytest.mark.parametrize(
    "options", [("--count", 0), ("--count", 10_001), ("--count", "x"), ("--seed", -1), ("--step", -1)], ids=str
)
def test_numbers_out_of_range_are_wrong_usage(call: Call, options: tuple[object, ...]) -> None:
    err = call("sample", "x", "-o", "x.png", *options, code=2)
    assert f"Invalid value for '{options[0]}'" in err


@pytest.mark.parametrize(
    "options",
    [("--fps", 0), ("--fps", "nan"), ("--scale", 0), ("--scale", 9), ("--seconds", 0), ("--count", 0)],
    ids=str,
)
def test_so_are_speeds_and_scales(call: Call, options: tuple[object, ...]) -> None:
    assert f"Invalid value for '{options[0]}'" in call("animate", "x", "-o", "x.gif", *options, code=2)


def test_a_running_trial_is_sampled_as_far_as_it_is(trial: TrialFolder) -> None:
    trial.outcome.unlink()
    assert json.loads(run("status", "small", "--json").stdout)["trials"][0]["outcome"] == "interrupted"
    assert "64 images" in run("sample", trial.id, "-o", "grid.png").stderr
    assert "4 frames" in run("animate", trial.id, "-o", "run.gif").stderr
