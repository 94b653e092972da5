"""Writing of a report, from reading sweeps to the PDF, and of the picture of a sweep that MLflow's UI shows."""

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
from gansweep.tracking.reader import Source

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
    source: Source = "store",
    all_plans: bool = False,
) -> int:
    """Read sweeps, and write the report on them as a PDF, atomically.

    Args:
        sweeps: names of the sweeps.
        output: PDF file to write.
        home: home folder.
        tracking_uri, source, all_plans: see `read_sweep`.
        timing: function that is called after each part of the work, with its name and the seconds that it took.
        to_mlflow: add the PDF to the artifacts of each sweep's parent run as well.

    Returns:
        Number of recorded trials that belong to earlier plans of the sweeps.

    Raises:
        UserError: a store or a sweep is missing or cannot be read.
    """
    with _timed(timing, "reading"):
        tables = read_sweep(*sweeps, home=home.path, tracking_uri=tracking_uri, source=source, all_plans=all_plans)
    write_pdf(tables, output, timing)
    if to_mlflow:
        with _timed(timing, "sending to MLflow"):
            for sweep in tables.sweeps.itertuples():
                uri = sweep.tracking_uri or reader.where(home, sweep.sweep, tracking_uri)
                client = store.client(home, uri)
                client.log_artifact(sweep.parent_run_id, str(output), FOLDER)
    return int(tables.sweeps["earlier"].sum())


def write_pdf(tables: Tables, output: Path, timing: Timing = lambda *_: None) -> None:
    """Write the report on the sweeps in `tables` as a PDF, atomically. timing: see `make`."""
    study = Study(tables, tables.content)
    with _timed(timing, "figures"):
        composed = document.compose(study)
    with _timed(timing, "typesetting"):
        pdf = document.typeset(composed, study.files)
    write_atomically(output, pdf)


def log_overview(home: Home, tracking_uri: str, sweep: str) -> None:
    """Add overview.png, maps of quality and verdicts over two settings, to the artifacts of a sweep's parent run.

    Nothing is added if no setting varies or no trial has a finite quality. Errors of MLflow are passed on.
    """
    tables = read_sweep(sweep, home=home.path, tracking_uri=tracking_uri)
    study = Study(tables, tables.content)
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


@contextmanager
def _timed(timing: Timing, what: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    timing(what, time.perf_counter() - began)
