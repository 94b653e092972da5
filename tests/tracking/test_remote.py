"""A sweep's folder → a real store → the same sweep from afar: how it stands, its log, and a request to end."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from bench import STEPS, Bench, losses
from mlflow import MlflowClient

from gansweep.errors import UserError
from gansweep.health.verdict import Verdict, states_of
from gansweep.records import lock, log, outcome
from gansweep.records.figures import figures_of
from gansweep.records.layout import write_json
from gansweep.records.outcome import Outcome
from gansweep.records.ranking import ranking_of
from gansweep.tracking import summary
from gansweep.tracking.remote import RemoteSweep

D_WON = Verdict("discriminator_won", 8, "discriminator won since step 8: AUC 0.999", {"figures": {"d_auc": 0.999}})
COLLAPSE = Verdict("mode_collapse", 9, "mode collapse since step 9: samples cover 12%", {})


def afar(bench: Bench) -> RemoteSweep:
    return RemoteSweep(bench.home, bench.uri, bench.folder.name)


def test_its_trials_look_as_they_do_at_home(bench: Bench) -> None:
    bench.trial("a", losses(STEPS), Outcome("completed", STEPS, verdicts=(COLLAPSE, D_WON)))
    bench.trial("b", losses(9), Outcome("stopped", 9, "mode collapse", (COLLAPSE,), "mode_collapse"))
    bench.trial("c", losses(5), Outcome("crashed", 5, "ValueError: no"))
    bench.trial("d", [{"loss_d": math.inf}, {"loss_d": -math.inf, "loss_g": 1.5}], Outcome("interrupted", 2, "asked"))
    bench.trial("e", varied={"training.beta1": 0.9})
    bench.publish()
    ranking = ranking_of(bench.folder)
    here = [{**outcome.summary(trial), **figures_of(trial, ranking)} for trial in bench.folder.planned()]
    assert [trial["outcome"] for trial in here] == ["completed", "stopped", "crashed", "interrupted", "pending"]
    assert afar(bench).trials() == (here, 0)
    assert [[state["kind"] for state in trial["states"]] for trial in here] == [["discriminator_won"], [], [], [], []]


def test_states_are_read_from_tags_where_the_list_of_trials_is_missing(bench: Bench) -> None:
    """What version 0.1.0 called a failure, and is a state today, is no verdict."""
    dominated = Verdict("discriminator_dominance", 8, "discriminator dominance since step 8: AUC 0.999", {})
    bench.trial("a", losses(STEPS), Outcome("completed", STEPS, verdicts=(COLLAPSE, D_WON)))
    bench.trial("b", losses(STEPS), Outcome("completed", STEPS, verdicts=(dominated,)))
    bench.publish()
    runs = bench.runs()
    bench.client.set_tag(runs["b"].info.run_id, "gansweep.verdict", "discriminator_dominance")
    found = {one.id: one for one in summary.of_runs([*bench.runs().values()], b"").values()}
    assert {name: (one.verdict, one.states) for name, one in found.items()} == {
        "a": ("mode_collapse", states_of([D_WON])),
        "b": ("", states_of([Verdict.from_json(dominated.to_json())])),
    }


def test_only_the_last_plan_counts_and_it_may_grow(bench: Bench) -> None:
    bench.trial("a", losses(3))
    made = bench.publish(running=True)
    bench.trial("b")
    made.publish(running=True)
    assert [trial["id"] for trial in afar(bench).trials()[0]] == ["a", "b"]
    bench.folder.plan.write_text('{"trials": ["b"]}')
    bench.publish()
    assert [trial["id"] for trial in afar(bench).trials()[0]] == ["b"]


def test_trials_of_earlier_plans_are_counted_and_told_on_request(bench: Bench) -> None:
    config = {"seed": 3, "training": {"learning_rate": 1e-4}, "model": {"feature_maps": 4}}
    bench.trial("old", losses(3), config=config)
    bench.publish()
    write_json(bench.folder.plan, {"trials": []})
    bench.trial("new", losses(3), config={**config, "model": {"feature_maps": 8}})
    bench.publish()
    shown, earlier = afar(bench).trials()
    assert ([trial["id"] for trial in shown], earlier) == (["new"], 1)
    everything, _ = afar(bench).trials(all_plans=True)
    assert [(trial["id"], trial["varied"]["model.feature_maps"]) for trial in everything] == [("new", 8), ("old", 4)]


def test_it_runs_until_its_driver_says_otherwise(bench: Bench) -> None:
    trial = bench.trial("a", losses(3))
    with lock.acquire(trial.lock):
        made = bench.publish(running=True)
        assert (afar(bench).status(), afar(bench).is_running()) == ("RUNNING", True)
    made.publish(running=False)
    assert (afar(bench).status(), afar(bench).is_running()) == ("SCHEDULED", False)


def test_the_log_is_sent_when_it_is_new(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.trial("a", losses(3))
    sent: list[str] = []
    original = MlflowClient.log_artifact

    def log_artifact(self: MlflowClient, run_id: str, path: str, *rest: str) -> None:
        sent.append(Path(path).name)
        original(self, run_id, path, *rest)

    made = bench.publish(running=True)
    assert afar(bench).log() == ""
    monkeypatch.setattr(MlflowClient, "log_artifact", log_artifact)
    log.keep(bench.folder.log, "first\nand more")
    made.publish(running=True)
    made.publish(running=True)
    assert sent == ["log.txt"]
    log.keep(bench.folder.log, "last")
    made.publish(running=False)
    lines = afar(bench).log().splitlines()
    assert [line[19:] for line in lines] == ["  first", "  and more", "  last"]
    assert sent == ["log.txt", "log.txt"]


def test_a_request_to_end_arrives_once_and_an_old_one_ends_nothing(bench: Bench) -> None:
    bench.trial("a", losses(3))
    made = bench.publish(running=True)
    assert not bench.folder.stop.exists()
    afar(bench).ask_to_stop()
    made.publish(running=True)
    assert bench.folder.stop.exists()
    bench.folder.stop.unlink()
    made.publish(running=True)
    assert not bench.folder.stop.exists(), "it was heeded already"
    again = bench.publish(running=True)  # the next run
    assert not bench.folder.stop.exists(), "of the run before"
    afar(bench).ask_to_stop()
    again.publish(running=True)
    assert bench.folder.stop.exists()


def test_a_round_with_nothing_new_is_one_request(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    trial = bench.trial("a", losses(3))
    log.keep(bench.folder.log, "printed")
    with lock.acquire(trial.lock):
        made = bench.publish(running=True)
        asked: list[str] = []
        for name in (name for name in dir(MlflowClient) if not name.startswith("_")):
            original = getattr(MlflowClient, name)

            def counted(self: MlflowClient, *rest: object, _name: str = name, _original: object = original) -> object:
                asked.append(_name)
                return _original(self, *rest)  # type: ignore[operator]

            if callable(original):
                monkeypatch.setattr(MlflowClient, name, counted)
        made.publish(running=True)
    assert asked == ["get_run"]


def test_a_sweep_that_the_store_does_not_have(bench: Bench) -> None:
    with pytest.raises(UserError, match=f"no sweep named '{bench.folder.name}'"):
        afar(bench).trials()
    bench.client.create_experiment(bench.folder.name)
    with pytest.raises(UserError, match="has no parent run: it has just begun, or is none of gansweep's"):
        afar(bench).is_running()
