"""Replacements of private names of Ray for which Ray offers no public setting.

The names may change with any release of Ray. A missing name of a safeguard raises an error: otherwise the safeguard
would silently have no effect.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from types import ModuleType
from typing import Any
from unittest.mock import patch

import ray
from ray._private import services
from ray._private.node import Node
from ray.job_config import JobConfig
from ray.tune.execution import class_cache

from gansweep.errors import UserError

TESTED = "2.52 to 2.60"  # versions of Ray
# Methods that start processes which a sweep on one machine does not use: the dashboard's server, which the raylet would
# wait for, the autoscaler, and the forwarding of trials' output to the driver.
UNUSED = ("start_api_server", "start_monitor", "start_log_monitor")


class InstalledCode(JobConfig):  # type: ignore[misc]  # Ray has no types
    """Configuration of a job whose processes import installed packages only.

    By default Ray puts the driver's working directory and the folder of its script first on their sys.path.

    Raises:
        UserError: This version of Ray stores that path elsewhere.
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
    """Keep ray.init from starting the processes of UNUSED, which cost 2 s of a core in each sweep.

    A version of Ray without one of the methods is no error: it starts that process.
    """
    with ExitStack() as stack:
        for name in filter(partial(hasattr, Node), UNUSED):
            stack.enter_context(patch.object(Node, name, lambda *_, **__: None))
        yield


@contextmanager
def no_keys_for_actors() -> Iterator[None]:
    """Keep Ray Tune from passing the driver's S3 keys to its actors, in a form that Ray logs on every node.

    Nodes have their own keys. Nor do actors get a variable for a library that is not used: for any variable, Ray starts
    each actor through another process, and half a second later.

    Raises:
        UserError: This version of Ray Tune does not have the list that is replaced.
    """
    with _replaced(class_cache, "ENV_VARS_TO_PROPAGATE", (), "Ray's logs would contain S3 keys"), ExitStack() as stack:
        if hasattr(class_cache, "DEFAULT_ENV_VARS"):
            stack.enter_context(patch.object(class_cache, "DEFAULT_ENV_VARS", {}))
        yield


@contextmanager
def _replaced(module: ModuleType, name: str, value: Any, danger: str) -> Iterator[None]:
    if not hasattr(module, name):
        raise _missing(f"{module.__name__}.{name}", danger)
    with patch.object(module, name, value):
        yield


def _missing(name: str, danger: str) -> UserError:
    return UserError(
        f"Ray {ray.__version__} has no {name}, without which {danger}; install a version from {TESTED}, which gansweep"
        " was tested with"
    )
