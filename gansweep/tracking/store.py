"""Access to tracking stores: their URIs, whether they answer, and clients.

MLflow is imported only here and only when needed (2 s).
"""

from __future__ import annotations

import contextlib
import logging
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
MAKE_WAIT_S = 60.0  # maximum wait for another process that creates the local store
USER, PASSWORD = "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"  # variables read by MLflow
LOG_IN = f"set {USER} and {PASSWORD}"
USER_INFO = re.compile(r"(?<=://)[^/?#\s]*@")  # user and password of a URI


def local_uri(home: Home) -> str:
    """Return the URI of the SQLite store of a home folder."""
    return f"{places.SQLITE}{home.database.absolute()}"


def called(home: Home, uri: str) -> str:
    """Return the store's name for messages: the home's path for the home's own store, else the URI."""
    return str(home.path) if uri == local_uri(home) else uri


def is_server(uri: str) -> bool:
    """Whether the store is accessed over HTTP."""
    return uri.startswith(("http://", "https://"))


def without_password(text: str) -> str:
    """Return a text without the `user:password@` of URIs, safe to record."""
    return USER_INFO.sub("", text)


def take_password(uri: str) -> str:
    """Return a URI without its `user:password@`, which is moved to the environment of this process for MLflow.

    Raises:
        UserError: The password cannot be separated from the rest. The message does not show it.
    """
    plain = without_password(uri)
    if is_server(plain) and "@" in plain:
        raise UserError("--tracking-uri: write /, ? and # of a password as %2F, %3F and %23")
    if is_server(plain) and plain != uri:
        user, _, password = urllib.parse.urlsplit(uri).netloc.rpartition("@")[0].partition(":")
        os.environ[USER], os.environ[PASSWORD] = map(urllib.parse.unquote, (user, password))
    return plain


@contextlib.contextmanager
def asking(uri: str) -> Iterator[None]:
    """Context manager that raises UserError in place of MLflow's errors if a store does not answer or refuses."""
    quiet()
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        what = str(error).partition("\n")[0][:200]
        mend = LOG_IN if asks_for_password(error) else "try again when it works"
        raise UserError(f"{uri}: the tracking store refuses ({what}{through_proxy(uri)}); {mend}") from None


def asks_for_password(error: Exception) -> bool:
    """Whether a server refused a request because it requires a user and a password (HTTP 401)."""
    return " 401" in str(error)


def check(uri: str) -> None:
    """Check that a tracking store can be used.

    Raises:
        UserError: A server does not answer, or the URI is not that of a tracking store.
    """
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
        f"--tracking-uri {uri}: no MLflow server answers ({problem}); start it, or omit the option"
        " and send the records later with `gansweep sync`"
    )


def client(home: Home, uri: str) -> MlflowClient:
    """Return a client of a store, which gives up within seconds if a server is unavailable.

    The home's own store is created if it is missing.
    """
    quiet()
    if uri == local_uri(home):
        _make(home)
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri)


def reading_client(home: Home, uri: str) -> MlflowClient:
    """Return a client for reading a store, which works even if the store's file is read-only."""
    file = places.file_of(uri)
    if file is None or snapshot.is_writable(file):
        return client(home, uri)
    quiet()
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=f"{places.SQLITE}{snapshot.readable(file)}")


def quiet() -> None:
    """Configure MLflow before its import: no telemetry, no progress bars, no tracebacks, short timeouts."""
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", str(ANSWER_S))
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    # It logs a traceback of each error of the database, which it raises as well: we report it in one line.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)


def runs(client: MlflowClient, experiment: str, condition: str = "", *, deleted: bool = False) -> list[Any]:
    """Return every run of an experiment that meets a condition, over all pages.

    Args:
        client: The client.
        experiment: Id of the experiment.
        condition: Condition in MLflow's filter language.
        deleted: Whether to include deleted runs.
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
    """Create the home's own store with all its tables. Of several processes that call this at once, only one does so.

    A store that a killed process left incomplete is created again: MLflow would fail on it forever, and nothing is
    recorded before it is complete.
    """
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
