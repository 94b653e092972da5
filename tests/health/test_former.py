"""Names of kinds of verdicts in version 0.1.0."""

from __future__ import annotations

import pytest

from gansweep.health.detectors.former import current_thresholds
from gansweep.health.judge import judge_of
from gansweep.health.kinds import FORMER, current_kind
from gansweep.health.verdict import KINDS, Verdict


def test_every_former_name_has_a_kind_of_today() -> None:
    assert {*FORMER.values()} <= {*KINDS}
    assert not {*FORMER} & {*KINDS}
    assert current_kind("mode_collapse") == "mode_collapse"


@pytest.mark.parametrize("former", FORMER)
def test_a_recorded_verdict_is_read_and_says_what_it_was_called(former: str) -> None:
    found = Verdict.from_json(Verdict(former, 300, "D is far ahead").to_json())
    assert found.kind == FORMER[former]
    assert found.reason == f"D is far ahead (called {former.replace('_', ' ')} by version 0.1.0)"
    assert Verdict.from_json(found.to_json()) == found, "once"


def test_thresholds_are_read_by_todays_names_and_what_is_gone_is_said() -> None:
    given = {"not_learning": {"density": 0.2}, "discriminator_dominance": {"sigma": 0.05, "start": 0.2}}
    found, sentences = current_thresholds({**given, "imbalance": {"kl": 0.3}})
    assert found == {
        "never_took_off": {"density": 0.2},
        "discriminator_won": {"sigma": 0.05},
        "imbalance": {"kl": 0.3},
    }
    assert sentences == [
        "thresholds.not_learning: this kind is called never_took_off now",
        "thresholds.discriminator_dominance: this kind is called discriminator_won now; start no longer exists",
    ]
    changed = judge_of(given).detector("discriminator_won")
    assert changed is not None
    assert changed.thresholds()["sigma"] == 0.05
    assert current_thresholds(found) == (found, [])
    assert current_thresholds({"not_learning": 3})[0] == {"never_took_off": 3}, "refused where it is validated"
