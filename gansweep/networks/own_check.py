"""Check, on tiny batches, whether a user's network can be trained, saved and resumed."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from gansweep.errors import UserError
from gansweep.networks.own import Facts, OwnDesign
from gansweep.networks.own_module import OwnModule, described, evaluating

BATCH = 4
LOUD = 1_000  # factor of inputs at which a sigmoid, or a missing tanh, shows
STEPS = 3  # of training before the state is compared
RATE = 1e-3


def check(design: OwnDesign) -> Facts:
    """Check a user's network, and return its properties.

    Raises:
        UserError: The network cannot be built or run, its outputs have the wrong shape or range, a parameter has no
            effect on the outputs, or a part of its state is not in its state dict.
    """
    torch.manual_seed(0)
    try:
        module = design.build()
        for problem in (_shape, _range, _unused, _state):
            if what := problem(module):
                raise UserError(f"{_name(design)}: {what}")
        return _facts(module)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{_name(design)}: fails: {design.code.failure(error)}") from None


def _name(design: OwnDesign) -> str:
    return described(design, design.code.load(design.path))


def _shape(module: OwnModule) -> str:
    """Return what is wrong with the type or shape of the outputs, or that they are not finite; empty if nothing is."""
    inputs, labels = module.design_inputs(BATCH)
    found, sizes = module(inputs, labels), module.design.sizes
    if not isinstance(found, Tensor):
        return f"returns {type(found).__name__}, expected a tensor"
    wanted = (BATCH, sizes["channels"], sizes["image_size"], sizes["image_size"])
    if module.design.is_generator and found.shape != wanted:
        return f"makes images {tuple(found.shape)} of {BATCH} z, expected {wanted}; see dataset.image_size and channels"
    if not module.design.is_generator and found.shape != (BATCH,):
        return f"returns {found.numel()} values for {BATCH} images, expected one for each, (N,) or (N, 1)"
    return "" if found.isfinite().all() else "returns NaN or infinite values before any training"


@torch.no_grad()
def _range(module: OwnModule) -> str:
    """Return what is wrong with the range of the outputs for small and large inputs; empty if nothing is."""
    low, high = _extremes(module)
    between = f"its outputs are between {low:.3g} and {high:.3g}"
    if module.design.is_generator:
        if low < -1.001 or high > 1.001:
            return f"{between} for z × {LOUD:,}, expected images in [-1, 1]; end it with nn.Tanh"
        return f"{between}, expected images in [-1, 1]; end it with nn.Tanh instead of a sigmoid" if low >= 0 else ""
    # A D that normalises its inputs may happen to have such outputs; with random weights only a sigmoid keeps to them.
    if _is_share(low, high) and _is_share(*_extremes(_with_random_weights(module))):
        return f"{between} for images × {LOUD:,}, as of a sigmoid; leave it out: the losses take the values before it"
    return ""


def _is_share(low: float, high: float) -> bool:
    return low >= 0 and 0 < high <= 1


def _extremes(module: OwnModule) -> tuple[float, float]:
    """Return the smallest and the largest output for normal inputs, and for those multiplied by LOUD and -LOUD."""
    inputs, labels = module.design_inputs(BATCH)
    with evaluating(module):
        outputs = torch.cat([module(scale * inputs, labels).flatten() for scale in (1, LOUD, -LOUD)])
    return float(outputs.min()), float(outputs.max())


def _with_random_weights(module: OwnModule) -> OwnModule:
    """Return a copy of a network with parameters drawn from a standard normal distribution."""
    other, rng = copy.deepcopy(module), torch.Generator().manual_seed(0)
    for parameter in other.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=rng))
    return other


def _unused(module: OwnModule) -> str:
    """Return which parameters have no effect on the outputs, or that there are none to train; empty if all have one."""
    inputs, labels = module.design_inputs(BATCH)
    named = [(name, p) for name, p in module.network.named_parameters() if p.requires_grad]
    if not named:
        return "has no parameters to train"
    gradients = torch.autograd.grad(module(inputs, labels).square().sum(), [p for _, p in named], allow_unused=True)
    unused = [name for (name, _), gradient in zip(named, gradients, strict=True) if gradient is None]
    if unused:
        return f"its outputs do not depend on {', '.join(unused)}; remove it, or set requires_grad to False"
    return ""


def _state(module: OwnModule) -> str:
    """Return why a network that is restored from its state dict behaves differently; empty if it does not."""
    inputs, labels = module.design_inputs(BATCH)
    parameters: list[Tensor] = [p for p in module.network.parameters() if p.requires_grad]
    for _ in range(STEPS):
        gradients = torch.autograd.grad(module(inputs, labels).square().mean(), parameters)
        with torch.no_grad():
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter -= RATE * gradient.sign()
    torch.manual_seed(1)  # another network than the first, until it has its state
    resumed = module.design.build()
    try:
        resumed.load_state_dict(module.state_dict())
    except RuntimeError as error:
        return f"its state dict does not fit a second one: {' '.join(str(error).split())[:200]}"
    if all(_same(module, resumed, inputs, labels, mode) for mode in (nn.Module.train, nn.Module.eval)):
        return ""
    return "has state that its state dict does not hold, so a run could not be resumed; register buffers for it"


@torch.no_grad()
def _same(
    one: OwnModule, two: OwnModule, inputs: Tensor, labels: Tensor | None, mode: Callable[[nn.Module], nn.Module]
) -> bool:
    """Whether two networks in the same mode have equal outputs, bit for bit."""
    outputs = []
    for module in (one, two):
        mode(module)
        torch.manual_seed(2)
        outputs.append(module(inputs, labels))
    return torch.equal(*outputs)


def _facts(module: OwnModule) -> Facts:
    from torch.utils.flop_counter import FlopCounterMode

    inputs, labels = module.design_inputs(1)
    with torch.no_grad(), evaluating(module), FlopCounterMode(display=False) as counter:
        module(inputs, labels)
    trained = sum(p.numel() for p in module.parameters() if p.requires_grad)
    stored = sum(tensor.numel() for tensor in module.state_dict().values())
    has_batch_norm = any(isinstance(one, _BatchNorm) for one in module.modules())
    return Facts(trained, stored - trained, counter.get_total_flops() // 2, has_batch_norm)
