from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gansweep.datasets import users_of
from gansweep.errors import SweepFileError, UserError
from gansweep.health.verdict import FAILURES, INFORMATION, STATES
from gansweep.section import one_of
from gansweep.sweepfile import loader
from gansweep.sweepfile.schema import Sweep
from gansweep.sweepfile.searches.cases import CasesSearch
from gansweep.sweepfile.searches.grid import GridSearch
from gansweep.sweepfile.searches.objective import METRICS
from gansweep.sweepfile.template import template
from gansweep.sweepfile.trials import count

HEAD = "name: s\ntraining: {steps: 10}\n"
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _work_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # so that messages begin with a bare "s.yaml"


def load(text: str, *overrides: str, max_trials: int = loader.MAX_TRIALS) -> Sweep:
    Path("s.yaml").write_text(text)
    return loader.load(Path("s.yaml"), overrides, max_trials)


def refusal(text: str, *overrides: str, max_trials: int = loader.MAX_TRIALS) -> list[str]:
    with pytest.raises(SweepFileError) as caught:
        load(text, *overrides, max_trials=max_trials)
    assert str(caught.value) == "\n".join(caught.value.problems)
    return caught.value.problems


SECTIONS = (
    "name, dataset, model, training, evaluation, stop, thresholds, cadence, retention, search, scheduler, replicates,"
    " seed, resources"
)


NONE = "; `stop: none` only records verdicts"
SEEDS = "seeds cannot be varied; set replicates, the number of seeds per configuration"
KINDS = ", ".join(f"'{kind}'" for kind in (*FAILURES, *STATES, *INFORMATION[:-1])) + f" or '{INFORMATION[-1]}'"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (HEAD + "modle: {}", "3:1: modle: unknown key; did you mean model?"),
        (HEAD + "model: {featuremaps: 3}", "3:9: model.featuremaps: unknown key; did you mean feature_maps?"),
        (HEAD + "zzz: 1", f"3:1: zzz: unknown key; known here: {SECTIONS}"),
        (
            HEAD + "thresholds: {mode_colapse: {}}",
            "3:14: thresholds.mode_colapse: unknown key; did you mean mode_collapse?",
        ),
        (
            HEAD + "thresholds:\n  mode_collapse: {coverge: 0.4}",
            "4:19: thresholds.mode_collapse.coverge: unknown key; did you mean coverage?",
        ),
        (
            HEAD + "thresholds: {imbalance: {zzz: 1}}",
            "3:26: thresholds.imbalance.zzz: unknown key; known here: need, window, earliest, from_step, kl",
        ),
        (
            HEAD + "thresholds: {mode_collapse: {coverage: 1.5}}",
            "3:40: thresholds.mode_collapse.coverage: must be at most 1.0, got 1.5",
        ),
        (
            HEAD + "thresholds: {mode_collapse: {window: 2.5}}",
            "3:38: thresholds.mode_collapse.window: must be a whole number, got 2.5",
        ),
        (
            HEAD + "thresholds: {mode_dropping: {need: 6}}",
            "3:29: thresholds.mode_dropping: need: must be at most window, 5, got 6",
        ),
        (HEAD + "thresholds: {imbalance: 0.3}", "3:25: thresholds.imbalance: must be a mapping, got 0.3"),
        (HEAD + "model: {latent_dim: big}", "3:21: model.latent_dim: must be a whole number, got the text 'big'"),
        (HEAD + "model: {latent_dim: 1.5}", "3:21: model.latent_dim: must be a whole number, got 1.5"),
        (HEAD + "model: {latent_dim: true}", "3:21: model.latent_dim: must be a whole number, got true"),
        (HEAD + "model: {latent_dim: [1]}", "3:21: model.latent_dim: must be a whole number, got a list"),
        (HEAD + "model: [1]", "3:8: model: must be a mapping, got a list"),
        (
            HEAD + "dataset: {augment: {flip: no}}",
            "3:27: dataset.augment.flip: must be true or false, got the text 'no'",
        ),
        (HEAD + "dataset: {image_size: 4}", "3:23: dataset.image_size: must be at least 8, got 4"),
        (HEAD + "dataset: {image_size: 513}", "3:23: dataset.image_size: must be at most 512, got 513"),
        (
            HEAD + "dataset: {name: image_folder}",
            "3:10: dataset: image_folder needs dataset.path, the folder of images",
        ),
        (
            HEAD + "dataset: {path: x}",
            f"3:10: dataset: dataset.path goes with name: {one_of(users_of('path'))}, not digits",
        ),
        (HEAD + "dataset: {per_class: 9}", "3:10: dataset: dataset.per_class goes with name: glyphs, not digits"),
        (
            "name: s\ntraining:\n  steps: 10\n  learning_rate: 0",
            "4:18: training.learning_rate: must be greater than 0.0, got 0",
        ),
        (
            "name: s\ntraining: {steps: 1, learning_rate: -1e-4}",
            "2:37: training.learning_rate: must be greater than 0.0, got -0.0001",
        ),
        (
            "name: s\ntraining: {steps: 1, learning_rate: .nan}",
            "2:37: training.learning_rate: must be a finite number, got nan",
        ),
        ("name: s\ntraining: {steps: 1, beta1: 1}", "2:29: training.beta1: must be less than 1.0, got 1"),
        ("name: s\ntraining: {steps: 1, beta1: -0.1}", "2:29: training.beta1: must be at least 0.0, got -0.1"),
        ("name: s\ntraining: {steps: 10, epochs: 2}", "2:11: training: give either steps or epochs, not both"),
        ("name: s\ntraining: {beta1: 0.5}", "2:11: training: give either steps or epochs"),
        ("name: s", "1:1: training: missing"),
        (HEAD + "replicates: 0", "3:13: replicates: must be at least 1, got 0"),
        (HEAD + "resources: {gpus: 1.5}", "3:12: resources: gpus above 1 must be whole, got 1.5"),
        (HEAD + "resources: {gpus: -1}", "3:19: resources.gpus: must be a number of at least 0, or auto, got -1"),
        (HEAD + "resources: {gpus: all}", "3:19: resources.gpus: must be a number of at least 0, or auto, got 'all'"),
        (HEAD + "resources: {gpus: true}", "3:19: resources.gpus: must be a number of at least 0, or auto, got True"),
        (HEAD + "resources: {gpus: .inf}", "3:19: resources.gpus: must be a number of at least 0, or auto, got inf"),
        (HEAD + "evaluation: {per_run: -1}", "3:23: evaluation.per_run: must be at least 0, got -1"),
        (HEAD + "evaluation: {per_run: 1001}", "3:23: evaluation.per_run: must be at most 1000, got 1001"),
        (HEAD + "evaluation: {per_run: 2.5}", "3:23: evaluation.per_run: must be a whole number, got 2.5"),
        (HEAD + "evaluation: {samples: 1}", "3:23: evaluation.samples: must be at least 2, got 1"),
        (HEAD + "evaluation: {samples: 10001}", "3:23: evaluation.samples: must be at most 10000, got 10001"),
        (HEAD + "evaluation: {sample: 5}", "3:14: evaluation.sample: unknown key; did you mean samples?"),
        (HEAD + "cadence: {metrics: 0}", "3:20: cadence.metrics: must be at least 1, got 0"),
        (HEAD + "cadence: {samples: 0}", "3:20: cadence.samples.steps: must be at least 1, got 0"),
        (HEAD + "cadence: {samples: {per_run: 0}}", "3:30: cadence.samples.per_run: must be at least 1, got 0"),
        (
            HEAD + "cadence: {samples: often}",
            "3:20: cadence.samples: must be a number of steps or a mapping, got 'often'",
        ),
        (
            HEAD + "cadence: {checkpoints: {steps: 5, seconds: 30}}",
            "3:24: cadence.checkpoints: give either steps or seconds, not both",
        ),
        (
            HEAD + "cadence: {checkpoints: {seconds: 0}}",
            "3:34: cadence.checkpoints.seconds: must be greater than 0.0, got 0",
        ),
        (
            HEAD + "stop: never",
            "3:7: stop: must be a mapping or none, got 'never'" + NONE,
        ),
        (
            HEAD + "stop:",
            "3:6: stop: must be a mapping or none, got nothing" + NONE,
        ),
        (HEAD + "stop: {on: divergence}", "3:12: stop.on: must be a list, got the text 'divergence'"),
        (HEAD + "stop: {on: [divergence, collapse]}", f"3:25: stop.on[1]: must be {KINDS}, got 'collapse'"),
        (HEAD + "stop: {on: [healthy]}", f"3:13: stop.on[0]: must be {KINDS}, got 'healthy'"),
        (HEAD + "stop: {on: [asha]}", f"3:13: stop.on[0]: must be {KINDS}, got 'asha'"),
        (HEAD + "stop: {action: warn}", "3:16: stop.action: must be 'stop' or 'flag', got 'warn'"),
        (HEAD + "stop: {actoin: flag}", "3:8: stop.actoin: unknown key; did you mean action?"),
        (
            "name: ../evil\ntraining: {steps: 10}",
            "1:7: name: '../evil' cannot name a folder: use up to 64 of A–Z, a–z, 0–9, '.', '_' and '-',"
            " beginning with a letter or digit of these",
        ),
        (HEAD + "search: {method: grid, over: {}}", "3:30: search.over: is empty"),
        (
            HEAD + "search: {method: grid, over: {training.beta1: []}}",
            "3:30: search.over: training.beta1 has no values: an empty grid has no trials",
        ),
        (
            HEAD + "search: {method: grid, over: {training.bata1: [0.5]}}",
            "3:31: search.over.training.bata1: no such key; did you mean training.beta1?",
        ),
        (
            HEAD + "search: {method: grid, over: {seed: [1, 2]}}",
            "3:31: search.over.seed: " + SEEDS,
        ),
        (
            HEAD + "search: {method: grid, over: {training.steps: [5]}}",
            "3:31: search.over.training.steps: cannot be varied; to continue the trials, raise it and run again",
        ),
        (
            HEAD + "search:\n  method: grid\n  over:\n    training.beta1: [0.5, 0.9, 0.5]",
            "6:32: search.over.training.beta1[2]: repeats search.over.training.beta1[0]; give each value once",
        ),
        (
            HEAD + "search: {method: grid, over: {training.beta1: [0.5, 1.5]}}",
            "3:53: search.over.training.beta1[1]: must be less than 1.0, got 1.5",
        ),
        (
            HEAD + "search: {method: grid, over: {dataset.image_size: [28, 4]}}",
            "3:56: search.over.dataset.image_size[1]: must be at least 8, got 4",
        ),
        (
            HEAD + "search: {method: grid, over: {dataset.name: [digits, image_folder]}}",
            "3:9: search: with dataset.name=image_folder: "
            "dataset: image_folder needs dataset.path, the folder of images",
        ),
        (
            HEAD + "search: {over: {}}",
            "3:9: search: needs `method: grid`, `method: random`, `method: optuna` or `method: cases`",
        ),
        (
            HEAD + "search: {method: tpe, over: {}}",
            "3:9: search: method must be grid, random, optuna or cases, got 'tpe'",
        ),
        (
            HEAD + "search: {method: random, over: {training.beta1: {uniform: [0, 0.9]}}}",
            "3:9: search.trials: missing",
        ),
        (
            HEAD + "search: {method: random, trials: 3, over: {training.beta1: {uniform: [0.9, 0.1]}}}",
            "3:60: search.over.training.beta1: uniform: the low end 0.9 is above the high end 0.1",
        ),
        (
            HEAD + "search: {method: random, trials: 3, over: {training.beta1: {uniform: [0.5, 1.5]}}}",
            "3:76: search.over.training.beta1.uniform[1]: must be less than 1.0, got 1.5",
        ),
        (
            HEAD + "search: {method: random, trials: 3, over: {training.beta1: {}}}",
            "3:60: search.over.training.beta1: give exactly one of uniform, log_uniform, int_uniform, choice",
        ),
        (
            HEAD + "search: {method: optuna, trials: 3, parallel: 0, over: {training.beta1: {uniform: [0, 0.9]}}}",
            "3:47: search.parallel: must be at least 1, got 0",
        ),
        (
            HEAD + "search: {method: optuna, trials: 3, over: {training.beta1: {uniform: [0.5, 1.5]}}}",
            "3:76: search.over.training.beta1.uniform[1]: must be less than 1.0, got 1.5",
        ),
        (
            HEAD + "search: {method: optuna, trials: 1, over: {dataset.name: {choice: [digits, image_folder]}}}",
            "3:9: search: with dataset.name=image_folder: "
            "dataset: image_folder needs dataset.path, the folder of images",
        ),
        (
            HEAD + "search: {method: grid, over: {training: [1]}}",
            "3:31: search.over.training: is a section; name one of its keys, as in training.batch_size",
        ),
        (
            HEAD + "search: {method: grid, trials: 3, over: {training.beta1: [0.5]}}",
            "3:24: search.trials: unknown key; known here: method, objective, over",
        ),
        (
            HEAD + "search: {method: cases, over: {training.beta1: [0.5]}, cases: [{}]}",
            "3:25: search.over: unknown key; known here: method, objective, cases",
        ),
        (HEAD + "search: {method: cases}", "3:9: search.cases: missing"),
        (HEAD + "search: {method: cases, cases: []}", "3:32: search.cases: is empty"),
        (HEAD + "search: {method: cases, cases: {}}", "3:32: search.cases: must be a list, got a mapping"),
        (
            HEAD + "search:\n  method: cases\n  cases:\n    - {}\n    - training.beta1",
            "7:7: search.cases[1]: must be a mapping, got the text 'training.beta1'",
        ),
        (
            HEAD + "search: {method: cases, cases: [{}, {training.beta1: 0.9, training.bata2: 0.9}]}",
            "3:59: search.cases[1].training.bata2: no such key; did you mean training.beta2?",
        ),
        (
            HEAD + "search: {method: cases, cases: [{training: {beta1: 0.9}}]}",
            "3:34: search.cases[0].training: is a section; name one of its keys, as in training.batch_size",
        ),
        (
            HEAD + "search: {method: cases, cases: [{seed: 1}]}",
            "3:34: search.cases[0].seed: " + SEEDS,
        ),
        (
            HEAD + "search: {method: cases, cases: [{training.steps: 5}]}",
            "3:34: search.cases[0].training.steps: cannot be varied; to continue the trials, raise it and run again",
        ),
        (
            HEAD + "search: {method: cases, cases: [{}, {training.beta1: 1.5}]}",
            "3:54: search.cases[1].training.beta1: must be less than 1.0, got 1.5",
        ),
        (
            HEAD + "search:\n  method: cases\n  cases:\n    - {training.beta1: 0.9}\n    - {training.beta1: 0.9}",
            "7:7: search.cases[1]: repeats search.cases[0]",
        ),
        (
            HEAD + "search:\n  method: cases\n  cases: [{}, {training.beta1: 0.9}, {training.beta1: 0.5}]",
            "5:38: search.cases[2]: repeats search.cases[0]",
        ),
        (
            HEAD + "search: {method: cases, cases: [{}, {training.beta1: 0}, {training.beta1: 0.0}]}",
            "3:58: search.cases[2]: repeats search.cases[1]",
        ),
        (
            HEAD + "search: {method: cases, cases: [{}, {dataset.name: image_folder}]}",
            "3:37: search.cases[1]: dataset: image_folder needs dataset.path, the folder of images",
        ),
        (
            HEAD + "search: {method: cases, objective: {metric: r_v, mode: min}, cases: [{}, {training.beta1: 0.1}]}",
            "3:45: search.objective.metric: no run records r_v without held-out images: set dataset.validation",
        ),
        (
            HEAD + "search: {method: grid, objective: {metric: fd_rate}, over: {training.beta1: [0.5]}}",
            "3:44: search.objective.metric: no run records 'fd_rate'; did you mean fd_ratio?",
        ),
        (
            HEAD + "search: {method: grid, objective: {metric: steps_per_s, mode: max}, over: {training.beta1: [0.5]}}",
            f"3:44: search.objective.metric: no run records 'steps_per_s'; there are {', '.join(METRICS)}",
        ),
        (
            HEAD + "search: {method: grid, objective: {metric: coverage}, over: {training.beta1: [0.5]}}",
            "3:35: search.objective: is the smallest or the largest coverage best? set mode: min or max",
        ),
        (
            HEAD + "search: {method: grid, objective: {mode: best}, over: {training.beta1: [0.5]}}",
            "3:42: search.objective.mode: must be 'min' or 'max', got 'best'",
        ),
        (
            HEAD + "evaluation: {per_run: 0}\nsearch: {method: grid, objective: {metric: fd_ratio}, over:"
            " {training.beta1: [0.5]}}",
            "4:44: search.objective.metric: no run records fd_ratio while evaluation.per_run is 0",
        ),
        (
            HEAD + "evaluation: {per_run: 0}\nsearch: {method: optuna, trials: 3, over:"
            " {training.beta1: {choice: [0.5]}}}",
            "4:9: search.objective.metric: no run records fd_ratio while evaluation.per_run is 0",
        ),
        (
            HEAD + "evaluation: {per_run: 0}\nscheduler: asha\nsearch: {method: grid, over: {training.beta1: [0.5]}}",
            "5:9: search.objective.metric: no run records fd_ratio while evaluation.per_run is 0",
        ),
        (
            HEAD + "search: {method: grid, objective: {metric: val_loss_d, mode: min}, over: {training.beta1: [0.5]}}",
            "3:44: search.objective.metric: no run records val_loss_d without held-out images: set dataset.validation",
        ),
        (HEAD + "scheduler: hyperband", "3:12: scheduler: method must be fifo or asha, got 'hyperband'"),
        (HEAD + "scheduler: 5", "3:12: scheduler: must be a mapping, got 5"),
        (HEAD + "scheduler: {grace: 0.2}", "3:12: scheduler: grace goes with method: asha, not fifo"),
        (
            HEAD + "scheduler: {method: asha, grace: 1}",
            "3:34: scheduler.grace: must be less than 1.0, got 1",
        ),
        (
            HEAD + "scheduler: {method: asha, reduction: 1}",
            "3:38: scheduler.reduction: must be at least 1.5, got 1",
        ),
        ("name: &a s\ntraining: {steps: 10}", "1:7: aliases are not supported; repeat the value"),
        ("name: s\ntraining: *a", "2:11: aliases are not supported; repeat the value"),
        (HEAD + "name: t", "3:1: name: given twice"),
        (
            HEAD + "seed: !!python/object:os.system x",
            "3:7: seed: the tag tag:yaml.org,2002:python/object:os.system is not supported",
        ),
        (
            HEAD + "seed: !!python/object:int 5",
            "3:7: seed: the tag tag:yaml.org,2002:python/object:int is not supported",
        ),
        (
            "name: s\ntraining: !!python/object:x {steps: 10}",
            "2:11: training: the tag tag:yaml.org,2002:python/object:x is not supported",
        ),
        ("a: [1\nb: 2", "2:2: not valid YAML: expected ',' or ']', but got ':'"),
        ("---\na: 1\n---\nb: 2", "3:1: not valid YAML: but found another document"),
        ("", "1:1: a sweep file is a mapping of keys; see `gansweep init`"),
        ("- 1", "1:1: a sweep file is a mapping of keys; see `gansweep init`"),
    ],
)
def test_says_where_and_what_is_wrong(text: str, problem: str) -> None:
    assert refusal(text) == [f"s.yaml:{problem}"]


def test_reports_all_problems_at_once_in_the_order_of_lines() -> None:
    text = (
        "training: {steps: -1, learning_rate: no}\nmodle: 1\nsearch: {method: grid, over: {model.x: [1]}}\nname: ../x"
    )
    assert [p.split(": ")[:2] for p in refusal(text)] == [
        ["s.yaml:1:19", "training.steps"],
        ["s.yaml:1:38", "training.learning_rate"],
        ["s.yaml:2:1", "modle"],
        ["s.yaml:3:31", "search.over.model.x"],
        ["s.yaml:4:7", "name"],
    ]


def test_every_case_is_looked_at() -> None:
    head = HEAD + "search:\n  method: cases\n  cases:\n"
    assert refusal(head + "    - {training.beta1: 2}\n    - {}\n    - {model.latent_dim: big}") == [
        "s.yaml:6:24: search.cases[0].training.beta1: must be less than 1.0, got 2",
        "s.yaml:8:26: search.cases[2].model.latent_dim: must be a whole number, got the text 'big'",
    ]
    assert refusal(head + "    - {dataset.name: image_folder}\n    - {}\n    - {training.clip: 0.1}") == [
        "s.yaml:6:7: search.cases[0]: dataset: image_folder needs dataset.path, the folder of images",
        "s.yaml:8:23: search.cases[2].training.clip: goes with loss: wasserstein_clip, not non_saturating",
    ]


def test_refuses_what_is_no_sweep_file(tmp_path: Path) -> None:
    def message(name: str) -> str:
        with pytest.raises(UserError) as caught:
            loader.load(Path(name))
        return str(caught.value)

    Path("big.yaml").write_text(HEAD + "#" * 1_000_000)
    Path("latin.yaml").write_bytes(b"name: caf\xe9")
    Path("below").write_text("")
    assert message("big.yaml") == "big.yaml: larger than 1 MB; is this a sweep file?"
    assert message("latin.yaml") == "latin.yaml: not UTF-8 text (byte 9)"
    assert message("gone.yaml") == "gone.yaml: no such file; `gansweep init gone.yaml` creates one"
    assert message(".") == ".: is a folder; name a sweep file in it"
    assert message("below/s.yaml") == "below/s.yaml: cannot be read: Not a directory"


@pytest.mark.parametrize("nested", ["[" * 10_000 + "]" * 10_000, "{a: " * 10_000 + "}" * 10_000, "[" * 10_000])
def test_refuses_deep_nesting(nested: str) -> None:
    (problem,) = refusal(HEAD + f"x: {nested}")
    assert problem.endswith(": nested deeper than 20 levels")


def test_refuses_numbers_too_long_to_print() -> None:
    text = "0x" + "f" * 5000
    assert refusal(HEAD + f"seed: {text}") == [f"s.yaml:3:7: seed: '{text}' is not a valid number"]


def test_counts_a_huge_grid_by_arithmetic() -> None:
    keys = ("latent_dim", "feature_maps", "generator.feature_maps", "discriminator.feature_maps")
    values = ", ".join(str(i) for i in range(1, 1001))
    began = time.perf_counter()
    problems = refusal(
        HEAD + "search:\n  method: grid\n  over:\n" + "".join(f"    model.{k}: [{values}]\n" for k in keys)
    )
    assert problems == [
        "s.yaml:4:3: search: 1,000,000,000,000 trials exceed the limit of 10,000;"
        " raise it with --max-trials 1000000000000"
    ]
    assert time.perf_counter() - began < 10


def test_max_trials_allows_more_and_less() -> None:
    text = HEAD + "replicates: 101\nsearch: {method: grid, over: {model.latent_dim: [1, 2]}}"
    assert count(load(text, max_trials=202)) == 202
    assert refusal(text, max_trials=201) == [
        "s.yaml:4:9: search: 202 trials exceed the limit of 201; raise it with --max-trials 202"
    ]


def test_yaml_is_1_2() -> None:
    sweep = load("name: no\ntraining: {steps: 0o12, learning_rate: 1e-4}\nseed: 1_000")
    assert (sweep.name, sweep.training.steps, sweep.seed) == ("no", 10, 1000)
    assert sweep.training.learning_rate == 1e-4
    assert load("name: yes\ntraining: {steps: 10}").name == "yes"


def test_set_overrides_numbers_lists_and_text() -> None:
    sweep = load(
        HEAD + "search: {method: grid, over: {training.beta1: [0.5]}}",
        "training.learning_rate=1e-4",
        "search.over.training.beta1=[0.1, 0.2]",
        "dataset={name: image_folder, path: here, classes: [a, b]}",
        "model.generator.feature_maps=8",
        "name=t",
    )
    assert (sweep.name, sweep.training.learning_rate, sweep.training.steps) == ("t", 1e-4, 10)
    assert sweep.dataset.classes == ["a", "b"]
    assert sweep.model.generator.feature_maps == 8
    assert isinstance(sweep.search, GridSearch)
    assert sweep.search.over == {"training.beta1": [0.1, 0.2]}


def test_set_gives_cases() -> None:
    sweep = load(HEAD + "search: {method: cases, cases: [{}]}", "search.cases=[{}, {training.beta1: 0.9}]")
    assert isinstance(sweep.search, CasesSearch)
    assert sweep.search.cases == [{}, {"training.beta1": 0.9}]
    assert refusal(HEAD, "search={method: cases, cases: [{}, {model.chanels: 1}]}") == [
        "--set search: search.cases[1].model.chanels: no such key; did you mean model.channels?"
    ]


def test_thresholds_of_version_0_1_0_are_read_with_a_sentence() -> None:
    sweep = load(HEAD + "thresholds: {not_learning: {density: 0.2}}")
    assert sweep.thresholds.changed() == {"never_took_off": {"density": 0.2}}
    assert sweep.thresholds.sentences == ("thresholds.not_learning: this kind is called never_took_off now",)
    assert load(HEAD).thresholds.sentences == ()
    assert refusal(HEAD + "thresholds: {not_learning: 3}") != []


STOPS = ("divergence", "dead_generator", "mode_collapse", "never_took_off")


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        ("", STOPS),
        ("stop: {}", STOPS),
        ("stop: {action: stop}", STOPS),
        ("stop: {action: flag}", ()),
        ("stop: none", ()),
        ("stop: {on: []}", ()),
        ("stop: {on: [critic_stalled, divergence]}", ("critic_stalled", "divergence")),
        ("stop: {on: [divergence], action: flag}", ()),
        ("stop: {on: [discriminator_dominance]}", ("discriminator_won",)),  # the name that users look for
        ("stop: {on: [not_learning, divergence]}", ("never_took_off", "divergence")),  # of version 0.1.0
    ],
)
def test_stop_names_the_kinds_that_end_a_trial(text: str, rules: tuple[str, ...]) -> None:
    assert load(HEAD + text).stop.rules == rules


@pytest.mark.parametrize(
    "text",
    [
        "evaluation: {per_run: 0}\nsearch: {method: grid, over: {training.beta1: [0.5]}}",  # nothing hangs on it
        "evaluation: {per_run: 0}\nscheduler: asha",
        "scheduler: asha\nevaluation: {per_run: 0}\n"
        "search: {method: grid, objective: {metric: loss_g, mode: min}, over: {training.beta1: [0.5]}}",
        "dataset: {validation: 0.1}\n"
        "search: {method: grid, objective: {metric: r_v, mode: min}, over: {training.beta1: [0.5]}}",
        "search: {method: grid, objective: {metric: val_loss_g, mode: max}, over: {dataset.validation: [0, 0.5]}}",
        "search: {method: cases, objective: {metric: r_v, mode: min}, cases: [{}, {dataset.validation: 0.1}]}",
    ],
)
def test_an_objective_that_is_recorded_or_asked_for_by_nothing_is_allowed(text: str) -> None:
    load(HEAD + text)


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        ("", ("divergence",)),
        ("scheduler: fifo", ("divergence",)),
        ("scheduler: {}", ("divergence",)),
        ("scheduler: asha", ("divergence", "asha")),
        ("scheduler: {method: asha, grace: 0.2, reduction: 4}", ("divergence", "asha")),
    ],
)
def test_asha_is_a_rule_that_ends_trials(text: str, rules: tuple[str, ...]) -> None:
    assert load(HEAD + "stop: {on: [divergence]}\n" + text).rules == rules


def test_stop_can_be_set_to_none() -> None:
    assert load(HEAD + "stop: {on: [divergence]}", "stop=none").stop.rules == ()
    assert load(HEAD + "stop: none", "stop.on=[divergence]").stop.rules == ("divergence",)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seed=-1", "--set seed: seed: must be at least 0, got -1"),
        (
            "stop=no",
            "--set stop: stop: must be a mapping or none, got 'no'" + NONE,
        ),
        ("stop.action=warn", "--set stop.action: stop.action: must be 'stop' or 'flag', got 'warn'"),
        ("training.beta2=x", "--set training.beta2: training.beta2: must be a number, got the text 'x'"),
        (
            "training.learning_rat=1",
            "--set training.learning_rat: training.learning_rat: unknown key; did you mean learning_rate?",
        ),
        (
            "search.over.training.beta1=[0.1, 1.2]",
            "--set search.over.training.beta1: search.over.training.beta1[1]: must be less than 1.0, got 1.2",
        ),
        ("training=5", "--set training: training: must be a mapping, got 5"),
        (
            "training.steps=[",
            "--set training.steps:1:9: not valid YAML: expected the node content, but found '<stream end>'",
        ),
        ("training.steps", "--set training.steps: write it as key=value, as in --set training.steps=1200"),
        ("=3", "--set =3: write it as key=value, as in --set training.steps=1200"),
    ],
)
def test_set_says_what_is_wrong(override: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        load(HEAD + "search: {method: grid, over: {training.beta1: [0.5]}}", override)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "file",
    [ROOT / "gansweep" / "sweepfile" / "template.yaml", *sorted((ROOT / "sweeps").rglob("*.y*ml"))],
    ids=lambda file: str(file.relative_to(ROOT)),
)
def test_shipped_sweep_files_load(file: Path) -> None:
    sweep = loader.load(file)
    assert count(sweep) >= 1


def test_every_key_of_the_schema_stands_in_the_template() -> None:
    text = template()
    keys = (key for key in loader.known_keys() if not key.startswith("thresholds."))
    leaves = {key.rpartition(".")[2] for key in keys}
    assert {leaf for leaf in leaves if f"{leaf}:" not in text} == set()


KEYS = st.sampled_from([*loader.known_keys(), "over", "method", "grid", "random", "x", "1", "uniform", "choice"])
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["grid", "random"])
)
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS | st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)
AXES = st.dictionaries(KEYS, TREES, max_size=3)
SEARCHES = st.fixed_dictionaries(
    {"method": st.sampled_from(["grid", "random", "cases", "x", None])},
    optional={"over": AXES, "cases": st.lists(AXES | SCALARS, max_size=3), "trials": SCALARS, "seed": SCALARS},
)


def _survives(text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loader, "read", lambda path: text)
        try:
            loader.load(Path("s.yaml"))
        except UserError as error:
            message = str(error)
            assert message  # raising nothing is as good


@given(st.text(max_size=80) | st.text(st.sampled_from("ab:[]{}#&*!?|>-,'\"% \n\t0.e"), max_size=40))
def test_no_text_raises_anything_but_user_errors(text: str) -> None:
    _survives(text)
    _survives(HEAD + text)


@given(
    st.fixed_dictionaries({"name": SCALARS, "training": TREES}, optional={"search": SEARCHES | TREES, "model": TREES})
)
def test_no_yaml_raises_anything_but_user_errors(data: dict[str, object]) -> None:
    import json

    _survives(json.dumps(data))  # JSON is YAML
    _survives(json.dumps({**data, "name": "s", "training": {"steps": 1}}))
