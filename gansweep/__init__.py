"""Sweeps of GANs. The public names, each loaded when it is first used: `import gansweep` alone loads nothing heavy."""

from __future__ import annotations

import importlib
from typing import Any

_NAMES = {
    "Batches": "gansweep.gan.batches",
    "CheckpointError": "gansweep.errors",
    "Evaluator": "gansweep.gan.evaluator",
    "FAILURES": "gansweep.health.verdict",
    "Gaussian": "gansweep.health.quality",
    "History": "gansweep.health.history",
    "Histogram": "gansweep.health.quality",
    "Home": "gansweep.records.layout",
    "Judge": "gansweep.health.judge",
    "OptimizerConfig": "gansweep.config",
    "Source": "gansweep.gan.sources",
    "Trainer": "gansweep.gan.training",
    "TrainingConfig": "gansweep.config",
    "UserError": "gansweep.errors",
    "Verdict": "gansweep.health.verdict",
    "evaluation_halves": "gansweep.gan.reference:halves",
    "frechet_distance": "gansweep.health.quality",
    "prepare": "gansweep.gan.data",
    "read_journal": "gansweep.records.journal:read",
    "read_sweep": "gansweep.report.tables",
    "reference_of": "gansweep.gan.reference",
    "reopen": "gansweep.schedule.reopen",
    "sample": "gansweep.gan.sampling",
    "reader_of": "gansweep.tracking.reader",
    "verdict_colour": "gansweep.report.palette:colour",
}
__all__ = list(_NAMES)  # the names are loaded on demand


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"module 'gansweep' has no attribute {name!r}")
    module, _, attribute = _NAMES[name].partition(":")
    return getattr(importlib.import_module(module), attribute or name)


def __dir__() -> list[str]:
    return sorted(_NAMES)
