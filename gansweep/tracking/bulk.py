"""The metrics of many runs at once.

MLflow's client asks for one metric of one run at a time: 10,000 questions for a sweep of 1,000 trials. Its ORM makes an
object of every row, which takes 20 µs. So the table of a local store is read directly (two million points: 3 s of CPU
time), and a server is asked for the runs by the hundred; there the ORM's time remains (two million points: 55 s of
the server's, side by side in as many workers as it has), so that runs which have ended are better read from `journals`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http import HTTPStatus
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gansweep.sweeps.points import Points, Row, Wanted
from gansweep.tracking import places, snapshot

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

ENDPOINT = "/ajax-api/2.0/mlflow/metrics/get-history-bulk"
MOST_RUNS, MOST_POINTS = 100, 25_000  # of a question, and of a reply: what is beyond is left out without a word
THREADS = 4  # a server answers side by side
PATIENCE_S = 120  # for a reply; it is large, and others may be asked for as well
QUERY = (
    "SELECT key, step, timestamp, value, is_nan FROM metrics WHERE run_uuid = ? ORDER BY key, step, timestamp, value"
)
Found = Iterable[tuple[str, str, Points]]  # run id, name of the metric


def read(client: MlflowClient, uri: str, runs: Sequence[Run], wanted: Wanted) -> dict[str, dict[str, Points]]:
    """Run id → name → the metrics that are wanted and have been sent, by name.

    Raises what MLflow, requests and sqlite3 raise.
    """
    file = places.file_of(uri)
    recorded = _of_file(file, runs, wanted) if file else _of_server(client, uri, runs, wanted)
    found: dict[str, dict[str, Points]] = {run.info.run_id: {} for run in runs}
    for run_id, name, points in sorted(recorded, key=itemgetter(0, 1)):
        found[run_id][name] = points
    return found


def _of_file(path: Path, runs: Sequence[Run], wanted: Wanted) -> Found:
    """Of one moment, whatever is written meanwhile: a transaction sees no commit after its first look."""
    with closing(snapshot.connect(path)) as database:
        database.execute("BEGIN")
        for run in runs:
            for name, rows in groupby(database.execute(QUERY, (run.info.run_id,)), itemgetter(0)):
                if wanted(name):
                    points = ((step, at, np.nan if nan else value) for _, step, at, value, nan in rows)
                    yield run.info.run_id, name, Points.of(points)


def _of_server(client: MlflowClient, uri: str, runs: Sequence[Run], wanted: Wanted) -> Found:
    recorded: dict[str, list[str]] = {}
    for run in runs:
        for name in filter(wanted, run.data.metrics):
            recorded.setdefault(name, []).append(run.info.run_id)
    questions = [
        (name, sorted(run_ids)[first : first + MOST_RUNS])
        for name, run_ids in recorded.items()
        for first in range(0, len(run_ids), MOST_RUNS)
    ]
    with ThreadPoolExecutor(THREADS) as pool:
        for answer in pool.map(lambda question: [*_answers(client, uri, *question)], questions):
            yield from answer


def _answers(client: MlflowClient, uri: str, name: str, run_ids: Sequence[str]) -> Found:
    """As many replies as it takes. A run that fills one alone is asked of the client, which reads on and on."""
    size = len(run_ids)
    while run_ids:
        found, whole = _reply(uri, name, run_ids[:size])
        if not whole:
            history = client.get_metric_history(run_ids[0], name)
            found, whole = {run_ids[0]: [(point.step, point.timestamp, point.value) for point in history]}, 1
        yield from ((run_id, name, Points.of(rows)) for run_id, rows in found.items())
        run_ids, size = run_ids[whole:], whole


def _reply(uri: str, name: str, run_ids: Sequence[str]) -> tuple[dict[str, list[Row]], int]:
    """The rows of runs, and how many of the runs asked for are whole: all, but where the reply is full, for it comes in
    the order of run ids. None where the server does not know the question."""
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request, verify_rest_response

    question = {"run_id": run_ids, "metric_key": name}
    response = http_request(get_default_host_creds(uri), ENDPOINT, "GET", params=question, timeout=PATIENCE_S)
    if response.status_code == HTTPStatus.NOT_FOUND:
        return {}, 0
    points = json.loads(verify_rest_response(response, ENDPOINT).content)["metrics"]
    found = {
        run_id: [(point["step"], point["timestamp"], point["value"]) for point in of_run]
        for run_id, of_run in groupby(points, itemgetter("run_id"))
    }
    if len(points) < MOST_POINTS:
        return found, len(run_ids)
    cut, _ = found.popitem()
    return found, run_ids.index(cut)
