"""A report from start to end: read the store, write the PDF; and the overview that MLflow's UI shows of a sweep."""

from __future__ import annotations

import io
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from gansweep.records.layout import Home, write_atomically
from gansweep.report import document, grid
from gansweep.report.study import Study
from gansweep.report.tables import Tables, read_sweep
from gansweep.tracking import reader, store

Timing = Callable[[str, float], None]  # what took how many seconds
FOLDER = "reports"  # among the artifacts of the parent run


def make(
    sweeps: Sequence[str],
    output: Path,
    home: Home,
    tracking_uri: str | None,
    timing: Timing,
    *,
    to_mlflow: bool,
    all_plans: bool = False,
) -> int:
    """Write the PDF, atomically. to_mlflow: add it to each sweep's parent run as well. all_plans: with the trials of
    earlier plans. Returns how many of these the stores have.

    Raises UserError for a store or a sweep that is not there.
    """
    with _timed(timing, "reading"):
        tables = read_sweep(*sweeps, home=home.path, tracking_uri=tracking_uri, all_plans=all_plans)
    study = Study(tables, _fetcher(home, tables))
    with _timed(timing, "figures"):
        composed = document.compose(study)
    with _timed(timing, "typesetting"):
        pdf = document.typeset(composed, study.files)
    write_atomically(output, pdf)
    if to_mlflow:
        with _timed(timing, "sending to MLflow"):
            for sweep in tables.sweeps.itertuples():
                client = store.client(home, sweep.tracking_uri)
                client.log_artifact(sweep.parent_run_id, str(output), FOLDER)
    return int(tables.sweeps["earlier"].sum())


def log_overview(home: Home, tracking_uri: str, sweep: str) -> None:
    """Add the picture of the whole grid to the sweep's parent run, where a browser of the UI sees it first. Nothing
    where nothing varies or no trial has a quality. Raises what MLflow raises."""
    tables = read_sweep(sweep, home=home.path, tracking_uri=tracking_uri)
    study = Study(tables, _fetcher(home, tables))
    varying = study.settings_of(study.trials)
    if not varying or not np.isfinite(study.trials["quality"].astype(float)).any():
        return
    figure = grid.plane(study.trials, varying[:2], study.called, log=study.log, lower=study.lower)
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=160)
    with tempfile.TemporaryDirectory(prefix="gansweep-") as scratch:
        path = Path(scratch) / "overview.png"
        path.write_bytes(content.getvalue())
        store.client(home, tracking_uri).log_artifact(tables.sweeps["parent_run_id"].iloc[0], str(path))


def _fetcher(home: Home, tables: Tables) -> Callable[[str, str], bytes | None]:
    """Run and artifact → its bytes, from the store that has the run."""
    places = tables.sweeps.set_index("sweep")["tracking_uri"]
    uris = tables.trials.set_index("run_id")["sweep"].map(places)
    return lambda run_id, artifact: reader.artifact(home, uris[run_id], run_id, artifact)


@contextmanager
def _timed(timing: Timing, what: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    timing(what, time.perf_counter() - began)
