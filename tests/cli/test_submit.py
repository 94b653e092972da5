"""What `gansweep submit` refuses, before anything leaves this machine; and what is not asked of a home folder."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from bad_calls import GOOD, Call, in_subprocess
from facts import assert_states

from gansweep.records.layout import Home

SERVER = ("--tracking-uri", "http://mlflow.invalid:5000")
NOWHERE = ("--address", "http://127.0.0.1:1")


@pytest.fixture
def dashboard() -> Iterator[tuple[str, list[str]]]:
    """The address of something that answers as a head does which has a job of the sweep `s` already, and everything
    that was asked of it."""
    asked: list[str] = []

    class Head(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            job = {"type": "SUBMISSION", "submission_id": "raysubmit_1", "status": "RUNNING", "entrypoint": "x"}
            jobs = [{**job, "metadata": {"gansweep.sweep": "s"}}]
            asked.append(f"GET {self.path}")
            self._answer({"ray_version": "2.60.0"} if self.path == "/api/version" else jobs)

        def do_PUT(self) -> None:
            asked.append(f"PUT {self.path}")
            self.send_error(500)

        def do_POST(self) -> None:
            job = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append(f"POST {self.path} {job['entrypoint']}")
            if job["metadata"]["gansweep.sweep"] == "taken":
                self._answer({"job_id": "raysubmit_2", "submission_id": "raysubmit_2"})
            else:
                self.send_error(500)

        def _answer(self, content: object) -> None:
            body = json.dumps(content).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Head)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("options", "facts"),
    [
        ((), ["--tracking-uri: ", "MLflow server", "http://", "https://"]),
        (("--tracking-uri", "sqlite:////x.db"), ["--tracking-uri sqlite:////x.db: ", "MLflow server", "http://"]),
        ((*SERVER, "--storage", "s3://key:hush@bucket"), ["--storage: ", "password", "AWS_ACCESS_KEY_ID"]),
        ((*SERVER, "--home", "here"), ["--home here: ", "absolute path"]),
        (
            (*SERVER, "--set", "dataset={name: image_folder, path: pictures, image_size: 16}"),
            ["s.yaml: dataset.path: pictures", "absolute path"],
        ),
        ((*SERVER, "--set", "training.beta1=1"), ["--set training.beta1: ", "less than 1.0", "got 1"]),
    ],
)
def test_what_cannot_run_on_the_cluster_is_refused_here(
    call: Call, home: Home, dashboard: tuple[str, list[str]], options: tuple[str, ...], facts: list[str]
) -> None:
    address, asked = dashboard
    err = call("submit", "s.yaml", "--address", address, *options)
    assert_states(err, *facts)
    assert err.startswith(facts[0])
    assert err.count("\n") == 1
    assert asked == []
    assert not home.path.exists()


def test_faults_of_the_file_come_first(call: Call, dashboard: tuple[str, list[str]]) -> None:
    Path("s.yaml").write_text(GOOD + "modle: {}\nseed: -1\n")
    address, asked = dashboard
    assert call("submit", "s.yaml", "--address", address) == (
        "s.yaml:5:1: modle: unknown key; did you mean model?\ns.yaml:6:7: seed: must be at least 0, got -1\n"
    )
    assert call("submit", "gone.yaml", "--address", address).startswith("gone.yaml: no such file; ")
    assert asked == []


def test_bad_values_of_options_are_usage(call: Call) -> None:
    err = call("submit", "s.yaml", *NOWHERE, "--time-budget", "soon", code=2)
    assert_states(err.splitlines()[-1], "--time-budget", "'soon'", "1h30m")
    assert call("submit", "s.yaml", code=2).splitlines()[-1] == "Error: Missing option '--address'."
    for words in (("status",), ("stop", "s", "trial")):
        assert "--tracking-uri" in call(*words, *SERVER, code=2).splitlines()[-1]


@pytest.mark.parametrize("address", ["127.0.0.1:8265", "ray://head:10001", "http://", "http://head:many"])
def test_an_address_that_is_no_dashboard(call: Call, address: str) -> None:
    err = call("submit", "s.yaml", *SERVER, "--address", address)
    assert_states(err, f"--address {address}: ", "http://HEAD:8265")


def test_a_dashboard_that_does_not_answer(call: Call, home: Home) -> None:
    err = call("submit", "s.yaml", *SERVER, *NOWHERE)
    assert_states(err, "--address http://127.0.0.1:1: ", "([Errno 111] Connection refused)", "ray[default]")
    assert err.count("\n") == 1
    assert not home.path.exists()


def test_a_sweep_that_runs_is_not_submitted_again(
    call: Call, dashboard: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, asked = dashboard
    monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:2")  # Ray's own client would go there
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "")  # put back what the command sets
    err = call("submit", "s.yaml", *SERVER, "--address", address)
    assert_states(err, "s is", "running", "raysubmit_1")
    assert not [one for one in asked if one.startswith("P")]


@pytest.mark.parametrize("option", ["--new-identity", "--moved"])
def test_a_sweep_of_the_same_name_in_another_home_is_another(
    call: Call, dashboard: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    """Its driver gets the options that say whether that home was copied or moved."""
    address, asked = dashboard
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "")
    call("submit", "s.yaml", *SERVER, "--address", address, "--home", "/data/home", option)  # this head takes no job
    assert asked[-1].startswith("POST /api/jobs/")
    assert asked[-1].endswith(f" {option} --home /data/home")


def test_a_cluster_that_fails_says_so_in_a_line(
    call: Call, dashboard: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, _ = dashboard
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "")
    err = call("submit", "s.yaml", *SERVER, "--address", address, "--set", "name=other")
    assert err.startswith(f"--address {address}: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("server", "port"), [("http://mlflow.invalid:5000", 5000), ("https://mlflow.invalid", 443), ("http://[::1]:1", 1)]
)
@pytest.mark.usefixtures("call")  # the folder
def test_a_server_that_only_the_cluster_reaches_is_not_named_to_followers(
    dashboard: tuple[str, list[str]], server: str, port: int
) -> None:
    Path("s.yaml").write_text(GOOD)
    words = ("submit", "s.yaml", "--address", dashboard[0], "--tracking-uri", server, "--set", "name=taken")
    done = in_subprocess(*words)
    assert (done.returncode, done.stdout) == (0, "raysubmit_2\n"), done.stderr
    first, *commands = done.stderr.splitlines()  # nothing of Ray's own before them
    assert_states(first, server, "URI", f"http://127.0.0.1:{port}", "`ssh -L`")
    assert commands[1:4] == [
        f"  gansweep {one} taken --tracking-uri URI" for one in ("logs --follow", "status", "stop")
    ]


@pytest.mark.parametrize("command", ["status", "logs", "stop"])
def test_a_password_in_a_server_address_is_not_shown(call: Call, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.setenv(name, "")  # put back what the command sets
    err = call(command, "s", "--tracking-uri", "http://admin:hush@127.0.0.1:1")
    assert err.startswith("--tracking-uri http://127.0.0.1:1: no MLflow server")
    assert "hush" not in err


@pytest.mark.parametrize("command", ["status", "logs", "stop"])
def test_a_server_that_does_not_answer(call: Call, home: Home, command: str) -> None:
    err = call(command, "s", "--tracking-uri", "http://127.0.0.1:1")
    assert err.startswith("--tracking-uri http://127.0.0.1:1: no MLflow server")
    assert not home.path.exists()


def test_logs_of_an_unknown_sweep(call: Call, home: Home) -> None:
    assert call("logs", "s") == f"{home.path}: no sweep named 's'; known: none\n"
