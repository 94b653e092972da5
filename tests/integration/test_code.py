"""Trials run the installed code, and an error before a trial opens is told as what it is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from service import Service

from gansweep.records import outcome

pytestmark = pytest.mark.slow
SHADOWS = ("gansweep", "torch", "numpy", "scipy", "sklearn", "PIL", "pandas", "safetensors")
# The folder "$1" below /tmp stays as it is.
TMP_READ_ONLY = 'mount --bind $1 $1; mount --rbind /tmp /tmp; mount -o remount,ro,bind /tmp; shift; exec "$@" <&-'
BROKEN = "libcublas.so.12: cannot open shared object file"


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A folder outside /tmp, with a path that is short enough for Ray."""
    with TemporaryDirectory(prefix="gs", dir="/var/tmp") as folder:
        yield Path(folder)


def test_a_sweep_depends_on_nothing_around_it(service: Service, scratch: Path) -> None:
    """Modules of well-known names in the working directory, a proxy that does not answer, warnings as errors, no home
    directory, standard input closed, and /tmp read-only, with a TMPDIR that is not."""
    for name in SHADOWS:
        (service.root / name).mkdir()
        (service.root / name / "__init__.py").write_text("raise RuntimeError('imported from the working directory')")
    before = ["unshare", "--mount", "--map-root-user", "sh", "-c", TMP_READ_ONLY, "sh", str(service.root)]
    if subprocess.run([*before, "true"], capture_output=True).returncode:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("/tmp cannot be made read-only here")
    surroundings = {"http_proxy": "http://127.0.0.1:1", "PYTHONWARNINGS": "error", "HOME": "/nonexistent"}
    done = subprocess.run(
        [*before, Path(sys.executable).with_name("gansweep"), "run", service.write(steps=5, rates="[1e-3]")],
        cwd=service.root,
        env={**os.environ, **surroundings, "TMPDIR": str(scratch), "GANSWEEP_HOME": str(service.home.path)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, "working directory" in done.stderr) == (0, False), done.stderr
    (trial,) = service.folder().planned()
    ended = outcome.read(trial)
    assert ended is not None
    assert ended.kind == "completed"
    assert list(scratch.iterdir()) == []


def test_an_error_before_a_trial_opens_is_a_crash_with_its_traceback(service: Service) -> None:
    site = service.root / "site"
    (site / "torch").mkdir(parents=True)
    (site / "torch" / "__init__.py").write_text(f"raise ImportError('{BROKEN}')")
    service.environment["PYTHONPATH"] = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
    _, err = service.call("run", service.write(), "--set", "resources.max_concurrent=1", code=4)
    assert "died" not in err
    error = f"ImportError: {BROKEN}"
    reported = [line for line in err.splitlines() if line.count(": ") > 1 and "rashed" in line and error in line]
    assert len(reported) == 2, "once while it runs, once in the summary"
    first, second = service.folder().planned()
    assert reported[1].startswith(f"{first.id} and 1 more: crashed: {error}")
    for trial in (first, second):
        out, _ = service.ask("show", trial.id)
        assert "\nTraceback" in out
        assert error in out.splitlines()[-1]
        assert json.loads(service.ask("show", trial.id, "--json")[0])["deaths"] == 0
    _, err = service.ask("diagnose", "small", code=1)
    assert err == (
        f"small: 2 of 2 trials crashed before an evaluation; `gansweep show {first.id}` shows the traceback\n"
    )
