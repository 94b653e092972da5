"""Guards against what Ray does by default, which must not vanish silently where Ray renames its private names."""

from __future__ import annotations

import copy
import subprocess
from contextlib import AbstractContextManager
from pathlib import Path
from types import ModuleType

import psutil
import pytest
import ray
from ray import cloudpickle
from ray._private import services
from ray._private.node import Node
from ray.job_config import JobConfig
from ray.tune.execution import class_cache
from ray.tune.experiment import trial

from gansweep.engine.cluster import cluster
from gansweep.engine.ray_internals import (
    AGENTS,
    PORTS,
    UNUSED,
    InstalledCode,
    actors_of,
    few_processes,
    loopback_only,
)
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


def test_agents_are_idle_processes_that_end_with_the_raylet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for a raylet starts its agents as Ray does, and ends."""
    started: list[list[str]] = []
    monkeypatch.setattr(services, "start_ray_process", lambda command, *_, **__: started.append(command))
    raylet = [
        "raylet",
        f"--session_dir={tmp_path}",
        f"--node_id={'0' * 56}",
        *(f"{name}python a.py" for name in AGENTS),
    ]
    with few_processes():
        services.start_ray_process(raylet, "raylet")
        services.start_ray_process(["gcs_server", "--a=b"], "gcs_server")
    found, other = started
    assert found[:3] == raylet[:3]
    assert other == ["gcs_server", "--a=b"]
    assert len([*tmp_path.iterdir()]) == len(PORTS), "the raylet waits for these files"
    commands = [command.partition("=")[2] for command in found[3:]]
    script = f"export RAY_RAYLET_PID=$$; {' & '.join(commands)} & echo ready; read line"
    with subprocess.Popen(["sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdin is not None
        parent.stdout.readline()
        agents = psutil.Process(parent.pid).children()
        assert len(agents) == len(AGENTS)
        parent.stdin.close()
    _, alive = psutil.wait_procs(agents, timeout=10)
    assert alive == []


def test_an_untested_version_of_ray_starts_its_agents(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "__version__", "2.99.0")
    before = services.start_ray_process
    with few_processes():
        assert services.start_ray_process is before


class Process:
    """Stand-in for a trial's process."""


def test_tune_starts_our_process_without_the_drivers_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    cache = class_cache._ActorClassCache()
    assert "secret" in repr(vars(cache.get(Process)))
    with actors_of(Process):
        found = cache.get(object)
    assert found.__ray_metadata__.modified_class.__name__ == "Process"
    assert "secret" not in repr(vars(found.__ray_metadata__)) + repr(found._default_options)


def test_no_argument_of_an_actor_imports_tune() -> None:
    parts = [trial.StorageContext, trial._TrialInfo]
    with actors_of(Process):
        data = cloudpickle.dumps([kind.__new__(kind) for kind in parts])
        assert isinstance(copy.deepcopy(parts[1].__new__(parts[1])), parts[1]), "Tune copies trials in the driver"
    assert cloudpickle.loads(data) == [None, None]
    assert b"ray" not in data


def test_no_folder_of_the_driver_reaches_workers() -> None:
    config = InstalledCode()
    config._py_driver_sys_path.extend(["/a/working/directory"])
    assert config._py_driver_sys_path == []
    assert list(config._get_proto_job_config().py_driver_sys_path) == []


@pytest.mark.parametrize(
    ("module", "name", "guard"),
    [
        (services, "resolve_ip_for_localhost", loopback_only()),
        (class_cache._ActorClassCache, "get", actors_of(object)),
    ],
)
def test_a_renamed_function_or_list_is_an_error(
    module: ModuleType | type, name: str, guard: AbstractContextManager[None], monkeypatch: pytest.MonkeyPatch
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
