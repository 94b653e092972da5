"""Messages for invalid values and unknown keys of a sweep file, with suggestions."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from typing import Any

from pydantic_core import ErrorDetails

WANTED = {
    "int_type": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "text",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}
# Names used for these keys elsewhere, without underscores: edit distance would not match lr and learning_rate.
ALIASES = {
    "amp": "training.precision",
    "arch": "model.architecture",
    "batch": "training.batch_size",
    "batches": "training.batch_size",
    "betas": "training.beta1",
    "bs": "training.batch_size",
    "clipvalue": "training.clip",
    "conditional": "model.conditioning",
    "criterion": "training.loss",
    "dataroot": "dataset.path",
    "dlr": "training.discriminator.learning_rate",
    "dsteps": "training.discriminator.updates",
    "epoch": "training.epochs",
    "fp16": "training.precision",
    "ganmode": "training.loss",
    "glr": "training.generator.learning_rate",
    "gp": "training.gradient_penalty",
    "gpweight": "training.gradient_penalty",
    "gsteps": "training.generator.updates",
    "imgsize": "dataset.image_size",
    "imsize": "dataset.image_size",
    "iterations": "training.steps",
    "iters": "training.steps",
    "lambdagp": "training.gradient_penalty",
    "latentsize": "model.latent_dim",
    "lr": "training.learning_rate",
    "lrd": "training.discriminator.learning_rate",
    "lrg": "training.generator.learning_rate",
    "maxepochs": "training.epochs",
    "maxsteps": "training.steps",
    "nc": "dataset.channels",
    "ncritic": "training.discriminator.updates",
    "ndf": "model.discriminator.feature_maps",
    "nepochs": "training.epochs",
    "ngf": "model.generator.feature_maps",
    "ngpu": "resources.gpus",
    "ngpus": "resources.gpus",
    "niter": "training.epochs",
    "noisedim": "model.latent_dim",
    "nseeds": "replicates",
    "nz": "model.latent_dim",
    "numepochs": "training.epochs",
    "numseeds": "replicates",
    "numsteps": "training.steps",
    "repeats": "replicates",
    "resolution": "dataset.image_size",
    "seeds": "replicates",
    "stepsize": "training.learning_rate",
    "weightclip": "training.clip",
    "width": "model.feature_maps",
    "zdim": "model.latent_dim",
}


def message_of(error: ErrorDetails) -> str:
    """Return a short description of a validation error, with the given value."""
    given, context = error["input"], error.get("ctx", {})
    match error["type"]:
        case "missing":
            return "missing"
        case "greater_than":
            return f"must be greater than {context['gt']}, got {given}"
        case "greater_than_equal":
            return f"must be at least {context['ge']}, got {given}"
        case "less_than":
            return f"must be less than {context['lt']}, got {given}"
        case "less_than_equal":
            return f"must be at most {context['le']}, got {given}"
        case "literal_error":
            return f"must be {context['expected']}, got {given!r}"
        case "string_too_short":
            return "is empty; give a value, or leave the key out"
        case "too_short":
            return "is empty" if not given else f"needs {context['min_length']} values, got {len(given)}"
        case "value_error":
            return str(context["error"])
        case kind if kind in WANTED:
            return f"must be {WANTED[kind]}, got {_kind(given)}"
        case _:
            return error["msg"]


def _kind(value: Any) -> str:
    match value:
        case None:
            return "nothing"
        case str():
            return f"the text {value!r}"
        case dict():
            return "a mapping"
        case list():
            return "a list"
        case bool():
            return str(value).lower()
        case _:
            return str(value)


def hint(key: str, here: Collection[str], everywhere: Collection[str]) -> str:
    """Return the end of the message for an unknown dotted key: the key that was probably meant, or the known keys.

    Args:
        key: The unknown dotted key.
        here: Keys that are valid in its place, written as they would be in that place.
        everywhere: All dotted keys.
    """
    section, _, name = key.rpartition(".")
    if meant := _meant(section, name, everywhere):
        short = meant.removeprefix(f"{section}.")
        return f"; did you mean {short if short in here else meant}?"
    given = key if any("." in one for one in here) else name
    if near := difflib.get_close_matches(given, here, n=1, cutoff=0.6):
        return f"; did you mean {near[0]}?"
    return f"; known here: {', '.join(here)}" if here else ""


def _meant(section: str, name: str, everywhere: Collection[str]) -> str | None:
    """Return the key for a name in ALIASES, in the same section if possible; None for other names."""
    meant = ALIASES.get(name.lower().replace("_", "").replace("-", ""))
    if meant is None:
        return None
    home, _, leaf = meant.rpartition(".")
    own = f"{section}.{leaf}"
    return own if section.startswith(home) and own in everywhere else meant
