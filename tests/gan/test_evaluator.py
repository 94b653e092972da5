from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from gansweep.config import AugmentationConfig, LossConfig, NetworkConfig, OptimizerConfig, TrainingConfig
from gansweep.errors import UserError
from gansweep.gan.batches import generator
from gansweep.gan.data import ImageSet, Pixels, evaluation_samples
from gansweep.gan.evaluator import Evaluator
from gansweep.gan.reference import Reference, halves, reference_of
from gansweep.gan.sampling import sample
from gansweep.gan.training import Trainer
from gansweep.health import metrics as m
from gansweep.health.detectors.memorised import Memorised
from gansweep.health.history import History
from gansweep.health.judge import Judge

MakeTrainer = Callable[..., Trainer]
HELD_OUT = (m.D_GAP, m.R_V)
ALWAYS = {*m.EVALUATION} - {*m.CONDITIONAL, m.D_PREFERENCE}  # of an ordinary model
DIGITS = tuple("0123456789")
REQUESTED = {f"{m.REQUESTED_SHARE}{digit}" for digit in DIGITS}
CONDITIONAL = {*m.CONDITIONAL, *REQUESTED}  # what a conditional one has beside
SHARES = tuple(f"{m.CLASS_SHARE}{digit}" for digit in range(10))


@pytest.fixture
def trainer_of(digits: ImageSet, make_settings: Callable[..., TrainingConfig]) -> MakeTrainer:
    """Tiny networks on digits, trained for `steps` steps; keywords change settings."""

    def make(steps: int = 2, **changes: Any) -> Trainer:
        settings = make_settings(image_size=32, **changes)
        labels = digits.labels() if settings.networks.classes else None
        trainer = Trainer(settings, digits.load(), torch.device("cpu"), labels)
        for _ in range(steps):
            trainer.train_step()
        return trainer

    return make


@pytest.fixture(scope="session")
def small(reference: Reference) -> Evaluator:
    """An evaluator with 40 samples: fewer than D is evaluated on."""
    return Evaluator(reference, 40, seed=7)


def snapshot(trainer: Trainer) -> dict[str, Any]:
    """Everything that the next step depends on."""
    state = {name: tensor.clone() for name, tensor in trainer.state().items()}
    return {
        "state": {name: tensor.numpy().tobytes() for name, tensor in state.items()},
        "modes": (trainer.generator.training, trainer.discriminator.training),
        "gradients": [p.grad for p in trainer.discriminator.parameters()],
        "at": (trainer.step, trainer.batches.position),
        "global": torch.get_rng_state().numpy().tobytes(),
    }


VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "validation and augmentation": {"validation": 0.3, "augmentation": AugmentationConfig(flip=True, rotate=20)},
    "conditional": {"networks": NetworkConfig(conditioning="concat", classes=DIGITS), "validation": 0.1},
    "critic": {"loss": LossConfig("wasserstein_gp"), "networks": NetworkConfig(norm="layer", spectral_norm=True)},
    "average": {"ema": 0.9},
    "relativistic": {"loss": LossConfig("relativistic")},
}


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)
def test_leaves_training_bit_for_bit_as_it_was(
    trainer_of: MakeTrainer, small: Evaluator, changes: dict[str, Any]
) -> None:
    evaluated, never = trainer_of(**changes), trainer_of(**changes)
    before = snapshot(evaluated)
    small(evaluated)
    assert snapshot(evaluated) == before
    for _ in range(2):
        evaluated.train_step()
        never.train_step()
        small(evaluated)
    assert snapshot(evaluated) == snapshot(never)
    assert np.array_equal(evaluated.read(), never.read())


def test_the_same_step_gives_the_same_numbers(trainer_of: MakeTrainer, small: Evaluator, reference: Reference) -> None:
    trainer = trainer_of()
    found = small(trainer)
    torch.manual_seed(5)
    trainer.noise()
    trainer.batches.next()
    assert small(trainer) == found
    assert Evaluator(reference, 40, seed=7)(trainer) == found
    assert Evaluator(reference, 40, seed=8)(trainer) != found
    trainer.step += 1
    assert small(trainer) != found


def test_gives_every_metric_that_can_be_had(trainer_of: MakeTrainer, evaluator: Evaluator) -> None:
    labelled, split = evaluator(trainer_of(0)), evaluator(trainer_of(0, validation=0.2))
    assert set(labelled) == {*ALWAYS, *SHARES} - {*HELD_OUT}
    assert set(split) == {*ALWAYS, *SHARES}
    assert all(m.is_evaluation(name) for name in split)
    quality = {*m.QUALITY} - {*m.CONDITIONAL}
    assert {name: labelled[name] for name in quality} == {name: split[name] for name in quality}
    assert all(type(value) is float and math.isfinite(value) for value in split.values())
    assert evaluator.notices == []


def test_too_few_samples_to_count_missing_classes(trainer_of: MakeTrainer, reference: Reference) -> None:
    least = reference.histogram.least_to_miss()
    few, enough = Evaluator(reference, least - 1, 0), Evaluator(reference, least, 0)
    assert few.notices == [
        f"evaluation.samples: classes missing needs at least {least} samples, got {least - 1}; it is not recorded"
    ]
    assert enough.notices == []
    assert set(few(trainer_of())) == {*ALWAYS, *SHARES} - {*HELD_OUT, m.CLASSES_MISSING}
    found = few.description()
    assert found.pop("real_shares") == dict(zip("0123456789", reference.histogram.shares.tolist(), strict=True))
    features = found.pop("features")
    assert (features["name"], features["resolution"]) == ("classifier", 16)
    assert 0 < found.pop("real_near_duplicates") < 0.05
    assert found == {"accuracy": reference.accuracy, "classes": 10, "samples": least - 1, "training_images": 898}


def test_shares_of_classes_are_those_that_the_classifier_names(reference: Reference, evaluator: Evaluator) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (256, 1, 32, 32)).astype(np.uint8)
    _, labels = reference.embedding.embed(torch.from_numpy(pixels))
    found = evaluator.quality(pixels)
    assert {name: found[name] for name in SHARES} == {
        name: float((labels == number).double().mean()) for number, name in enumerate(SHARES)
    }


def test_names_of_classes_are_such_that_stores_take_them(reference: Reference) -> None:
    strange = dataclasses.replace(reference, class_names=(*"012345678", "é/ä%?"))
    alike = dataclasses.replace(reference, class_names=(*"01234567", "?", "!"))
    many = dataclasses.replace(reference, class_names=tuple(map(str, range(65))))
    assert [*Evaluator(strange, 40, 0).description()["real_shares"]] == [*"012345678", "é_ä__"]
    assert [*Evaluator(alike, 40, 0).description()["real_shares"]] == [*"0123456789"]
    assert Evaluator(many, 40, 0).description()["real_shares"] == {}


def test_without_labels_nothing_is_recorded_of_classes(
    make_set: Callable[..., ImageSet], make_trainer: MakeTrainer, make_pixels: Callable[..., Pixels]
) -> None:
    reference, _ = reference_of(make_set(make_pixels(500), [0] * 500, ("all",)))
    evaluator = Evaluator(reference, 60, 0)
    assert set(evaluator(make_trainer())) == {*ALWAYS} - {*m.LABELLED, *HELD_OUT}
    assert evaluator.notices == []
    found = evaluator.description()
    assert found.pop("features")["name"] == "principal_components"
    assert 0 <= found.pop("real_near_duplicates") < 0.05
    assert found == {"accuracy": None, "classes": 0, "real_shares": {}, "samples": 60, "training_images": 250}


@pytest.mark.parametrize("noise", [0, 8])
def test_a_g_that_returns_training_images_with_slight_noise_is_memorised(
    evaluator: Evaluator, digits: ImageSet, noise: float
) -> None:
    rng, pixels = np.random.default_rng(0), digits.load()
    seen, unseen = halves(digits.images)

    def measured(images: np.ndarray) -> list[tuple[int, dict[str, float]]]:
        """Steps and metrics of five evaluations."""
        drawn = [pixels[rng.choice(images, 256, replace=False)] + rng.normal(0, noise, (256, 1, 32, 32))] * 5
        return [(10 * at, evaluator.quality(np.clip(p, 0, 255).astype(np.uint8))) for at, p in enumerate(drawn, 6)]

    copied, of_all, fresh = measured(seen), measured(np.arange(digits.images)), measured(unseen)
    assert copied[0][1][m.MEMORISED] > 0.9
    assert of_all[0][1][m.MEMORISED] == pytest.approx(len(seen) / digits.images, abs=0.1)
    assert fresh[0][1][m.MEMORISED] <= 0.03
    found = [Memorised()(History.of(run, 100, compared=True)) for run in (copied, of_all, fresh)]
    assert [verdict is not None for verdict in found] == [True, True, False]
    judged = [[v.kind for v in Judge().conclude(History.of(run, 100, compared=True))] for run in (copied, fresh)]
    assert judged == [["healthy", "memorised"], ["healthy"]]


def test_near_duplicates_of_real_images_are_recorded_where_the_set_repeats_images(
    make_set: Callable[..., ImageSet], make_pixels: Callable[..., Pixels]
) -> None:
    """A G as good as the real images has as many, and more than .01."""
    images = make_set(np.tile(make_pixels(300), (4, 1, 1, 1)), [0] * 1200, ("all",))
    reference, _ = reference_of(images)
    evaluator = Evaluator(reference, 200, 0)
    own = evaluator.description()["real_near_duplicates"]
    _, unseen = halves(images.images)
    fresh = images.load()[np.random.default_rng(1).choice(unseen, 200, replace=False)]
    assert own > 0.2
    assert evaluator.quality(fresh)[m.NEAR_DUPLICATES] == pytest.approx(own, abs=0.1)


@pytest.mark.parametrize("channel", [0, 1, 2])
def test_a_channel_that_fades_changes_ndb_spread_and_similarity(
    make_set: Callable[..., ImageSet], channel: int
) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (900, 3, 4, 4), np.uint8).repeat(16, axis=2).repeat(16, axis=3)
    images = make_set(pixels, [0] * 900, ("all",))
    evaluator = Evaluator(reference_of(images)[0], 200, 0)
    _, unseen = halves(images.images)
    real = pixels[unseen[:200]]
    faded = real.copy()
    faded[:, channel] //= 4
    found, as_real = evaluator.quality(faded), evaluator.quality(real)
    assert as_real[m.NDB] <= 0.1
    assert found[m.NDB] >= 0.2
    assert found[m.SPREAD_ACROSS] == pytest.approx(as_real[m.SPREAD_ACROSS] * 0.75, rel=0.05)
    assert found[m.MS_SSIM] != pytest.approx(as_real[m.MS_SSIM], rel=0.02)


NOISE = np.random.default_rng(0).integers(0, 256, (500, 1, 16, 16), np.uint8)
POOR = {
    "one image": (NOISE[:1].repeat(500, axis=0), 1),
    "flat images": (NOISE[:, :, :1, :1].repeat(16, axis=2).repeat(16, axis=3), 1),
    "no two of a class": (NOISE, 500),
}


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(("pixels", "classes"), POOR.values(), ids=POOR)
def test_real_images_without_variety_break_nothing(
    make_set: Callable[..., ImageSet], make_trainer: MakeTrainer, pixels: Pixels, classes: int
) -> None:
    images = make_set(pixels, [i % classes for i in range(500)], [str(i) for i in range(classes)])
    evaluator = Evaluator(reference_of(images)[0], 60, 0)
    assert {*m.QUALITY} - {*m.LABELLED, *m.CONDITIONAL} <= set(evaluator(make_trainer()))


# Quality.


def test_real_images_are_judged_as_good_as_real(digits: ImageSet, evaluator: Evaluator) -> None:
    """Those that real ones are compared with are others."""
    found = evaluator.quality(digits.load()[halves(digits.images)[1][300:556]])
    assert 0.4 < found[m.FD_RATIO] < 2  # of two samples of 256 real digits, it has a standard deviation of 0.3
    assert found[m.DENSITY] == pytest.approx(1, abs=0.25)
    assert found[m.COVERAGE] > 0.85
    assert min(found[m.PRECISION], found[m.RECALL]) > 0.75
    assert found[m.NDB] <= 0.2
    assert found[m.NEAR_DUPLICATES] < 0.05
    assert (found[m.SPREAD_ACROSS], found[m.SPREAD_WITHIN]) == pytest.approx((1, 1), abs=0.05)
    assert found[m.MS_SSIM] == pytest.approx(1, abs=0.15)
    assert found[m.CLASSES] > 9.5
    assert (found[m.CLASSES_MISSING], found[m.LABEL_KL] < 0.1) == (0, True)


def test_one_image_again_and_again(digits: ImageSet, evaluator: Evaluator) -> None:
    """But for some grey levels."""
    one = digits.load()[:1].clip(2, 253)
    found = evaluator.quality(one + np.random.default_rng(0).integers(-2, 3, (256, 1, 32, 32)).astype(np.uint8))
    assert found[m.SPREAD_ACROSS] < 0.05
    assert found[m.SPREAD_WITHIN] > 0.5
    assert (found[m.NEAR_DUPLICATES], found[m.CLASSES], found[m.CLASSES_MISSING]) == (1, 1, 9)
    assert found[m.MS_SSIM] > 1.2
    assert found[m.FD_RATIO] > 10
    assert found[m.COVERAGE] < 0.1


def test_one_class_alone(digits: ImageSet, evaluator: Evaluator) -> None:
    ones = digits.load()[digits.labels() == 1]
    found = evaluator.quality(np.concatenate([ones, ones])[:256])
    assert found[m.CLASSES] < 1.5
    assert found[m.CLASSES_MISSING] >= 8
    assert found[m.LABEL_KL] > 2


def test_samples_are_what_g_makes_of_fresh_noise(trainer_of: MakeTrainer, small: Evaluator) -> None:
    trainer = trainer_of()
    z = torch.randn(128, trainer.config.latent_dim, generator=generator(7, "evaluation 2"))
    found, expected = small(trainer), small.quality(sample(trainer.generator, z)[:40])
    assert {name: found[name] for name in expected} == expected


def test_samples_are_of_the_average_and_the_fakes_that_d_sees_are_not(
    trainer_of: MakeTrainer, small: Evaluator
) -> None:
    averaged, plain = trainer_of(ema=0.9), trainer_of()
    found, of_plain = small(averaged), small(plain)
    z = torch.randn(128, 5, generator=generator(7, "evaluation 2"))
    expected = small.quality(sample(averaged.sampler, z)[:40])
    assert {name: found[name] for name in expected} == expected
    assert {name: of_plain[name] for name in expected} != expected
    of_d = {*m.DISCRIMINATOR} & {*found}
    assert {name: found[name] for name in of_d} == {name: of_plain[name] for name in of_d}


# Classes that were asked for.


class Draws(torch.nn.Module):
    """A generator that gives real digits of the class that `answer` gives for the one that was asked for."""

    def __init__(self, digits: ImageSet, answer: Callable[[int], int]) -> None:
        super().__init__()
        self._pixels, self._labels, self._answer = digits.load(), digits.labels(), answer
        self.asked: list[int] = []

    def forward(self, z: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        self.asked = labels.tolist()
        chosen = [int(np.flatnonzero(self._labels == self._answer(c))[i % 150]) for i, c in enumerate(self.asked)]
        return torch.from_numpy(self._pixels[chosen]).float() / 127.5 - 1


CONDITIONED = NetworkConfig(conditioning="concat", classes=DIGITS)


def test_a_conditional_model_has_all_metrics_of_an_ordinary_one_and_more(
    trainer_of: MakeTrainer, evaluator: Evaluator
) -> None:
    found = evaluator(trainer_of(0, networks=CONDITIONED, validation=0.2))
    assert set(found) == {*ALWAYS, *SHARES, *CONDITIONAL}
    assert all(m.is_evaluation(name) for name in found)
    del found[m.R_V]  # of a D that does not separate at all
    assert all(type(value) is float and math.isfinite(value) for value in found.values())


@pytest.mark.parametrize(
    ("answer", "share", "worst"),
    [
        (lambda asked: asked, (0.97, 1.0), (0.85, 1.0)),
        (lambda asked: (asked + 1) % 10, (0.0, 0.03), (0.0, 0.0)),
        (lambda asked: 4, (0.08, 0.12), (0.0, 0.0)),
        (lambda asked: 5 if asked == 3 else asked, (0.87, 0.91), (0.0, 0.0)),
    ],
    ids=["obeys", "gives the next", "gives always a 4", "takes a 3 for a 5"],
)
def test_how_often_the_class_comes_out_that_was_asked_for(
    trainer_of: MakeTrainer,
    digits: ImageSet,
    evaluator: Evaluator,
    answer: Callable[[int], int],
    share: tuple[float, float],
    worst: tuple[float, float],
) -> None:
    trainer = trainer_of(0, networks=CONDITIONED)
    trainer.generator = Draws(digits, answer)  # type: ignore[assignment]
    found = evaluator(trainer)
    assert share[0] <= found[m.REQUESTED] <= share[1]
    assert worst[0] <= found[m.REQUESTED_WORST] <= worst[1]
    each = [found[f"{m.REQUESTED_SHARE}{digit}"] for digit in DIGITS]
    assert min(each) == found[m.REQUESTED_WORST]
    assert [value > 0.8 for value in each] == [answer(digit) == digit for digit in range(10)]


def test_shares_of_what_was_asked_for_are_those_that_the_classifier_names(
    reference: Reference, evaluator: Evaluator
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (256, 1, 32, 32)).astype(np.uint8)
    pixels[:128, :, :, ::2] //= 4  # so that there is more than one kind
    named = reference.embedding.embed(torch.from_numpy(pixels))[1].tolist()
    asked = np.array([named[i] if i % 3 == 0 else i % 10 for i in range(256)])
    found = evaluator.quality(pixels, asked)
    right = [a == b for a, b in zip(named, asked.tolist(), strict=True)]
    assert found[m.REQUESTED] == sum(right) / 256
    for digit in range(10):
        of_it = [ok for ok, a in zip(right, asked.tolist(), strict=True) if a == digit]
        assert found[f"{m.REQUESTED_SHARE}{digit}"] == sum(of_it) / len(of_it)
    assert found[m.REQUESTED_WORST] == min(found[name] for name in REQUESTED)
    assert evaluator.quality(pixels).keys() == found.keys() - CONDITIONAL


def test_classes_are_asked_for_as_often_as_they_come_among_the_images(
    trainer_of: MakeTrainer, digits: ImageSet, evaluator: Evaluator
) -> None:
    trainer = trainer_of(0, networks=CONDITIONED)
    trainer.generator = draws = Draws(digits, lambda asked: asked)  # type: ignore[assignment]
    evaluator(trainer)
    counts, real = np.bincount(draws.asked, minlength=10), np.bincount(digits.labels())
    assert np.abs(counts - real * len(draws.asked) / digits.images).max() <= 1
    assert draws.asked != sorted(draws.asked)


def test_a_class_that_is_never_asked_for_is_not_the_worst(evaluator: Evaluator) -> None:
    found = evaluator.quality(np.zeros((256, 1, 32, 32), np.uint8), np.arange(256) % 9)
    assert math.isnan(found[f"{m.REQUESTED_SHARE}9"])
    assert math.isfinite(found[m.REQUESTED_WORST])


def test_a_class_that_collapses_shows_within_it(digits: ImageSet, reference: Reference) -> None:
    """Samples are of the class that was asked for; those of 3 are one image again and again."""
    evaluator, labels = Evaluator(reference, 360, 0), digits.labels()
    unseen = halves(digits.images)[1][449:]  # but those that real ones are compared with
    asked = np.arange(360) % 10
    chosen = np.concatenate([unseen[labels[unseen] == c][:36] for c in range(10)]).reshape(10, -1).T.flatten()
    varied = digits.load()[chosen]
    good = evaluator.quality(varied, asked)
    collapsed = varied.copy()
    collapsed[asked == 3] = varied[asked == 3][:1]
    bad = evaluator.quality(collapsed, asked)
    assert good[m.COVERAGE_WITHIN] > 0.8
    assert good[m.COVERAGE_WITHIN_WORST] > 0.6
    assert bad[m.REQUESTED] > 0.9
    assert bad[m.COVERAGE_WITHIN_WORST] < 0.3
    assert bad[m.COVERAGE_WITHIN] == pytest.approx(
        good[m.COVERAGE_WITHIN] - 0.1 * (good[m.COVERAGE_WITHIN_WORST] - bad[m.COVERAGE_WITHIN_WORST]), abs=0.03
    )
    assert bad[m.COVERAGE] > 0.7, "without classes it hardly shows"


# D.


def plainly(trainer: Trainer, pixels: Pixels, held_out: Pixels | None, seed: int) -> dict[str, float]:
    """The metrics of D again, number by number."""
    size = trainer.config.batch_size
    asked = round(128 / size) * size
    z = torch.randn(asked, trainer.config.latent_dim, generator=generator(seed, f"evaluation {trainer.step}"))
    fakes = sample(trainer.generator, z)
    d = copy.deepcopy(trainer.discriminator).train()

    def logits(images: Pixels) -> list[float]:
        found: list[float] = []
        with torch.no_grad():
            for i in range(0, len(images), size):
                found += d(torch.from_numpy(images[i : i + size]).float() / 127.5 - 1).flatten().tolist()
        return found

    real, fake = logits(pixels[:: len(pixels) // asked][:asked]), logits(fakes)
    unseen = real if held_out is None else logits(held_out[:asked])
    wins = [(r > f) + (r == f) / 2 for r in unseen for f in fake]
    found = {
        m.D_AUC: sum(wins) / len(wins),
        m.D_ACCURACY: (sum(r > 0 for r in real) / len(real) + sum(f < 0 for f in fake) / len(fake)) / 2,
        m.D_FRESH: sum(1 / (1 + math.exp(-f)) for f in fake) / len(fake),
        m.D_STD: float(np.std([*real, *fake])),
        m.R_T: sum(math.copysign(1, r) for r in real) / len(real),
        m.COHERENCE: coherence(trainer, d, fakes),
    }
    if held_out is not None:
        found[m.D_GAP] = sum(r > 0 for r in real) / len(real) - sum(u > 0 for u in unseen) / len(unseen)
        found[m.R_V] = float((np.mean(real) - np.mean(unseen)) / (np.mean(real) - np.mean(fake)))
    return found


def coherence(trainer: Trainer, d: torch.nn.Module, fakes: Pixels) -> float:
    """Mean cosine of G's gradients of the non-saturating loss for the first batch, pair by pair."""
    size = trainer.config.batch_size
    x = (torch.from_numpy(fakes[:size]).float() / 127.5 - 1).requires_grad_()
    torch.nn.functional.softplus(-d(x)).mean().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    rows = x.grad.flatten(1).double()
    pairs = [(a, b) for a in range(size) for b in range(a)]
    first, second = (rows[[pair[k] for pair in pairs]] for k in (0, 1))
    return torch.nn.functional.cosine_similarity(first, second).mean().item()


def test_gradients_of_a_linear_d_are_coherent(trainer_of: MakeTrainer, small: Evaluator) -> None:
    """Such a D pushes every sample the same way, by other amounts."""

    class Linear(torch.nn.Module):
        def forward(self, x: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
            return x.flatten(1).sum(dim=1)

    trainer = trainer_of(1)
    assert -0.5 < small(trainer)[m.COHERENCE] < 0.99
    trainer.discriminator = Linear()  # type: ignore[assignment]
    assert small(trainer)[m.COHERENCE] == pytest.approx(1)


def test_a_relativistic_d_is_measured_by_differences(trainer_of: MakeTrainer, small: Evaluator) -> None:
    """A constant that is added to all outputs changes nothing."""
    trainer = trainer_of(2, loss=LossConfig("relativistic"))
    found, forward = small(trainer), trainer.discriminator.forward
    trainer.discriminator.forward = lambda *args, **more: forward(*args, **more) + 3  # type: ignore[method-assign]
    moved = small(trainer)
    assert 0.5 < found[m.D_PREFERENCE] < 1
    assert moved[m.D_PREFERENCE] == pytest.approx(found[m.D_PREFERENCE], abs=1e-6)
    assert moved[m.COHERENCE] == pytest.approx(found[m.COHERENCE], abs=1e-5)
    assert m.D_FRESH not in found


@pytest.mark.parametrize("batch_size", [8, 60])
@pytest.mark.parametrize("validation", [0.0, 0.1])
def test_d_is_asked_in_batches_of_real_and_of_fake_images(
    trainer_of: MakeTrainer, digits: ImageSet, small: Evaluator, validation: float, batch_size: int
) -> None:
    slow = OptimizerConfig(1e-4, 0.5, 0.999)  # D tells some fakes from real images, not all
    trainer = trainer_of(2, validation=validation, batch_size=batch_size, discriminator=slow)
    pixels = digits.load()
    order = torch.randperm(len(pixels), generator=generator(0, "validation split")).numpy()
    held = round(validation * len(pixels))
    training, held_out = pixels[np.sort(order[held:])], pixels[order[:held]] if held else None
    found = small(trainer)
    assert {name: found[name] for name in m.DISCRIMINATOR if name in found} == pytest.approx(
        plainly(trainer, training, held_out, seed=7), rel=1e-5, abs=1e-7
    )
    assert 0.6 < found[m.D_AUC] < 0.95


def test_a_d_that_says_nothing_separates_nothing(trainer_of: MakeTrainer, small: Evaluator) -> None:
    trainer = trainer_of(0, validation=0.1)
    with torch.no_grad():
        trainer.discriminator.weights[-1].zero_()
    found = small(trainer)
    assert (found[m.D_AUC], found[m.D_FRESH], found[m.D_STD], found[m.R_T], found[m.D_GAP]) == (0.5, 0.5, 0, 0, 0)
    assert math.isnan(found[m.R_V])


@pytest.mark.parametrize("value", [math.nan, math.inf, 3e38])
@pytest.mark.parametrize("network", ["generator", "discriminator"])
def test_weights_that_are_not_finite_are_evaluated_without_a_warning(
    trainer_of: MakeTrainer, small: Evaluator, network: str, value: float
) -> None:
    trainer = trainer_of(0, validation=0.1)
    with torch.no_grad():
        for parameter in getattr(trainer, network).parameters():
            parameter.fill_(value)
    assert set(small(trainer)) == {*ALWAYS, *SHARES} - {m.CLASSES_MISSING}


def test_infinite_logits_are_evaluated_without_a_warning(trainer_of: MakeTrainer, small: Evaluator) -> None:
    trainer = trainer_of(0, validation=0.1)
    head = trainer.discriminator.weights[-1]
    with torch.no_grad():
        head.zero_()
        head[0, 0, 0, 0] = 3e38
    found = small(trainer)
    assert set(found) == {*ALWAYS, *SHARES} - {m.CLASSES_MISSING}
    assert not math.isfinite(found[m.D_STD])


# How many samples.


@pytest.mark.parametrize(
    ("images", "wanted", "drawn"),
    [(1797, 256, 256), (1797, 449, 449), (1797, 500, 449), (70_000, 5_000, 1_000), (1797, 33, 33), (132, 256, 33)],
)
def test_two_real_samples_of_as_many_fit_into_the_unseen_images(images: int, wanted: int, drawn: int) -> None:
    assert evaluation_samples(images, wanted) == drawn
    assert 2 * drawn <= len(halves(images)[1])


@pytest.mark.parametrize(
    ("images", "wanted", "message"),
    [
        (1797, 32, "32 samples are too few for a Fréchet distance; give at least 33"),
        (20, 2, "2 samples are too few for a Fréchet distance; give at least 33"),
        (128, 256, "128 images are too few for a Fréchet distance; give at least 132 images"),
        (2, 256, "2 images are too few for a Fréchet distance; give at least 132 images"),
    ],
)
def test_too_few_are_refused(images: int, wanted: int, message: str) -> None:
    with pytest.raises(UserError) as caught:
        evaluation_samples(images, wanted)
    assert str(caught.value) == f"evaluation.samples: {message}, or evaluation.per_run: 0"
