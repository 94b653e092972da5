"""One sweep's life through the real command line: run, run again, grow, look, publish, stop, clean."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from facts import assert_states
from mlflow import MlflowClient
from scenes import train
from service import COMMAND, Service, assert_equal_weights, assert_tracked_once, final_weights, histories

from gansweep.records.layout import read_json
from gansweep.tracking import store

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Service:
    """Two learning rates × two seeds, run to the end, in a git checkout whose name is awkward on purpose. Somebody
    else's cluster, which is named in the environment alone, is not asked."""
    service = Service(tmp_path_factory.mktemp("a folder, näive"), {"RAY_ADDRESS": "127.0.0.1:1"})
    file = service.write(seeds=2)
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    for words in (["init", "-q"], ["add", "."], [*who, "commit", "-qm", "a sweep"]):
        subprocess.run(["git", *words], cwd=service.root, check=True)
    service.call("run", file)
    return service


def test_status_says_what_happened(swept: Service) -> None:
    trials = swept.status()
    assert [t["varied"] for t in trials] == [{"training.learning_rate": r} for r in (1e-4, 1e-4, 1e-3, 1e-3)]
    assert [t["seed"] for t in trials] == [0, 1, 0, 1]
    for trial in trials:
        assert (trial["outcome"], trial["verdict"], trial["step"], trial["steps_total"]) == (
            "completed",
            "undecided",
            30,
            30,
        )
        assert trial["run_id"]
        assert set(trial["metrics"]) >= {"loss_d", "loss_g", "d_real", "d_fake", "grad_norm_d", "grad_norm_g"}


def test_everything_is_in_mlflow_once(swept: Service) -> None:
    from mlflow import MlflowClient

    from gansweep.tracking import store

    assert_tracked_once(swept)
    client = MlflowClient(store.local_uri(swept.home))
    experiment = client.get_experiment_by_name("small")
    runs = client.search_runs([experiment.experiment_id])
    parent = next(r for r in runs if "gansweep.trial_id" not in r.data.tags)
    children = [r for r in runs if r is not parent]
    assert parent.info.status == "FINISHED"
    assert {f.path for f in client.list_artifacts(parent.info.run_id)} == {
        "environment.json",
        "plan.json",
        "sweep.yaml",
        "log.txt",
        "trials.json",
    }
    assert parent.data.tags["gansweep.version.torch"]
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=swept.root, check=True, capture_output=True, text=True)
    assert parent.data.tags["mlflow.source.git.commit"] == head.stdout.strip()
    assert parent.data.tags["gansweep.git_dirty"] == "true"  # its home folder is not ignored there
    for run in children:
        tags, params = run.data.tags, run.data.params
        assert tags["mlflow.parentRunId"] == parent.info.run_id
        assert (tags["gansweep.outcome"], tags["gansweep.verdict"], tags["gansweep.sweep"]) == (
            "completed",
            "undecided",  # it was never evaluated
            "small",
        )
        assert (run.info.status, params["training.batch_size"], params["model.latent_dim"]) == ("FINISHED", "16", "8")
        assert params["seed"] == tags["gansweep.seed"]
        images = sorted(f.path for f in client.list_artifacts(run.info.run_id, "images"))
        steps = {int(name.split("+step+")[1].split("+")[0]) for name in images}
        assert (steps, len(images)) == ({0, 20, 30}, 6)  # a PNG and what the browser gets, for each step
        assert [f.path for f in client.list_artifacts(run.info.run_id, "checkpoints")] == [
            "checkpoints/last.safetensors"
        ]


def test_samples_reach_the_browser_pixel_by_pixel(swept: Service) -> None:
    """Enlarged by a whole factor, lossless: every pixel of the grid is a square of its own colour."""
    import numpy as np
    from PIL import Image

    trial = swept.folder().planned()[0]
    grid = np.asarray(Image.open(trial.sample(30)).convert("RGB"))
    copies = list((swept.home.artifacts / "small").rglob(f"*+step+30+*{'compressed.webp'}"))
    shown = [np.asarray(Image.open(path).convert("RGB")) for path in copies]
    factor = shown[0].shape[0] // grid.shape[0]
    enlarged = grid.repeat(factor, 0).repeat(factor, 1)
    assert any(np.array_equal(enlarged, image) for image in shown)


def test_a_second_run_trains_nothing_and_says_so(swept: Service) -> None:
    before = histories(swept.folder())
    began = time.monotonic()
    out, err = swept.call("run", swept.root / "small.yaml")
    assert time.monotonic() - began < 15  # it imports MLflow and asks the store
    assert out == ""
    assert_states(err, "small: nothing to train", "4 trials")
    assert histories(swept.folder()) == before
    run = read_json(swept.folder().all_trials()[0].published)["run_id"]
    MlflowClient(store.local_uri(swept.home)).delete_run(run)
    _, err = swept.call("run", swept.root / "small.yaml")
    assert_states(err, "deleted", "1 trial")
    assert_tracked_once(swept)


def test_sync_twice_changes_nothing(swept: Service) -> None:
    swept.call("sync", "small")
    for published in swept.folder().path.rglob("published.json"):
        state = json.loads(published.read_text())
        published.write_text(json.dumps({"uri": state["uri"]}))  # forgotten: all is sent again
    _, err = swept.call("sync", "small")
    assert_states(err, "small: ", store.local_uri(swept.home))
    assert_tracked_once(swept)


def test_show_names_a_command_that_gives_the_same_numbers(swept: Service) -> None:
    trial = swept.status()[3]
    shown = json.loads(swept.call("show", trial["id"], "--json")[0])
    assert Path(shown["samples"]).exists()
    words = shown["command"].replace("'", "").split(" ")
    start = next(i for i, w in enumerate(words) if w == "--set")
    swept.call("run", swept.folder().source, *words[start:])
    alone = f"small-{trial['id']}"
    assert list(final_weights(swept.folder(alone))) == [trial["id"]]
    assert histories(swept.folder(alone))[trial["id"]] == histories(swept.folder())[trial["id"]]


def test_more_values_and_more_steps_train_only_what_is_missing(service: Service) -> None:
    service.call("run", service.write(steps=20))
    first = histories(service.folder())
    _, err = service.call("run", service.write(steps=20, rates="[1e-4, 1e-3, 1e-2]"))
    assert "1 of 3 trials to train" in err
    _, err = service.call("run", service.write(steps=45, rates="[1e-4, 1e-3, 1e-2]"))
    assert "3 of 3 trials to train" in err
    assert all(t["step"] == 45 and t["outcome"] == "completed" for t in service.status())
    for trial, records in histories(service.folder()).items():
        assert records[: len(first.get(trial, []))] == first.get(trial, [])
    whole = train(service.home, service.write("whole", steps=45, rates="[1e-4, 1e-3, 1e-2]"))
    assert histories(whole) == histories(service.folder())
    assert_equal_weights(whole, service.folder())


def test_a_reused_process_leaks_nothing(service: Service) -> None:
    """The last of ten trials in one process has the numbers that it has alone."""
    rates = "[1e-4, 2e-4, 3e-4, 4e-4, 5e-4, 6e-4, 7e-4, 8e-4, 9e-4, 1e-3]"
    service.call("run", service.write("ten", rates=rates), "--set", "resources.max_concurrent=1")
    train(service.home, service.write("one", rates="[1e-3]"))
    (alone,) = histories(service.folder("one"))
    assert histories(service.folder("ten"))[alone] == histories(service.folder("one"))[alone]
    ten, one = final_weights(service.folder("ten"))[alone], final_weights(service.folder("one"))[alone]
    assert all((ten[name] == one[name]).all() for name in one)


def test_a_running_sweep_refuses_a_second_start_and_stops_on_request(service: Service) -> None:
    file = service.write(steps=4000)
    process = service.start("run", file)
    service.wait_for(service.training_began)
    _, err = service.call("run", file, code=1)
    assert_states(err, "small is", "running", f"process {process.pid}", "`gansweep stop small`")
    _, err = service.call("clean", "small", "--yes", code=1)
    assert_states(err, "small is running", "`gansweep stop small`")
    running = [t["id"] for t in service.status() if t["outcome"] == "running"]
    service.call("stop", "small", running[0])
    service.wait_for(lambda: {t["id"]: t["outcome"] for t in service.status()}[running[0]] == "interrupted", 10)
    assert process.poll() is None, "one trial was stopped, not the sweep"
    service.call("stop", "small")
    _, err = process.communicate(timeout=30)
    assert process.returncode == 0
    assert_states(err.splitlines()[-1], "stop", "of 2 trials")
    assert {t["outcome"] for t in service.status()} == {"interrupted"}
    _, err = service.call("stop", "small", code=1)
    assert err == "small is not running\n"


def test_a_time_budget_ends_in_good_order(service: Service) -> None:
    file = service.write(steps=100_000, seeds=2)
    _, err = service.call("run", file, "--time-budget", "12s", "--set", "resources.max_concurrent=1")
    assert_states(err.splitlines()[-1], "time budget", "of 4 trials")
    assert [t["outcome"] for t in service.status()].count("pending") >= 3, "none that was queued is begun"


def test_one_that_raises_is_crashed_and_the_others_go_on(service: Service) -> None:
    file = service.write(rates="[1e-4, 2e-4, 1e-3]", steps=20)
    train(service.home, file)
    victim = service.folder().planned()[1]
    for path in victim.all_checkpoints():
        path.write_bytes(path.read_bytes()[:1000])  # every checkpoint is truncated
    _out, err = service.call("run", file, "--set", "training.steps=30", code=4)
    assert_states(err, f"{victim.id}: crashed: {victim.checkpoints}: ", f"delete {victim.path}", "1 trial crashed")
    assert [t["outcome"] for t in service.status()] == ["completed", "crashed", "completed"]
    assert "CheckpointError" in service.call("show", victim.id)[0]


def test_a_damaged_checkpoint_is_reported_and_the_one_before_is_used(service: Service) -> None:
    file = service.write(rates="[1e-4]", steps=20)
    train(service.home, file)
    calm = train(service.home, service.write("calm", rates="[1e-4]", steps=30))
    (trial,) = service.folder().planned()
    newest = trial.all_checkpoints()[-1]
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    _, err = service.call("run", file, "--set", "training.steps=30")
    assert_states(err, f"{newest}: damaged", "step 10")
    assert_equal_weights(service.folder(), calm)


def test_a_process_that_always_dies_is_given_up(chaotic: Service) -> None:
    """Three retries, then crashed; the others complete."""
    file = chaotic.write(rates="[1e-4, 1e-3]", steps=30)
    order = Path(chaotic.environment["CHAOS_ORDER"])
    order.write_text("checkpoint")
    process = chaotic.start("run", file, "--set", "resources.max_concurrent=1")
    deaths = Path(chaotic.environment["CHAOS_LOG"])
    died = 0
    while process.poll() is None and died < 4:
        if deaths.exists() and len(deaths.read_text().splitlines()) > died:
            died += 1
            if died < 4:
                order.write_text("checkpoint")
        time.sleep(0.02)
    _, err = process.communicate(timeout=120)
    assert process.returncode in (0, 4)
    assert_states(err, "process died", "checkpoint")
    assert "Traceback" not in err
    assert died == 4


def test_divergence_is_stopped_with_a_reason(service: Service) -> None:
    _out, err = service.call("run", service.write(rates="[1e-3, 1e20]"))
    healthy, bad = service.status()
    assert (healthy["outcome"], bad["outcome"], bad["verdict"]) == ("completed", "stopped", "divergence")
    assert f"{bad['id']}: stopped: divergence " in err
    assert bad["reason"].startswith("divergence ")
    _, err = service.call("run", service.root / "small.yaml")
    assert_states(err, "small: nothing to train", "2 trials")


def test_an_interpreter_whose_path_a_shell_would_split(service: Service) -> None:
    environment = service.root / "it's a $folder" / "venv"
    environment.parent.mkdir()
    environment.symlink_to(sys.prefix)
    command = [environment / "bin" / Path(sys.executable).name, *COMMAND[1:], "run", service.write(steps=5)]
    done = subprocess.run(
        command,
        env={**os.environ, "GANSWEEP_HOME": str(service.home.path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert {t["outcome"] for t in service.status()} == {"completed"}


def test_clean_removes_files_and_records_after_asking(service: Service) -> None:
    file = service.write(rates="[1e-4]", steps=5)
    train(service.home, file)
    service.call("clean", "small", code=130)  # no answer on stdin
    assert service.folder().path.exists()
    service.call("clean", "small", "--yes")
    assert not service.folder().path.exists()
    service.call("run", file)  # the name is free again
    assert_tracked_once(service)


def test_a_store_that_goes_away_neither_stops_training_nor_loses_anything(service: Service) -> None:
    """A real MLflow server, killed in the middle of a sweep and started again afterwards."""
    import socket
    import urllib.request

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    uri = f"http://127.0.0.1:{port}"

    def serve() -> subprocess.Popen[bytes]:
        command = [
            sys.executable,
            "-m",
            "mlflow",
            "server",
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
            "--workers",
            "1",
        ]
        command += ["--backend-store-uri", f"sqlite:///{service.root}/server.db"]
        command += ["--artifacts-destination", str(service.root / "server-artifacts")]
        environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        server = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )

        def up() -> bool:
            try:
                with urllib.request.urlopen(f"{uri}/health", timeout=1):
                    return True
            except OSError:
                return False

        service.wait_for(up, 90)
        return server

    file = service.write(steps=400, rates="[1e-4, 1e-3]", maps=8)
    _, err = service.call("run", file, "--tracking-uri", uri, code=1)
    assert_states(err, f"--tracking-uri {uri}: ", "no MLflow server")
    assert not service.folder().path.exists(), "nothing half-made is left behind"
    server = serve()
    try:
        process = service.start("run", file, "--tracking-uri", uri)
        service.wait_for(service.training_began)
        os.killpg(server.pid, signal.SIGKILL)
        _, err = process.communicate(timeout=180)
        assert process.returncode == 0, err
        assert_states(err, "tracking store", f"`gansweep sync small --tracking-uri {uri}`")
        assert all(t["outcome"] == "completed" and t["step"] == 400 for t in service.status())
        server = serve()
        service.call("sync", "small")
        from mlflow import MlflowClient

        client = MlflowClient(uri)
        runs = client.search_runs([client.get_experiment_by_name("small").experiment_id])
        assert len(runs) == 3
        for run in runs:
            if "gansweep.trial_id" in run.data.tags:
                history = client.get_metric_history(run.info.run_id, "loss_d")
                assert sorted(m.step for m in history) == list(range(5, 401, 5))
    finally:
        os.killpg(server.pid, signal.SIGKILL)
