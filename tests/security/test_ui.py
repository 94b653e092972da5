"""`gansweep ui` answers this machine's user, and no page of the web that has got hold of their browser."""

from __future__ import annotations

import http.client
import signal
import socket
from collections.abc import Iterator

import psutil
import pytest
from bench import empty_home
from service import Service

pytestmark = pytest.mark.slow

CREATE = "/ajax-api/2.0/mlflow/experiments/create"


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Port of the UI, on an empty store."""
    service = Service(tmp_path_factory.mktemp("ui"), {}, fresh=True)
    empty_home(service.home.path)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        found = probe.getsockname()[1]
    ui = service.start("ui", "--port", found, "--no-open")
    try:
        assert ui.stdout is not None
        assert ui.stdout.readline(), ui.communicate(timeout=10)
        yield found
    finally:
        ui.send_signal(signal.SIGINT)
        ui.communicate(timeout=30)


def ask(port: int, method: str, path: str, **headers: str) -> int:
    """The status of the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request(method, path, b'{"name": "theirs"}', {"Content-Type": "application/json", **headers})
    status = connection.getresponse().status
    connection.close()
    return status


def test_it_listens_on_loopback_alone(port: int) -> None:
    listening = [c.laddr for c in psutil.net_connections("tcp") if c.status == psutil.CONN_LISTEN]
    assert [address.ip for address in listening if address.port == port] == ["127.0.0.1"]


@pytest.mark.parametrize("host", ["evil.example", "10.evil.example", "192.168.evil.example", "localhost.evil.example"])
def test_a_foreign_host_is_refused(port: int, host: str) -> None:
    """As a name has that was rebound to 127.0.0.1."""
    for path in ("/", "/ajax-api/2.0/mlflow/experiments/search?max_results=1"):
        assert ask(port, "GET", path, Host=host) == 403


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "localhost:15000"])
def test_this_machine_and_the_end_of_a_tunnel_to_it_are_served(port: int, host: str) -> None:
    assert ask(port, "GET", "/", Host=host) == 200


def test_a_page_of_another_site_can_change_nothing(port: int) -> None:
    for origin in ("https://evil.example", "null"):
        assert ask(port, "POST", CREATE, Origin=origin) == 403
    assert ask(port, "POST", CREATE, Origin=f"http://127.0.0.1:{port}") == 200
