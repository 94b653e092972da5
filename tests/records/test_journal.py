from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gansweep.records.journal import Journal, Record, column, latest, read, read_from


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "trial" / "journal.jsonl"


def record(step: int) -> Record:
    return Record(step, 1e9 + step, {"loss_d": step / 3})


def fill(file: Path, *steps: int) -> None:
    with Journal(file) as journal:
        for step in steps:
            assert journal.append(record(step))


def test_gives_back_what_was_appended(file: Path) -> None:
    fill(file, 10, 20)
    fill(file, 30)
    assert read(file) == [record(10), record(20), record(30)]


def test_an_appended_record_is_there_at_once(file: Path) -> None:
    with Journal(file) as journal:
        journal.append(record(1))
        assert read(file) == [record(1)]
        journal.sync()


@given(values=st.dictionaries(st.text(max_size=5), st.floats()))
def test_every_number_comes_back_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory, values: dict[str, float]
) -> None:
    file = tmp_path_factory.mktemp("j") / "journal.jsonl"
    with Journal(file) as journal:
        journal.append(Record(1, 0.5, values))
    (found,) = read(file)
    assert list(found.values) == list(values)
    for name, value in values.items():
        assert found.values[name] == value or (math.isnan(found.values[name]) and math.isnan(value))
        assert math.isnan(value) or math.copysign(1, found.values[name]) == math.copysign(1, value)


@given(
    records=st.lists(st.dictionaries(st.sampled_from(["a", "b", "time", "a b", 'a": 1, "b']), st.floats()), max_size=5)
)
def test_a_column_is_what_the_records_have_of_a_metric(
    tmp_path_factory: pytest.TempPathFactory, records: list[dict[str, float]]
) -> None:
    file = tmp_path_factory.mktemp("j") / "journal.jsonl"
    with Journal(file) as journal:
        for step, values in enumerate(records):
            journal.append(Record(step, 0.5, values))
    with file.open("ab") as torn:
        torn.write(b'{"step": 99, "time": 0.5, "values": {"a": 1.0, "b": 2.0}}')
    for name in ("a", "b", "time", "never"):
        expected = [(step, values[name]) for step, values in enumerate(records) if name in values]
        assert repr(column(file, name)) == repr(expected)


def test_metrics_are_read_by_the_names_of_today(file: Path) -> None:
    """Version 0.1.0 began the run, this one continued it."""
    with Journal(file) as journal:
        journal.append(Record(0, 0.5, {"cfd_ratio": 9.0, "density": 0.5}))
        journal.append(Record(1, 0.5, {"fd_ratio": 4.0}))
    assert [one.values for one in read(file)] == [{"fd_ratio": 9.0, "density": 0.5}, {"fd_ratio": 4.0}]
    assert column(file, "fd_ratio") == [(0, 9.0), (1, 4.0)]
    newest = latest(file)
    assert newest is not None
    assert newest.values == {"fd_ratio": 4.0, "density": 0.5}


def test_a_journal_that_is_missing_has_empty_columns(file: Path) -> None:
    assert column(file, "a") == []


def test_replayed_steps_are_not_written_again(file: Path) -> None:
    fill(file, 10, 20)
    with Journal(file) as journal:
        assert journal.last_step == 20
        assert not journal.append(Record(10, 0.0, {"loss_d": 9.0}))
        assert not journal.append(Record(20, 0.0, {"loss_d": 9.0}))
        assert journal.append(record(30))
        assert not journal.append(record(30))
    assert read(file) == [record(10), record(20), record(30)]


def test_a_torn_last_line_is_dropped_wherever_it_is_torn(file: Path) -> None:
    fill(file, 1, 2)
    content = file.read_bytes()
    first = content.index(b"\n") + 1
    for length in range(len(content)):
        file.write_bytes(content[:length])
        whole = [record(1)] if length >= first else []
        assert read(file) == whole
        assert latest(file) == (whole[-1] if whole else None)
        with Journal(file) as journal:
            assert journal.last_step == (1 if whole else -1)
            assert journal.append(record(2))
        assert read(file) == [*whole, record(2)]


def test_nothing_is_read_where_there_is_no_file(file: Path) -> None:
    assert read(file) == []
    assert list(read_from(file, 0)) == []
    assert latest(file) is None
    with Journal(file) as journal:
        assert journal.last_step == -1
    assert latest(file) is None


def test_read_from_goes_on_behind_each_record(file: Path) -> None:
    fill(file, 1, 2, 3)
    everything = list(read_from(file, 0))
    assert [r for r, _ in everything] == read(file)
    for i, (_, offset) in enumerate(everything):
        assert list(read_from(file, offset)) == everything[i + 1 :]
    end = everything[-1][1]
    assert end == file.stat().st_size
    fill(file, 4)
    assert [r for r, _ in read_from(file, end)] == [record(4)]


def test_read_from_waits_for_a_line_to_become_whole(file: Path) -> None:
    fill(file, 1)
    end = file.stat().st_size
    fill(file, 2)
    content = file.read_bytes()
    file.write_bytes(content[:-5])
    assert list(read_from(file, end)) == []
    file.write_bytes(content)
    assert [r for r, _ in read_from(file, end)] == [record(2)]


@pytest.mark.parametrize("records", [1, 2, 3000])
def test_latest_is_the_last_that_is_read(file: Path, records: int) -> None:
    fill(file, *range(records))
    assert (file.stat().st_size > 65536) == (records == 3000)  # it reads at most 64 kB
    assert latest(file) == read(file)[-1]
    with file.open("ab") as torn:
        torn.write(b'{"step": ')
    assert latest(file) == read(file)[-1] == record(records - 1)
