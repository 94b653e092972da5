"""A real PostgreSQL, from Debian's package, that can be ended and begun again."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path

USER, PASSWORD = "lab", "not-a-secret"
ACCOUNT = "postgres"  # of the package: PostgreSQL refuses to run as root


class PostgresMissingError(Exception):
    """The message says what to install."""


class Postgres:
    """In a folder of its own. uri: for SQLAlchemy."""

    def __init__(self, folder: Path, host: str, port: int) -> None:
        programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
        if not programs:
            raise PostgresMissingError("PostgreSQL is missing (/usr/lib/postgresql): install postgresql")
        self._bin, self._folder, self._host, self._port = programs[-1], folder, host, port
        # The driver's name is needed: SQLAlchemy 2.1 takes psycopg 3 where it is left away.
        self.uri = f"postgresql+psycopg2://{USER}:{PASSWORD}@{host}:{port}/postgres"
        folder.mkdir()
        shutil.chown(folder, ACCOUNT, ACCOUNT)
        password = folder / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)
        data = folder / "data"
        made = ["initdb", "-D", data, "-U", USER, "--auth=scram-sha-256", f"--pwfile={password}", "--no-sync"]
        subprocess.run(self._command(*made), cwd=folder, check=True, stdout=subprocess.DEVNULL)
        with (data / "pg_hba.conf").open("a") as access:
            access.write(f"host all all {host}/32 scram-sha-256\n")
        self.start()

    def start(self) -> None:
        """Returns when it answers."""
        options = ["-D", self._folder / "data", "-h", self._host, "-p", self._port, "-k", self._folder]
        with (self._folder / "log").open("a") as log:
            command = self._command("postgres", *options, "-c", "fsync=off")
            self._server = subprocess.Popen(command, cwd=self._folder, stdout=log, stderr=log, start_new_session=True)
        deadline = time.monotonic() + 30
        while not self._answers():
            assert self._server.poll() is None, (self._folder / "log").read_text()[-2000:]
            assert time.monotonic() < deadline, "PostgreSQL does not answer"
            time.sleep(0.1)

    def stop(self, *, crash: bool = False) -> None:
        """Every connection is closed. crash: as after a crash, it has to recover at the next start."""
        self._server.send_signal(signal.SIGQUIT if crash else signal.SIGINT)
        self._server.wait(30)

    def _answers(self) -> bool:
        import psycopg2

        with suppress(psycopg2.OperationalError, socket.error):
            psycopg2.connect(self.uri.replace("+psycopg2", "")).close()
            return True
        return False

    def _command(self, program: str, *arguments: object) -> list[str]:
        before = ["setpriv", f"--reuid={ACCOUNT}", f"--regid={ACCOUNT}", "--clear-groups"]
        return [*before, str(self._bin / program), *map(str, arguments)]
