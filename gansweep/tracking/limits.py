"""Names and texts shortened to the lengths that MLflow's stores accept."""

from __future__ import annotations

import hashlib

LONGEST_NAME = 250  # characters of a metric's key or a run's name: columns of the databases have no more
LONGEST_TEXT = 5_000  # characters of a tag, which every store takes
LONGEST_PARAM = 6_000  # characters of a parameter's value
DIGEST = 12  # hex digits


def metric_key(name: str) -> str:
    """Return the key of a metric in MLflow: its name; if that is too long, its beginning and a digest of all of it."""
    if len(name) <= LONGEST_NAME:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:DIGEST]
    return f"{name[: LONGEST_NAME - DIGEST - 1]}-{digest}"


def run_name(name: str) -> str:
    """Return the name of a run, shortened if it is too long."""
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"


def whole_or_nothing(text: str) -> str:
    """Return a tag's text, or "" if it is too long: truncated JSON could not be read."""
    return text if len(text) <= LONGEST_TEXT else ""
