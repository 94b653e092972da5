"""State dicts of other programs: reading without unpickling objects, and renaming as in gansweep's networks."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from gansweep.errors import UserError
from gansweep.networks.architecture import Design
from gansweep.networks.module import GanModule
from gansweep.networks.registry import ARCHITECTURES, discriminator_design, generator_design

State = dict[str, Tensor]
Shape = tuple[int, ...]
# Names under which checkpoints of several networks hold each of them, in PyTorch's tutorial, torchgan and others.
NETWORKS = {
    "generator": ("generator", "netg", "g", "gen", "generator_state_dict", "netg_state_dict", "g_state_dict"),
    "discriminator": (
        "discriminator", "netd", "d", "dis", "disc", "discriminator_state_dict", "netd_state_dict", "d_state_dict",
    ),
}  # fmt: skip
WRAPPERS = ("state_dict", "model_state_dict", "model", "module")  # around the names of parameters
COUNTER = "num_batches_tracked"  # of batch norms, which old versions of PyTorch did not save
MOST_SHOWN = 3  # mismatches


def read_state(path: Path, network: str) -> State:
    """Return the state dict of a network from a file of torch.save or safetensors.

    Args:
        path: File of a state dict, or of a checkpoint that holds state dicts, such as those of Lightning and torchgan.
        network: `generator` or `discriminator`, which selects one of the state dicts of a checkpoint.

    Raises:
        UserError: The file cannot be read, holds pickled objects other than tensors, or holds no state dict.
    """
    try:
        content: Any = (
            _in_order(safetensors.torch.load_file(path))
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
    except Exception as error:
        what = str(error).partition("\n")[0].partition(". ")[0]
        raise UserError(
            f"{path}: is not a file of tensors ({type(error).__name__}: {what[:120]});"
            " save the state dict alone: torch.save(netG.state_dict(), 'netG.pth')"
        ) from None
    state = _unwrapped(dict(_tensors(content)), network) if isinstance(content, Mapping) else {}
    if not state:
        raise UserError(f"{path}: holds no state dict of a {network}; save it: torch.save(net.state_dict(), 'net.pth')")
    return state


def _in_order(state: State) -> State:
    """Return a state dict sorted by name, with numbers in names compared by value.

    This is the usual order of layers, which safetensors does not preserve.
    """
    parts = {name: re.split(r"(\d+)", name) for name in state}
    return dict(
        sorted(state.items(), key=lambda item: [(int(p), "") if p.isdigit() else (0, p) for p in parts[item[0]]])
    )


def _tensors(content: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yield dotted names and tensors of nested dictionaries."""
    for key, value in content.items():
        if isinstance(value, Tensor):
            yield f"{prefix}{key}", value
        elif isinstance(value, Mapping):
            yield from _tensors(value, f"{prefix}{key}.")


def _unwrapped(state: State, network: str) -> State:
    """Return the tensors of one network, without the prefixes of the dictionaries that contain them.

    Prefixes are keys in NETWORKS (`netG.`) and WRAPPERS (`state_dict.`).
    """
    names = {name.partition(".")[0] for name in state}
    own = [name for name in names if name.lower() in NETWORKS[network]]
    inner = own or [name for name in names if name in WRAPPERS]
    if not inner or all("." not in name for name in state):
        return state
    parts = ({n.partition(".")[2]: t for n, t in state.items() if n.startswith(f"{name}.")} for name in sorted(inner))
    return _unwrapped(next(parts), network)


def sizes_of_dcgan(state: State, path: Path) -> dict[str, int]:
    """Return the settings of the DCGAN generator that has the given weights.

    The settings are latent_dim, generator_maps, image_size and channels.

    Args:
        state: State dict of the generator.
        path: File of the state dict, for messages.

    Raises:
        UserError: The weights are not those of a DCGAN, or gansweep has no DCGAN for its image size.
    """
    kernels = [tensor for tensor in state.values() if tensor.dim() == 4]
    if len(kernels) < 2:
        raise UserError(
            f"{path}: is not a DCGAN's generator: it has {len(kernels)} kernels of convolutions; name its class with"
            " --network MODULE:NAME"
        )
    first, last = kernels[0].shape, kernels[-1].shape
    size, sizes = first[2] * 2 ** (len(kernels) - 1), ARCHITECTURES["dcgan"].image_sizes
    if size not in sizes:
        raise UserError(
            f"{path}: {len(kernels)} kernels, the first of {first[2]}×{first[3]}, would make images of {size} pixels;"
            f" a dcgan makes {', '.join(map(str, sizes))}; name the class of another network with --network MODULE:NAME"
        )
    return {"latent_dim": first[0], "generator_maps": last[0], "image_size": size, "channels": last[1]}


def dcgan(settings: Mapping[str, int]) -> Design:
    """Return the design of the DCGAN generator with settings as returned by `sizes_of_dcgan`."""
    s = settings
    return generator_design(s["latent_dim"], s["generator_maps"], s["image_size"], s["channels"])


def dcgan_discriminator(state: State, settings: Mapping[str, int]) -> Design:
    """Return the design of the DCGAN discriminator for the images of a generator.

    Args:
        state: State dict of the discriminator, whose first convolution determines the width.
        settings: Settings of the generator, as returned by `sizes_of_dcgan`.
    """
    maps = next((tensor.shape[0] for tensor in state.values() if tensor.dim() == 4), 1)
    return discriminator_design(maps, settings["image_size"], settings["channels"])


def fitted(state: State, design: Design, path: Path, what: str) -> State:
    """Return a state dict of another program under the names of gansweep's network.

    Layers are matched by kind and order; their names do not matter.

    Args:
        state: State dict of the other program.
        design: Design of gansweep's network.
        path: File of the state dict, for messages.
        what: gansweep's network in words, for messages.

    Raises:
        UserError: The layers differ; the message names the first differences.
    """
    with torch.device("meta"):
        expected = {name: tuple(tensor.shape) for name, tensor in design.build().state_dict().items()}
    theirs, names = _by_order(state)
    for name in expected:
        if name.endswith(COUNTER) and name.rpartition(".")[0] + ".weight" in theirs:
            theirs.setdefault(name, torch.zeros((), dtype=torch.int64))
    check_same({name: tuple(tensor.shape) for name, tensor in theirs.items()}, expected, path, what, names)
    return {name: theirs[name] for name in expected}


def check_same(
    found: Mapping[str, Shape], expected: Mapping[str, Shape], path: Path, what: str, names: Mapping[str, str]
) -> None:
    """Check that a renamed state dict has the names and shapes of a network.

    Args:
        found: Name in the network → shape in the file.
        expected: Name in the network → shape in the network.
        path: The file.
        what: The network in words, for messages.
        names: Name in the network → name in the file, at least where they differ.

    Raises:
        UserError: Names or shapes differ; the message names the first MOST_SHOWN differences.
    """
    pairs = [
        f"{names.get(name, name)} {found[name]} is {name} {expected[name]} here"
        if name in found and name in expected
        else f"{name} {expected[name]} is missing"
        if name in expected
        else f"{names.get(name, name)} {found[name]} has no counterpart"
        for name in dict.fromkeys([*found, *expected])
        if found.get(name) != expected.get(name)
    ]
    more = f" and {len(pairs) - MOST_SHOWN} more" if len(pairs) > MOST_SHOWN else ""
    if pairs:
        raise UserError(f"{path}: does not fit {what}: {'; '.join(pairs[:MOST_SHOWN])}{more}")


def _by_order(state: State) -> tuple[State, dict[str, str]]:
    """Return a state dict with the names of gansweep's DCGAN, numbered by kind and order, and new name → old name.

    Convolutions become weights.0, biases.0, …, batch norms norms.0.weight, …. Other names do not change.
    """
    found: State = {}
    names: dict[str, str] = {}
    weights, norms, biases = itertools.count(), itertools.count(), itertools.count()
    for _, group in itertools.groupby(state, lambda name: name.rpartition(".")[0]):
        parts = {name.rpartition(".")[2]: name for name in group}
        weight = state[parts["weight"]] if "weight" in parts else None
        if weight is not None and weight.dim() == 4:
            ours = {"weight": f"weights.{next(weights)}"}
            ours |= {"bias": f"biases.{next(biases)}"} if "bias" in parts else {}
        elif weight is not None and weight.dim() == 1:
            at = next(norms)
            ours = {part: f"norms.{at}.{part}" for part in parts}
        else:
            ours = {}
        for part, name in parts.items():
            found[ours.get(part, name)] = state[name]
            names[ours.get(part, name)] = name
    return found, names


def load(design: Design, state: State) -> GanModule:
    """Return the network of a design with the given state dict. The state of torch's random streams does not change."""
    with torch.random.fork_rng(devices=[]):
        network = design.build()
    network.load_state_dict(state)
    return network


def own(design: Design, state: State, path: Path, what: str) -> GanModule:
    """Return a network of the user's class with the given weights.

    Args:
        design: Design that builds a network of the class.
        state: State dict that was saved from an object of the class.
        path: File of the state dict, for messages.
        what: The network in words, for messages.

    Raises:
        UserError: The names or shapes differ, or the class cannot be built.
    """
    with torch.random.fork_rng(devices=[]):
        network = design.build()
    ours = {f"network.{name}": tensor for name, tensor in state.items()}
    here, there = ({name: tuple(t.shape) for name, t in part.items()} for part in (network.state_dict(), ours))
    check_same(there, here, path, what, {name: name.removeprefix("network.") for name in ours})
    network.load_state_dict(ours)
    return network
