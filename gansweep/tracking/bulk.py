"""Bulk reading of the metrics of many runs.

MLflow's client requests one metric of one run at a time: 10,000 requests for a sweep of 1,000 trials. Its ORM creates
an object for every row, which takes 20 µs. The table of a local store is therefore read directly (two million points: 3
s of CPU time). A server is asked for a hundred runs at a time. Its ORM still takes time (two million points: 55 s, in
parallel in as many workers as the server has), so ended runs are better read by `journal_copies`.
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

from gansweep.health.metrics import current
from gansweep.sweeps.points import Points, Row, Wanted, joined
from gansweep.tracking import places, snapshot

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

ENDPOINT = "/ajax-api/2.0/mlflow/metrics/get-history-bulk"
MOST_RUNS, MOST_POINTS = 100, 25_000  # per request, and per reply: the rest is left out silently
THREADS = 4  # a server answers in parallel
PATIENCE_S = 120  # for a reply, which is large; other clients may be waiting as well
QUERY = (
    "SELECT key, step, timestamp, value, is_nan FROM metrics WHERE run_uuid = ? ORDER BY key, step, timestamp, value"
)
Found = Iterable[tuple[str, str, Points]]  # run id, name of the metric


def read(client: MlflowClient, uri: str, runs: Sequence[Run], wanted: Wanted) -> dict[str, dict[str, Points]]:
    """Return the wanted metrics of runs: run id → name of the metric, in alphabetical order → its recorded points.

    Raises the errors of MLflow, requests and sqlite3.
    """
    file = places.file_of(uri)
    recorded = _of_file(file, runs, wanted) if file else _of_server(client, uri, runs, wanted)
    found: dict[str, dict[str, Points]] = {run.info.run_id: {} for run in runs}
    for run_id, name, points in sorted(recorded, key=itemgetter(0, 1)):
        known = found[run_id].get(current(name))  # under its former name, if version 0.1.0 began the run
        found[run_id][current(name)] = points if known is None else joined(known, points)
    return found


def _of_file(path: Path, runs: Sequence[Run], wanted: Wanted) -> Found:
    """Yield the wanted metrics in a store's file, all from one state of it: a transaction sees no later commits."""
    with closing(snapshot.connect(path)) as database:
        database.execute("BEGIN")
        for run in runs:
            for name, rows in groupby(database.execute(QUERY, (run.info.run_id,)), itemgetter(0)):
                if wanted(current(name)):
                    points = ((step, at, np.nan if nan else value) for _, step, at, value, nan in rows)
                    yield run.info.run_id, name, Points.of(points)


def _of_server(client: MlflowClient, uri: str, runs: Sequence[Run], wanted: Wanted) -> Found:
    recorded: dict[str, list[str]] = {}
    for run in runs:
        for name in (one for one in run.data.metrics if wanted(current(one))):
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
    """Yield the points of one metric of many runs, in as many requests to the server as needed.

    A run that fills a reply by itself is requested through MLflow's client instead, which reads page by page.
    """
    size = len(run_ids)
    while run_ids:
        found, whole = _reply(uri, name, run_ids[:size])
        if not whole:
            history = client.get_metric_history(run_ids[0], name)
            found, whole = {run_ids[0]: [(point.step, point.timestamp, point.value) for point in history]}, 1
        yield from ((run_id, name, Points.of(rows)) for run_id, rows in found.items())
        run_ids, size = run_ids[whole:], whole


def _reply(uri: str, name: str, run_ids: Sequence[str]) -> tuple[dict[str, list[Row]], int]:
    """Request one metric of runs. Return the rows of each complete run, by run id, and the number of complete runs.

    All requested runs are complete unless the reply is full. As it is ordered by run id, the last run in it is then
    incomplete and left out. The number is 0 if the first run fills the reply by itself, or if the server does not know
    the endpoint.
    """
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
