"""No secret reaches a file, a tag, a report or a message: a real sweep, sent to a real server that wants a password."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import psutil
import pypdfium2
import pytest
from bench import empty_home
from service import Service
from tracking_server import tracking_server

from gansweep.tracking import store

pytestmark = pytest.mark.slow

PASSWORD = "tracking/p@ss word"
SECRETS = {"MLFLOW_TRACKING_TOKEN": "tracking-token-0451", "AWS_SECRET_ACCESS_KEY": "storage-secret-0451"}
REFUSED = "401"


@dataclass
class Swept:
    """A finished sweep. uri: as people may see it. said: all that was printed. logs: Ray's files, while it ran."""

    service: Service
    server: Path
    uri: str
    said: list[str] = field(default_factory=list)
    logs: dict[str, bytes] = field(default_factory=dict)
    token: str = ""

    @property
    def with_password(self) -> str:
        return self.uri.replace("://", f"://admin:{quote(PASSWORD, safe='')}@")

    def call(self, *arguments: object, code: int = 0) -> str:
        """What it prints, which is kept."""
        text = "".join(self.service.call(*arguments, code=code))
        self.said.append(text)
        return text

    def secrets(self) -> list[bytes]:
        words = [PASSWORD, quote(PASSWORD, safe=""), quote(PASSWORD), self.token, *SECRETS.values()]
        return [word.encode() for word in words]


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swept]:
    server = empty_home(tmp_path_factory.mktemp("server") / "home")
    service = Service(tmp_path_factory.mktemp("secrets"), dict(SECRETS))
    with tracking_server(server, password=PASSWORD) as uri:
        swept = Swept(service, server.path, uri)
        _run(swept)
        yield swept


def _run(swept: Swept) -> None:
    """With an eye on what Ray writes: its folder goes when the run ends."""
    run = swept.service.start("run", swept.service.write(steps=60), "--tracking-uri", swept.with_password)
    while run.poll() is None:
        with suppress(psutil.Error):
            for process in psutil.Process(run.pid).children(recursive=True):
                with suppress(psutil.Error):
                    swept.token = process.environ().get("RAY_AUTH_TOKEN", swept.token)
        for path in Path("/tmp").glob(f"gsw-*/ray/session_*_{run.pid}/**/*"):
            with suppress(OSError):
                if path.is_file():
                    swept.logs[str(path)] = path.read_bytes()
        time.sleep(0.5)
    swept.said += run.communicate()
    assert run.returncode == 0, swept.said


def test_the_password_was_needed_and_used(swept: Swept) -> None:
    err = swept.call("sync", "small", code=1)
    assert err.startswith(f"{swept.uri}: the tracking store refuses (")
    assert REFUSED in err
    assert err.endswith("; set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD\n")
    for command in ("status", "logs", "stop", "diagnose"):
        err = swept.call(command, "small", "--tracking-uri", swept.uri, code=1)
        assert err.startswith(f"{swept.uri}: the tracking store cannot be read (")
        assert err.endswith("; set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD\n")
    known = {"MLFLOW_TRACKING_USERNAME": "admin", "MLFLOW_TRACKING_PASSWORD": PASSWORD}
    asked = Service(swept.service.root, {**SECRETS, **known})
    swept.said += asked.call("sync", "small")
    swept.said += asked.call("export", "small", "--csv", swept.service.root / "tables")
    assert json.loads(swept.service.folder().tracking.read_text())["uri"] == swept.uri


def test_messages_name_the_server_without_the_password(swept: Swept) -> None:
    assert any(swept.uri in text for text in swept.said)
    wrong = swept.uri.replace("://", "://admin:storage-secret-0451@")
    assert REFUSED in swept.call("diagnose", "small", "--tracking-uri", wrong, code=1)
    nobody = "http://admin:storage-secret-0451@127.0.0.1:1"
    assert swept.call("sync", "small", "--tracking-uri", nobody, code=1).startswith(
        "--tracking-uri http://127.0.0.1:1:"
    )
    other = "postgresql://admin:storage-secret-0451@127.0.0.1/runs"
    assert swept.call("sync", "small", "--tracking-uri", other, code=1).startswith("--tracking-uri postgresql://127.")
    unquoted = "http://admin:storage-secret-0451/2@127.0.0.1:1"
    assert "write /, ? and # of a password as" in swept.call("sync", "small", "--tracking-uri", unquoted, code=1)


def test_the_report_holds_none(swept: Swept) -> None:
    pdf = swept.service.root / "report.pdf"
    swept.call("report", "small", "-o", pdf, "--tracking-uri", swept.with_password)
    text = "".join(page.get_textpage().get_text_range() for page in pypdfium2.PdfDocument(pdf))
    assert "small" in text
    assert not [secret for secret in swept.secrets() if secret.decode() in text.replace("\r\n", "")]


def test_nothing_that_was_written_or_said_holds_a_secret(swept: Swept) -> None:
    """The home with its sweep file, plan and lock; the server's database and artifacts; Ray's logs; all output."""
    swept.call("status", "small", "--json")
    swept.call("show", str(swept.service.status()[0]["id"]))
    assert len(swept.token) == 64
    assert len(swept.logs) > 10
    users = swept.server.parent / "users.ini"
    files = [path for root in (swept.service.root, swept.server) for path in root.rglob("*") if path.is_file()]
    written = {str(path): path.read_bytes() for path in files if path != users} | swept.logs
    assert any(path.endswith("mlflow.db") for path in written)
    assert not [(path, secret) for path, content in written.items() for secret in swept.secrets() if secret in content]
    assert not [(text, secret) for text in swept.said for secret in swept.secrets() if secret.decode() in text]


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
