"""What docker/ says, as far as it can be tried without an engine: linted, and its command lines run here."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import chaos
import psutil
import pytest
from bench import empty_home
from facts import assert_states
from mlflow import MlflowClient
from object_store import BUCKET, object_store
from ray_head import IMPATIENT, end_family, free_ports, ray, ray_files
from ruamel.yaml import YAML
from service import Service

from gansweep.cli.upkeep import STOP_S
from gansweep.tracking.store import local_uri

ROOT = Path(__file__).parents[1]
DOCKER = ROOT / "docker"
DOCKERFILE, COMPOSE, GPUS = DOCKER / "Dockerfile", DOCKER / "compose.yaml", DOCKER / "compose.gpu.yaml"
BIN = Path(sys.executable).parent
PATH = f"{BIN}:{os.environ['PATH']}"
VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")
SHARES = {"WORKERS", "WORKER_CPUS", "WORKER_MEMORY"}  # of the machine, in docker/.env
IS_SECRET = re.compile(r"TOKEN|PASSWORD|SECRET|KEY")
SERVICES: dict[str, Any] = YAML(typ="safe").load(COMPOSE)["services"]
START_S = 120


def resolved(text: str, variables: Mapping[str, str]) -> str:
    """As Compose does it."""

    def value(match: re.Match[str]) -> str:
        name, operator, default = match.groups()
        if operator == "?" and name not in variables:
            pytest.fail(f"{name} is not set")
        return variables.get(name, default if operator == "-" else "")

    return VARIABLE.sub(value, text).replace("$$", "$")


def command_of(service: str, variables: Mapping[str, str]) -> list[str]:
    """The words of a service's command, as Compose starts it."""
    command = SERVICES[service]["command"]
    words = shlex.split(command) if isinstance(command, str) else command
    return [resolved(word, variables) for word in words]


@contextmanager
def started(command: list[str], environment: Mapping[str, str], folder: Path) -> Iterator[psutil.Process]:
    """In a process group of its own, which is killed at the end."""
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(
            ["env", *command],
            env={"PATH": PATH, "HOME": str(folder), **environment},
            cwd=folder,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield psutil.Process(server.pid)
    finally:
        end_family(server)


def listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def healthy(service: str, port: int) -> bool:
    """By the service's own check, with another port."""
    _, *command = SERVICES[service]["healthcheck"]["test"]
    command[-1] = re.sub(r"127\.0\.0\.1:\d+", f"127.0.0.1:{port}", command[-1])
    return subprocess.run([sys.executable, *command[1:]], capture_output=True).returncode == 0


def wait_until_healthy(service: str, port: int, process: psutil.Process, log: Path) -> None:
    deadline = time.monotonic() + START_S
    while not (listens(port) and healthy(service, port)):
        assert process.status() != psutil.STATUS_ZOMBIE, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.3)


def answer(url: str, headers: Mapping[str, str]) -> str:
    with urlopen(Request(url, headers=dict(headers)), timeout=30) as found:
        text: str = found.read().decode()
        return text


def status(url: str, headers: Mapping[str, str] | None = None, data: bytes | None = None, method: str = "GET") -> int:
    try:
        with urlopen(Request(url, data, dict(headers or {}), method=method), timeout=30) as answer:
            code: int = answer.status
            return code
    except HTTPError as error:
        return error.code


# What the files say


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    command = [BIN / "hadolint", "--no-color", "--failure-threshold", "style", DOCKERFILE]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


@pytest.mark.parametrize("file", [COMPOSE, GPUS], ids=lambda file: file.name)
def test_compose_files_keep_to_their_schema(file: Path) -> None:
    command = [BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", file]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_nothing_is_published_beyond_loopback() -> None:
    ports = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert sorted(ports) == ["head", "mlflow"]
    assert all(port.startswith("127.0.0.1:") for published in ports.values() for port in published)
    assert not [name for name, service in SERVICES.items() if "network_mode" in service]


def test_secrets_come_from_the_environment_and_have_no_default() -> None:
    found = {match[1]: match[2] for match in VARIABLE.finditer(COMPOSE.read_text()) if IS_SECRET.search(match[1])}
    assert len(found) == 6
    assert set(found.values()) == {"?"}
    for service in SERVICES.values():
        for key, value in service["environment"].items():
            assert not IS_SECRET.search(key) or VARIABLE.fullmatch(value), key


@pytest.mark.parametrize("name", SERVICES)
def test_services_are_watched_and_begun_again(name: str) -> None:
    service = SERVICES[name]
    assert service["restart"] == "unless-stopped"
    assert {"test", "interval", "timeout", "retries", "start_period"} <= service["healthcheck"].keys()
    assert "no-new-privileges:true" in service["security_opt"]


def test_volumes_have_names() -> None:
    mounts = [mount.split(":")[0] for service in SERVICES.values() for mount in service.get("volumes", [])]
    assert set(mounts) == set(YAML(typ="safe").load(COMPOSE)["volumes"])


def test_images_are_pinned() -> None:
    others = [service["image"] for service in SERVICES.values() if "build" not in service]
    bases = re.findall(r"^FROM (\S+:\S+)", DOCKERFILE.read_text(), flags=re.MULTILINE)
    assert len(others) == 2
    assert len(bases) == 1
    assert not [image for image in others + bases if not re.search(r":\d+\.\d+", image)]


def test_the_image_runs_without_root_and_holds_no_compiler() -> None:
    text = DOCKERFILE.read_text()
    final = text[text.rindex("\nFROM ") :]
    assert re.findall(r"^USER (\S+)", final, flags=re.MULTILINE)[-1] not in ("root", "0")
    assert "apt-get" not in text
    assert all(SERVICES[name]["cap_drop"] == ["ALL"] for name in ("mlflow", "head", "worker"))


def test_the_build_sees_nothing_but_the_package() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert lines[1:] == ["*", "!gansweep", "!docker/ray-head", "!pyproject.toml", "!setup.cfg", "**/__pycache__"]


def test_new_env_writes_all_secrets_once(tmp_path: Path) -> None:
    script = Path(shutil.copy(DOCKER / "new-env", tmp_path))
    subprocess.run([script], check=True)
    written = (tmp_path / ".env").read_text()
    values = dict(line.split("=") for line in written.splitlines() if line and not line.startswith("#"))
    assert values.keys() >= SHARES
    secrets = {name: value for name, value in values.items() if name not in SHARES}
    assert secrets.keys() == {match[1] for match in VARIABLE.finditer(COMPOSE.read_text()) if match[2] == "?"}
    assert all(re.fullmatch(r"[0-9a-f]{64}", secret) for secret in secrets.values())
    assert len(set(secrets.values())) == len(secrets)
    assert (tmp_path / ".env").stat().st_mode & 0o077 == 0
    again = subprocess.run([script], capture_output=True, text=True, check=True)  # the README's line may be repeated
    assert "stays as it is" in again.stderr
    assert (tmp_path / ".env").read_text() == written
    switches = set(re.findall(r"^#(\w+)=", written, flags=re.MULTILINE)) - {"COMPOSE_PROFILES"}
    assert switches <= {match[1] for match in VARIABLE.finditer(COMPOSE.read_text()) if match[2] == "-"}


@pytest.mark.parametrize("workers", [1, os.cpu_count() or 1])
def test_workers_share_the_machine(workers: int, tmp_path: Path) -> None:
    subprocess.run([shutil.copy(DOCKER / "new-env", tmp_path), str(workers)], check=True)
    values = dict(line.split("=") for line in (tmp_path / ".env").read_text().splitlines() if "=" in line)
    assert int(values["WORKERS"]) == workers
    assert 1 <= int(values["WORKER_CPUS"]) * workers <= (os.cpu_count() or 1)
    assert 0 < int(values["WORKER_MEMORY"].removesuffix("m")) * 2**20 * workers < psutil.virtual_memory().total
    worker = SERVICES["worker"]
    assert {"WORKERS", "WORKER_CPUS", "WORKER_MEMORY"} <= {match[1] for match in VARIABLE.finditer(str(worker))}
    assert worker["cpus"] in worker["command"].split()  # Ray is told what the container may use


@pytest.mark.parametrize("workers", ["0", "-1", "two", "100000"])
def test_new_env_refuses_more_workers_than_cores(workers: str, tmp_path: Path) -> None:
    done = subprocess.run([shutil.copy(DOCKER / "new-env", tmp_path), workers], capture_output=True, text=True)
    assert done.returncode == 1
    assert f"give a number from 1 to {os.cpu_count()}" in done.stderr
    assert not (tmp_path / ".env").exists()


def test_rays_object_store_fits_into_shared_memory() -> None:
    """Ray falls back to files in /tmp, slowly, where it does not; by itself it takes 30 % of the machine's memory."""
    for name in ("head", "worker"):
        words = SERVICES[name]["command"].split()
        asked = int(words[words.index("--object-store-memory") + 1])
        assert asked < int(SERVICES[name]["shm_size"].removesuffix("mb")) * 2**20
    documented = (ROOT / "docs" / "cluster.md").read_text()
    started = [line for line in documented.splitlines() if re.search(r"(ray start|ray-head) ", line)]
    assert len([line for line in started if line.startswith("$node")]) == 2
    assert all("--object-store-memory 200000000" in line for line in started if line.startswith("$node"))
    assert "--shm-size 512m" in documented


def test_logs_are_rotated_and_hold_no_health_checks() -> None:
    for name, service in SERVICES.items():
        assert service["logging"]["options"].keys() == {"max-size", "max-file"}, name
    assert "--no-access-log" in SERVICES["mlflow"]["environment"]["MLFLOW_UVICORN_OPTS"]


def test_a_grace_period_outlasts_what_ends_in_it() -> None:
    """`gansweep stop --all` waits STOP_S; Ray's own drain would outlast Docker's ten seconds."""
    assert int(SERVICES["head"]["stop_grace_period"].removesuffix("s")) > 2 * STOP_S
    environments = [SERVICES[name]["environment"] for name in ("head", "worker")]
    assert [one["RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"] for one in environments] == ["0", "0"]
    # Compose stops a service before those that it depends on.
    assert "mlflow" in SERVICES["head"]["depends_on"]


def test_the_package_is_copied_into_the_image() -> None:
    """Buildah leaves what a bind mount holds out of its cache key: a rebuilt image kept its old code."""
    text = DOCKERFILE.read_text()
    assert "COPY --from=package" in text
    assert "type=bind" not in text


def test_the_slurm_script_is_bash() -> None:
    subprocess.run(["bash", "-n", ROOT / "docs" / "slurm.sbatch"], check=True)


# What its commands do


@contextmanager
def mlflow_server(folder: Path, variables: Mapping[str, str]) -> Iterator[tuple[str, psutil.Process]]:
    """The service's command and environment, with another address and with the folder for its volume.

    Its database has its tables already, since MLflow's migrations take seconds.
    """
    service, (port,) = SERVICES["mlflow"], free_ports(1)
    empty_home(folder / "made").database.rename(folder / "mlflow.db")
    secrets = dict.fromkeys(("MLFLOW_PASSWORD", "MLFLOW_SECRET_KEY", "POSTGRES_PASSWORD"), "password-of-tests")
    known = {"AWS_ACCESS_KEY_ID": "unused", "AWS_SECRET_ACCESS_KEY": "unused", **secrets, **variables}
    *shell, line = command_of("mlflow", known)
    command = [*shell, line.replace("--host 0.0.0.0 --port 5000", f"--host 127.0.0.1 --port {port}")]
    environment = {
        key: resolved(value, known).replace("/mlflow/", f"{folder}/") for key, value in service["environment"].items()
    }
    with started(command, environment, folder) as process:
        wait_until_healthy("mlflow", port, process, folder / "log")
        yield f"http://127.0.0.1:{port}", process


@pytest.mark.slow
def test_the_tracking_server_refuses_foreign_hosts_and_pages(tmp_path: Path) -> None:
    with mlflow_server(tmp_path, {}) as (url, process):
        names = {"evil.example": 403, "172.18.0.2:5000": 403, "mlflow:5000": 200, "localhost:9000": 200}
        assert {name: status(url, {"Host": name}) for name in names} == names
        create = f"{url}/api/2.0/mlflow/experiments/create"
        json = {"Content-Type": "application/json"}
        assert status(create, {**json, "Origin": "http://evil.example"}, b'{"name": "a"}', "POST") == 403
        assert status(create, {**json, "Origin": "http://localhost:9000"}, b'{"name": "b"}', "POST") == 200
        artifact = f"{url}/api/2.0/mlflow-artifacts/artifacts/1/note.txt"
        assert status(artifact, data=b"kept", method="PUT") == 200
        assert (tmp_path / "artifacts/1/note.txt").read_bytes() == b"kept"
        created = {one.name for one in MlflowClient(f"sqlite:///{tmp_path}/mlflow.db").search_experiments()}
        assert created == {"Default", "b"}
        assert len(process.children(recursive=True)) <= 3
        assert "/health" not in (tmp_path / "log").read_text()


@pytest.mark.slow
def test_the_tracking_server_may_ask_for_a_password_and_keep_artifacts_in_a_bucket(tmp_path: Path) -> None:
    with object_store() as store:
        options = {"MLFLOW_OPTIONS": "--app-name basic-auth", "MLFLOW_ARTIFACTS_DESTINATION": f"s3://{BUCKET}/mlflow"}
        with mlflow_server(tmp_path, {**store.environment, **options}) as (url, _):
            artifact = f"{url}/api/2.0/mlflow-artifacts/artifacts/1/note.txt"
            search = f"{url}/api/2.0/mlflow/experiments/search?max_results=1"
            known = {"Authorization": "Basic " + b64encode(b"admin:password-of-tests").decode()}
            wrong = {"Authorization": "Basic " + b64encode(b"admin:password1234").decode()}
            assert [status(search, who) for who in (None, wrong, known)] == [401, 401, 200]
            assert status(artifact, data=b"no", method="PUT") == 401
            assert status(artifact, known, b"kept", "PUT") == 200
        assert [kept["Key"] for kept in store.client().list_objects_v2(Bucket=BUCKET)["Contents"]] == [
            "mlflow/1/note.txt"
        ]


@pytest.fixture
def rays_folder() -> Iterator[Path]:
    with ray_files() as folder:
        yield folder


def ray_node(
    service: str, variables: Mapping[str, str], ports: Mapping[str, int], folder: Path
) -> tuple[list[str], dict[str, str]]:
    """The service's command on loopback, with other ports, and its environment. folder: see programs."""
    text = shlex.join(command_of(service, variables)).replace("head:", "127.0.0.1:")
    for port, other in ports.items():
        text = text.replace(port, str(other))
    text += f" --node-ip-address 127.0.0.1 --dashboard-agent-listen-port {free_ports(1)[0]}"
    environment = {key: resolved(value, variables) for key, value in SERVICES[service]["environment"].items()}
    path = f"{_short_ray(folder)}:{DOCKER}:{PATH}"
    return shlex.split(text), {**environment, "PATH": path}


def _short_ray(folder: Path) -> Path:
    """A folder with the program `ray`, which is begun by a path without spaces (see ray_head.programs)."""
    program = folder / "bin" / "ray"
    program.parent.mkdir(exist_ok=True)
    program.write_text(f'#!/bin/sh\nexec {shlex.join(ray(folder))} "$@"\n')
    program.chmod(0o755)
    return program.parent


@pytest.mark.slow
def test_the_cluster_asks_for_its_token_and_ends_its_sweeps_before_itself(rays_folder: Path, tmp_path: Path) -> None:
    token = "a0" * 32
    secrets = dict.fromkeys(("MLFLOW_PASSWORD", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "unused")
    variables = {**secrets, "RAY_AUTH_TOKEN": token, "WORKER_CPUS": "1"}
    ports = dict(zip(("6379", "8265"), free_ports(2), strict=True))
    at_leisure = chaos.environment(tmp_path, step_s=0.05)  # the sweep only has to be at work
    command, environment = ray_node("head", variables, ports, tmp_path)
    environment |= {"GANSWEEP_HOME": str(tmp_path / "home"), **at_leisure}
    with started([*command, "--temp-dir", str(rays_folder)], environment, rays_folder) as head:
        wait_until_healthy("head", ports["8265"], head, rays_folder / "log")
        jobs = f"http://127.0.0.1:{ports['8265']}/api/jobs/"
        assert [status(jobs, who) for who in ({}, bearer("b1" * 32), bearer(token))] == [401, 403, 200]
        command, environment = ray_node("worker", variables, ports, tmp_path)
        environment |= at_leisure
        code, output = called(command, {**environment, **IMPATIENT, "RAY_AUTH_TOKEN": "b1" * 32}, tmp_path)
        assert code != 0
        assert "AuthenticationError" in output
        with started(command, environment, tmp_path) as worker:
            wait_until_healthy("worker", int(command[-1]), worker, tmp_path / "log")
            nodes = f"http://127.0.0.1:{ports['8265']}/api/cluster_status"
            deadline = time.monotonic() + START_S
            while '"CPU": [0.0, 1.0]' not in (seen := answer(nodes, bearer(token))):  # its figures are some seconds old
                assert time.monotonic() < deadline, seen
                time.sleep(0.5)
            _end_a_head_while_a_sweep_runs(head, f"127.0.0.1:{ports['6379']}", tmp_path, environment)


def _end_a_head_while_a_sweep_runs(
    head: psutil.Process, address: str, folder: Path, environment: Mapping[str, str]
) -> None:
    service = Service(folder, {name: environment[name] for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN")})
    empty_home(service.home.path)
    given = ("--address", address, "--storage", folder / "storage")
    sweep = service.start("run", service.write(steps=100_000, rates="[1e-4, 2e-4]"), *given)
    service.wait_for(service.training_began, START_S)
    head.terminate()
    _, err = sweep.communicate(timeout=START_S)
    assert sweep.returncode == 0, err
    assert_states(err.splitlines()[-1], "stop", "of 2 trials")
    assert "process died" not in err
    (experiment,) = [one for one in MlflowClient(local_uri(service.home)).search_experiments() if one.name == "small"]
    runs = MlflowClient(local_uri(service.home)).search_runs([experiment.experiment_id])
    assert {run.info.status for run in runs} == {"SCHEDULED"}
    head.wait(START_S)


def called(command: list[str], environment: Mapping[str, str], folder: Path) -> tuple[int, str]:
    """Its exit status and all that it printed, into a file: processes that it leaves would keep a pipe open."""
    log = folder / "log"
    with started(command, environment, folder) as process:
        try:
            code: int = process.wait(START_S)
        except psutil.TimeoutExpired:
            pytest.fail(f"{shlex.join(command)} goes on:\n{log.read_text()}")
    return code, log.read_text()


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}
