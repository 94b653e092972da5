"""Program that tests whether processes can be clients of MPS, and that runs the control daemon of a run.

It is called with the argument `start` or `join`, and with the environment variables of MPS clients. It prints one line:
empty if clients are served, else the reason why they are not. With `start`, it runs a control daemon until its standard
input closes. Only the driver holds the other end of that input, so the daemon is ended whatever ends the driver.
"""

from __future__ import annotations

import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from gansweep.engine.ending import SIGNALS, kill_descendants
from gansweep.engine.mps import ANSWER_S, CONTROL, LOGS, PIPES, servers

START_S = 10.0  # on a busy machine
CHECK_S = 0.05  # between two questions whether the daemon has started
PROBE_S = 20.0  # a daemon whose server belongs to another user lets clients wait
QUIT_S, TERMINATE_S = 3.0, 1.0  # clients of a killed driver end after about a second
PR_SET_CHILD_SUBREAPER = 36


def main(action: str) -> None:
    for number in (*SIGNALS, signal.SIGHUP):
        signal.signal(number, lambda *_: None)  # not SIG_IGN, which the daemon would inherit
    # A server whose daemon has died becomes a child of this process, which then kills it.
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    daemon = _start() if action == "start" else None
    try:
        refused = (_unanswered(daemon) if daemon else "") or _unserved()
        if not refused:
            _print("")
            sys.stdin.read()
    finally:
        if daemon:
            _end(daemon)
        _disconnect(Path(os.environ[PIPES]))
    _print(refused)


def _start() -> subprocess.Popen[bytes]:
    """Start the control daemon with all GPUs of the machine, so that clients number the GPUs as they do without MPS."""
    environment = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    with _messages().open("wb") as messages:
        return subprocess.Popen(
            [CONTROL, "-f"], stdin=subprocess.DEVNULL, stdout=messages, stderr=subprocess.STDOUT, env=environment
        )


def _unanswered(daemon: subprocess.Popen[bytes]) -> str:
    """Wait until the daemon answers. Return the reason if it does not answer; "" if it does."""
    deadline = time.monotonic() + START_S
    while daemon.poll() is None and time.monotonic() < deadline:
        if servers(os.environ) is not None:
            return ""
        if _is_left(CHECK_S):
            return "the run has ended"
    words = _messages().read_text(errors="replace").strip().splitlines()
    what = (
        f"does not answer in {START_S:.0f} s" if daemon.returncode is None else f"exits with code {daemon.returncode}"
    )
    return f"{CONTROL} {what}" + (f" ({words[-1]})" if words else "")


def _unserved() -> str:
    """Run engine/mps_probe.py as a client. Return the reason if it is not served; "" if it is."""
    command = [sys.executable, "-P", "-W", "ignore", "-m", "gansweep.engine.mps_probe"]
    probe = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert probe.stdin is not None
    assert probe.stdout is not None
    try:
        ready, _, _ = select.select([sys.stdin, probe.stdout], [], [], PROBE_S)
        if probe.stdout not in ready:
            return f"a process that uses the GPU waits for longer than {PROBE_S:.0f} s"
        line = probe.stdout.readline()
        if refused := line.strip() or (not line and "a process that uses the GPU fails"):
            return refused
        return "" if servers(os.environ) else "a process that uses the GPU does not become a client of the daemon"
    finally:
        probe.stdin.close()
        try:
            probe.wait(ANSWER_S)
        except subprocess.TimeoutExpired:
            probe.kill()
            with suppress(subprocess.TimeoutExpired):  # a process that hangs in the driver may outlive its end
                probe.wait(ANSWER_S)


def _end(daemon: subprocess.Popen[bytes]) -> None:
    """End the daemon and its servers: by the command `quit`, which waits for clients, or else by signals."""
    for ask, patience in ((_quit, QUIT_S), (daemon.terminate, TERMINATE_S)):
        ask()
        with suppress(subprocess.TimeoutExpired):
            daemon.wait(patience)
            break
    kill_descendants()


def _quit() -> None:
    with suppress(OSError, subprocess.SubprocessError):
        subprocess.run([CONTROL], input=b"quit\n", capture_output=True, timeout=QUIT_S)


def _disconnect(pipes: Path) -> None:
    """Remove the pipe folder, through which clients connect. Without it, CUDA works as if there were no MPS."""
    if pipes.is_symlink():
        pipes.unlink()
    else:
        shutil.rmtree(pipes, ignore_errors=True)


def _messages() -> Path:
    return Path(os.environ[LOGS], "daemon")


def _is_left(seconds: float) -> bool:
    """Whether the driver has ended. Waits for its end for at most `seconds`."""
    return bool(select.select([sys.stdin], [], [], seconds)[0])


def _print(line: str) -> None:
    with suppress(BrokenPipeError):
        print(line, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
