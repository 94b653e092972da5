"""Connection to Ray, local or on a cluster. Import this module after environment.set_up has set Ray's variables."""

from __future__ import annotations

import gc
import logging
import shlex
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import ray
from ray.exceptions import AuthenticationError, RayActorError

from gansweep.engine.ending import kill_descendants, shielding_children
from gansweep.engine.environment import WORKERS
from gansweep.engine.mps import Sharing, sharing
from gansweep.engine.ray_internals import InstalledCode, few_processes, loopback_only
from gansweep.errors import UserError
from gansweep.gan.cores import cores
from gansweep.planning.resources import gpus
from gansweep.records import disk

OBJECT_STORE_BYTES = 80 * 2**20  # no large objects pass through it; containers have a /dev/shm of 64 MB
SHARED_MEMORY = Path("/dev/shm")
WORKER = "/default_worker.py"  # program of Ray's workers until they name themselves
CONNECT_S = 5
TOKEN = "set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN as on the cluster"


@dataclass(frozen=True)
class Cluster:
    """Connection to Ray.

    Attributes:
        available: Name of each of Ray's resources, such as CPU and GPU → its amount.
        mps: How trials share a GPU of this machine. Inactive for a cluster that was joined: the driver does not control
            MPS on its nodes.
    """

    available: dict[str, float]
    mps: Sharing


@contextmanager
def cluster(folder: Path, address: str | None, shared: bool = False) -> Iterator[Cluster]:
    """Join a Ray cluster, or start Ray on this machine.

    Args:
        folder: Folder for the files of this run, with a path short enough for Ray's sockets (see records/scratch.py).
        address: Address of the cluster to join; None starts Ray on this machine.
        shared: Whether trials may share a GPU.

    Raises:
        UserError: The cluster cannot be joined, Ray does not start, or a disk that Ray needs is full.
    """
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    logging.getLogger("ray").setLevel(logging.ERROR)
    logging.raiseExceptions = False  # if the disk is full: no traceback for every line that cannot be logged
    for name in ("ray.tune.execution.tune_controller", "ray.tune.tune"):
        logging.getLogger(name).addFilter(_is_unreported)
    if address:
        _check_listening(address)
        try:
            ray.init(address=address, runtime_env={"env_vars": WORKERS}, job_config=InstalledCode(), **quiet)
        except AuthenticationError:
            raise UserError(f"--address {address}: requires a token; {TOKEN}") from None
        except ConnectionError as error:
            raise UserError(f"--address {address}: Ray refuses the connection ({_first(error)}); {TOKEN}") from None
        except (OSError, ValueError, RuntimeError) as error:
            raise UserError(f"--address {address}: no Ray cluster answers ({_first(error)}); give HOST:PORT") from None
        try:
            yield Cluster(ray.cluster_resources(), Sharing())
        finally:
            _disconnect()
        return
    here = {"CPU": float(cores()), "GPU": float(gpus())}
    with sharing(folder, shared and here["GPU"] > 0) as settled:
        with shielding_children(), _plain_interpreter(folder), loopback_only(), few_processes(), _starting(folder):
            ray.init(
                address="local",  # overrides RAY_ADDRESS
                num_cpus=int(here["CPU"]),
                num_gpus=int(here["GPU"]),
                include_dashboard=False,
                _node_ip_address="127.0.0.1",  # see loopback_only
                object_store_memory=OBJECT_STORE_BYTES,
                _temp_dir=str(folder / "ray"),
                job_config=InstalledCode(),
                **quiet,
            )
        own = {*psutil.Process().children(recursive=True)}
        try:
            yield Cluster(here, settled())
        except UserError:
            raise
        except Exception as error:
            if sentence := _full(error, folder):
                raise UserError(sentence) from error
            raise
        finally:
            # Ray itself ends with the command, in leave_at_once. ray.shutdown would take 5 s, as would Ray's exit
            # handler; and Ray's library ends a process whose Ray has been gone for a minute, while it may still be
            # sending the last records.
            kill_descendants(lambda process: process not in own or _trains(process))


def _disconnect() -> None:
    """Leave the cluster. Python's garbage collection is disabled during the shutdown.

    Ray exits the process if another thread drops a reference to one of Ray's objects while Ray shuts down.
    """
    gc.collect()
    gc.disable()
    try:
        ray.shutdown()
    finally:
        gc.enable()


def _trains(process: psutil.Process) -> bool:
    """Whether a process is one of Ray's workers: it trains a trial, waits for one, or is about to begin."""
    try:
        words = process.cmdline()
    except psutil.Error:
        return False
    return bool(words) and (words[0].startswith("ray::") or any(word.endswith(WORKER) for word in words))


@contextmanager
def _plain_interpreter(folder: Path) -> Iterator[None]:
    """Give Ray a path of the Python interpreter that needs no quoting in a shell.

    Ray starts its workers through a shell and does not quote the path. If the path contains special characters, a link
    in `folder` to the Python environment takes its place.
    """
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
    """Convert errors of ray.init to UserError.

    Ray raises a plain Exception if its own processes do not start within 30 s.
    """
    try:
        yield
    except Exception as error:
        sentence = (
            f"Ray does not start on this machine ({_first(error)[:200]}); it may be too busy, or short of memory, of"
            " processes (ulimit -u) or of open files (ulimit -n): run the same command again"
        )
        raise UserError(_full(error, folder) or sentence) from error


def _is_unreported(record: logging.LogRecord) -> bool:
    """Whether a log record contains information that gansweep does not report itself.

    Tune logs a traceback when a trial's process dies (reported by engine/events.py) and when its own files cannot be
    written (reported by engine/disk_monitor.py).
    """
    error = record.exc_info[1] if record.exc_info else None
    return error is None or not (isinstance(error, RayActorError) or disk.lack(error))


def _full(error: Exception, folder: Path) -> str | None:
    """Return a message if a disk that Ray needs is full, since Ray's own errors do not name the disk; else None."""
    places = [place for place in (folder, SHARED_MEMORY) if place.is_dir()]
    return disk.lack(error) or next(filter(None, map(disk.full, places)), None)


def _first(error: Exception) -> str:
    """Return the first line of an error's message, or the name of its type."""
    return (str(error) or type(error).__name__).splitlines()[0]


def _check_listening(address: str) -> None:
    """Check that a process listens at an address HOST:PORT. Without this check, Ray would retry for minutes.

    Raises:
        UserError: The connection fails.
    """
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdigit():
        try:
            socket.create_connection((host, int(port)), CONNECT_S).close()
        except OSError as error:
            raise UserError(f"--address {address}: no Ray cluster answers ({error}); give HOST:PORT") from None
