"""Check of the loopback interface, through which the processes of one machine communicate."""

from __future__ import annotations

import socket

from gansweep.errors import UserError

ANSWER_S = 2.0


def check_loopback() -> None:
    """Check that processes of this machine can connect to each other at 127.0.0.1.

    Raises:
        UserError: A connection to 127.0.0.1 fails.
    """
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            socket.create_connection(server.getsockname(), ANSWER_S).close()
    except OSError as error:
        raise UserError(
            f"127.0.0.1: cannot be reached ({error.strerror or error}), and Ray and MLflow need it;"
            " bring the loopback interface up (ip link set lo up)"
        ) from None
