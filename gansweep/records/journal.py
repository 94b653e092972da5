"""Journal of a trial: one JSON line per record of metrics, in the order of steps, append-only."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from gansweep.errors import UserError
from gansweep.health.metrics import current_names, former
from gansweep.records.disk import writing

LATEST = 20  # records that `latest` reads


@dataclass(frozen=True)
class Record:
    """Metrics recorded at one step.

    Attributes:
        step: The step.
        time: Time of recording, in seconds since the epoch.
        values: Metric → number. NaN is a value.
    """

    step: int
    time: float
    values: Mapping[str, float]


class Journal:
    """A journal opened for appending. A torn last line is dropped; recorded steps are not written again."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._file = path.open("a+b", buffering=0)
        whole = _whole_bytes(path)
        if self._file.seek(0, os.SEEK_END) != whole:
            self._file.truncate(whole)
            self._file.seek(0, os.SEEK_END)
        self.last_step = max((r.step for r in read(path)), default=-1)

    def append(self, record: Record) -> bool:
        """Write a record to the operating system.

        Returns:
            False if the step is already recorded.

        Raises:
            OSError: The record cannot be written completely; no part of it remains.
        """
        if record.step <= self.last_step:
            return False
        self._write(record)
        return True

    def append_more(self, record: Record) -> None:
        """Write further metrics of the last step. The journal has no record of the same metrics at that step.

        Raises:
            OSError: As in `append`.
        """
        assert record.step == self.last_step
        self._write(record)

    def _write(self, record: Record) -> None:
        end, rest = os.fstat(self._file.fileno()).st_size, line_of(record)
        with writing(self._path):
            try:
                while rest:
                    rest = rest[self._file.write(rest) :]
            except OSError:
                self._file.truncate(end)
                raise
        self.last_step = record.step

    def sync(self) -> None:
        """Make appended records survive a power cut. Called before a checkpoint, after which they are not repeated."""
        with writing(self._path):
            os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read(path: Path) -> list[Record]:
    """Return all complete records; none if the file does not exist.

    Raises:
        UserError: A line is not a record.
    """
    return [record for record, _ in read_from(path, 0)]


def read_from(path: Path, offset: int) -> Iterator[tuple[Record, int]]:
    """Yield complete records from a byte offset, each with the offset of its end."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        file.seek(offset)
        for line in file:
            if not line.endswith(b"\n"):
                return
            offset += len(line)
            yield _record(line, path), offset


def line_of(record: Record) -> bytes:
    """Return a record as a line of a journal."""
    return json.dumps({"step": record.step, "time": record.time, "values": dict(record.values)}).encode() + b"\n"


def column(path: Path, metric: str) -> list[tuple[int, float]]:
    """Return (step, value) of one metric, in the order of steps; none if the file does not exist.

    Faster than `read`, since records are not parsed completely.
    """
    try:
        whole = path.read_bytes().rpartition(b"\n")[0]
    except FileNotFoundError:
        return []
    names = dict.fromkeys((metric, former(metric)))
    key = b"(?:%b)" % b"|".join(re.escape(json.dumps(name).encode()) for name in names)
    number = rb"-?[\d.e+-]+|NaN|-?Infinity"
    line = rb'^\{"step": (\d+), .*?"values": \{(?:.*? )?%b: (%b)[,}]' % (key, number)
    return [(int(step), float(value)) for step, value in re.findall(line, whole, re.MULTILINE)]


def latest(path: Path) -> Record | None:
    """Return step and time of the last complete record, with the newest value of every metric.

    Not all metrics are recorded at each step. Only the last 64 kB of the file are read.
    """
    try:
        with path.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(0, end - 65536))
            lines = file.read().rpartition(b"\n")[0].splitlines()
    except FileNotFoundError:
        return None
    records = [_record(line, path) for line in lines[-LATEST:]]
    values = {name: value for record in records for name, value in record.values.items()}
    return Record(records[-1].step, records[-1].time, values) if records else None


def parsed(line: bytes) -> Record:
    """Return the record in a line of a journal, with today's names of its metrics. Raises an error if it is damaged."""
    found = Record(**json.loads(line))
    return replace(found, values=current_names(found.values))


def _record(line: bytes, path: Path) -> Record:
    try:
        return parsed(line)
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{path}: damaged, a line is not a record ({error}); restore it from a copy") from None


def _whole_bytes(path: Path) -> int:
    """Return the number of bytes up to the last newline, inclusive."""
    content = path.read_bytes()
    return content.rfind(b"\n") + 1
