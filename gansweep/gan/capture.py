"""Capture of a training step: the step's kernels, recorded once and launched together from then on.

A step of a small GAN is some two hundred kernels that take less time to run than Python takes to launch them.
"""

from __future__ import annotations

import contextlib
import functools
import gc
from collections.abc import Callable, Hashable, Iterator, Sequence

import torch

from gansweep.gan.gpu import chain, is_out_of_memory

Step = Callable[[], None]
Recorder = Callable[[Step, Sequence[torch.Generator]], Step]
EAGER_STEPS = 3  # of each phase, before capture: libraries are loaded and choose their algorithms in the first ones
CAPTURE_ERRORS = range(900, 909)  # cudaErrorStreamCapture…: the CUDA context survives them


class Captured:
    """A step that runs eagerly at first, then is recorded, and replayed from then on.

    Capture changes neither what a step computes nor how random streams advance: the steps before it are steps of the
    run. If the step cannot be captured, it stays eager.

    Args:
        step: Reads and writes tensors only. Whatever else it depends on keeps the value that it has at capture.
        generators: Random streams of the step.
        record: Records a step without running it, and returns a function that runs what was recorded.
        snapshot: Returns a function that restores the present state, for use after a failed capture.
        refused: Called with the reason if the step cannot be captured.
    """

    def __init__(
        self,
        step: Step,
        generators: Sequence[torch.Generator],
        record: Recorder,
        snapshot: Callable[[], Callable[[], None]],
        refused: Callable[[str], None],
    ) -> None:
        self._step, self._generators, self._record = step, generators, record
        self._snapshot, self._refused = snapshot, refused
        self._eager_left = EAGER_STEPS
        self._run = self._warm_up

    def __call__(self) -> None:
        """Run the step once."""
        self._run()

    def _warm_up(self) -> None:
        self._step()
        self._eager_left -= 1
        if not self._eager_left:
            self._run = self._capture

    def _capture(self) -> None:
        restore = self._snapshot()
        try:
            self._run = self._record(self._step, self._generators)
        except Exception as error:
            if not is_refusal(error):
                raise
            restore()
            self._refused(reason_of(error))
            self._run = self._step
        self._run()


class Steps:
    """The step of a trainer: eager, or captured once for each kind of step.

    Args:
        step, generators, snapshot, refused: As in `Captured`.
        record: As in `Captured`; None to run every step eagerly.
    """

    def __init__(
        self,
        step: Step,
        generators: Sequence[torch.Generator],
        record: Recorder | None,
        snapshot: Callable[[], Callable[[], None]],
        refused: Callable[[str], None],
    ) -> None:
        self._step, self._generators, self._record = step, generators, record
        self._snapshot, self._refused = snapshot, refused
        self._phase: object = None
        self._captured: dict[Hashable, Captured] = {}  # of this phase, by kind
        self._chosen = step

    @property
    def captures(self) -> bool:
        """Whether steps are captured: not without a recorder, nor after a capture was refused."""
        return self._record is not None

    def choose(self, phase: object, kind: Hashable) -> None:
        """Choose the step that calls compute from now on.

        Args:
            phase: What the computation depends on for many steps: all is captured anew where it changes.
            kind: What it depends on from step to step: a captured step is kept for each kind.
        """
        if self._record is None:
            return
        if phase != self._phase:
            self._phase, self._captured = phase, {}
        if kind not in self._captured:
            self._captured[kind] = Captured(
                self._step, self._generators, self._record, self._snapshot, self._become_eager
            )
        self._chosen = self._captured[kind]

    def __call__(self) -> None:
        """Compute the chosen step once."""
        self._chosen()

    def _become_eager(self, reason: str) -> None:
        self._record, self._captured, self._chosen = None, {}, self._step
        self._refused(reason)


def record_cuda_graph(step: Step, generators: Sequence[torch.Generator]) -> Step:
    """Record a step as one CUDA graph and return the function that launches it on the current stream.

    Raises:
        Exception: The step cannot be captured, for example because it waits for the device.
    """
    graph = torch.cuda.CUDAGraph()
    for generator in generators:
        graph.register_generator_state(generator)
    pool = torch.cuda.graph_pool_handle()
    torch.cuda.synchronize()  # the other stream begins after all earlier work
    with torch.cuda.stream(_stream(torch.cuda.current_device())), _no_collection():
        # Other threads, such as the one that writes records, may use CUDA meanwhile.
        graph.capture_begin(pool, capture_error_mode="thread_local")
        try:
            step()
        finally:
            _end(graph, pool)
    return graph.replay


def _end(graph: torch.cuda.CUDAGraph, pool: tuple[int, int]) -> None:
    """End a capture. If that fails, tell the allocator, which torch does only after a success: until then it would
    keep all memory that is freed from then on.
    """
    try:
        graph.capture_end()
    except Exception:
        device = torch.cuda.current_device()
        torch._C._cuda_endAllocateToPool(device, pool)
        torch._C._cuda_releasePool(device, pool)
        raise


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Collect garbage before and not during a capture: one in which an older graph is destroyed fails."""
    gc.collect()
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@functools.cache
def _stream(device: int) -> torch.cuda.Stream:
    """Return the stream on which all graphs of this process are recorded. cuBLAS keeps 64 MiB for every stream."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


def is_refusal(error: BaseException) -> bool:
    """Whether a failed capture leaves a process that can train eagerly: neither memory nor the CUDA context is lost."""
    if is_out_of_memory(error):
        return False
    of_device = getattr(torch, "AcceleratorError", ())  # torch 2.6 has none
    codes = [getattr(e, "error_code", None) for e in chain(error) if isinstance(e, of_device)]
    return all(code in CAPTURE_ERRORS for code in codes)


def reason_of(error: BaseException) -> str:
    """Return the first line of the error that began a chain of errors."""
    *_, first = chain(error)
    return (str(first).splitlines() or [type(first).__name__])[0]


def reset(generator: torch.Generator, state: torch.Tensor) -> None:
    """Set the state of a generator, also of one that a failed capture left in capture mode."""
    if generator.device.type == "cuda":
        generator.graphsafe_set_state(torch.Generator(generator.device))
    generator.set_state(state)
