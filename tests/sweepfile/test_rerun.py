"""The command that a report gives for a trial trains that very trial: parsed back, it is the trial's own config."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gansweep.sweepfile.document import parse
from gansweep.sweepfile.loader import load
from gansweep.sweepfile.rerun import rerun_command
from gansweep.sweepfile.schema import Sweep, TrialConfig
from gansweep.sweepfile.trials import Trial, configurations, count, trial_id

HEAD = "name: grid\nseed: 7\nreplicates: 2\n"
TRAINING = "training: {steps: 600, batch_size: 32}"
SEARCHES = {
    "grid": TRAINING
    + """
search:
  method: grid
  over:
    training.learning_rate: [1e-5, 2e-4, 0.1, 1]
    training.beta1: [0.5, 0]
    model.latent_dim: [25, 100]
""",
    "drawn": TRAINING
    + """
search:
  method: random
  trials: 20
  over:
    training.learning_rate: {log_uniform: [1e-9, 1]}
    training.beta2: {uniform: [0.9, 0.9999]}
    model.feature_maps: {int_uniform: [1, 1024]}
    dataset.augment.flip: {choice: [true, false]}
""",
    "inherited": """
training: {steps: 600, generator: {learning_rate: 3e-3}}
search:
  method: grid
  over:
    training.generator.learning_rate: [null, 1e-4]
    model.generator.feature_maps: [8, null]
""",
    "cases": TRAINING
    + """
search:
  method: cases
  cases:
    - {}
    - {training.beta1: 0.9}
    - {training.discriminator.learning_rate: 5e-5, model.generator.feature_maps: 8}
    - {training.loss: wasserstein_clip, training.clip: 0.1}
    - {training.loss: wasserstein_gp, model.discriminator.norm: none}
    - {training.instance_noise: 0.1, training.instance_noise_until: 300, model.discriminator.growth.at: 9}
""",
    "words": TRAINING
    + r"""
dataset: {name: image_folder, path: x}
search:
  method: grid
  over:
    dataset.path: ["/a b", "true", "1e-4", "null", " ", "#x", "[1]", "{a: b}", "it's \"so\"", '\n$HOME*', "猫 😀", "~", "a: b"]
    dataset.classes: [["a"], ["b c", "1", "true", "it's"]]
""",  # noqa: E501
}  # fmt: skip


def trials(sweep: Sweep) -> list[Trial]:
    """As a plan makes them, of data of any kind."""
    found = []
    for config, varied in configurations(sweep):
        for seed in range(sweep.seed, sweep.seed + sweep.replicates):
            resolved = TrialConfig.model_validate({**config, "seed": seed})
            found.append(Trial(trial_id(resolved, "da7a", 1), resolved, varied, 600))
    return found


def parsed(command: str) -> tuple[str, tuple[str, ...]]:
    """File and overrides, as a shell and click take them apart."""
    program, verb, source, *options = shlex.split(command)
    assert (program, verb) == ("gansweep", "run")
    assert options[::2] == ["--set"] * (len(options) // 2)
    return source, tuple(options[1::2])


def of_trial(trial: Trial, source: Path, name: str = "grid", overrides: Sequence[str] = ()) -> Sweep:
    command = rerun_command(str(source), name, trial.id, trial.config.seed, trial.varied, overrides)
    file, given = parsed(command)
    return load(Path(file), given)


def written(folder: Path, text: str) -> Path:
    path = folder / "a sweep $1.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("kind", SEARCHES)
def test_the_command_is_the_trial(kind: str, tmp_path: Path) -> None:
    source = written(tmp_path, HEAD + SEARCHES[kind])
    planned = trials(load(source))
    assert len(planned) > 7
    for trial in planned:
        sweep = of_trial(trial, source)
        (only,) = trials(sweep)
        assert only.config == trial.config
        assert only.id == trial.id
        assert (count(sweep), sweep.search, sweep.name) == (1, None, f"grid-{trial.id}")


def test_what_the_sweep_was_run_with_is_kept(tmp_path: Path) -> None:
    """In its place: what the trial itself says comes last."""
    source = written(tmp_path, HEAD + SEARCHES["grid"])
    overrides = (
        "training.steps=1200", "training.beta2=0.9", "search.over.training.beta1=[0.1, 0.2]", "replicates=3", "seed=1",
        "name=other",
    )  # fmt: skip
    planned = trials(load(source, overrides))
    assert len(planned) == 48
    for trial in planned[::7]:
        sweep = of_trial(trial, source, overrides=overrides)
        (only,) = trials(sweep)
        assert only.config == trial.config
        assert (only.config.training.steps, only.config.training.beta2) == (1200, 0.9)
        assert sweep.name.startswith("grid-")


@pytest.mark.parametrize("name", ["a", "x" * 64, "1e5", "2024", "null.x"])
def test_its_name_can_name_a_folder(name: str, tmp_path: Path) -> None:
    source = written(tmp_path, HEAD + SEARCHES["grid"])
    trial = trials(load(source))[0]
    assert of_trial(trial, source, name).name == f"{name[:50]}-{trial.id}"


SETTINGS = st.one_of(
    st.booleans(),
    st.none(),
    st.integers(-(10**12), 10**12),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(categories=("L", "N", "P", "S", "Zs"))),
    st.lists(st.text(st.characters(categories=("L", "N", "P", "S")))),
)


@given(SETTINGS)
def test_any_value_comes_back_as_it_was(value: Any) -> None:
    """Values keep their type: the schema accepts neither text for a number nor 1.0 for an integer."""
    _, given_ = parsed(rerun_command("s.yaml", "s", "0" * 12, 0, {"a.b": value}, []))
    key, _, text = given_[-1].partition("=")
    back = parse(f"value: {text}", "--set").data["value"]
    assert (key, back, type(back)) == ("a.b", value, type(value))
