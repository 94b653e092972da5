"""Capture of a training step: its kernels are recorded once, as a CUDA graph, and launched together from then on.

A step of a small GAN consists of about 200 kernels, which run in less time than Python needs to launch them.
"""

from __future__ import annotations

import contextlib
import functools
import gc
from collections.abc import Callable, Hashable, Iterator, Sequence

import torch

from gansweep.gan.gpu import chain, is_out_of_memory

Step = Callable[[], None]
Snapshot = Callable[[], Callable[[], None]]
Recorder = Callable[[Step, Sequence[torch.Generator]], Step]
EAGER_STEPS = 3  # of each phase, before capture: libraries are loaded and choose their algorithms in the first ones
CAPTURE_ERRORS = range(900, 909)  # cudaErrorStreamCapture…: the CUDA context survives them


class RefusedError(Exception):
    """A step cannot be captured; its message is the reason."""


class Captured:
    """A step that runs eagerly EAGER_STEPS times, is then recorded, and is replayed from then on.

    Capture changes neither what a step computes nor how random streams advance, so the eager steps are ordinary steps
    of the run. The step is passed with each call and not stored. A stored step would refer to the trainer that owns
    this object, and such a cycle, with its memory on the device, would be freed only by the garbage collector.

    Args:
        generators: Random streams of the step.
        record: Records a step without running it, and returns a function that replays the recorded step.
    """

    def __init__(self, generators: Sequence[torch.Generator], record: Recorder) -> None:
        self._generators, self._record = generators, record
        self._eager_left = EAGER_STEPS
        self._replay: Step | None = None

    def __call__(self, step: Step, snapshot: Snapshot) -> None:
        """Run the step once.

        Args:
            step: Function that reads and writes tensors only. Other values that it reads are fixed at capture.
            snapshot: Saves the present state and returns a function that restores it, called if the capture fails.

        Raises:
            RefusedError: The step cannot be captured. It has not run.
        """
        if self._eager_left:
            self._eager_left -= 1
            with _where_captured(self._generators[0].device):
                step()
            return
        if self._replay is None:
            self._replay = self._capture(step, snapshot)
        self._replay()

    def _capture(self, step: Step, snapshot: Snapshot) -> Step:
        restore = snapshot()
        try:
            return self._record(step, self._generators)
        except Exception as error:
            if not is_refusal(error):
                raise
            restore()
            raise RefusedError(reason_of(error)) from error


class Steps:
    """The steps of a trainer: eager, or captured once for each kind of step.

    Args:
        generators: As in `Captured`.
        record: As in `Captured`; None to run every step eagerly.
        notices: List to which a sentence is appended if a step cannot be captured. All steps are eager from then on.
    """

    def __init__(self, generators: Sequence[torch.Generator], record: Recorder | None, notices: list[str]) -> None:
        self._generators, self._record, self._notices = generators, record, notices
        self._phase: object = None
        self._captured: dict[Hashable, Captured] = {}  # of this phase, by kind
        self._chosen: Captured | None = None

    @property
    def captures(self) -> bool:
        """Whether steps are captured. False without `record`, and after a step could not be captured."""
        return self._record is not None

    def choose(self, phase: object, kind: Hashable) -> None:
        """Choose the captured step that the next calls run.

        Args:
            phase: Value that seldom changes and on which the computation depends. When it changes, the captured steps
                of the previous phase are discarded.
            kind: Value that may change from step to step. One captured step is kept for each kind.
        """
        if self._record is None:
            return
        if phase != self._phase:
            self._phase, self._captured = phase, {}
        if kind not in self._captured:
            self._captured[kind] = Captured(self._generators, self._record)
        self._chosen = self._captured[kind]

    def __call__(self, step: Step, snapshot: Snapshot) -> None:
        """Run the chosen step once, eagerly if it cannot be captured. See `Captured` for the arguments."""
        if self._chosen is None:
            step()
            return
        try:
            self._chosen(step, snapshot)
        except RefusedError as error:
            self._record, self._captured, self._chosen = None, {}, None
            self._notices.append(f"the step runs without a CUDA graph, which is slower on a GPU: {error}")
            step()


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
    torch.cuda.empty_cache()  # what the eager steps have freed on that stream, nothing else would use
    with torch.cuda.stream(_stream(torch.cuda.current_device())), _no_collection():
        # Other threads, such as the one that writes records, may use CUDA meanwhile.
        graph.capture_begin(pool, capture_error_mode="thread_local")
        try:
            step()
        finally:
            _end(graph, pool)
    return graph.replay


def _end(graph: torch.cuda.CUDAGraph, pool: tuple[int, int]) -> None:
    """End a capture. If that fails, end the allocator's use of the graph's memory pool as well.

    torch ends the use of the pool only if the capture succeeds. Without this function, all memory that is freed after a
    failed capture would stay reserved.
    """
    try:
        graph.capture_end()
    except Exception:
        device = torch.cuda.current_device()
        torch._C._cuda_endAllocateToPool(device, pool)
        torch._C._cuda_releasePool(device, pool)
        raise


@contextlib.contextmanager
def _where_captured(device: torch.device) -> Iterator[None]:
    """Run the block on the stream on which steps are captured, after all earlier and before all later work.

    Autograd accumulates a parameter's gradients on the stream of the parameter's first forward pass, for as long as the
    network keeps a tensor of that pass, as torch.nn.utils.spectral_norm does. If this were another stream, a capture
    would have to wait for it and would fail.
    """
    if device.type != "cuda":
        yield
        return
    present, stream = torch.cuda.current_stream(device), _stream(torch.cuda.current_device())
    stream.wait_stream(present)
    try:
        with torch.cuda.stream(stream):
            yield
    finally:
        present.wait_stream(stream)


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Collect garbage before the block, and not during it: a capture fails if an older graph is destroyed meanwhile."""
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
    """Return the stream on which all graphs of this process are recorded: one, as cuBLAS keeps 64 MiB per stream."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


def is_refusal(error: BaseException) -> bool:
    """Whether the process can train eagerly after a failed capture.

    It cannot if GPU memory is exhausted or the CUDA context is lost.
    """
    if is_out_of_memory(error):
        return False
    of_device = getattr(torch, "AcceleratorError", ())  # torch 2.6 has none
    codes = [getattr(e, "error_code", None) for e in chain(error) if isinstance(e, of_device)]
    return all(code in CAPTURE_ERRORS for code in codes)


def reason_of(error: BaseException) -> str:
    """Return the first line of the message of the error that was raised first in a chain of errors."""
    *_, first = chain(error)
    return (str(first).splitlines() or [type(first).__name__])[0]


def reset(generator: torch.Generator, state: torch.Tensor) -> None:
    """Set the state of a generator, even if a failed capture has left the generator in capture mode."""
    if generator.device.type == "cuda":
        generator.graphsafe_set_state(torch.Generator(generator.device))
    generator.set_state(state)
