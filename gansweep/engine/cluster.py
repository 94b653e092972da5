"""Ray, on this machine or wherever it runs. Imported after engine/environment.py has set Ray's variables."""

from __future__ import annotations

import logging
import shlex
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import ray
from ray.exceptions import AuthenticationError, RayActorError

from gansweep.engine.ending import kill_descendants, shielding_children
from gansweep.engine.environment import WORKERS
from gansweep.engine.ray_internals import InstalledCode, loopback_only
from gansweep.errors import UserError
from gansweep.gan.cores import cores
from gansweep.planning.resources import gpus
from gansweep.records import disk

OBJECT_STORE_BYTES = 80 * 2**20  # nothing of size goes through it; containers have a /dev/shm of 64 MB
SHARED_MEMORY = Path("/dev/shm")
KNOCK_S = 5
TOKEN = "set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN as on the cluster"


@contextmanager
def cluster(folder: Path, address: str | None) -> Iterator[dict[str, float]]:
    """Ray, joined or begun; gives the resources that there are.

    folder: for this run's own files, with a short path. Raises UserError where no cluster answers at the address.
    """
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    logging.getLogger("ray").setLevel(logging.ERROR)
    logging.raiseExceptions = False  # no traceback of each line that a logger cannot write, where the disk is full
    for name in ("ray.tune.execution.tune_controller", "ray.tune.tune"):
        logging.getLogger(name).addFilter(_is_news)
    if address:
        _knock(address)
        try:
            ray.init(address=address, runtime_env={"env_vars": WORKERS}, job_config=InstalledCode(), **quiet)
        except AuthenticationError:
            raise UserError(f"--address {address}: asks for a token; {TOKEN}") from None
        except ConnectionError as error:
            raise UserError(f"--address {address}: Ray does not take us in ({_first(error)}); {TOKEN}") from None
        except (OSError, ValueError, RuntimeError) as error:
            raise UserError(f"--address {address}: no Ray cluster answers ({_first(error)}); give HOST:PORT") from None
        try:
            yield ray.cluster_resources()
        finally:
            ray.shutdown()
        return
    here = {"CPU": float(cores()), "GPU": float(gpus())}
    with shielding_children(), _plain_interpreter(folder), loopback_only(), _starting(folder):
        ray.init(
            address="local",  # whatever RAY_ADDRESS says
            num_cpus=int(here["CPU"]),
            num_gpus=int(here["GPU"]),
            include_dashboard=False,
            _node_ip_address="127.0.0.1",  # see loopback_only
            object_store_memory=OBJECT_STORE_BYTES,
            _temp_dir=str(folder / "ray"),
            job_config=InstalledCode(),
            **quiet,
        )
    _end_log_monitor()
    try:
        yield here
    except UserError:
        raise
    except Exception as error:
        if sentence := _full(error, folder):
            raise UserError(sentence) from error
        raise
    finally:
        # Every trial has ended; ray.shutdown would take 5 s more. The command leaves by leave_at_once, as
        # Ray's own exit handler would wait as well.
        kill_descendants()


@contextmanager
def _plain_interpreter(folder: Path) -> Iterator[None]:
    """Ray begins its workers through a shell and leaves the interpreter's path unquoted: one with a space in it is
    reached through a link to its environment."""
    whole = sys.executable
    if shlex.quote(whole) != whole:
        environment, below = Path(whole).parents[1], Path(whole).parts[-2:]
        (folder / "environment").symlink_to(environment)
        sys.executable = str((folder / "environment").joinpath(*below))
    try:
        yield
    finally:
        sys.executable = whole


@contextmanager
def _starting(folder: Path) -> Iterator[None]:
    """Raises UserError where Ray does not start: it waits 30 s for its own processes, and raises a plain Exception."""
    try:
        yield
    except Exception as error:
        sentence = (
            f"Ray does not start on this machine ({_first(error)[:200]}); it may be too busy, or short of memory, of"
            " processes (ulimit -u) or of open files (ulimit -n): run the same command again"
        )
        raise UserError(_full(error, folder) or sentence) from error


def _is_news(record: logging.LogRecord) -> bool:
    """Return whether a record tells what gansweep does not tell in a sentence: Tune logs a traceback when a trial's
    process dies (see engine/events.py), and when its own files cannot be written (see engine/room.py)."""
    error = record.exc_info[1] if record.exc_info else None
    return error is None or not (isinstance(error, RayActorError) or disk.lack(error))


def _end_log_monitor() -> None:
    """Ray's process that sends what trials print to the driver: we asked for none of it, and it polls on."""
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if any(word.endswith("log_monitor.py") for word in process.cmdline()):
                process.kill()


def _full(error: Exception, folder: Path) -> str | None:
    """A sentence where a disk that Ray needs is full: Ray fails in many ways then, and names no place."""
    places = [place for place in (folder, SHARED_MEMORY) if place.is_dir()]
    return disk.lack(error) or next(filter(None, map(disk.full, places)), None)


def _first(error: Exception) -> str:
    """What it says, in a line."""
    return (str(error) or type(error).__name__).splitlines()[0]


def _knock(address: str) -> None:
    """Raises UserError where nothing listens at host:port (Ray itself would try for minutes)."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdigit():
        try:
            socket.create_connection((host, int(port)), KNOCK_S).close()
        except OSError as error:
            raise UserError(f"--address {address}: no Ray cluster answers ({error}); give HOST:PORT") from None
