"""Training loops in processes side by side, each with its own networks; any number of them train at once."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

Advance = Callable[[int], None]  # trains that many steps, and waits for the device
WARM_UP_STEPS, AT_ONCE = 8, 10  # of a graph: three eager steps and its capture come first


class Loops:
    """Processes that have a loop each, ready to train."""

    def __init__(self, connections: list[Connection]) -> None:
        self._connections = connections

    def rate(self, count: int, seconds: float) -> float:
        """Return the steps per second of the first `count` processes together, while only they train."""
        active = self._connections[:count]
        for connection in active:
            connection.send(seconds)
        return sum(float(connection.recv()) for connection in active)


@contextmanager
def loops(count: int, make: Callable[..., Advance], *arguments: Any) -> Iterator[Loops]:
    """Start processes and yield them after their warm-up.

    Args:
        count: Number of processes.
        make: Function of a module. Called in each process with its number and the arguments; returns its loop.
        arguments: Passed to `make`.
    """
    context = multiprocessing.get_context("spawn")
    pipes = [context.Pipe() for _ in range(count)]
    processes = [
        context.Process(target=_serve, args=(theirs, make, number, arguments))
        for number, (_, theirs) in enumerate(pipes)
    ]
    for process in processes:
        process.start()
    ours = [connection for connection, _ in pipes]
    for _, theirs in pipes:
        theirs.close()  # so that a process that failed is seen as the end of its file
    try:
        for connection in ours:
            connection.recv()
        yield Loops(ours)
    finally:
        for connection in ours:
            connection.close()
        for process in processes:
            process.join()


def _serve(connection: Connection, make: Callable[..., Advance], number: int, arguments: tuple[Any, ...]) -> None:
    import torch

    torch.set_num_threads(1)
    advance = make(number, *arguments)
    advance(WARM_UP_STEPS)
    connection.send(None)
    while True:
        try:
            seconds = connection.recv()
        except EOFError:
            return
        began, steps = time.perf_counter(), 0
        while (elapsed := time.perf_counter() - began) < seconds:
            advance(AT_ONCE)
            steps += AT_ONCE
        connection.send(steps / elapsed)
