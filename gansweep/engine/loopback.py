"""The network interface that processes of one machine talk over."""

from __future__ import annotations

import socket

from gansweep.errors import UserError

ANSWER_S = 2.0


def check_loopback() -> None:
    """Raises UserError where a process of this machine cannot reach another one at 127.0.0.1."""
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            socket.create_connection(server.getsockname(), ANSWER_S).close()
    except OSError as error:
        raise UserError(
            f"127.0.0.1: cannot be reached ({error.strerror or error}), and Ray's and MLflow's processes talk over it;"
            " bring the loopback interface up (ip link set lo up)"
        ) from None
