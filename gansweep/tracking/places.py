"""Locations in a home's records, kept such that a home can be moved or copied as a single folder.

A home's own store is its `mlflow.db`, with its artifacts in `artifacts`. On disk a sweep refers to the store relative
to the home. MLflow itself records absolute locations: those of a moved or copied home are looked up in the home when
they are read (`resolve`), and rewritten before anything is written (`correct`). Only the standard library is used,
since commands that do not need MLflow use this module as well.
"""

from __future__ import annotations

import sqlite3
import urllib.parse
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path, PurePosixPath

from gansweep.errors import UserError
from gansweep.records.layout import Home, SweepFolder, read_json, write_json
from gansweep.tracking import snapshot

SQLITE = "sqlite:///"
NOTED = ("uri", "experiment_id", "parent_run_id")  # keys of a sweep's tracking.json
WAIT_S = 30  # maximum wait for another process that writes to the store
# Columns of MLflow's tables with locations of artifacts.
COLUMNS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
    ("trace_tags", "value"),
)


def file_of(uri: str) -> Path | None:
    """Return the file of a SQLite store; None for a server."""
    return Path(uri.removeprefix(SQLITE)) if uri.startswith(SQLITE) else None


def absolute(uri: str) -> str:
    """Return the URI of a store with the absolute path of its file."""
    file = file_of(uri)
    return f"{SQLITE}{file.absolute()}" if file else uri


def as_recorded(home: Home, uri: str) -> str:
    """Return the URI of a store as a sweep's files record it: relative to the home for a file in it, else absolute."""
    file = file_of(uri)
    if file is None:
        return uri
    path, place = file.absolute(), home.path.absolute()
    return f"{SQLITE}{path.relative_to(place) if path.is_relative_to(place) else path}"


def note(folder: SweepFolder) -> dict[str, str]:
    """Return the content of a sweep's `tracking.json`, its note on the tracking store; empty if it was never sent.

    Keys are `uri`, `experiment_id`, `parent_run_id` and, since version 0.2.0, `sweep_id`.

    Raises:
        UserError: The file is damaged. It can be removed without loss.
    """
    try:
        found = read_json(folder.tracking)
        if found and not all(isinstance(value, str) for value in (*map(found.get, NOTED), found.get("sweep_id", ""))):
            raise UserError(f"damaged (without {', '.join(NOTED)} as text)")
    except UserError as error:
        what = str(error).removeprefix(f"{folder.tracking}: ").partition(";")[0]
        raise UserError(
            f"{folder.tracking}: {what}; remove it: `gansweep sync {folder.name}` finds the records again by the"
            " sweep's id (give its --tracking-uri where they are on a server)"
        ) from None
    return found


def recorded(home: Home, folder: SweepFolder) -> str | None:
    """Return the URI of the store that a sweep was last sent to; None if it was never sent.

    Raises:
        UserError: The sweep's note or the home's own store cannot be read.
    """
    found = note(folder)
    uri = found.get("uri")
    file = file_of(uri) if uri else None
    if file is None:
        return uri
    if "sweep_id" in found:
        return f"{SQLITE}{home.path.absolute() / file}"
    own = _was_own(home, file, found.get("parent_run_id", ""))
    return f"{SQLITE}{(home.database if own else file).absolute()}"


def resolve(uri: str, artifact_uri: str) -> str:
    """Return the current location of a run's artifacts.

    A run's folder next to the SQLite store takes precedence over the location in the store: its name is the run's id,
    so it cannot contain another run's artifacts.
    """
    file = file_of(uri)
    parts = PurePosixPath(artifact_uri).parts
    if file is None or not artifact_uri.startswith("file:") or len(parts) < 4:
        return artifact_uri
    here = Home(file.absolute().parent).artifacts.joinpath(*map(urllib.parse.unquote, parts[-3:]))
    return here.as_uri() if here.is_dir() else artifact_uri


def correct(home: Home) -> str:
    """Correct the records of a home that was moved or copied.

    Locations of artifacts in its own store are rewritten in one transaction, then the references of its sweeps to the
    store. The function may be killed at any moment and called again. Sweeps with a damaged note are skipped: their own
    commands name the file.

    Returns:
        The artifact folder that was recorded before; "" if everything was up to date.

    Raises:
        sqlite3.Error: The database cannot be written.
        OSError: A file cannot be written.
    """
    if not is_whole(home):
        return ""
    former = correct_database(home.database, home)
    for folder in _readable(home):
        _correct_sweep(home, folder)
    return former


def correct_database(database: Path, home: Home) -> str:
    """Correct the locations of artifacts in a home's database.

    Args:
        database: The database, or a copy of it outside the home.
        home: The home folder.

    Returns:
        The artifact folder that was recorded before; "" if everything was up to date.
    """
    here = home.artifacts.absolute().as_uri()
    with closing(sqlite3.connect(database, timeout=WAIT_S, isolation_level=None)) as store:
        former = _former(store, home, here)
        if not former:
            return ""
        columns = [(table, column) for table, column in COLUMNS if _has(store, table, column)]
        store.execute("BEGIN IMMEDIATE")
        for place in _former(store, home, here):  # again, since another process may have corrected them
            new = f"{here}/{place.rpartition('/')[2]}"
            for table, column in columns:
                store.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?)"
                    f" WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                    (new, len(place) + 1, place, len(place) + 1, f"{place}/"),
                )
        store.execute("COMMIT")
    return urllib.parse.unquote(former[0].removeprefix("file://").rpartition("/")[0])


def _readable(home: Home) -> Iterator[SweepFolder]:
    """Yield the sweeps of a home whose notes can be read."""
    for folder in home.sweeps():
        with suppress(UserError):
            note(folder)
            yield folder


def _former(store: sqlite3.Connection, home: Home, here: str) -> list[str]:
    """Return the outdated artifact locations in a store of the experiments that belong to this home.

    An experiment belongs to this home if it is that of a sweep in this home, even if the artifacts are lost, or if the
    home has artifacts of one of its runs. The locations of experiments of other homes that use this store are correct.

    Args:
        store: Connection to the store.
        home: The home folder.
        here: URI of the home's artifact folder.
    """
    ours = {note(folder).get("experiment_id") for folder in _readable(home) if _sends_here(home, folder)}
    found = []
    for number, place in store.execute("SELECT experiment_id, artifact_location FROM experiments").fetchall():
        root, _, name = (place or "").rpartition("/")
        if root == here or not root.startswith("file:") or not root.endswith("/artifacts") or _is_same(root, home):
            continue
        if str(number) in ours or _holds_runs(home.artifacts / urllib.parse.unquote(name), store, number):
            found.append(place)
    return found


def _holds_runs(folder: Path, store: sqlite3.Connection, experiment: int) -> bool:
    """Whether a folder contains artifacts of a run of the experiment: they are in folders named by the run's id."""
    if not folder.is_dir():
        return False
    runs = store.execute("SELECT run_uuid FROM runs WHERE experiment_id = ?", (experiment,))
    return any((folder / run).is_dir() for (run,) in runs)


def _is_same(root: str, home: Home) -> bool:
    """Whether a recorded artifact folder is the home's, under another path (a link, a bind mount)."""
    try:
        return Path(urllib.parse.unquote(root.removeprefix("file://"))).samefile(home.artifacts)
    except OSError:
        return False


def _correct_sweep(home: Home, folder: SweepFolder) -> None:
    """Correct the URI of the home's own store in the notes of a sweep and its trials.

    The sweep's note is corrected last, because its former URI identifies the notes of trials to correct.
    """
    found = note(folder)
    before, own = found.get("uri"), as_recorded(home, f"{SQLITE}{home.database}")
    if before == own or not _sends_here(home, folder):
        return
    for trial in folder.all_trials():
        with suppress(UserError):  # a damaged note counts as missing: the store is asked
            published = read_json(trial.published)
            if published.get("uri") == before:
                write_json(trial.published, {**published, "uri": own})
    write_json(folder.tracking, {**found, "uri": own}, durable=True)


def _sends_here(home: Home, folder: SweepFolder) -> bool:
    """Whether a sweep was sent to the home's own store."""
    uri = recorded(home, folder)
    return uri is not None and file_of(uri) == home.database.absolute()


def _was_own(home: Home, file: Path, parent_run_id: str) -> bool:
    """Whether the file that version 0.1.0 recorded is the home's own store.

    It recorded an absolute path: after a move that file does not exist, and after a copy the copied store contains the
    sweep's parent run as well. A relative path was given by the user, relative to the working directory.
    """
    if file.name != home.database.name:
        return False
    return not file.exists() or (is_whole(home) and _knows(home.database, parent_run_id))


def leftovers(home: Home, name: str, sweep_ids: Sequence[str]) -> list[Path]:
    """Return the artifacts to delete with a sweep whose records were deleted.

    These are the artifacts of its runs, including those in the folder of a former name, and the whole folder of its
    name if no other run has artifacts there.

    Raises:
        UserError: The home's own store cannot be read.
    """
    ours, others = _runs(home.database, sweep_ids) if is_whole(home) else (set(), set())
    found = []
    for place in home.artifacts.iterdir() if home.artifacts.is_dir() else ():
        if place.is_symlink() or not place.is_dir():
            continue
        try:
            there = [*place.iterdir()]
        except OSError:  # no permission to read it
            continue
        if place.name == name and not any(path.name in others for path in there):
            found.append(place)
        else:
            found += [path for path in there if path.name in ours]
    return found


def is_whole(home: Home) -> bool:
    """Whether the home has a store with all its tables."""
    return home.database.exists() and not home.unmade.exists()


def _knows(database: Path, run_id: str) -> bool:
    try:
        with closing(snapshot.connect(database)) as store:
            return store.execute("SELECT 1 FROM runs WHERE run_uuid = ?", (run_id,)).fetchone() is not None
    except (sqlite3.Error, OSError) as error:
        raise UserError(f"{database}: the tracking store cannot be read ({error})") from error


def _runs(database: Path, sweep_ids: Sequence[str]) -> tuple[set[str], set[str]]:
    """Return the ids of the runs that carry one of the sweep's ids, and the ids of all other runs.

    Deleted runs are included.
    """
    places = ", ".join("?" * len(sweep_ids))
    carrying = f"SELECT run_uuid FROM tags WHERE key = 'gansweep.sweep_id' AND value IN ({places})"
    try:
        with closing(snapshot.connect(database)) as store:
            every = {run for (run,) in store.execute("SELECT run_uuid FROM runs")}
            ours = {run for (run,) in store.execute(carrying, sweep_ids)}
    except (sqlite3.Error, OSError) as error:
        raise UserError(f"{database}: the tracking store cannot be read ({error})") from error
    return ours, every - ours


def _has(store: sqlite3.Connection, table: str, column: str) -> bool:
    """Whether the store has the column, which depends on the version of MLflow."""
    return any(row[1] == column for row in store.execute(f"PRAGMA table_info({table})"))
