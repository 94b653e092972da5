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
    """A journal opened for appending. An incomplete last line is removed. Recorded steps are not written again."""

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
        """Append a record. It is passed to the operating system; `sync` makes it survive a power cut.

        Returns:
            Whether the record was written. It was not if its step is already recorded.

        Raises:
            OSError: The record cannot be written completely; no part of it remains.
        """
        if record.step <= self.last_step:
            return False
        self._write(record)
        return True

    def append_more(self, record: Record) -> None:
        """Append further metrics at the last step. The journal must not have these metrics at that step already.

        Raises:
            OSError: The record cannot be written completely; no part of it remains.
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
        """Make appended records survive a power cut.

        It is called before a checkpoint is written: a trial that resumes from the checkpoint does not repeat the steps
        before it.
        """
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
    """Return all complete records; [] if the file does not exist.

    Raises:
        UserError: A line is not a record.
    """
    return [record for record, _ in read_from(path, 0)]


def read_from(path: Path, offset: int) -> Iterator[tuple[Record, int]]:
    """Yield (record, offset of its end) for each complete record from a byte offset on; none if the file is missing."""
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
    """Return (step, value) for each record of a metric, in the order of steps; [] if the file does not exist.

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
    """Return a record with the step and time of the last complete record, and the newest value of each metric.

    Since not all metrics are recorded at each step, the last LATEST records are read, from at most 64 kB.

    Returns:
        None if there is no complete record.
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
    """Return the record in a line of a journal. Former names of metrics are replaced by the current ones.

    Raises:
        ValueError, TypeError, AttributeError, RecursionError: The line is not a record.
    """
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
