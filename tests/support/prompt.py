"""Loaded into the processes of a tracking server (as sitecustomize): small answers are sent at once.

asyncio sets TCP_NODELAY only on sockets that name their protocol. Those that uvicorn hands to several processes do not,
so that each answer waited 40 ms for the client to acknowledge the part before.
"""

from __future__ import annotations

import asyncio.base_events
import socket


def _set_nodelay(connection: socket.socket) -> None:
    if connection.family in (socket.AF_INET, socket.AF_INET6) and connection.type == socket.SOCK_STREAM:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


vars(asyncio.base_events)["_set_nodelay"] = _set_nodelay
