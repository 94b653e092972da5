"""Networks of users, wrapped so that they have the interface of gansweep's networks."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from gansweep.errors import UserError
from gansweep.networks.module import GanModule
from gansweep.networks.own import OwnDesign


class OwnModule(GanModule):
    """A user's network, wrapped with the interface of `GanModule`.

    Args:
        design: Design of the network.
        network: The network that the user's function returned.
    """

    def __init__(self, design: OwnDesign, network: nn.Module) -> None:
        super().__init__()
        self.design, self.network = design, network
        self._z_is_map = False  # whether z is given as (N, latent_dim, 1, 1)

    def forward(self, x: Tensor, labels: Tensor | None = None, groups: int = 1) -> Tensor:
        """Return the images of G, or the outputs of D. Groups pass through the network one after the other."""
        if groups > 1:
            parts = [None] * groups if labels is None else labels.chunk(groups)
            return torch.cat([self(part, of) for part, of in zip(x.chunk(groups), parts, strict=True)])
        x = x[:, :, None, None] if self._z_is_map else x
        found: Tensor = self.network(x) if labels is None else self.network(x, labels)
        return found if self.design.is_generator else found.flatten()

    def settle(self) -> None:
        """Run the network once, to initialise lazy layers and to find out which shape of z a generator takes.

        That is (N, latent_dim), or else (N, latent_dim, 1, 1).
        """
        inputs, labels = self.design_inputs(2)
        with undisturbed(), torch.no_grad(), evaluating(self):
            try:
                self(inputs, labels)
            except Exception:
                if not self.design.is_generator:
                    raise
                self._z_is_map = True
                self(inputs, labels)

    def design_inputs(self, count: int, rng: torch.Generator | None = None) -> tuple[Tensor, Tensor | None]:
        """Return a batch of inputs: standard normal z or images, and labels; None for an unconditional network.

        Args:
            count: Number of inputs.
            rng: Random stream; None for a new one with seed 0.
        """
        sizes = self.design.sizes
        image = (sizes["channels"], sizes["image_size"], sizes["image_size"])
        shape = (sizes["latent_dim"],) if self.design.is_generator else image
        rng = rng or torch.Generator().manual_seed(0)
        labels = torch.arange(count) % sizes["classes"] if sizes["classes"] else None
        return torch.randn(count, *shape, generator=rng), labels

    def __deepcopy__(self, memo: dict[int, Any]) -> OwnModule:
        """Build the network anew and load its state, since tensors that spectral norm computes cannot be copied."""
        with undisturbed():
            copied = self.design.build()
        copied.to(next((tensor.device for tensor in self.state_dict().values()), None))
        copied.load_state_dict(self.state_dict())
        return copied.train(self.training)


def built(design: OwnDesign) -> OwnModule:
    """Return the network of a design, with new weights.

    Raises:
        UserError: As in `OwnDesign.build`.
    """
    call = design.code.load(design.path)
    try:
        network = call(**_arguments(design, call))
    except Exception as error:
        raise UserError(f"{described(design, call)}: cannot be built: {design.code.failure(error)}") from None
    if not isinstance(network, nn.Module):
        raise UserError(f"{described(design, call)}: returns {network!r:.80}, expected a torch.nn.Module")
    module = OwnModule(design, network)
    try:
        module.settle()
    except Exception as error:
        of = "z (2, latent_dim) and (2, latent_dim, 1, 1)" if design.is_generator else "images"
        raise UserError(f"{described(design, call)}: fails on {of}: {design.code.failure(error)}") from None
    return module


def described(design: OwnDesign, call: Callable[..., Any]) -> str:
    """Return text that names a network in messages: its key, import path, file and line."""
    place = ""
    with contextlib.suppress(TypeError, OSError):
        file, line = inspect.getsourcefile(call) or "", inspect.getsourcelines(call)[1]
        place = f" ({file.removeprefix(f'{design.code.path}/')}:{line})"
    return f"{design.key}: {design.path}{place}"


def _arguments(design: OwnDesign, call: Callable[..., Any]) -> dict[str, Any]:
    """Return the arguments of a call: all options, and those sizes that are parameters of the function.

    Options take precedence over sizes of the same name.

    Raises:
        TypeError: An option is not a parameter of the function.
    """
    named = inspect.signature(call).parameters
    if unknown := [name for name in design.options if name not in named and not _takes_any(call)]:
        accepts = f"; it takes {', '.join(named)}" if named else "; it takes none"
        raise TypeError(f"no argument is called {unknown[0]}{accepts}")
    return {**{name: size for name, size in design.sizes.items() if name in named}, **design.options}


def _takes_any(call: Callable[..., Any]) -> bool:
    kinds = (one.kind for one in inspect.signature(call).parameters.values())
    return inspect.Parameter.VAR_KEYWORD in kinds


@contextlib.contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Switch to eval mode within the block, and to training mode after it."""
    module.eval()
    try:
        yield
    finally:
        module.train()


def default_streams(device: torch.device) -> dict[str, torch.Generator]:
    """Return torch's default random streams that a network on a device may draw from, by name."""
    streams = {"default_rng": torch.default_generator}
    if device.type == "cuda":
        index = torch.cuda.current_device() if device.index is None else device.index
        streams["default_cuda_rng"] = torch.cuda.default_generators[index]
    return streams


@contextlib.contextmanager
def undisturbed(device: torch.device | None = None) -> Iterator[None]:
    """Restore torch's default random streams after the block."""
    states = [(rng, rng.get_state()) for rng in default_streams(device or torch.device("cpu")).values()]
    try:
        yield
    finally:
        for rng, state in states:
            rng.set_state(state)
