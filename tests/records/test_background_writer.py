"""Writes are made in order, the queue is bounded, and an error ends it."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from gansweep.records.background_writer import BackgroundWriter


class SlowDisk:
    """A disk that completes one write at each `allow`. done: what it has written."""

    def __init__(self) -> None:
        self.done: list[int] = []
        self.begun = threading.Semaphore(0)
        self._allowed = threading.Semaphore(0)

    def write(self, number: int) -> None:
        self.begun.release()
        assert self._allowed.acquire(timeout=10)
        self.done.append(number)

    def allow(self, writes: int) -> None:
        self._allowed.release(writes)


@pytest.fixture
def disk() -> Iterator[SlowDisk]:
    disk = SlowDisk()
    yield disk
    disk.allow(100)


def in_thread(call: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    return thread


def test_training_continues_while_a_slow_disk_writes_and_nothing_is_lost(disk: SlowDisk) -> None:
    with BackgroundWriter() as writer:
        for number in range(10):
            writer.put(partial(disk.write, number))
        assert disk.done == []
        disk.allow(10)
        writer.drain()
        assert disk.done == [*range(10)]


@pytest.mark.parametrize(("limits", "size"), [({"most_writes": 3}, 0), ({"most_bytes": 30}, 10)])
def test_a_full_queue_blocks_training_until_a_write_is_complete(
    disk: SlowDisk, limits: dict[str, int], size: int
) -> None:
    with BackgroundWriter(**limits) as writer:
        for number in range(3):
            writer.put(partial(disk.write, number), size)
        fourth = in_thread(lambda: writer.put(partial(disk.write, 3), size))
        fourth.join(0.1)
        assert fourth.is_alive()
        disk.allow(1)
        fourth.join(10)
        assert not fourth.is_alive()
        disk.allow(3)
    assert disk.done == [0, 1, 2, 3]


def test_data_larger_than_the_queue_are_written_alone(disk: SlowDisk) -> None:
    with BackgroundWriter(most_bytes=30) as writer:
        writer.put(partial(disk.write, 0), 1000)
        second = in_thread(lambda: writer.put(partial(disk.write, 1), 1000))
        second.join(0.1)
        assert second.is_alive()
        disk.allow(2)
        second.join(10)
    assert disk.done == [0, 1]


def test_an_error_is_raised_by_every_later_call_and_drops_the_writes_behind_it(disk: SlowDisk) -> None:
    def fail() -> None:
        disk.write(0)
        raise OSError("the disk is full")

    with BackgroundWriter() as writer:
        writer.put(fail)
        writer.put(partial(disk.write, 1))
        disk.allow(2)
        for call in (writer.drain, writer.drain, lambda: writer.put(partial(disk.write, 2))):
            with pytest.raises(OSError, match="the disk is full"):
                call()
    assert disk.done == [0]


def test_an_error_releases_training_that_waits_for_room(disk: SlowDisk) -> None:
    errors: list[OSError] = []

    def fail() -> None:
        disk.write(0)
        raise OSError("the disk is full")

    def put() -> None:
        try:
            writer.put(partial(disk.write, 1))
        except OSError as error:
            errors.append(error)

    with BackgroundWriter(most_writes=1) as writer:
        writer.put(fail)
        waiting = in_thread(put)
        disk.allow(1)
        waiting.join(10)
    assert len(errors) == 1


def test_closing_completes_the_writes(disk: SlowDisk) -> None:
    writer = BackgroundWriter()
    writer.put(partial(disk.write, 0))
    disk.allow(1)
    writer.close()
    assert disk.done == [0]


def test_data_are_released_once_they_are_written() -> None:
    class Data:
        def write(self) -> None: ...

    data = Data()
    there = weakref.ref(data)
    with BackgroundWriter() as writer:
        writer.put(data.write)
        del data
        writer.drain()
        deadline = threading.Event()
        for _ in range(100):
            if there() is None:
                break
            deadline.wait(0.01)
        assert there() is None
