"""Code of users in a plan: identity of trials, copies, what an edit does, and the process that checks networks."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from gansweep.cli.main import cli
from gansweep.engine.runner import TrialOfTune
from gansweep.engine.search import Search
from gansweep.errors import SweepFileError, UserError
from gansweep.gan.restore import generator_of
from gansweep.networks.own import Facts, OwnDesign
from gansweep.networks.own_check import check
from gansweep.planning import own, single
from gansweep.planning.dispatch import job_of, jobs_of
from gansweep.planning.job import Job
from gansweep.planning.plan import Plan, make_plan, recorded, write_trials
from gansweep.records.layout import Home, read_json
from gansweep.sweepfile.loader import load, sweep_of
from gansweep.sync.copies import fetch_code, share_code
from gansweep.sync.storage import FolderStorage

USERS = Path(__file__).parents[1] / "users"
TEXT = """name: s
dataset: {image_size: 16}
model:
  latent_dim: 16
  generator: {network: "tutorial:G"}
  discriminator: {network: "tutorial:D"}
training: {steps: 4, batch_size: 16}
evaluation: {per_run: 0}
"""


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> list[OwnDesign]:
    """Networks are checked in this process. Returns those that were."""
    seen: list[OwnDesign] = []

    def checked_here(designs: Sequence[OwnDesign]) -> list[Facts]:
        seen.extend(designs)
        return [check(design) for design in designs]

    monkeypatch.setattr(own, "_check", checked_here)
    return seen


@pytest.fixture
def plan(tmp_path: Path, home: Home) -> Callable[..., Plan]:
    shutil.copytree(USERS, tmp_path, dirs_exist_ok=True)
    (tmp_path / "s.yaml").write_text(TEXT)
    return lambda *overrides: make_plan(load(tmp_path / "s.yaml", overrides), home)


ANY_SIZE = """
from torch import nn
def G(latent_dim, channels, image_size):
  layers = nn.Linear(latent_dim, channels * image_size**2), nn.Tanh()
  return nn.Sequential(*layers, nn.Unflatten(1, (channels, image_size, image_size)))
def D(channels, image_size, width=4):
  return nn.Sequential(nn.Flatten(), nn.Linear(channels * image_size**2, width), nn.LeakyReLU(), nn.Linear(width, 1))
"""


@pytest.mark.parametrize("size", [8, 50])
def test_own_networks_train_at_sizes_that_ours_do_not_make(
    tmp_path: Path, plan: Callable[..., Plan], here: list[OwnDesign], size: int
) -> None:
    (tmp_path / "sized.py").write_text(ANY_SIZE)
    networks = ("model.generator.network=sized:G", "model.discriminator.network=sized:D")
    made = plan(*networks, f"dataset.image_size={size}")
    write_trials(made, "gansweep run s.yaml", ())
    (planned,) = made.trials
    run = job_of(made, planned, 0).open()
    assert run.advance(60) is not None
    run.close()
    with Image.open(made.folder.trial(planned.trial.id).all_samples()[-1]) as grid:
        assert min(grid.size) > 8 * size
    with pytest.raises(SweepFileError, match=r"image_size: dcgan makes images of 16, 28"):
        plan(networks[0], "model.discriminator={}", f"dataset.image_size={size}")


def test_weights_of_another_own_network_are_refused(
    tmp_path: Path, plan: Callable[..., Plan], here: list[OwnDesign]
) -> None:
    (tmp_path / "sized.py").write_text(ANY_SIZE)
    own = "model.discriminator.network=sized:D"
    made = plan(own)
    write_trials(made, "gansweep run s.yaml", ())
    (planned,) = made.trials
    run = job_of(made, planned, 0).open()
    run.advance(60)
    run.close()
    kept = made.folder.trial(planned.trial.id).all_checkpoints()[-1]
    start = f"training.from={kept}"
    assert plan(own, start).trials
    with pytest.raises(UserError) as refused:
        plan(own, start, "model.discriminator.options.width=8")
    assert isinstance(planned.discriminator, OwnDesign)
    wide = check(replace(planned.discriminator, options={"width": 8}, facts=None))
    was, now = (one.parameters + one.buffers for one in (planned.discriminator, wide))
    assert was < now
    assert str(refused.value) == (
        f"training.from: {kept} holds a discriminator of {was:,} values, and sized:D has {now:,};"
        " set model.discriminator.options as there, or name other weights"
    )
    with pytest.raises(UserError) as refused:
        plan(start)
    assert str(refused.value) == (
        f"training.from: {kept} holds a discriminator of model.discriminator.network: sized:D, not tutorial:D;"
        " set model.discriminator.network: sized:D"
    )
    with pytest.raises(UserError, match=r"holds a generator of model\.generator\.network: tutorial:G, not null"):
        plan(own, start, "model.generator={}")


def edit(path: Path) -> None:
    path.write_text(path.read_text() + "# edited\n")


def begin(made: Plan) -> None:
    write_trials(made, "gansweep run s.yaml", ())
    for planned in made.trials:
        made.folder.trial(planned.trial.id).lock.touch()


def test_an_edit_makes_another_trial_and_the_plan_names_the_old_one(
    tmp_path: Path, plan: Callable[..., Plan], here: list[OwnDesign]
) -> None:
    before = plan("search={method: grid, over: {model.generator.network: [null, 'tutorial:G']}}")
    begin(before)
    (mixed, both) = (planned.trial.id for planned in before.trials)
    assert plan().orphans == {}
    assert [one.trial.id for one in plan().trials] == [both], "the same trial without a search"
    edit(tmp_path / "unet.py")
    assert [one.trial.id for one in plan().trials] == [both], "nothing imports it"
    original = (tmp_path / "tutorial.py").read_text()
    edit(tmp_path / "tutorial.py")
    (now,) = plan().trials
    assert now.trial.id != both
    assert plan().orphans == {both: now.trial.id}
    shown = CliRunner().invoke(cli, ["plan", str(tmp_path / "s.yaml"), "--no-timing"])
    assert f"left out: {both[:8]} (now {now.trial.id[:8]})" in shown.stdout
    listed = CliRunner().invoke(cli, ["plan", str(tmp_path / "s.yaml"), "--no-timing", "--json"])
    assert json.loads(listed.stdout)["orphaned"] == {both: now.trial.id}
    (tmp_path / "tutorial.py").write_text(original)
    assert [one.trial.id for one in plan().trials] == [both], "an edit that is undone"
    assert mixed != both


def test_code_is_no_part_of_a_trial_that_imports_none(plan: Callable[..., Plan], here: list[OwnDesign]) -> None:
    ours = plan("model={latent_dim: 16, feature_maps: 4}")
    write_trials(ours, "", ())
    assert not here
    assert not ours.folder.code.exists()
    assert "code" not in read_json(ours.folder.trial(ours.trials[0].trial.id).trial)


def test_networks_are_counted_once_for_all_trials_and_remembered(
    plan: Callable[..., Plan], here: list[OwnDesign]
) -> None:
    overrides = "search={method: grid, over: {training.beta1: [0.1, 0.5], training.learning_rate: [1e-3, 1e-4]}}"
    made = plan(overrides, "replicates=2")
    assert {planned.parameters for planned in made.trials} == {(2_648, 720)}
    assert len(made.trials) == 8
    assert len(here) == 2
    plan(overrides)
    assert len(here) == 2


def test_an_option_of_a_network_is_an_axis(plan: Callable[..., Plan], here: list[OwnDesign]) -> None:
    architecture = "model={latent_dim: 16, generator: {network: 'residual.nets:G'}}"
    made = plan(architecture, "search={method: grid, over: {model.generator.options.width: [2, 3]}}")
    assert len({planned.parameters[0] for planned in made.trials}) == 2
    assert [planned.trial.varied for planned in made.trials] == [{"model.generator.options.width": w} for w in (2, 3)]
    with pytest.raises(SweepFileError, match=r"no such key"):
        plan(architecture, "search={method: grid, over: {model.generator.option.width: [2, 3]}}")
    with pytest.raises(
        SweepFileError, match=r"is a mapping; name one of the arguments, as in model\.generator\.options"
    ):
        plan(architecture, "search={method: grid, over: {model.generator.options: [{width: 2}]}}")
    with pytest.raises(SweepFileError, match=r"repeats"):
        plan(architecture, "search={method: grid, over: {model.generator.options.width: [2, 2]}}")


def test_an_option_of_one_case_is_not_passed_in_the_others(plan: Callable[..., Plan], here: list[OwnDesign]) -> None:
    own_case = "{model.generator.network: 'residual.nets:G', model.generator.options.width: 3}"
    cases = f"[{own_case}, {{model.generator.network: 'tutorial:G'}}, {{model.generator.network: null}}]"
    made = plan("model={latent_dim: 16}", f"search={{method: cases, cases: {cases}}}")
    assert [dict(planned.training.networks.generator_options) for planned in made.trials] == [{"width": 3}, {}, {}]
    (alone,) = plan("model={latent_dim: 16, generator: {network: 'tutorial:G'}}").trials
    assert made.trials[1].trial.id == alone.trial.id


def test_trials_train_from_the_copy_and_not_from_an_edited_file(
    tmp_path: Path, home: Home, plan: Callable[..., Plan], here: list[OwnDesign]
) -> None:
    """An edit in mid-sweep does not change trials that were planned, nor those that a search plans later."""
    over = "over: {training.beta1: {uniform: [0.1, 0.9]}}"
    made = plan(f"search={{method: optuna, trials: 2, parallel: 1, {over}, objective: {{metric: loss_d, mode: min}}}}")
    write_trials(made, "", ())
    for file in tmp_path.glob("*.py"):
        file.write_text("raise RuntimeError('edited')\n")
    search = Search(made, home)
    (planned,) = search.suggest()
    code = planned.training.code.digest
    assert code == made.to_come[0].training.code.digest
    job = Job.from_config(job_of(made, planned, 0.0).to_config())
    assert job.training.code.path == made.folder.code / code
    run = job.open()
    assert run.advance(60) is not None
    run.close()
    again = recorded(home, "s", planned.trial.id)
    assert again.training == planned.training.at(made.folder.code)
    (*_, path) = made.folder.trial(planned.trial.id).all_checkpoints()
    assert str(home.path).encode() not in path.read_bytes(), "a home can be moved"
    assert generator_of(path).generator.eval()(torch.randn(2, 16)).shape == (2, 1, 16, 16)
    shutil.rmtree(made.folder.code)
    with pytest.raises(UserError, match=rf"^{made.folder.code / code}: the copy of a trial's code is missing; restore"):
        generator_of(path)


def test_a_single_run_has_its_own_copy(
    tmp_path: Path, home: Home, plan: Callable[..., Plan], here: list[OwnDesign]
) -> None:
    sweep = load(tmp_path / "s.yaml")
    job = single.begin(single.make_plan(sweep, home), home, None, TEXT, str)
    edit(tmp_path / "tutorial.py")
    assert job.training.code.path.parent == job.folder.code
    assert job.training.code.files()
    assert not home.sweep("s").path.exists()
    run = job.open()
    assert run.advance(60) is not None
    run.close()
    path = job.folder.all_checkpoints()[-1]
    assert generator_of(path).latent_dim == 16
    other = sweep_of(TEXT.replace("tutorial:D", "unet:D").replace("steps: 4", "steps: 9"), str(tmp_path / "s.yaml"))
    with pytest.raises(UserError, match=r"^model\.discriminator\.network: unet:D, but .* was trained with tutorial:D"):
        single.differences(single.make_plan(other, home), single.start_from(path))
    more = load(tmp_path / "s.yaml", ("training.steps=9",))
    differing = [key for key, *_ in single.differences(single.make_plan(more, home), single.start_from(path))]
    assert differing == ["code.digest"], "an edited network may go on"


def test_a_process_is_used_again_within_one_code_only(
    tmp_path: Path, plan: Callable[..., Plan], here: list[OwnDesign]
) -> None:
    first, other = (job for job in jobs_of(plan("search={method: grid, over: {training.beta1: [0.1, 0.5]}}")))
    edit(tmp_path / "tutorial.py")
    (edited,) = jobs_of(plan())
    (ours,) = jobs_of(plan("model={latent_dim: 16, feature_maps: 4}"))
    request = TrialOfTune.default_resource_request
    assert request(first) == request(other)
    assert hash(request(first)) == hash(request(other))
    assert len({request(job) for job in (first, edited, ours)}) == 3
    assert request(edited) != request(first)
    assert request(edited).required_resources == request(first).required_resources


def test_code_travels_through_a_storage(tmp_path: Path, plan: Callable[..., Plan], here: list[OwnDesign]) -> None:
    code, storage = plan().trials[0].training.code, FolderStorage(tmp_path / "storage")
    share_code(storage, "s", code)
    elsewhere = code.at("/nowhere")
    found = fetch_code(storage, "s", elsewhere, lambda: tmp_path / "node")
    assert found.files() == code.files()
    assert found.path.parent == tmp_path / "node" / "code"
    assert fetch_code(storage, "s", code, lambda: tmp_path / "never") == code
    storage.put(f"sweeps/s/code/{code.digest}/tutorial.py", b"")
    with pytest.raises(UserError, match="missing or was changed; run the sweep again"):
        fetch_code(storage, "s", elsewhere, lambda: tmp_path / "other")


def test_the_penalty_of_single_images_is_refused_with_batch_norm_in_d(
    plan: Callable[..., Plan], here: list[OwnDesign]
) -> None:
    with pytest.raises(
        UserError, match=r"^model\.discriminator\.network: tutorial:D: a penalty of D's loss .* use another"
    ):
        plan("training.loss=wasserstein_gp")
    assert plan("training.loss=wasserstein_gp", "model.discriminator.network=unet:D").trials


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ("model: {generator: {options: {width: 2}}}", "2:1: model.generator.options: are arguments of an own network"),
        ("model: {generator: {network: 'n:G', depth: 2}}", "model.generator.depth: has no effect on an own network"),
        ("model: {discriminator: {network: 'n:D', growth: {at: 2}}}", "model.discriminator.growth.at: has no effect"),
        ("model: {conditioning: own, generator: {network: 'n:G'}}", "model.conditioning: own goes with two own"),
        ("model: {generator: {network: nets.py}}", "model.generator.network: 'nets.py' is not an import path; write"),
        ("model: {generator: {network: 3}}", "model.generator.network: must be an import path"),
        ("model: {architecture: resnet}", "a part of your own is given by its import path, as in mypkg.nets:Small"),
        ("model: {generator: {network: 'n:G', options: {width: [1]}}}", "model.generator.options.width"),
    ],
)
def test_settings_that_do_not_fit_own_networks_have_a_line(settings: str, problem: str) -> None:
    with pytest.raises(SweepFileError) as raised:
        sweep_of(f"name: s\n{settings}\ntraining: {{steps: 4}}\n", "s.yaml")
    assert problem.removeprefix("2:1: ") in raised.value.problems[0]
    assert raised.value.problems[0].startswith("s.yaml:2:")


def test_a_submitted_sweep_takes_its_modules_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(USERS, tmp_path, dirs_exist_ok=True)
    (tmp_path / "s.yaml").write_text(TEXT.replace("tutorial:D", "residual.nets:D"))
    sent: list[dict[str, bytes]] = []
    monkeypatch.setattr("gansweep.engine.submission.submit", lambda *given: sent.append(given[3]) or "raysubmit_1")
    server = ("--tracking-uri", "http://127.0.0.1:1", "--address", "http://127.0.0.1:1")
    done = CliRunner().invoke(cli, ["submit", str(tmp_path / "s.yaml"), *server])
    assert done.output.startswith("raysubmit_1"), done.exception
    modules = {"tutorial.py", "residual/__init__.py", "residual/nets.py", "residual/blocks.py"}
    assert sent[0].keys() == {"s.yaml", *modules}
    assert all(content == (tmp_path / name).read_bytes() for name, content in sent[0].items())


def test_validate_runs_networks_unless_told_not_to(tmp_path: Path) -> None:
    """In the real process, which what a network prints does not confuse, nor its end."""
    (tmp_path / "s.yaml").write_text(TEXT.replace("tutorial:D", "mine:D").replace("tutorial:G", "mine:G"))
    module = tmp_path / "mine.py"

    def validated(*options: str) -> tuple[int, str]:
        done = CliRunner().invoke(cli, ["validate", str(tmp_path / "s.yaml"), *options])
        return done.exit_code, str(done.exception) if isinstance(done.exception, UserError) else done.output

    assert validated("--no-import")[1].startswith("model.generator.network: mine:G: there is no module mine")
    module.write_text(
        "print('[1]')\nfrom torch import nn\nD = lambda: nn.Conv2d(1, 1, 16)\nG = lambda: os._exit(7)\nimport os"
    )
    assert validated("--no-import")[0] == 0
    code, message = validated()
    assert code
    assert "mine:D: ended the process that checks it (exit code 7" in message
