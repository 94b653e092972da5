"""Guards against what Ray does by default, which must not vanish silently where Ray renames its private names."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from types import ModuleType

import psutil
import pytest
import ray
from ray._private import services
from ray._private.node import Node
from ray.job_config import JobConfig
from ray.tune.execution import class_cache

from gansweep.engine.cluster import cluster
from gansweep.engine.ray_internals import UNUSED, InstalledCode, few_processes, loopback_only, no_keys_for_actors
from gansweep.errors import UserError


def test_the_node_keeps_its_loopback_address() -> None:
    with loopback_only():
        assert services.resolve_ip_for_localhost("127.0.0.1") == "127.0.0.1"


def test_processes_that_no_sweep_uses_are_not_started() -> None:
    """This version of Ray has these methods; one that has renamed them starts the processes."""
    before = [getattr(Node, name) for name in UNUSED]
    with few_processes():
        assert [getattr(Node, name)(None) for name in UNUSED] == [None] * len(UNUSED)
    assert [getattr(Node, name) for name in UNUSED] == before


def test_no_variable_reaches_actors() -> None:
    before = class_cache.ENV_VARS_TO_PROPAGATE
    assert "AWS_SECRET_ACCESS_KEY" in before
    with no_keys_for_actors():
        assert class_cache.ENV_VARS_TO_PROPAGATE == ()
        assert class_cache.DEFAULT_ENV_VARS == {}
    assert class_cache.ENV_VARS_TO_PROPAGATE is before


def test_no_folder_of_the_driver_reaches_workers() -> None:
    config = InstalledCode()
    config._py_driver_sys_path.extend(["/a/working/directory"])
    assert config._py_driver_sys_path == []
    assert list(config._get_proto_job_config().py_driver_sys_path) == []


@pytest.mark.parametrize(
    ("module", "name", "guard"),
    [
        (services, "resolve_ip_for_localhost", loopback_only()),
        (class_cache, "ENV_VARS_TO_PROPAGATE", no_keys_for_actors()),
    ],
)
def test_a_renamed_function_or_list_is_an_error(
    module: ModuleType, name: str, guard: AbstractContextManager[None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(module, name)
    with pytest.raises(UserError, match=rf"^Ray {ray.__version__} has no ray\.\S+\.{name}, without which .*; install "):
        guard.__enter__()


def test_a_renamed_attribute_of_jobs_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(JobConfig, "__init__", lambda self: None)
    with pytest.raises(UserError, match=r"has no JobConfig\._py_driver_sys_path, without which trials would import"):
        InstalledCode()


def test_no_process_starts_without_the_guard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(services, "resolve_ip_for_localhost")
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    with pytest.raises(UserError, match="listen on all interfaces"), cluster(tmp_path, None):
        raise AssertionError("Ray was started")
    assert {child.pid for child in psutil.Process().children(recursive=True)} <= before
