from __future__ import annotations

from gansweep.cli.text import MANY_SETTINGS, setting_columns, varied

RATE, BETA, G, D = (
    "training.learning_rate",
    "training.beta1",
    "model.generator.feature_maps",
    "model.discriminator.feature_maps",
)


def test_few_settings_have_a_column_each() -> None:
    settings = [{RATE: 2e-4, BETA: 0.5}, {RATE: 0.02, BETA: None}]
    assert setting_columns(settings) == [["learning_rate", "2e-4", "0.02"], ["beta1", "0.5", "–"]]


def test_keys_that_end_alike_are_told_apart() -> None:
    assert [heading for heading, *_ in setting_columns([{G: 8, D: 16}])] == [
        "generator.feature_maps",
        "discriminator.feature_maps",
    ]
    assert varied({G: 8, D: 16}, seed=3) == "generator.feature_maps=8 discriminator.feature_maps=16 seed=3"


def test_of_many_settings_one_column_says_what_is_unusual() -> None:
    usual = {RATE: 2e-4, BETA: 0.5, G: 16, D: 16}
    (column,) = setting_columns([usual, {**usual, BETA: 0.9}, {**usual, G: 32, D: 8}, usual])
    assert column == [
        MANY_SETTINGS,
        "as most",
        "beta1=0.9",
        "generator.feature_maps=32 discriminator.feature_maps=8",
        "as most",
    ]


def test_lists_are_written_without_their_brackets() -> None:
    assert setting_columns([{"dataset.classes": ["u"]}, {"dataset.classes": ["A", "B"]}]) == [["classes", "u", "A+B"]]
