"""The training of one GAN: the only place that knows in which order D and G are updated."""

from __future__ import annotations

import contextlib
import copy
import time
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gansweep.gan.batches import Augmentation, Batches, generator, stream_seed
from gansweep.gan.losses import discriminator_loss, generator_loss
from gansweep.gan.networks import Discriminator, Generator
from gansweep.gan.optimizer import Adam
from gansweep.health.metrics import TRAINING, VALIDATION_LOSS_D, VALIDATION_LOSS_G

FIXED_NOISE = 64  # images of a sample grid


@dataclass(frozen=True)
class Updates:
    """How one network is trained: Adam's settings, and how many updates it gets a step."""

    learning_rate: float
    beta1: float
    beta2: float
    updates: int = 1


@dataclass(frozen=True)
class Settings:
    """Everything that determines a run's numbers, but the images. Sizes in pixels; *_maps: feature maps."""

    latent_dim: int
    generator_maps: int
    discriminator_maps: int
    image_size: int
    channels: int
    batch_size: int
    generator: Updates
    discriminator: Updates
    seed: int = 0
    precision: str = "float32"
    validation: float = 0.0
    augmentation: Augmentation = field(default_factory=Augmentation)


class Trainer:
    """Both networks, their optimizers, the random streams, and the metrics since the last reading.

    A step: D is updated on real images and on fakes, then G against the updated D; the first update of G
    reuses the fakes of D's last one, as the DCGAN tutorial does. Nothing in a step waits for the device.
    """

    def __init__(self, settings: Settings, pixels: NDArray[np.uint8], device: torch.device) -> None:
        s = self.settings = settings
        self.step, self.device = 0, device
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(stream_seed(s.seed, "weights"))
            self.generator = Generator(s.latent_dim, s.generator_maps, s.image_size, s.channels).to(device)
            self.discriminator = Discriminator(s.discriminator_maps, s.image_size, s.channels).to(device)
        self._g, self._d = list(self.generator.parameters()), list(self.discriminator.parameters())
        self.adam_g = Adam(self._g, s.generator.learning_rate, s.generator.beta1, s.generator.beta2)
        self.adam_d = Adam(self._d, s.discriminator.learning_rate, s.discriminator.beta1, s.discriminator.beta2)
        self.batches = Batches(pixels, s.batch_size, s.seed, device, s.augmentation, s.validation)
        self.noise_rng = generator(s.seed, "noise", device)
        self.fixed_noise = torch.randn(FIXED_NOISE, s.latent_dim, generator=generator(s.seed, "fixed noise")).to(device)
        self._rows: list[Tensor] = []  # one a step since the last reading, on the device
        self._timed_steps, self._seconds = 0, 0.0

    def train_step(self) -> None:
        """One step; metrics stay on the device."""
        began = time.perf_counter()
        s = self.settings
        for _ in range(s.discriminator.updates - 1):
            with torch.no_grad(), self._autocast():
                fakes = self.generator(self.noise())
            self._update_discriminator(fakes)
        with self._autocast():
            fakes = self.generator(self.noise())
        of_d = self._update_discriminator(fakes.detach())
        of_g = self._update_generator(fakes)
        for _ in range(s.generator.updates - 1):
            with self._autocast():
                fakes = self.generator(self.noise())
            of_g = self._update_generator(fakes)
        loss_d, d_real, d_fake, norm_d = of_d
        loss_g, norm_g = of_g
        self._rows.append(torch.stack([loss_d, loss_g, d_real, d_fake, norm_d, norm_g]))  # in TRAINING's order
        self.step += 1
        self._timed_steps += 1
        self._seconds += time.perf_counter() - began

    def noise(self) -> Tensor:
        """The next z: (batch_size, latent_dim)."""
        s = self.settings
        return torch.randn(s.batch_size, s.latent_dim, generator=self.noise_rng, device=self.device)

    def read(self) -> NDArray[np.float32]:
        """(steps since the last clear, len(TRAINING)): waits for the device."""
        rows = torch.stack(self._rows) if self._rows else torch.empty(0, len(TRAINING))
        values: NDArray[np.float32] = rows.cpu().numpy()
        return values

    def clear(self) -> float:
        """Begin a new interval; returns the steps per second of the one that ends (NaN if nothing was timed)."""
        rate = self._timed_steps / self._seconds if self._seconds else float("nan")
        self._rows, self._timed_steps, self._seconds = [], 0, 0.0
        return rate

    def weights_finite(self) -> bool:
        """Whether every parameter and running statistic is finite: waits for the device."""
        tensors = [t for n in (self.generator, self.discriminator) for t in [*n.parameters(), *n.buffers()]]
        floats = [t.detach() for t in tensors if t.is_floating_point()]
        return bool(torch.stack(torch._foreach_norm(floats)).isfinite().all())

    def validation_losses(self) -> dict[str, float]:
        """Both losses with held-out real images, batch statistics, fixed fakes; {} without a split.

        On copies: neither running statistics nor random streams are touched.
        """
        real = self.batches.validation()
        if real is None:
            return {}
        with torch.no_grad(), self._autocast():
            fakes = copy.deepcopy(self.generator)(self.fixed_noise)
            discriminator = copy.deepcopy(self.discriminator)
            real_logits, fake_logits = discriminator(real).float(), discriminator(fakes).float()
        return {
            VALIDATION_LOSS_D: float(discriminator_loss(real_logits, fake_logits)),
            VALIDATION_LOSS_G: float(generator_loss(fake_logits)),
        }

    def state(self) -> dict[str, Tensor]:
        """Everything but `step` and `batches.position` that the next step depends on, by name."""
        rows = torch.stack(self._rows) if self._rows else torch.empty(0, len(TRAINING))
        return {
            **{f"generator.{k}": v for k, v in self.generator.state_dict().items()},
            **{f"discriminator.{k}": v for k, v in self.discriminator.state_dict().items()},
            **{f"adam_g.{k}": v for k, v in self.adam_g.state().items()},
            **{f"adam_d.{k}": v for k, v in self.adam_d.state().items()},
            "noise_rng": self.noise_rng.get_state(),
            "augmentation_rng": self.batches.augmentation_rng.get_state(),
            "fixed_noise": self.fixed_noise,
            "interval": rows,
        }

    def load_state(self, state: dict[str, Tensor], step: int, position: int) -> None:
        """Go on from `state`. Raises KeyError or RuntimeError where it is of other networks."""

        def part(prefix: str) -> dict[str, Tensor]:
            return {k.removeprefix(f"{prefix}."): v for k, v in state.items() if k.startswith(f"{prefix}.")}

        self.generator.load_state_dict(part("generator"))
        self.discriminator.load_state_dict(part("discriminator"))
        self.adam_g.load_state(part("adam_g"))
        self.adam_d.load_state(part("adam_d"))
        self.noise_rng.set_state(state["noise_rng"])
        self.batches.augmentation_rng.set_state(state["augmentation_rng"])
        self.fixed_noise.copy_(state["fixed_noise"])
        self._rows = list(state["interval"].to(self.device).unbind())
        self.step, self.batches.position = step, position

    def _autocast(self) -> contextlib.AbstractContextManager[object]:
        if self.settings.precision == "bfloat16" and self.device.type == "cuda":
            return torch.autocast("cuda", torch.bfloat16)
        return contextlib.nullcontext()

    def _update_discriminator(self, fakes: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Loss, mean σ on real, mean σ on fakes, gradient norm. Convolves both batches at once, normalises each."""
        with self._autocast():
            logits = self.discriminator(torch.cat([self.batches.next(), fakes.float()]), groups=2).float()
        real, fake = logits.chunk(2)
        loss = discriminator_loss(real, fake)
        gradients = torch.autograd.grad(loss, self._d)
        self.adam_d.step(gradients)
        with torch.no_grad():
            return loss.detach(), real.sigmoid().mean(), fake.sigmoid().mean(), _norm(gradients)

    def _update_generator(self, fakes: Tensor) -> tuple[Tensor, Tensor]:
        """Loss and gradient norm. Asking for G's gradients alone computes none for D's weights."""
        with self._autocast():
            logits = self.discriminator(fakes).float()
        loss = generator_loss(logits)
        gradients = torch.autograd.grad(loss, self._g)
        self.adam_g.step(gradients)
        return loss.detach(), _norm(gradients)


def _norm(tensors: tuple[Tensor, ...]) -> Tensor:
    """Euclidean norm of all together."""
    norm: Tensor = torch.stack(torch._foreach_norm(tensors)).norm()
    return norm


def parameter_count(network: nn.Module) -> int:
    """Trainable numbers."""
    return sum(p.numel() for p in network.parameters())
