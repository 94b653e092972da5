"""How a sweep ends when something around it does: the terminal, or a part of gansweep itself, after Ray has begun."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from service import COMMAND, Service, assert_tracked_once

pytestmark = pytest.mark.slow
SHELL_S = 5


def test_a_closed_terminal_ends_the_view_and_not_the_sweep(service: Service) -> None:
    """As when a window is closed, tmux ends or ssh is dropped: SIGHUP, then EIO for whatever is written.

    The command replaced a shell that had lived for some seconds, which do not count as the sweep's.
    """
    file = service.write(steps=60, evaluations=3)
    reader, terminal = pty.openpty()
    began = time.monotonic()
    process = subprocess.Popen(
        ["sh", "-c", f'sleep {SHELL_S}; exec "$@"', "sh", *COMMAND, "run", str(file)],
        env={**os.environ, "GANSWEEP_HOME": str(service.home.path), "TERM": "xterm"},
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    )
    os.close(terminal)
    log = service.folder().log
    shown = b""
    while b"starting Ray" not in shown:
        shown += os.read(reader, 4096)
    os.close(reader)
    overview = "artifacts/*/*/artifacts/overview.png"
    while process.poll() is None and not [*service.home.path.glob(overview)]:  # to the last thing that is written
        os.killpg(process.pid, signal.SIGHUP)
        time.sleep(0.1)
    assert process.wait(240) == 0
    assert [*service.home.path.glob(overview)]
    took = time.monotonic() - began
    said = log.read_text()
    assert said.count("running from step 0") == 2
    assert said.count("completed at step 60") == 2
    ((minutes, seconds),) = re.findall(r"all 2 trials are finished after (?:(\d+) min )?(?:(\d+) s)?", said)
    assert 0 < 60 * int(minutes or 0) + int(seconds or 0) < took - SHELL_S + 1
    assert_tracked_once(service)


def test_a_fault_of_ours_after_ray_has_begun_exits_3_at_once(chaotic: Service) -> None:
    """A trial's process dies, and its death cannot be counted: a folder lies in the place of the file."""
    file = chaotic.write(rates="[1e-4]", steps=2000)
    process = chaotic.start("run", file)
    chaotic.wait_for(lambda: chaotic.folder().all_trials(), 240)
    (trial,) = chaotic.folder().all_trials()
    trial.deaths.mkdir()
    Path(chaotic.environment["CHAOS_ORDER"]).write_text("journalled")
    chaotic.wait_for(Path(chaotic.environment["CHAOS_LOG"]).exists, 240)
    began = time.monotonic()
    _, err = process.communicate(timeout=240)
    assert process.returncode == 3, err
    assert time.monotonic() - began < 30
    last = err.splitlines()[-1]
    assert re.fullmatch(r"gansweep: internal error: IsADirectoryError: .*deaths'; the traceback is in .*\.log", last), (
        err
    )
    assert "Traceback" not in err
