"""A stand-in for the capture of a CUDA graph, on the CPU.

Operators are recorded while a step runs, and undone afterwards, since capture runs nothing. A replay runs the recorded
operators on the recorded tensors, and no Python of the step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

WAITS = {torch.ops.aten._local_scalar_dense.default, torch.ops.aten.item.default, torch.ops.aten.equal.default}
Call = tuple[Any, tuple[Any, ...], dict[str, Any], Any]


class WaitError(RuntimeError):
    """An operator whose result the host would wait for, which no graph can capture."""


def record(step: Callable[[], None], generators: Sequence[torch.Generator]) -> Callable[[], None]:
    """As gansweep.gan.capture.record_cuda_graph."""
    states = [generator.get_state() for generator in generators]
    recorder = _Recorder()
    try:
        with recorder:
            step()
    finally:
        recorder.undo()
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)
    return recorder.replay


class _Recorder(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self._calls: list[Call] = []
        self._before: list[tuple[Tensor, Tensor]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in WAITS:
            raise WaitError(f"{func} waits for the device")
        kwargs = kwargs or {}
        self._before += [(_as_now(tensor), tensor.clone()) for tensor in _written(func, args, kwargs)]
        given = _as_now(args), _as_now(kwargs)
        result = func(*args, **kwargs)
        self._calls.append((func, *given, _as_now(result)))
        return result

    @torch.no_grad()
    def undo(self) -> None:
        for tensor, before in reversed(self._before):
            tensor.copy_(before)
        self._before.clear()

    @torch.no_grad()
    def replay(self) -> None:
        for func, args, kwargs, result in self._calls:
            anew = func(*args, **kwargs)
            for recorded, tensor in zip(_tensors(result), _tensors(anew), strict=True):
                if recorded.data_ptr() != tensor.data_ptr():  # else a view, or the tensor that was written
                    recorded.copy_(tensor)


def _as_now(values: Any) -> Any:
    """Return values whose tensors keep the shape that they have now, when squeeze_ or unsqueeze_ changes the others."""
    if isinstance(values, Tensor):
        return values.detach()
    if isinstance(values, list | tuple):
        return type(values)(map(_as_now, values))
    return {name: _as_now(value) for name, value in values.items()} if isinstance(values, dict) else values


def _written(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[Tensor]:
    """Yield the tensors that an operator writes, by its schema, which says nothing of a batch norm's statistics."""
    if func is torch.ops.aten.native_batch_norm.default:
        yield from _tensors(args[3:5])
    for i, argument in enumerate(func._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            yield from _tensors(args[i] if i < len(args) else kwargs.get(argument.name))


def _tensors(values: Any) -> Iterator[Tensor]:
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, list | tuple):
        for value in values:
            yield from _tensors(value)
