"""Patches of private functions and attributes of Ray, where Ray offers no public setting.

Their names may change with any release of Ray. If a name is missing whose patch is a safeguard, UserError is raised:
otherwise the safeguard would silently have no effect.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial, wraps
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

import ray
from ray import cloudpickle
from ray._private import ray_constants, services
from ray._private.node import Node
from ray.job_config import JobConfig
from ray.tune.execution import class_cache
from ray.tune.experiment import trial

from gansweep.errors import UserError

TESTED = "2.52 to 2.60"  # versions of Ray
# Methods that start processes which a sweep on one machine does not use: the dashboard's server, which the raylet would
# wait for, the autoscaler, and the forwarding of trials' output to the driver.
UNUSED = ("start_api_server", "start_monitor", "start_log_monitor")
# Options of the raylet: commands of its agents, which serve metrics and runtime environments.
AGENTS = ("--dashboard_agent_command=", "--runtime_env_agent_command=")
PORTS = (
    "DASHBOARD_AGENT_LISTEN_PORT_NAME",
    "METRICS_AGENT_PORT_NAME",
    "METRICS_EXPORT_PORT_NAME",
    "RUNTIME_ENV_AGENT_PORT_NAME",
)
WITHOUT_AGENTS = ("2.60.",)  # versions of Ray whose raylet was seen to work without its agents
IDLE = Path(__file__).with_name("idle.py")
NO_PORT = -1  # Ray's own value for a service that is not in use


class InstalledCode(JobConfig):  # type: ignore[misc]  # Ray has no types
    """Configuration of a job whose processes import installed packages only.

    By default Ray puts the driver's working directory and the folder of its script first on their sys.path.

    Raises:
        UserError: This version of Ray does not store these folders in the attribute that is overridden.
    """

    def __init__(self) -> None:
        self._set_by_ray = False
        super().__init__()
        if not self._set_by_ray:
            raise _missing("JobConfig._py_driver_sys_path", "trials would import files of the working directory")

    @property
    def _py_driver_sys_path(self) -> list[str]:
        return []

    @_py_driver_sys_path.setter
    def _py_driver_sys_path(self, folders: list[str]) -> None:
        self._set_by_ray = True


@contextmanager
def loopback_only() -> Iterator[None]:
    """Keep ray.init from replacing the node address 127.0.0.1 by the machine's own.

    Ray's ports listen on all interfaces unless the node's address is 127.0.0.1.

    Raises:
        UserError: This version of Ray does not have the function that is replaced.
    """
    with _replaced(
        services, "resolve_ip_for_localhost", lambda host: host, "Ray's ports would listen on all interfaces"
    ):
        yield


@contextmanager
def few_processes() -> Iterator[None]:
    """Keep ray.init from starting the processes of UNUSED and AGENTS, which cost 4 s of CPU time in each sweep.

    With a version of Ray that lacks one of the methods, or that is not among WITHOUT_AGENTS, no error is raised and the
    processes concerned are started.
    """
    with ExitStack() as stack:
        for name in filter(partial(hasattr, Node), UNUSED):
            stack.enter_context(patch.object(Node, name, lambda *_, **__: None))
        if ray.__version__.startswith(WITHOUT_AGENTS):
            start = _with_idle_agents(services.start_ray_process)
            stack.enter_context(patch.object(services, "start_ray_process", start))
        yield


def _with_idle_agents(start: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap Ray's function that starts a process, so that a raylet starts idle processes instead of its agents.

    The raylet ends if an agent ends, so that the agents cannot simply be omitted. It also waits for the files in which
    agents write their ports, which are therefore written here.
    """

    @wraps(start)
    def started(command: list[str], process_type: str, *args: Any, **kwargs: Any) -> Any:
        if process_type == ray_constants.PROCESS_TYPE_RAYLET:
            options = dict(word.removeprefix("--").split("=", 1) for word in command if "=" in word)
            library: Any = ray._raylet
            for service in PORTS:
                library.persist_port(options["session_dir"], options["node_id"], getattr(library, service), NO_PORT)
            idling = subprocess.list2cmdline([sys.executable, "-I", "-S", str(IDLE)])
            command = [next((name + idling for name in AGENTS if word.startswith(name)), word) for word in command]
        return start(command, process_type, *args, **kwargs)

    return started


@contextmanager
def actors_of(process: type) -> Iterator[None]:
    """Have Ray Tune start the processes of trials from a class that is not a tune.Trainable.

    Tune's own actors import Ray Tune. They also receive the driver's S3 keys in a form that Ray logs on every node,
    although nodes have keys of their own. Actors of `process` receive no environment variables at all: with variables,
    Ray would start each of them through an additional process, half a second later.

    Args:
        process: The class, with the methods of engine.actor.Actor.

    Raises:
        UserError: This version of Ray Tune does not have the method that is replaced.
    """
    remote = ray.remote(process)
    # Arguments that the class does not use, and whose modules a process would import to unpickle them.
    kinds = (getattr(trial, name) for name in ("StorageContext", "_TrialInfo") if hasattr(trial, name))
    unused = {kind: lambda _: (type(None), ()) for kind in kinds}
    with (
        _replaced(class_cache._ActorClassCache, "get", lambda *_: remote, "Ray's logs would contain S3 keys"),
        patch.dict(cloudpickle.CloudPickler.dispatch_table.maps[0], unused),
    ):
        yield


@contextmanager
def _replaced(owner: ModuleType | type, name: str, value: Any, danger: str) -> Iterator[None]:
    if not hasattr(owner, name):
        raise _missing(f"{owner.__module__}.{name}" if isinstance(owner, type) else f"{owner.__name__}.{name}", danger)
    with patch.object(owner, name, value):
        yield


def _missing(name: str, danger: str) -> UserError:
    return UserError(
        f"Ray {ray.__version__} has no {name}, without which {danger}; install a version from {TESTED}, which gansweep"
        " was tested with"
    )
