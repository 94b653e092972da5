"""A TCP port in front of a server, that a test can close and open: what a server does that is away for a while."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress

CHUNK = 65_536


class Gate:
    """Open from the beginning. host, port: where clients knock. target: the server."""

    def __init__(self, host: str, port: int, target: tuple[str, int]) -> None:
        self._at, self._target = (host, port), target
        self._turn = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self.open()

    def open(self) -> None:
        self._listener = socket.create_server(self._at, backlog=64)
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def close(self) -> None:
        """Refuse new connections, and break those that there are."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self._listener.close()
        with self._turn:
            for one in self._sockets:
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self._target)
            except OSError:
                client.close()
                continue
            pair = (client, server)
            with self._turn:
                self._sockets.update(pair)
            for source, sink in (pair, pair[::-1]):
                threading.Thread(target=self._pass_on, args=(source, sink), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while content := source.recv(CHUNK):
                sink.sendall(content)
        for one in (source, sink):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        with self._turn:
            # the second of the two threads closes both
            if sink not in self._sockets:
                source.close()
                sink.close()
            self._sockets.discard(source)
