"""A run's own state of torch's default random streams, for networks of users that draw from them, as dropout does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from gansweep.gan.batches import generator
from gansweep.networks.own_module import default_streams


class DefaultStreams:
    """A run's own state of torch's default random streams, unaffected by other code that draws from the streams.

    Attributes:
        rngs: Name of the state in checkpoints → generator that holds the run's state of one default stream.
        defaults: The same name → torch's default generator.

    Args:
        seed: Seed of the run.
        device: Device of the run's networks.
    """

    def __init__(self, seed: int, device: torch.device) -> None:
        self.defaults = default_streams(device)
        self.rngs = {name: generator(seed, name, rng.device) for name, rng in self.defaults.items()}

    @contextmanager
    def installed(self, *, advancing: bool) -> Iterator[None]:
        """Give the default streams the run's state during the block, and restore their previous state after it.

        Args:
            advancing: Whether the run's state becomes the one at the end of the block. If False, it does not change,
                and the next block draws the same numbers again.
        """
        before = {name: rng.get_state() for name, rng in self.defaults.items()}
        for name, rng in self.defaults.items():
            rng.set_state(self.rngs[name].get_state())
        try:
            yield
        finally:
            for name, rng in self.defaults.items():
                if advancing:
                    self.rngs[name].set_state(rng.get_state())
                rng.set_state(before[name])
