"""One sweep's life through the real command line: run, run again, grow, look, publish, stop, clean."""

from __future__ import annotations

import json
import os
import pty
import re
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import psutil
import pytest
from bench import empty_home
from facts import assert_states
from mlflow import MlflowClient
from ray_head import free_ports
from scenes import train, warm_home
from service import COMMAND, Service, assert_tracked_once, cpu_s, histories
from tracking_server import TrackingServer

from gansweep.gan import checkpoint
from gansweep.records.layout import SweepFolder, read_json
from gansweep.tracking import store

pytestmark = pytest.mark.slow

Histories = dict[str, list[tuple[int, dict[str, str]]]]
ALONE = ("--set", "resources.max_concurrent=1")  # one process: half the imports
SHELL_S = 3
LAST_WRITTEN = "artifacts/*/*/artifacts/overview.png"
VERDICT = "undecided"  # after 30 steps
FORMER = "{on: [divergence]}\nthresholds: {not_learning: {need: 3}}"  # a name of version 0.1.0, and today's default


def at_leisure(chaotic: Service) -> Service:
    """The service, whose trials only have to be at work: they leave the cores to other tests."""
    Path(chaotic.environment["CHAOS_PACE"]).write_text("0.05")
    return chaotic


@dataclass(frozen=True)
class Swept:
    """A sweep of two learning rates × three seeds, run to its end by a command that replaced a shell.

    Attributes:
        took_s: Seconds from the start of the shell to the end of the command.
    """

    service: Service
    took_s: float


@pytest.fixture(scope="module")
def closed_terminal(tmp_path_factory: pytest.TempPathFactory) -> Swept:
    """In one process, one trial after the other, in a terminal that is closed: as when a window is closed, tmux ends or
    ssh is dropped, SIGHUP, then EIO for whatever is written.

    In a git checkout whose name is awkward on purpose, by an interpreter whose path a shell would split. A cluster of
    somebody else, which is named in the environment alone, is not asked.
    """
    service = Service(tmp_path_factory.mktemp("a folder, näive"), {})
    warm_home(service.home.path)
    file = service.write(seeds=3, evaluations=3, stop=FORMER)
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    for words in (["init", "-q"], ["add", "small.yaml"], [*who, "commit", "-qm", "a sweep"]):
        subprocess.run(["git", *words], cwd=service.root, check=True)
    environment = service.root / "it's a $folder" / "venv"
    environment.parent.mkdir()
    environment.symlink_to(sys.prefix)
    interpreter = environment / "bin" / Path(sys.executable).name
    reader, terminal = pty.openpty()
    began = time.monotonic()
    process = subprocess.Popen(
        ["sh", "-c", f'sleep {SHELL_S}; exec "$@"', "sh", interpreter, *COMMAND[1:], "run", file, *ALONE],
        env={**os.environ, "GANSWEEP_HOME": str(service.home.path), "RAY_ADDRESS": "127.0.0.1:1", "TERM": "xterm"},
        cwd=service.root,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    )
    os.close(terminal)
    shown = b""
    while b"starting Ray" not in shown:
        shown += os.read(reader, 4096)
    os.close(reader)
    while process.poll() is None and not [*service.home.path.glob(LAST_WRITTEN)]:
        os.killpg(process.pid, signal.SIGHUP)
        time.sleep(0.1)
    assert process.wait(240) == 0, service.folder().log.read_text()
    return Swept(service, time.monotonic() - began)


@pytest.fixture(scope="module")
def swept(closed_terminal: Swept) -> Service:
    return closed_terminal.service


@dataclass(frozen=True)
class Continued:
    """A finished sweep with four of five steps trained, some files damaged, and what `run` makes of it.

    Attributes:
        ids: The planned trials: sound, with one damaged checkpoint, with nothing but damaged ones, new and sound, new
            and divergent.
        damaged: The damaged checkpoint of the second.
        before: Histories before the command.
        planned: What `gansweep plan` printed before the command.
        err: What the command printed to stderr.
    """

    service: Service
    ids: list[str]
    damaged: Path
    before: Histories
    planned: str
    err: str


@pytest.fixture(scope="module")
def continued(tmp_path_factory: pytest.TempPathFactory) -> Continued:
    service = Service(tmp_path_factory.mktemp("continued"), {})
    warm_home(service.home.path)
    train(service.home, service.write(steps=20, rates="[1e-4, 1e-3, 1e-2]"))
    before = histories(service.folder())
    _, torn, lost = service.folder().planned()
    damaged = torn.all_checkpoints()[-1]
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    for path in lost.all_checkpoints():
        path.write_bytes(path.read_bytes()[:1000])
    rates = "[1e-4, 1e-3, 1e-2, 2e-4, 1e20]"
    planned, _ = service.ask("plan", service.write(steps=20, rates=rates), "--no-timing")
    _, err = service.call("run", service.write(steps=45, rates=rates), *ALONE, "--verbose", code=4)
    return Continued(service, [trial.id for trial in service.folder().planned()], damaged, before, planned, err)


def test_a_closed_terminal_ends_the_view_and_not_the_sweep(closed_terminal: Swept) -> None:
    """The shell's seconds do not count as the sweep's."""
    service = closed_terminal.service
    assert [*service.home.path.glob(LAST_WRITTEN)]
    messages = service.folder().log.read_text()
    assert messages.count("thresholds.not_learning: this kind is called never_took_off now") == 1
    assert messages.count("running from step 0") == 6
    assert messages.count("completed at step 30") == 6
    ((minutes, seconds),) = re.findall(r"all 6 trials are finished after (?:(\d+) min )?(?:(\d+) s)?", messages)
    assert 0 < 60 * int(minutes or 0) + int(seconds or 0) < closed_terminal.took_s - SHELL_S + 1


def test_status_says_what_happened(swept: Service) -> None:
    trials = swept.status()
    assert [t["varied"] for t in trials] == [{"training.learning_rate": r} for r in [1e-4] * 3 + [1e-3] * 3]
    assert [t["seed"] for t in trials] == [0, 1, 2, 0, 1, 2]
    for trial in trials:
        assert (trial["outcome"], trial["verdict"], trial["step"], trial["steps_total"]) == (
            "completed",
            VERDICT,
            30,
            30,
        )
        assert trial["run_id"]
        assert set(trial["metrics"]) >= {"loss_d", "loss_g", "d_real", "d_fake", "grad_norm_d", "grad_norm_g"}


def test_everything_is_in_mlflow_once(swept: Service) -> None:
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
        "overview.png",
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
            VERDICT,
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
    began = cpu_s()
    out, err = replace(swept, fresh=True).call("run", swept.root / "small.yaml")
    assert cpu_s() - began < 8, "it imports MLflow and asks the store, and starts nothing"
    assert out == ""
    assert_states(err, "small: nothing to train", "6 trials")
    assert histories(swept.folder()) == before
    run = read_json(swept.folder().all_trials()[0].published)["run_id"]
    MlflowClient(store.local_uri(swept.home)).delete_run(run)
    _, err = swept.ask("run", swept.root / "small.yaml")
    assert_states(err, "deleted", "1 trial")
    assert_tracked_once(swept)


def test_sync_twice_changes_nothing(swept: Service) -> None:
    swept.ask("sync", "small")
    for published in swept.folder().path.rglob("published.json"):
        state = json.loads(published.read_text())
        published.write_text(json.dumps({"uri": state["uri"]}))  # forgotten: all is sent again
    _, err = swept.ask("sync", "small")
    assert_states(err, "small: ", store.local_uri(swept.home))
    assert_tracked_once(swept)


def test_show_names_a_command_that_gives_the_same_numbers(swept: Service) -> None:
    """The last of six trials in one process has the numbers that it has alone, in another: nothing leaks."""
    trial = swept.status()[-1]
    shown = json.loads(swept.ask("show", trial["id"], "--json")[0])
    assert Path(shown["samples"]).exists()
    *command, file = shlex.split(shown["command"])[:3]
    assert command == ["gansweep", "run"]
    alone = train(swept.home, Path(file), *overrides_in(shown["command"]))
    assert alone.name == f"small-{trial['id']}"
    assert [folder.id for folder in alone.all_trials()] == [trial["id"]]
    assert_same(trial["id"], alone, swept.folder())


def assert_same(trial: str, one: SweepFolder, other: SweepFolder) -> None:
    """A trial of two sweeps has the same records and the same weights in both."""
    assert histories(one)[trial] == histories(other)[trial]
    weights, others = (checkpoint.load(folder.trial(trial).all_checkpoints()[-1])[0] for folder in (one, other))
    assert weights.keys() == others.keys()
    assert all((weights[name] == others[name]).all() for name in weights)


def overrides_in(command: str) -> list[str]:
    """The values of --set in a command line."""
    words = shlex.split(command)
    return [value for option, value in pairwise(words) if option == "--set"]


def test_more_values_and_more_steps_train_only_what_is_missing(continued: Continued) -> None:
    assert "to train  2 of 5 trials" in continued.planned, "more values"
    assert "5 of 5 trials to train" in continued.err, "more steps"
    service, ids = continued.service, continued.ids
    for trial in (ids[0], ids[1]):
        assert histories(service.folder())[trial][: len(continued.before[trial])] == continued.before[trial]
    whole = train(service.home, service.write("whole", steps=45, rates="[1e-4, 1e-3, 2e-4]"))
    for trial in (ids[0], ids[1], ids[3]):
        assert_same(trial, whole, service.folder())


def test_one_that_raises_is_crashed_and_the_others_go_on(continued: Continued) -> None:
    victim = continued.service.folder().trial(continued.ids[2])
    assert_states(
        continued.err, f"{victim.id}: crashed: {victim.checkpoints}: ", f"delete {victim.path}", "1 trial crashed"
    )
    outcomes = [(t["outcome"], t["step"]) for t in continued.service.status()]
    assert outcomes[:2] == [("completed", 45)] * 2
    assert outcomes[2][0] == "crashed"
    assert outcomes[3] == ("completed", 45)
    assert "CheckpointError" in continued.service.ask("show", victim.id)[0]


def test_a_damaged_checkpoint_is_reported_and_the_one_before_is_used(continued: Continued) -> None:
    assert_states(continued.err, f"{continued.damaged}: damaged", "step 10")


def test_divergence_is_stopped_with_a_reason(continued: Continued) -> None:
    service = continued.service
    bad = service.status()[-1]
    assert (bad["outcome"], bad["verdict"]) == ("stopped", "divergence")
    assert f"{bad['id']}: stopped: divergence " in continued.err
    assert bad["reason"].startswith("divergence ")
    planned, _ = service.ask("plan", service.root / "small.yaml", "--no-timing")
    assert "to train  1 of 5 trials" in planned, "the crashed one, not the stopped one"


def test_a_running_sweep_refuses_a_second_start_and_stops_on_request(chaotic: Service) -> None:
    service = at_leisure(chaotic)
    file = service.write(steps=4000)
    process = service.start("run", file)
    service.wait_for(service.training_began, 240)
    _, err = service.ask("run", file, code=1)
    assert_states(err, "small is", "running", f"process {process.pid}", "`gansweep stop small`")
    _, err = service.ask("clean", "small", "--yes", code=1)
    assert_states(err, "small is running", "`gansweep stop small`")
    started = [" ".join(child.cmdline()) for child in psutil.Process(process.pid).children(recursive=True)]
    assert not [one for one in started if re.search(r"/(monitor|dashboard|log_monitor)\.py ", one)]
    running = [t["id"] for t in service.status() if t["outcome"] == "running"]
    service.ask("stop", "small", running[0])
    service.wait_for(lambda: {t["id"]: t["outcome"] for t in service.status()}[running[0]] == "interrupted", 10)
    assert process.poll() is None, "one trial was stopped, not the sweep"
    service.ask("stop", "small")
    _, err = process.communicate(timeout=30)
    assert process.returncode == 0
    assert_states(err.splitlines()[-1], "stop", "of 2 trials")
    assert {t["outcome"] for t in service.status()} == {"interrupted"}
    _, err = service.ask("stop", "small", code=1)
    assert err == "small is not running\n"


def test_a_time_budget_ends_in_good_order(chaotic: Service) -> None:
    service = at_leisure(chaotic)
    last = service.root / "last"
    service.environment["CHAOS_LAST"] = str(last)
    file = service.write(steps=100_000, seeds=2)
    _, err = service.call("run", file, "--time-budget", "8s", *ALONE)
    assert_states(err.splitlines()[-1], "time budget", "of 4 trials")
    assert [t["outcome"] for t in service.status()].count("pending") >= 3, "none that was queued is begun"
    programs = last.read_text().splitlines()
    assert {"gcs_server", "raylet"} <= {*programs}, "Ray ends a command a minute after them"
    assert not [program for program in programs if program.startswith("ray::")]


def test_a_fault_of_ours_after_ray_has_begun_exits_3_at_once(chaotic: Service) -> None:
    """A trial's process dies, and its death cannot be counted: a folder lies in the place of the file."""
    file = chaotic.write(rates="[1e-4]", steps=2000)
    process = chaotic.start("run", file)
    chaotic.wait_for(lambda: chaotic.folder().all_trials(), 240)
    (trial,) = chaotic.folder().all_trials()
    trial.deaths.mkdir()
    Path(chaotic.environment["CHAOS_ORDER"]).write_text("journalled")
    chaotic.wait_for(Path(chaotic.environment["CHAOS_LOG"]).exists, 240)
    began = time.monotonic()
    _, err = process.communicate(timeout=240)
    assert process.returncode == 3, err
    assert time.monotonic() - began < 30
    last = err.splitlines()[-1]
    assert re.fullmatch(r"gansweep: internal error: IsADirectoryError: .*deaths'; the traceback is in .*\.log", last), (
        err
    )
    assert "Traceback" not in err


def test_clean_removes_files_and_records_after_asking(service: Service) -> None:
    file = service.write(rates="[1e-4]", steps=5)
    train(service.home, file)
    service.call("clean", "small", code=130)  # no answer on stdin
    assert service.folder().path.exists()
    service.ask("clean", "small", "--yes")
    assert not service.folder().path.exists()
    train(service.home, file)  # the name is free again
    assert_tracked_once(service)


def test_a_store_that_goes_away_neither_stops_training_nor_loses_anything(chaotic: Service) -> None:
    """A real MLflow server, killed in the middle of a sweep and started again afterwards."""
    service = chaotic
    service.environment["CHAOS_PUBLISH_S"] = "0.5"
    own = empty_home(service.root / "server")
    (port,) = free_ports(1)
    server = TrackingServer(store.local_uri(own), own.artifacts.as_uri(), "127.0.0.1", port, {})
    file = service.write(steps=200)
    _, err = service.ask("run", file, "--tracking-uri", server.uri, code=1)
    assert_states(err, f"--tracking-uri {server.uri}: ", "no MLflow server")
    assert not service.folder().path.exists(), "nothing half-made is left behind"
    server.start()
    try:
        server.wait()
        process = service.start("run", file, "--tracking-uri", server.uri, *ALONE)
        service.wait_for(service.training_began, 240)
        server.kill()
        _, err = process.communicate(timeout=180)
        assert process.returncode == 0, err
        assert_states(err, "tracking store", f"`gansweep sync small --tracking-uri {server.uri}`")
        assert all(t["outcome"] == "completed" and t["step"] == 200 for t in service.status())
        server.start()
        server.wait()
        service.ask("sync", "small")
        client = MlflowClient(server.uri)
        runs = client.search_runs([client.get_experiment_by_name("small").experiment_id])
        assert len(runs) == 3
        for run in runs:
            if "gansweep.trial_id" in run.data.tags:
                history = client.get_metric_history(run.info.run_id, "loss_d")
                assert sorted(m.step for m in history) == list(range(5, 201, 5))
    finally:
        server.kill()


def test_verbose_prints_where_the_time_until_the_first_step_went(continued: Continued) -> None:
    lines = [re.fullmatch(r" *(\d+\.\d) s  (.*)", line) for line in continued.err.splitlines()]
    times, phases = zip(*(line.groups() for line in lines if line), strict=True)
    assert [float(time) for time in times] == sorted(map(float, times))
    *of_command, of_process = phases
    names = "imports, sweep file, plan and images, checks and documents, imports of Ray, start of Ray, resources"
    expected = [*names.split(", "), "processes", "first step"]
    assert [re.sub(r" \d+\.\d s$", "", phase) for phase in of_command] == expected
    parts = "start, imports of torch, device, networks and images, first records, first steps"
    assert re.sub(r" \d+\.\d s", "", of_process).partition(": ")[2] == parts, "once, although it trained several"
