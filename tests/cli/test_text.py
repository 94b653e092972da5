from __future__ import annotations

from gansweep.cli.text import MANY_SETTINGS, columns_of, setting_columns, varied

RATE, BETA, G, D = (
    "training.learning_rate",
    "training.beta1",
    "model.generator.feature_maps",
    "model.discriminator.feature_maps",
)
USUAL = {RATE: 2e-4, BETA: 0.5, G: 16, D: 16}


def test_settings_that_fit_have_a_column_each() -> None:
    found = setting_columns([{RATE: 2e-4, BETA: 0.5}, {RATE: 0.02, BETA: None}], 80)
    assert found.columns == [["learning_rate", "2e-4", "0.02"], ["beta1", "0.5", "–"]]
    assert found.usual == ""
    assert len(setting_columns([USUAL, {**USUAL, BETA: 0.9}], 200).columns) == 4


def test_keys_that_end_alike_are_told_apart() -> None:
    assert [heading for heading, *_ in columns_of([{G: 8, D: 16}])] == [
        "generator.feature_maps",
        "discriminator.feature_maps",
    ]
    assert varied({G: 8, D: 16}, seed=3) == "generator.feature_maps=8 discriminator.feature_maps=16 seed=3"
    assert varied({}, seed=3) == "seed=3"


def test_what_belongs_to_one_network_keeps_its_name() -> None:
    keys = ("training.discriminator.learning_rate", "model.generator.depth", "model.discriminator.growth.at")
    assert [heading for heading, *_ in columns_of([dict.fromkeys(keys, 2)])] == [
        "discriminator.learning_rate",
        "generator.depth",
        "discriminator.growth.at",
    ]


def test_truth_is_written_as_in_a_sweep_file() -> None:
    assert columns_of([{"model.generator.separable": True}, {"model.generator.separable": False}]) == [
        ["generator.separable", "true", "false"]
    ]


def test_where_they_do_not_fit_one_column_says_what_is_unusual() -> None:
    found = setting_columns([USUAL, {**USUAL, BETA: 0.9}, {**USUAL, G: 32, D: 8}, USUAL], 80)
    assert found.columns == [
        [
            MANY_SETTINGS,
            "as most",
            "beta1=0.9",
            "generator.feature_maps=32 discriminator.feature_maps=8",
            "as most",
        ]
    ]
    assert found.usual == ("learning_rate=2e-4 beta1=0.5 generator.feature_maps=16 discriminator.feature_maps=16")


def test_nothing_is_left_out_that_is_not_what_most_have() -> None:
    drawn = [{**USUAL, RATE: rate, BETA: beta, G: maps} for rate, beta, maps in ((1e-4, 0.0, 8), (2e-3, 0.5, 4))]
    (column,) = setting_columns(drawn, 80).columns
    assert column[1].startswith("learning_rate=1e-4 beta1=0 generator.feature_maps=8")
    assert column[2].startswith("learning_rate=2e-3 beta1=0.5 generator.feature_maps=4")
    alone = setting_columns([USUAL], 80)
    assert alone.columns == [[MANY_SETTINGS, varied(USUAL)]]
    assert alone.usual == ""


def test_lists_are_written_without_their_brackets() -> None:
    assert columns_of([{"dataset.classes": ["u"]}, {"dataset.classes": ["A", "B"]}]) == [["classes", "u", "A+B"]]
