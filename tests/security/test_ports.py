"""What listens while a sweep is trained on one machine, and what it says to those without the run's token.

Every method of every service that Ray knows is called on every port, without a token and with a wrong one; one that
does no harm also with the right one, which shows that the port would have answered.
"""

from __future__ import annotations

import http.client
import importlib
import ipaddress
import pkgutil
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import grpc
import psutil
import pytest
import ray.core.generated
from guarded import Guarded

pytestmark = pytest.mark.slow

PATIENCE_S = 5
WRONG = "0123456789abcdef" * 4
OBJECT_MANAGER = ["/ray.rpc.ObjectManagerService/Push", "/ray.rpc.ObjectManagerService/Pull"]  # no stubs of it
# One of each kind of server, which does nothing when its message is empty.
HARMLESS = [
    "/ray.rpc.NodeInfoGcsService/GetAllNodeInfo",
    "/ray.rpc.NodeManagerService/GetSystemConfig",
    "/ray.rpc.ObjectManagerService/Pull",
    "/ray.rpc.CoreWorkerService/GetCoreWorkerStats",
]
REFUSED = {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.UNIMPLEMENTED}


@dataclass(frozen=True)
class Listener:
    """A listening TCP socket of a run. process: the first words of its command line. token: as its process knows it."""

    address: str
    port: int
    process: str
    token: str | None

    @property
    def on_loopback(self) -> bool:
        address = ipaddress.ip_address(self.address)
        mapped = getattr(address, "ipv4_mapped", None)
        return (mapped or address).is_loopback


@pytest.fixture(scope="module")
def listeners(guarded: Guarded) -> list[Listener]:
    """Listeners of a run whose trial trains."""
    return list(_listeners(guarded.run.pid))


def test_a_run_listens_on_loopback_alone(listeners: list[Listener]) -> None:
    """Ray's ports do, and there are no others: not one is reached from another machine, with or without the token."""
    assert len(listeners) >= 5, listeners  # the driver, GCS, raylet, its object manager, the trial
    assert [found for found in listeners if not found.on_loopback] == []


def test_the_token_is_long_and_known_to_all_that_listen(guarded: Guarded, listeners: list[Listener]) -> None:
    """That it is of this run alone: tests/integration/test_kills.py."""
    assert {found.token for found in listeners if found.token} == {guarded.token}
    assert re.fullmatch("[0-9a-f]{64}", guarded.token)


def test_no_command_line_shows_the_token(listeners: list[Listener]) -> None:
    """Any user of the machine may read command lines."""
    (token,) = {found.token for found in listeners if found.token}
    lines = [_of(process, process.cmdline, []) for process in psutil.process_iter()]
    assert not [line for line in lines if any(token in word for word in line)]


def test_every_port_refuses_all_calls_without_the_token(listeners: list[Listener]) -> None:
    (token,) = {found.token for found in listeners if found.token}
    kinds = []
    for listener in listeners:
        if (answer := _get(listener, None)) is None:
            kinds.append(_check_grpc(listener, token))
        elif answer[0] == 200:  # figures for Prometheus, whatever is asked: how much memory Ray uses and the like
            assert answer[1].startswith("# HELP"), listener
            assert token not in answer[1]
            kinds.append("metrics")
        else:
            found = [answer, *filter(None, (_get(listener, given) for given in (WRONG, token)))]
            assert [status for status, _ in found if status] == [401, 403, 404], listener  # 404: nobody has that page
            kinds.append("agent")
    assert {*HARMLESS} <= {*kinds}, "every kind of server was asked"


def _check_grpc(listener: Listener, token: str) -> str:
    """Its harmless method."""
    with grpc.insecure_channel(f"127.0.0.1:{listener.port}") as channel:
        (harmless,) = (method for method in HARMLESS if _call(channel, method, token) not in REFUSED)
        for given in (None, WRONG):
            answers = {method: _call(channel, method, given) for method in _methods()}
            assert {*answers.values()} <= REFUSED, (listener, answers)
            assert answers[harmless] is grpc.StatusCode.UNAUTHENTICATED, (listener, harmless)
    return harmless


def _listeners(pid: int) -> Iterator[Listener]:
    driver = psutil.Process(pid)
    for process in (driver, *driver.children(recursive=True)):
        sockets = _of(process, partial(process.net_connections, "tcp"), [])
        for connection in sockets:
            if connection.status == psutil.CONN_LISTEN:
                words = " ".join(_of(process, process.cmdline, []))[:80]
                token = _of(process, process.environ, {}).get("RAY_AUTH_TOKEN")
                yield Listener(connection.laddr.ip, connection.laddr.port, words, token)


def _of(process: psutil.Process, read: Callable[[], Any], otherwise: Any) -> Any:
    """What is known of a process that may have ended."""
    try:
        return read()
    except psutil.Error:
        return otherwise


def _get(listener: Listener, token: str | None) -> tuple[int, str] | None:
    """Status and text of an answer; None of what speaks no HTTP/1."""
    connection = http.client.HTTPConnection("127.0.0.1", listener.port, timeout=PATIENCE_S)
    try:
        connection.request("GET", "/nothing", headers={"Authorization": f"Bearer {token}"} if token else {})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except http.client.HTTPException:
        return None
    finally:
        connection.close()


def _methods() -> list[str]:
    names = [module.name for module in pkgutil.iter_modules(ray.core.generated.__path__)]
    files = [importlib.import_module(f"ray.core.generated.{name}") for name in names if name.endswith("_pb2")]
    services = [service for file in files for service in file.DESCRIPTOR.services_by_name.values()]
    return [f"/{s.full_name}/{m.name}" for s in services for m in s.methods] + OBJECT_MANAGER


def _call(channel: grpc.Channel, method: str, token: str | None) -> grpc.StatusCode:
    """What a call with an empty message comes to."""
    call = channel.unary_unary(method, request_serializer=bytes, response_deserializer=bytes)
    try:
        call(b"", timeout=PATIENCE_S, metadata=[("authorization", f"Bearer {token}")] if token else [])
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK
