"""A trial's metrics: one JSON line a record, in the order of steps, appended and never changed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from gansweep.errors import UserError
from gansweep.records.disk import writing

LATEST = 20  # records that `latest` looks at


@dataclass(frozen=True)
class Record:
    """step; time: seconds since the epoch, when it was journalled; values: metric → number (NaN is a value)."""

    step: int
    time: float
    values: Mapping[str, float]


class Journal:
    """Open for appending. A torn last line is dropped; steps that the journal holds are not written again."""

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
        """Write a record and hand it to the operating system; False where its step is there already.

        Raises OSError where there is no room for it; nothing of it is left then.
        """
        if record.step <= self.last_step:
            return False
        line = {"step": record.step, "time": record.time, "values": dict(record.values)}
        end, rest = os.fstat(self._file.fileno()).st_size, json.dumps(line).encode() + b"\n"
        with writing(self._path):
            try:
                while rest:
                    rest = rest[self._file.write(rest) :]
            except OSError:
                self._file.truncate(end)
                raise
        self.last_step = record.step
        return True

    def sync(self) -> None:
        """Make what was appended survive a power cut: before a checkpoint that makes it unrepeatable."""
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
    """Every whole record; none where there is no file. Raises UserError where a line is no record."""
    return [record for record, _ in read_from(path, 0)]


def read_from(path: Path, offset: int) -> Iterator[tuple[Record, int]]:
    """Whole records from a byte offset on, each with the offset behind it."""
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


def latest(path: Path) -> Record | None:
    """Step and time of the last whole record, and the newest value of every metric (not all are recorded at each
    step), found without reading the whole file."""
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


def _record(line: bytes, path: Path) -> Record:
    try:
        return Record(**json.loads(line))
    except (ValueError, TypeError, RecursionError) as error:
        raise UserError(f"{path}: damaged, a line is no record ({error}); restore it from a copy") from None


def _whole_bytes(path: Path) -> int:
    """Bytes up to and with the last newline."""
    content = path.read_bytes()
    return content.rfind(b"\n") + 1
