"""What docker/ says, as far as it can be tried without an engine: linted, and its command lines run here."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import psutil
import pytest
from object_store import BUCKET, object_store
from ray_head import end_family, free_ports, ray, ray_files
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[1]
DOCKER = ROOT / "docker"
DOCKERFILE, COMPOSE, GPUS = DOCKER / "Dockerfile", DOCKER / "compose.yaml", DOCKER / "compose.gpu.yaml"
BIN = Path(sys.executable).parent
PATH = f"{BIN}:{os.environ['PATH']}"
VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")
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

    return VARIABLE.sub(value, text)


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


def healthy(service: str, port: int) -> bool:
    """By the service's own check, with another port."""
    _, *command = SERVICES[service]["healthcheck"]["test"]
    command[-1] = re.sub(r"127\.0\.0\.1:\d+", f"127.0.0.1:{port}", command[-1])
    return subprocess.run([sys.executable, *command[1:]], capture_output=True).returncode == 0


def wait_until_healthy(service: str, port: int, process: psutil.Process, log: Path) -> None:
    deadline = time.monotonic() + START_S
    while not healthy(service, port):
        assert process.status() != psutil.STATUS_ZOMBIE, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.3)


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
    assert lines[1:] == ["*", "!gansweep", "!pyproject.toml", "!setup.cfg", "**/__pycache__"]


def test_new_env_writes_all_secrets_once(tmp_path: Path) -> None:
    script = Path(shutil.copy(DOCKER / "new-env", tmp_path))
    subprocess.run([script], check=True)
    written = (tmp_path / ".env").read_text()
    secrets = dict(line.split("=") for line in written.splitlines() if line and not line.startswith("#"))
    assert secrets.keys() == {match[1] for match in VARIABLE.finditer(COMPOSE.read_text()) if match[2] == "?"}
    assert all(re.fullmatch(r"[0-9a-f]{64}", secret) for secret in secrets.values())
    assert len(set(secrets.values())) == len(secrets)
    assert (tmp_path / ".env").stat().st_mode & 0o077 == 0
    again = subprocess.run([script], capture_output=True, text=True, check=True)  # the README's line may be repeated
    assert "stays as it is" in again.stderr
    assert (tmp_path / ".env").read_text() == written
    switches = set(re.findall(r"^#(\w+)=", written, flags=re.MULTILINE)) - {"COMPOSE_PROFILES"}
    assert switches <= {match[1] for match in VARIABLE.finditer(COMPOSE.read_text()) if match[2] == "-"}


def test_the_slurm_script_is_bash() -> None:
    subprocess.run(["bash", "-n", ROOT / "docs" / "slurm.sbatch"], check=True)


# What its commands do


@contextmanager
def mlflow_server(folder: Path, variables: Mapping[str, str]) -> Iterator[tuple[str, psutil.Process]]:
    """The service's command and environment, with another address and with the folder for its volume."""
    service, (port,) = SERVICES["mlflow"], free_ports(1)
    secrets = dict.fromkeys(("MLFLOW_PASSWORD", "MLFLOW_SECRET_KEY", "POSTGRES_PASSWORD"), "password-of-tests")
    known = {"AWS_ACCESS_KEY_ID": "unused", "AWS_SECRET_ACCESS_KEY": "unused", **secrets, **variables}
    command = shlex.split(resolved(service["command"], known))
    command[command.index("--host") + 1], command[command.index("--port") + 1] = "127.0.0.1", str(port)
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
        assert (tmp_path / "mlflow.db").exists()
        assert len(process.children(recursive=True)) <= 3


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
    text = resolved(SERVICES[service]["command"], variables).replace("head:", "127.0.0.1:")
    for port, other in ports.items():
        text = text.replace(port, str(other))
    text += f" --node-ip-address 127.0.0.1 --dashboard-agent-listen-port {free_ports(1)[0]}"
    program, *rest = shlex.split(text)
    assert program == "ray"
    return [*ray(folder), *rest], {k: resolved(v, variables) for k, v in SERVICES[service]["environment"].items()}


@pytest.mark.slow
def test_the_cluster_takes_workers_and_jobs_with_its_token_only(rays_folder: Path, tmp_path: Path) -> None:
    token = "a0" * 32
    secrets = dict.fromkeys(("MLFLOW_PASSWORD", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "unused")
    variables = {**secrets, "RAY_AUTH_TOKEN": token, "WORKER_CPUS": "3"}
    ports = dict(zip(("6379", "8265"), free_ports(2), strict=True))
    command, environment = ray_node("head", variables, ports, tmp_path)
    with started([*command, "--temp-dir", str(rays_folder)], environment, rays_folder) as head:
        wait_until_healthy("head", ports["8265"], head, rays_folder / "log")
        jobs = f"http://127.0.0.1:{ports['8265']}/api/jobs/"
        assert [status(jobs, who) for who in ({}, bearer("b1" * 32), bearer(token))] == [401, 403, 200]
        command, environment = ray_node("worker", variables, ports, tmp_path)
        code, said = called(command, {**environment, "RAY_AUTH_TOKEN": "b1" * 32}, tmp_path)
        assert code != 0
        assert "AuthenticationError" in said
        (asked := tmp_path / "asked").mkdir()
        with started(command, environment, tmp_path) as worker:
            wait_until_healthy("worker", int(command[-1]), worker, tmp_path / "log")
            ask = ["ray", "status", "--address", f"127.0.0.1:{ports['6379']}"]
            deadline = time.monotonic() + START_S
            while "0.0/3.0 CPU" not in (seen := called(ask, environment, asked)[1]):  # its figures are some seconds old
                assert time.monotonic() < deadline, seen
                time.sleep(0.5)


def called(command: list[str], environment: Mapping[str, str], folder: Path) -> tuple[int, str]:
    """Its exit status and all that it said, into a file: processes that it leaves would keep a pipe open."""
    log = folder / "log"
    with started(command, environment, folder) as process:
        try:
            code: int = process.wait(START_S)
        except psutil.TimeoutExpired:
            pytest.fail(f"{shlex.join(command)} goes on:\n{log.read_text()}")
    return code, log.read_text()


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}
