"""No secret reaches a file, a tag, a report or a message: a real sweep, sent to a real server that wants a password."""

from __future__ import annotations

import json
import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pypdfium2
import pytest
from facts import assert_states
from guarded import PASSWORD, SECRETS, Guarded
from service import Service, assert_checkpointed, leftovers

from gansweep.tracking import store

pytestmark = pytest.mark.slow

REFUSED = "401"


@dataclass
class Ended:
    """A sweep that was ended by SIGTERM to its process group.

    Attributes:
        took_s: Seconds from the signal to the end.
        err: What the sweep printed to stderr.
        logs: Ray's files as they were before they were removed.
    """

    sweep: Guarded
    took_s: float
    err: str
    logs: dict[str, bytes]


@pytest.fixture(scope="module")
def ended(guarded: Guarded) -> Ended:
    logs: dict[str, bytes] = {}
    began = time.monotonic()
    os.killpg(guarded.run.pid, signal.SIGTERM)
    while guarded.run.poll() is None:
        for path in Path("/tmp").glob(f"gsw-*/ray/session_*_{guarded.run.pid}/**/*"):
            with suppress(OSError):
                if path.is_file():
                    logs[str(path)] = path.read_bytes()
        time.sleep(0.5)
    took_s = time.monotonic() - began
    out, err = guarded.run.communicate()
    guarded.printed += (out, err)
    return Ended(guarded, took_s, err, logs)


@pytest.fixture
def swept(ended: Ended) -> Guarded:
    return ended.sweep


def test_the_signal_ended_the_sweep_in_good_order(ended: Ended) -> None:
    service, run = ended.sweep.service, ended.sweep.run
    assert run.returncode == 128 + signal.SIGTERM, ended.err
    assert ended.took_s < 10
    assert_states(ended.err, "SIGTERM", "of 1 trial", "same command")
    assert leftovers(run.pid) == []
    (trial,) = service.folder().all_trials()
    assert [t["outcome"] for t in service.status()] == ["interrupted"]
    assert_checkpointed(trial)


def test_the_password_was_needed_and_used(swept: Guarded) -> None:
    err = swept.ask("sync", "small", code=1)
    assert err.startswith(f"{swept.uri}: the tracking store refuses (")
    assert REFUSED in err
    assert err.endswith("; set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD\n")
    for command in ("status", "logs", "stop", "diagnose"):
        err = swept.ask(command, "small", "--tracking-uri", swept.uri, code=1)
        assert err.startswith(f"{swept.uri}: the tracking store cannot be read (")
        assert err.endswith("; set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD\n")
    known = {"MLFLOW_TRACKING_USERNAME": "admin", "MLFLOW_TRACKING_PASSWORD": PASSWORD}
    asked = Service(swept.service.root, {**SECRETS, **known})
    swept.printed += asked.ask("sync", "small")
    swept.printed += asked.ask("export", "small", "--csv", swept.service.root / "tables")
    assert json.loads(swept.service.folder().tracking.read_text())["uri"] == swept.uri


def test_messages_name_the_server_without_the_password(swept: Guarded) -> None:
    assert any(swept.uri in text for text in swept.printed)
    wrong = swept.uri.replace("://", "://admin:storage-secret-0451@")
    assert REFUSED in swept.ask("diagnose", "small", "--tracking-uri", wrong, code=1)
    nobody = "http://admin:storage-secret-0451@127.0.0.1:1"
    assert swept.ask("sync", "small", "--tracking-uri", nobody, code=1).startswith("--tracking-uri http://127.0.0.1:1:")
    other = "postgresql://admin:storage-secret-0451@127.0.0.1/runs"
    assert swept.ask("sync", "small", "--tracking-uri", other, code=1).startswith("--tracking-uri postgresql://127.")
    unquoted = "http://admin:storage-secret-0451/2@127.0.0.1:1"
    assert "write /, ? and # of a password as" in swept.ask("sync", "small", "--tracking-uri", unquoted, code=1)


def test_the_report_holds_none(swept: Guarded) -> None:
    pdf = swept.service.root / "report.pdf"
    swept.ask("report", "small", "-o", pdf, "--tracking-uri", swept.with_password)
    text = "".join(page.get_textpage().get_text_range() for page in pypdfium2.PdfDocument(pdf))
    assert "small" in text
    assert not [secret for secret in swept.secrets() if secret.decode() in text.replace("\r\n", "")]


def test_nothing_that_was_written_or_printed_holds_a_secret(ended: Ended) -> None:
    """The home with its sweep file, plan and lock; the server's database and artifacts; Ray's logs; all output."""
    swept = ended.sweep
    swept.ask("status", "small", "--json")
    swept.ask("show", str(swept.service.status()[0]["id"]))
    assert len(swept.token) == 64
    assert len(ended.logs) > 10
    users = swept.server.parent / "users.ini"
    files = [path for root in (swept.service.root, swept.server) for path in root.rglob("*") if path.is_file()]
    written = {str(path): path.read_bytes() for path in files if path != users} | ended.logs
    assert any(path.endswith("mlflow.db") for path in written)
    assert not [(path, secret) for path, content in written.items() for secret in swept.secrets() if secret in content]
    assert not [(text, secret) for text in swept.printed for secret in swept.secrets() if secret.decode() in text]


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("http://u:p@host:5000/x", "http://host:5000/x"),
        (
            "gansweep run a.yaml --tracking-uri 'https://u:p@q@host'",
            "gansweep run a.yaml --tracking-uri 'https://host'",
        ),
        ("sqlite:////home/me@work/mlflow.db", "sqlite:////home/me@work/mlflow.db"),
        ("http://host/a%40b", "http://host/a%40b"),
    ],
)
def test_a_text_loses_its_passwords_and_nothing_else(text: str, plain: str) -> None:
    assert store.without_password(text) == plain
