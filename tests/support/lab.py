"""What a lab has, on one machine, for real: a tracking server on PostgreSQL and an object store, and a Ray cluster of
two machines that share neither a network address nor a home folder. Needs root, iproute2 and postgresql."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from gate import Gate
from machines import Machine, network
from mlflow import MlflowClient
from object_store import BUCKET, ObjectStore, object_store
from postgres import Postgres
from scenes import prepare_digits
from service import COMMAND
from tracking_server import TrackingServer

from gansweep.records.layout import Home, SweepFolder, write_atomically

GCS, STORE, TRACKING, DATABASE = 6379, 9000, 5000, 5432  # ports, each at an address of its own or the bridge's
# A lost node is noticed after 3 s, not Ray's 20 s or so.
WATCHFUL = {"RAY_health_check_period_ms": "1000", "RAY_health_check_failure_threshold": "3"}
SUPPORT = Path(__file__).parent


class Lab:
    """Use: `with lab(2) as found`. The head and the second node each see an own, empty folder `local`; `common` both.

    cores: that each node says it has.
    environment: of all gansweep calls, and of both nodes. tmp: their folder for temporary files, each one's own.
    steps: a file that gets a line a trained step, whoever trains it: the name of its sweep.
    """

    def __init__(self, root: Path, stack: ExitStack, cores: int) -> None:
        self.cores = cores
        self._stack, self._local, self.common = stack, root / "local", root / "common"
        self.tmp = self._local / "tmp"
        for folder in (self.tmp, self.common, root / "site"):
            folder.mkdir(parents=True)
        net = stack.enter_context(network())
        self.head = net.machine("head")
        self.second = net.machine("second", private=self._local)
        self.address = f"{self.head.address}:{GCS}"
        self.steps, self._pace = self.common / "steps", self.common / "pace"
        store = stack.enter_context(object_store())
        self.store = Gate(net.address, STORE, (store.host, store.port))
        stack.callback(self.store.close)
        self.bucket = f"s3://{BUCKET}"
        self.environment = {
            **ObjectStore(net.address, STORE).environment,
            **_watched(root / "site"),
            "CHAOS_STEPS": str(self.steps),
            "CHAOS_PACE": str(self._pace),
            "CHAOS_ORDER": str(self.common / "no-order"),
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "TMPDIR": str(self.tmp),
            "HOME": str(self._local),
        }
        self._nodes: dict[str, subprocess.Popen[str]] = {}
        self._log = root / "log"
        self.database = Postgres(root / "postgres", net.address, DATABASE)
        stack.callback(self.database.stop)
        artifacts = f"{self.bucket}/artifacts"
        self.tracking = TrackingServer(self.database.uri, artifacts, net.address, TRACKING, self.environment)
        self.tracking.start()
        stack.callback(self.tracking.kill)
        self._begin_head()  # while the server makes its tables, which takes longest
        self.begin_second()
        self.tracking.wait()
        self.client = MlflowClient(self.tracking.uri)

    def seen_by_second(self, path: Path) -> Path:
        """A path as the second node's processes see it, while it has a raylet."""
        raylet = next(p for p in self.second.processes() if p.name() == "raylet")
        return Path(f"/proc/{raylet.pid}/root{path}")

    def home(self, name: str) -> LabHome:
        """An empty one, on the head."""
        return LabHome(self, Home(self._local / name))

    def pace(self, step_s: float) -> None:
        """How long a step takes from now on, at least: so that there is time for things to happen in."""
        write_atomically(self._pace, str(step_s).encode())

    def trained(self, sweep: str) -> int:
        """Steps, those included that were trained again."""
        return self.steps.read_text().splitlines().count(sweep)

    def begin_second(self) -> None:
        """The second node joins. Returns when Ray has it."""
        self._ray(self.second, f"--address={self.address}")

    def lose_second(self) -> None:
        """SIGKILL to its raylet, the process that is the node to the rest; Ray ends what it had begun."""
        raylets = [p for p in self.second.processes() if p.name() == "raylet"]
        assert raylets, "the second node has no raylet"
        for process in raylets:
            process.kill()

    def renew_second(self) -> None:
        """A node with nothing on it takes its place."""
        self.second.kill()
        self._nodes.pop(self.second.name).wait()
        self.begin_second()

    def _begin_head(self) -> None:
        options = ["--head", f"--port={GCS}", "--include-dashboard=false", f"--temp-dir={self._local / 'ray'}"]
        self._ray(self.head, *options)

    def _ray(self, machine: Machine, *options: str) -> None:
        # Ray leaves the path of the interpreter that begins it unquoted: here it holds no space.
        environment = self._log.parent / "python"
        with suppress(FileExistsError):
            environment.symlink_to(sys.prefix)
        command = [environment / "bin" / Path(sys.executable).name, "-m", "ray.scripts.scripts", "start", "--block"]
        command += [f"--node-ip-address={machine.address}", f"--num-cpus={self.cores}", "--num-gpus=0"]
        command += ["--object-store-memory=80000000", "--disable-usage-stats", *options]
        with self._log.open("w") as log:
            process = machine.start(command, {**self.environment, **WATCHFUL}, stdout=log, stderr=log)
        self._nodes[machine.name] = process
        wait_for(lambda: "Ray runtime started" in self._log.read_text() or process.poll() is not None, 60)
        assert process.poll() is None, self._log.read_text()


@dataclass(frozen=True)
class LabHome:
    """A home folder on the head's own disk."""

    lab: Lab
    home: Home

    def start(self, *arguments: object) -> subprocess.Popen[str]:
        """`gansweep …` on the head, where the digits are ready."""
        if not self.home.cache.exists():
            prepare_digits(self.home)
        environment = {**self.lab.environment, "GANSWEEP_HOME": str(self.home.path)}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "cwd": self.home.path}
        return self.lab.head.start([*COMMAND, *arguments], environment, **pipes)

    def call(self, *arguments: object, code: int = 0) -> tuple[str, str]:
        """(stdout, stderr) of a call that must exit with `code`."""
        return ended(self.start(*arguments), code)

    def run(self, file: Path, storage: str | None = None) -> subprocess.Popen[str]:
        """`gansweep run` on the cluster. storage: the bucket where it is left away."""
        place = ["--address", self.lab.address, "--storage", storage or f"{self.lab.bucket}/storage"]
        return self.start("run", file, *place, "--tracking-uri", self.lab.tracking.uri)

    def folder(self, sweep: str) -> SweepFolder:
        return self.home.sweep(sweep)

    def status(self, sweep: str) -> list[dict[str, object]]:
        trials: list[dict[str, object]] = json.loads(self.call("status", sweep, "--json")[0])["trials"]
        return trials


@contextmanager
def lab(cores: int) -> Iterator[Lab]:
    """Everything is gone at the end. Raises NoMachinesError and PostgresMissingError, where a lab cannot be begun."""
    root = Path(tempfile.mkdtemp(prefix="gsl-", dir="/tmp"))  # short: Ray's sockets' paths may have 107 bytes
    root.chmod(0o755)  # PostgreSQL runs as somebody else
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, root, ignore_errors=True)
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # else it would leave everything behind
        stack.callback(signal.signal, signal.SIGTERM, before)
        yield Lab(root, stack, cores)


def ended(process: subprocess.Popen[str], code: int = 0, timeout_s: float = 240) -> tuple[str, str]:
    """(stdout, stderr) of a call that must exit with `code`."""
    try:
        out, err = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
        raise AssertionError(f"does not end\n{out}\n{err}") from None
    assert process.returncode == code, f"exit {process.returncode}\n{out}\n{err}"
    return out, err


def wait_for(condition: Callable[[], object], timeout_s: float = 180) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def _watched(site: Path) -> dict[str, str]:
    """The environment of processes whose trained steps are counted, by chaos.py."""
    (site / "sitecustomize.py").symlink_to(SUPPORT / "chaos.py")
    checkout = str(SUPPORT.parents[1])
    path = os.pathsep.join([str(site), checkout, *filter(None, [os.environ.get("PYTHONPATH")])])
    return {"PYTHONPATH": path}
