from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gansweep.gan.optimizer import Adam

SHAPES = [(3,), (4, 3, 4, 4), (4, 1, 4, 4), ()]


def parameters(memory_format: torch.memory_format) -> list[Tensor]:
    """The same numbers in any memory format."""
    rng = torch.Generator().manual_seed(0)
    numbers = [torch.randn(s, generator=rng) for s in SHAPES]
    return [t.to(memory_format=memory_format) if t.dim() == 4 else t for t in numbers]


@pytest.mark.parametrize(("learning_rate", "beta1", "beta2"), [(2e-4, 0.5, 0.999), (0.1, 0.0, 0.0), (1e-2, 0.9, 0.99)])
@pytest.mark.parametrize("of_parameters", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("of_gradients", [torch.contiguous_format, torch.channels_last])
def test_20_steps_equal_torch_however_memory_is_laid_out(
    learning_rate: float,
    beta1: float,
    beta2: float,
    of_parameters: torch.memory_format,
    of_gradients: torch.memory_format,
) -> None:
    ours, plain = parameters(of_parameters), parameters(torch.contiguous_format)
    adam = Adam(ours, learning_rate, beta1, beta2)
    reference = torch.optim.Adam(plain, lr=learning_rate, betas=(beta1, beta2), foreach=False)
    rng = torch.Generator().manual_seed(1)
    for _ in range(20):
        gradients = [torch.randn(s, generator=rng) for s in SHAPES]
        adam.step([g.to(memory_format=of_gradients) if g.dim() == 4 else g for g in gradients])
        for parameter, gradient in zip(plain, gradients, strict=True):
            parameter.grad = gradient
        reference.step()
    torch.testing.assert_close(ours, plain, rtol=1e-5, atol=1e-6)
    for i, parameter in enumerate(plain):
        torch.testing.assert_close(adam.means[i], reference.state[parameter]["exp_avg"], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(adam.squares[i], reference.state[parameter]["exp_avg_sq"], rtol=1e-5, atol=1e-6)


def test_a_restored_optimizer_goes_on_bit_for_bit() -> None:
    rng = torch.Generator().manual_seed(1)
    gradients = [[torch.randn(s, generator=rng) for s in SHAPES] for _ in range(4)]
    whole = Adam(parameters(torch.channels_last), 1e-2, 0.5, 0.9)
    first = Adam(parameters(torch.channels_last), 1e-2, 0.5, 0.9)
    for step in range(4):
        whole.step(gradients[step])
        if step < 2:
            first.step(gradients[step])
    second = Adam([p.clone() for p in first.parameters], 1e-2, 0.5, 0.9)
    second.load_state({name: t.contiguous() for name, t in first.state().items()})
    for step in (2, 3):
        second.step(gradients[step])
    for ours, expected in zip(second.parameters, whole.parameters, strict=True):
        assert torch.equal(ours, expected)


def test_a_missing_tensor_and_a_missing_gradient_are_refused() -> None:
    adam = Adam(parameters(torch.contiguous_format), 1e-2, 0.5, 0.9)
    state = adam.state()
    del state["mean.1"]
    with pytest.raises(KeyError, match=r"mean\.1"):
        adam.load_state(state)
    with pytest.raises(ValueError, match="shorter"):
        adam.step(adam.parameters[:-1])


def test_nan_in_a_gradient_reaches_the_parameter() -> None:
    adam = Adam([torch.zeros(2)], 1e-2, 0.5, 0.9)
    adam.step([torch.tensor([float("nan"), 1.0])])
    assert adam.parameters[0].isnan().tolist() == [True, False]
