"""Training of one GAN: the order in which D and G are updated."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gansweep.config import TrainingConfig
from gansweep.gan import capture, start
from gansweep.gan.batches import Batch, Batches, generator, stream_seed
from gansweep.gan.clock import clock_of
from gansweep.gan.data import A_CLASS, FIXED_NOISE, ImageSet
from gansweep.gan.default_streams import DefaultStreams
from gansweep.gan.host_copy import HostCopy
from gansweep.gan.inputs import Inputs
from gansweep.gan.measurement import Measurement
from gansweep.gan.optimizer import Adam
from gansweep.health.metrics import ADA_P, CRITIC_TRAINING, TRAINING, VALIDATION_LOSS_D, VALIDATION_LOSS_G
from gansweep.networks.module import GanModule
from gansweep.networks.registry import discriminator_design, generator_design

RESIDENT_SHARE = 0.25  # of a trial's GPU memory; more is left to networks, activations and evaluation


class Trainer:
    """Both networks, their optimizers, the random streams, and the metrics of the steps since the last `clear`.

    In a step, D is updated on real images and on fakes (of the same classes, for a conditional model), then G against
    the updated D. The first update of G uses the fakes of D's last update, as the DCGAN tutorial does.

    A step never waits for the device. The part that is computed on the device (`_step`) depends on tensors alone, so
    that it can be captured. Before it, the host sets everything that changes from step to step and selects one of
    several captured steps (`_prepare`).

    Attributes:
        notices: Sentences for the user, such as that the step cannot be captured.

    Args:
        config: Configuration of the training.
        pixels: (images, C, H, W) uint8.
        device: Device of the networks.
        labels: (images,) classes, for a conditional model.
        resident: Whether the images are copied to the device, or stay on the host and are copied batch by batch.
        record: Function that captures a step, see `gansweep.gan.capture`; None to run every step eagerly.
    """

    def __init__(
        self,
        config: TrainingConfig,
        pixels: NDArray[np.uint8],
        device: torch.device,
        labels: NDArray[np.int64] | None = None,
        *,
        resident: bool = True,
        record: capture.Recorder | None = None,
    ) -> None:
        s = self.config = config
        self.step, self.device = 0, device
        self.notices: list[str] = []
        self.loss = s.loss.create(s.code)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(stream_seed(s.seed, "weights"))
            design = generator_design(s.latent_dim, s.generator_maps, s.image_size, s.channels, s.networks, s.code)
            self.generator = design.build().to(device)
            self.discriminator = self._new_discriminator(grown=s.networks.growth_at is None)
        start.load(s.start, self.generator, self.discriminator)
        self.average = copy.deepcopy(self.generator) if s.ema else None
        self._g, self._d = _parameters(self.generator), _parameters(self.discriminator)
        self.adam_g, self.adam_d = Adam.of(self._g, s.generator), Adam.of(self._d, s.discriminator)
        labels = labels if s.networks.classes else None
        self.batches = Batches(
            pixels, s.batch_size, s.seed, device, s.augmentation, s.validation, labels,
            most=s.discriminator.updates, resident=resident,
        )  # fmt: skip
        self.noise_rng = generator(s.seed, "noise", device)
        self._rngs = {"noise_rng": self.noise_rng, "augmentation_rng": self.batches.augmentation_rng}
        others = {
            "label_rng": bool(s.networks.classes),
            "penalty_rng": self.loss.penalises is not None,
        }
        self._rngs |= {name: generator(s.seed, name, device) for name, used in others.items() if used}
        self._default = DefaultStreams(s.seed, device) if s.code.digest else None
        self._rngs |= self._default.rngs if self._default else {}
        self.fixed_noise = torch.randn(FIXED_NOISE, s.latent_dim, generator=generator(s.seed, "fixed noise")).to(device)
        self.inputs = Inputs(s, device)
        self._rngs |= self.inputs.rngs
        self._ema_weight = torch.zeros((), device=device)
        self._row = torch.zeros(len(self.metrics), device=device)  # metrics of the last step
        self._rows: list[Tensor] = []  # one per step since the last `clear`, on the device
        self._clock = clock_of(device)
        self._regularizes = False  # whether this step computes the penalties of the regularizer
        self._compute = capture.Steps([*self._device_streams()], record, self.notices)

    @classmethod
    def on(
        cls,
        images: ImageSet,
        config: TrainingConfig,
        device: torch.device,
        share: float = 1.0,
        record: capture.Recorder = capture.record_cuda_graph,
    ) -> Trainer:
        """Return a trainer on a prepared set of images, with their labels if the model is conditional.

        Steps on a GPU are captured. Images stay on the host if they would fill more than a quarter of the GPU memory
        that the trial may use.

        Args:
            share: Share of the GPU that the trial may use, > 0. Ignored on the CPU.
            record: Function that captures a step. Ignored on the CPU.
        """
        pixels = images.load()
        labels = images.labels() if config.networks.classes else None
        if device.type != "cuda":
            return cls(config, pixels, device, labels)
        memory = torch.cuda.get_device_properties(device).total_memory * min(share, 1)
        resident = pixels.nbytes <= RESIDENT_SHARE * memory
        return cls(config, pixels, device, labels, resident=resident, record=record)

    @property
    def sampler(self) -> GanModule:
        """Network that samples are drawn from: G, or its average over time if config.ema is set."""
        return self.generator if self.average is None else self.average

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the columns of `read`."""
        adaptive = (ADA_P,) if self.inputs.adaptive else ()
        return (*(CRITIC_TRAINING if self.loss.critic else TRAINING), *adaptive)

    @property
    def captures(self) -> bool:
        """Whether steps are captured: not on the CPU, nor after a capture was refused."""
        return self._compute.captures

    @property
    def capture_steps(self) -> int:
        """Number of steps after which steps with and without penalties of the regularizer have been captured."""
        return (capture.EAGER_STEPS + 1) * self.config.regularizer.interval

    def train_step(self) -> None:
        """Train for one step. Metrics stay on the device."""
        with self._clock, self.default_streams(advancing=True):
            self._prepare()
            self._compute(self._step, self._snapshot)
            self._rows.append(self._row.clone())
            self.step += 1

    def repeat_step(self) -> None:
        """Update both networks once more with the batch of the last step. The step is not counted."""
        self._compute(self._step, self._snapshot)

    def _prepare(self) -> None:
        """Set, on the host, everything that changes from step to step, and select the captured step."""
        s = self.config
        if self.step == s.networks.growth_at:
            self._grow()
        self.batches.load(s.discriminator.updates)
        self.inputs.prepare(self.step)
        if s.ema:
            # The first steps decay faster, so that the average of a short run does not consist mostly of the
            # untrained G.
            self._ema_weight.fill_(1 - min(s.ema, (1 + self.step) / (10 + self.step)))
        self._regularizes = s.regularizer.is_due(self.step)
        self._compute.choose(phase=(self.discriminator, self.inputs.is_noisy), kind=self._regularizes)

    def _device_streams(self) -> Iterator[torch.Generator]:
        """Yield the random streams that a step may draw from on its device."""
        streams = self._rngs | (self._default.defaults if self._default else {})
        yield from (rng for rng in streams.values() if rng.device.type == self.device.type)

    def default_streams(self, *, advancing: bool = False) -> contextlib.AbstractContextManager[None]:
        """Return a context in which torch's default random streams have the run's own state.

        It does nothing for a run without user code, which alone may draw from these streams.

        Args:
            advancing: Whether the run continues from the state that the streams have after the block. True for steps,
                False for evaluations and samples.
        """
        return self._default.installed(advancing=advancing) if self._default else contextlib.nullcontext()

    def _snapshot(self) -> Callable[[], None]:
        """Return a function that restores the present state."""
        state = {name: tensor.clone() for name, tensor in self.state().items()}
        step, position = self.step, self.batches.position

        def restore() -> None:
            for name, rng in self._rngs.items():
                capture.reset(rng, state[name])
            for name, rng in (self._default.defaults if self._default else {}).items():
                capture.reset(rng, state[name])
            self.load_state(state, step, position)

        return restore

    def _step(self) -> None:
        """Compute one step, which reads and writes tensors only, and write its metrics to `_row`."""
        s = self.config
        for i in range(s.discriminator.updates - 1):
            real, labels = self.batches.get(i)
            with torch.no_grad():
                fakes = self._make(labels)
            self._update_discriminator(real, fakes, labels)
        real, labels = self.batches.get(s.discriminator.updates - 1)
        fakes = self._make(labels)
        of_d = self._update_discriminator(real, fakes.detach(), labels)
        of_g = self._update_generator(fakes, labels, (real, labels))
        for _ in range(s.generator.updates - 1):
            asked = self.labels()
            of_g = self._update_generator(self._make(asked), asked, (real, labels))
        loss_d, d_real, d_fake, norm_d = of_d
        loss_g, norm_g = of_g
        adaptive = [self.inputs.adaptive.p] if self.inputs.adaptive else []
        torch.stack([loss_d, loss_g, d_real, d_fake, norm_d, norm_g, *adaptive], out=self._row)  # as in `metrics`

    def noise(self) -> Tensor:
        """Return the next z, (batch_size, latent_dim)."""
        s = self.config
        return torch.randn(s.batch_size, s.latent_dim, generator=self.noise_rng, device=self.device)

    def labels(self) -> Tensor | None:
        """Return (batch_size,) classes drawn from the real labels; None for an unconditional model."""
        known = self.batches.labels
        if known is None:
            return None
        chosen = torch.randint(
            len(known), (self.config.batch_size,), generator=self._rngs["label_rng"], device=self.device
        )
        return known[chosen]

    def grid(self) -> tuple[Tensor, Tensor | None]:
        """Return the fixed z and classes of sample grids: FIXED_NOISE vectors, or A_CLASS of them for each class."""
        classes = len(self.config.networks.classes)
        if not classes:
            return self.fixed_noise, None
        rows = torch.arange(classes, device=self.device).repeat_interleave(A_CLASS)
        return self.fixed_noise[:A_CLASS].repeat(classes, 1), rows

    def measure(self) -> Measurement:
        """Return the metrics since the last `clear`, which are copied to the host while training continues."""
        finite = self._finite()
        values = {"rows": self._interval(), "finite": finite, **self._validation_losses()}
        return Measurement(HostCopy(values), self._clock.rate())

    def read(self) -> NDArray[np.float32]:
        """Return the metrics of training, (steps since the last `clear`, len(metrics)). Waits for the device."""
        values: NDArray[np.float32] = self._interval().cpu().numpy()
        return values

    def clear(self) -> None:
        """Drop the metrics of all steps so far, and start a new interval."""
        self._rows, self._clock = [], clock_of(self.device)

    def weights_finite(self) -> bool:
        """Whether every parameter and running statistic is finite. Waits for the device."""
        return bool(self._finite())

    def _finite(self) -> Tensor:
        """Return a Boolean scalar on the device: whether every parameter and running statistic is finite."""
        tensors = [t for n in (self.generator, self.discriminator) for t in [*n.parameters(), *n.buffers()]]
        floats = [t.detach() for t in tensors if t.is_floating_point()]
        return torch.stack(torch._foreach_norm(floats)).isfinite().all()

    def _interval(self) -> Tensor:
        """Return the metrics, (steps since the last `clear`, len(metrics)), on the device."""
        return torch.stack(self._rows) if self._rows else torch.empty(0, len(self.metrics))

    def _validation_losses(self) -> dict[str, Tensor]:
        """Return the losses of D and G on held-out real images and fixed fakes, by name; {} without held-out images.

        Copies of the networks compute them, with batch statistics, so that running statistics and random streams do not
        change.
        """
        batch = self.batches.validation()
        if batch is None:
            return {}
        real, labels = batch
        z, asked = self.grid()
        with torch.no_grad(), self._autocast(), self.default_streams():
            fakes = copy.deepcopy(self.generator)(z, asked)
            discriminator = copy.deepcopy(self.discriminator)
            real_outputs, fake_outputs = discriminator(real, labels).float(), discriminator(fakes, asked).float()
        loss = self.loss.for_validation()
        return {
            VALIDATION_LOSS_D: loss.discriminator(real_outputs, fake_outputs),
            VALIDATION_LOSS_G: loss.generator(fake_outputs, lambda: real_outputs),
        }

    def state(self) -> dict[str, Tensor]:
        """Return, by name, the tensors that the next step depends on, besides `step` and `batches.position`."""
        return {
            **{f"generator.{k}": v for k, v in self.generator.state_dict().items()},
            **{f"discriminator.{k}": v for k, v in self.discriminator.state_dict().items()},
            **{f"adam_g.{k}": v for k, v in self.adam_g.state().items()},
            **{f"adam_d.{k}": v for k, v in self.adam_d.state().items()},
            **({f"average.{k}": v for k, v in self.average.state_dict().items()} if self.average else {}),
            **self.inputs.state(),
            **{name: rng.get_state() for name, rng in self._rngs.items()},
            "fixed_noise": self.fixed_noise,
            "interval": self._interval(),
        }

    def load_state(self, state: dict[str, Tensor], step: int, position: int) -> None:
        """Restore a state returned by `state`. Raises KeyError or RuntimeError if it belongs to other networks."""

        def part(prefix: str) -> dict[str, Tensor]:
            return {k.removeprefix(f"{prefix}."): v for k, v in state.items() if k.startswith(f"{prefix}.")}

        growth = self.config.networks.growth_at
        if growth is not None and step > growth:
            self._grow()  # its initial state is replaced below
        self.generator.load_state_dict(part("generator"))
        self.discriminator.load_state_dict(part("discriminator"))
        if self.average:
            self.average.load_state_dict(part("average"))
        self.adam_g.load_state(part("adam_g"))
        self.adam_d.load_state(part("adam_d"))
        self.inputs.load_state(state)
        for name, rng in self._rngs.items():
            rng.set_state(state[name])
        self.fixed_noise.copy_(state["fixed_noise"])
        self._rows = list(state["interval"].to(self.device).unbind())
        self.step, self.batches.position = step, position

    def _autocast(self) -> contextlib.AbstractContextManager[object]:
        if self.config.precision == "bfloat16":
            return torch.autocast(self.device.type, torch.bfloat16)
        return contextlib.nullcontext()

    def _new_discriminator(self, *, grown: bool) -> GanModule:
        s = self.config
        design = discriminator_design(s.discriminator_maps, s.image_size, s.channels, s.networks, s.code, grown=grown)
        return design.build().to(self.device)

    def _grow(self) -> None:
        """Replace D by the grown D, which has one more block and a new head, or only a new head.

        Weights that both have keep their values and Adam's moments. New weights are drawn from their own random stream,
        and their moments are zero.
        """
        s, small, moments = self.config, self.discriminator, self.adam_d
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(stream_seed(s.seed, "growth"))
            self.discriminator = self._new_discriminator(grown=True)
        kept = small.body()
        self.discriminator.load_state_dict({**self.discriminator.state_dict(), **kept})
        self._d = _parameters(self.discriminator)
        self.adam_d = Adam.of(self._d, s.discriminator)
        before = {name: i for i, (name, _) in enumerate(small.named_parameters())}
        for i, (name, _) in enumerate(self.discriminator.named_parameters()):
            if name in kept:
                self.adam_d.copy_moments(i, moments, before[name])

    def _make(self, labels: Tensor | None) -> Tensor:
        """Return fakes, (batch_size, C, H, W), of the requested classes."""
        with self._autocast():
            fakes: Tensor = self.generator(self.noise(), labels)
        return fakes

    def _update_discriminator(
        self, real: Tensor, fakes: Tensor, labels: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Update D once.

        Both batches are convolved at once and normalised separately.

        Args:
            real: Real images, (batch_size, C, H, W).
            fakes: Fakes, (batch_size, C, H, W).
            labels: (batch_size,) classes of the real images and equally of the fakes, so that an interpolation between
                a real image and a fake has one class; None for an unconditional model.

        Returns:
            D's loss without the penalties of the regularizer, which not every step computes; the mean probability of
            real images; that of fakes; and the gradient norm. For a critic, mean outputs replace the probabilities.
        """
        s = self.config
        real, fakes = self.inputs(real), self.inputs(fakes.float())
        both = None if labels is None else torch.cat([labels, labels])
        with self._autocast():
            outputs = self.discriminator(torch.cat([real, fakes]), both, groups=2).float()
        of_real, of_fake = outputs.chunk(2)
        self.inputs.observe(of_real)
        loss = self.loss.discriminator(of_real, of_fake)
        if self.loss.penalises:
            rng = self._rngs["penalty_rng"]
            loss = loss + self.loss.penalty(lambda x: self.discriminator(x, labels), real, fakes, rng)
        minimised = loss
        if self._regularizes:
            minimised = loss + s.regularizer.penalty(lambda x: self.discriminator(x, labels), real, fakes)
        gradients = torch.autograd.grad(minimised, self._d)
        self.adam_d.step(gradients)
        self.loss.constrain(self._d)
        with torch.no_grad():
            real_mean, fake_mean = (self._probability(part).mean() for part in (of_real, of_fake))
            return loss.detach(), real_mean, fake_mean, _norm(gradients)

    def _probability(self, outputs: Tensor) -> Tensor:
        return outputs if self.loss.critic else self.loss.probability(outputs)

    def _update_generator(self, fakes: Tensor, asked: Tensor | None, real: Batch) -> tuple[Tensor, Tensor]:
        """Update G and return its loss and gradient norm. No gradients are computed for D's weights.

        Args:
            fakes: (batch_size, C, H, W).
            asked: (batch_size,) classes of the fakes; None for an unconditional model.
            real: D's last batch of real images, for losses that compare fakes with real images.
        """
        shown = self.inputs(fakes)
        with self._autocast():
            outputs = self.discriminator(shown, asked).float()
        loss = self.loss.generator(outputs, lambda: self._real_outputs(real))
        gradients = torch.autograd.grad(loss, self._g)
        self.adam_g.step(gradients)
        if self.average:
            self._update_ema(self.average)
        return loss.detach(), _norm(gradients)

    @torch.no_grad()
    def _real_outputs(self, real: Batch) -> Tensor:
        """Return D's outputs, (batch_size,), for real images, normalised separately from fakes as in D's update."""
        images, labels = real
        shown = self.inputs(images)
        with self._autocast():
            outputs: Tensor = self.discriminator(shown, labels).float()
        return outputs

    @torch.no_grad()
    def _update_ema(self, average: GanModule) -> None:
        """Move the averaged weights (Yazıcı et al. 2019) towards G's, and copy the statistics of its batch norms."""
        torch._foreach_lerp_(_parameters(average), self._g, [self._ema_weight] * len(self._g))
        for mine, theirs in zip(average.buffers(), self.generator.buffers(), strict=True):
            mine.copy_(theirs)


def _parameters(network: nn.Module) -> list[Tensor]:
    return [parameter for parameter in network.parameters() if parameter.requires_grad]


def _norm(tensors: tuple[Tensor, ...]) -> Tensor:
    """Return the Euclidean norm of all tensors together."""
    norm: Tensor = torch.stack(torch._foreach_norm(tensors)).norm()
    return norm
