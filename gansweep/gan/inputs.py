"""Inputs of D in training: images that are augmented and to which noise is then added."""

from __future__ import annotations

import torch
from torch import Tensor

from gansweep.config import TrainingConfig
from gansweep.gan.adaptive import AdaptiveProbability
from gansweep.gan.batches import generator
from gansweep.gan.diffaugment import DiffAugment


class Inputs:
    """Turns images into inputs of D, in the same way for real images and fakes, and differentiably.

    It is used in training only: in evaluations D is shown the images themselves.

    Attributes:
        is_noisy: Whether the current step has instance noise.
        rngs: Name of the state in checkpoints → random stream.
        adaptive: Adaptive probability of the augmentation; None if it is applied always or never.

    Args:
        config: Configuration of the training.
        device: Device of the images.
    """

    def __init__(self, config: TrainingConfig, device: torch.device) -> None:
        self._noise, augment = config.loss, config.augment
        self.is_noisy = False
        self._noise_deviation = torch.zeros((), device=device)
        used = {"instance_noise_rng": self._noise.instance_noise > 0, "diffaugment_rng": bool(augment.policy)}
        self.rngs = {name: generator(config.seed, name, device) for name, wanted in used.items() if wanted}
        self._augment = DiffAugment(augment.policy, self.rngs["diffaugment_rng"]) if augment.policy else None
        self.adaptive: AdaptiveProbability | None = None
        if augment.adaptive:
            change = config.batch_size * augment.interval / augment.ramp_images
            self.adaptive = AdaptiveProbability(augment.target, augment.interval, change, device)

    def prepare(self, step: int) -> None:
        """Set the standard deviation of the instance noise for a step. Call it on the host, before the step."""
        deviation = self._noise.noise_at(step)
        self.is_noisy = deviation > 0
        if self.is_noisy:
            self._noise_deviation.fill_(deviation)

    def __call__(self, images: Tensor) -> Tensor:
        """Return the inputs of D, (N, C, H, W), for real images or fakes, (N, C, H, W) in [−1, 1].

        For instance noise see Sønderby et al. 2017.
        """
        if self._augment:
            images = self._augment(images.float(), self.adaptive.p if self.adaptive else None)
        if self.is_noisy:
            rng = self.rngs["instance_noise_rng"]
            images = images + self._noise_deviation * torch.randn(images.shape, generator=rng, device=images.device)
        return images

    def observe(self, real: Tensor) -> None:
        """Adapt the augmentation to D's outputs for a batch of real images, (N,)."""
        if self.adaptive:
            self.adaptive.observe(real)

    def state(self) -> dict[str, Tensor]:
        """Return the tensors of `adaptive` for a checkpoint, by name; {} if it is None. Excludes the random streams."""
        return {f"ada.{name}": tensor for name, tensor in self.adaptive.state().items()} if self.adaptive else {}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Restore a state returned by `state`. Raises KeyError if a tensor is missing."""
        if self.adaptive:
            self.adaptive.load_state({name.removeprefix("ada."): tensor for name, tensor in state.items()})
