"""Where runs are tracked: which store, whether it answers, and a client for it. MLflow is imported only here
and only when needed (2 s)."""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from gansweep.errors import UserError
from gansweep.records import lock
from gansweep.records.layout import Home
from gansweep.tracking import places, snapshot
from gansweep.tracking.proxies import through_proxy

if TYPE_CHECKING:
    from mlflow import MlflowClient

ANSWER_S = 5
MAKE_WAIT_S = 60.0  # for another process that makes the local store
USER, PASSWORD = "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"  # where MLflow looks for them
LOG_IN = f"set {USER} and {PASSWORD}"
USER_INFO = re.compile(r"(?<=://)[^/?#\s]*@")  # of a URI


def local_uri(home: Home) -> str:
    """The SQLite store of a home folder."""
    return f"{places.SQLITE}{home.database.absolute()}"


def called(home: Home, uri: str) -> str:
    """The store, as people know it."""
    return str(home.path) if uri == local_uri(home) else uri


def is_server(uri: str) -> bool:
    """Whether the store is reached over HTTP."""
    return uri.startswith(("http://", "https://"))


def without_password(text: str) -> str:
    """A text as it may be written down: every URI in it without its `user:password@`."""
    return USER_INFO.sub("", text)


def take_password(uri: str) -> str:
    """The URI without its `user:password@`, which go into this process's environment: MLflow takes them from there, and
    nothing else holds them. Raises UserError, which does not show it, where a password cannot be told from the rest."""
    plain = without_password(uri)
    if is_server(plain) and "@" in plain:
        raise UserError("--tracking-uri: write /, ? and # of a password as %2F, %3F and %23")
    if is_server(plain) and plain != uri:
        user, _, password = urllib.parse.urlsplit(uri).netloc.rpartition("@")[0].partition(":")
        os.environ[USER], os.environ[PASSWORD] = map(urllib.parse.unquote, (user, password))
    return plain


@contextlib.contextmanager
def asking(uri: str) -> Iterator[None]:
    """Raises UserError for what MLflow raises, of a store that does not answer or refuses."""
    quiet()
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        what = str(error).partition("\n")[0][:200]
        mend = LOG_IN if asks_for_password(error) else "try again when it is well"
        raise UserError(f"{uri}: the tracking store refuses ({what}{through_proxy(uri)}); {mend}") from None


def asks_for_password(error: Exception) -> bool:
    """Whether a server refused a request because its user is not known to it."""
    return " 401" in str(error)


def check(uri: str) -> None:
    """Raises UserError for a server that does not answer, or a URI that is no tracking store."""
    if not is_server(uri):
        if not uri.startswith("sqlite:///"):
            raise UserError(f"--tracking-uri {uri}: give http://, https:// or sqlite:///")
        return
    try:
        with urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=ANSWER_S) as answer:
            if answer.status == 200:
                return
            problem = f"HTTP {answer.status}"
    except (OSError, ValueError) as error:
        problem = str(getattr(error, "reason", error))
    problem += through_proxy(uri)
    raise UserError(
        f"--tracking-uri {uri}: no MLflow server answers ({problem}); start it, or leave the option away"
        " and send the records later with `gansweep sync`"
    )


def client(home: Home, uri: str) -> MlflowClient:
    """A client that gives up within seconds when a server is gone. Creates the local store where it is missing."""
    quiet()
    if uri == local_uri(home):
        _make(home)
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri)


def reading_client(home: Home, uri: str) -> MlflowClient:
    """A client that only reads, also where the store's file may only be read."""
    file = places.file_of(uri)
    if file is None or snapshot.is_writable(file):
        return client(home, uri)
    quiet()
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=f"{places.SQLITE}{snapshot.readable(file)}")


def quiet() -> None:
    """Before MLflow is imported: no telemetry, no progress bars, no waiting."""
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", str(ANSWER_S))
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")


def runs(client: MlflowClient, experiment: str, condition: str = "", *, deleted: bool = False) -> list[Any]:
    """Every run of an experiment that meets a condition in MLflow's filter language, however many pages they fill.

    deleted: list deleted runs as well.
    """
    from mlflow.entities import ViewType

    found: list[Any] = []
    token = None
    view = ViewType.ALL if deleted else ViewType.ACTIVE_ONLY
    while True:
        page = client.search_runs([experiment], condition, run_view_type=view, max_results=1_000, page_token=token)
        found += page
        token = page.token
        if not token:
            return found


def _make(home: Home) -> None:
    """The local store with all its tables, whoever comes first. What a killed process had half made is made anew:
    MLflow stumbles over it for ever, and nothing is recorded before it is whole."""
    if places.is_whole(home):
        return
    from mlflow import MlflowClient

    with lock.acquire(home.making, wait_s=MAKE_WAIT_S):
        if places.is_whole(home):
            return
        home.unmade.touch()
        for suffix in ("", "-wal", "-shm"):
            snapshot.beside(home.database, suffix).unlink(missing_ok=True)
        with contextlib.closing(sqlite3.connect(home.database)) as database:
            # Readers (the UI) and the writer do not block each other; the mode is a property of the file.
            database.execute("PRAGMA journal_mode=WAL")
        MlflowClient(tracking_uri=local_uri(home)).search_experiments(max_results=1)
        home.unmade.unlink()
