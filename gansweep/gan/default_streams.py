"""torch's default random streams as one run sees them, for code of users that draws from them, as dropout does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from gansweep.gan.batches import generator
from gansweep.networks.own_module import default_streams


class DefaultStreams:
    """A run's own state of torch's default random streams, whoever else draws from them in between.

    Attributes:
        rngs: Streams that hold the state between steps, by the name of their state.
        defaults: The default streams, by the same names.

    Args:
        seed: Seed of the run.
        device: Device of its networks.
    """

    def __init__(self, seed: int, device: torch.device) -> None:
        self.defaults = default_streams(device)
        self.rngs = {name: generator(seed, name, rng.device) for name, rng in self.defaults.items()}

    @contextmanager
    def installed(self, *, advancing: bool) -> Iterator[None]:
        """Let the default streams have the run's state during the block.

        Args:
            advancing: Whether the run goes on from where the block leaves them; else it draws the same numbers again.
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
