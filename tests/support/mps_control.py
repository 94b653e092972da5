"""Stand-in for nvidia-cuda-mps-control, started by the name of the real one.

MPS_RECORDS: folder; `daemon` receives the environment of the daemon as JSON, `commands` what the daemon was asked.
MPS_FAULT: `exits` after a message, `deaf` to commands that end it and to SIGTERM, `leaves` its server when it quits, or
`alone`: it starts no server.
"""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

RECORDS, FAULT = Path(os.environ["MPS_RECORDS"]), os.environ.get("MPS_FAULT", "")
SOCKET = os.environ.get("CUDA_MPS_PIPE_DIRECTORY", "/nonexistent") + "/control"


def daemon() -> None:
    (RECORDS / "daemon").write_text(json.dumps(dict(os.environ)))
    if FAULT == "exits":
        print("An error\nThe GPU is in use", file=sys.stderr)
        sys.exit(3)
    if FAULT == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(SOCKET)
    listening.listen()
    server: list[subprocess.Popen[bytes]] = []
    while True:
        connection, _ = listening.accept()
        command = connection.recv(100).decode().strip()
        with (RECORDS / "commands").open("a") as log:
            log.write(f"{command}\n")
        if command == "client" and not server and FAULT != "alone":
            # In a session of its own, as a server that leaves its daemon
            server.append(subprocess.Popen(["sleep", "3600"], start_new_session=True))
        if command == "quit" and FAULT != "deaf":
            for one in server if FAULT != "leaves" else []:
                one.kill()
                one.wait()
            Path(SOCKET).unlink()
            sys.exit()
        connection.sendall("".join(f"{one.pid}\n" for one in server).encode())
        connection.close()


def ask(command: str) -> str:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(SOCKET)
        connection.sendall(command.encode())
        return connection.recv(1000).decode()


if __name__ == "__main__":
    if sys.argv[1:] == ["-f"]:
        daemon()
    try:
        print(ask(sys.stdin.readline()), end="")
    except OSError:
        print("Cannot find MPS control daemon process")
        sys.exit(1)
