"""Sweeps of GAN trainings. Public names are imported on first use: `import gansweep` alone loads no heavy module."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # for editors and mypy; a test compares these imports with _PLACES
    from gansweep.api.results import SweepResult, TrialResult, open_sweep
    from gansweep.api.running import run_sweep
    from gansweep.config import FeaturesConfig, OptimizerConfig, TrainingConfig
    from gansweep.errors import CheckpointError, SweepFileError, UserError
    from gansweep.features import EMBEDDINGS
    from gansweep.gan.batches import Batches
    from gansweep.gan.data import prepare
    from gansweep.gan.evaluator import Evaluator
    from gansweep.gan.generator import Generator, load_generator
    from gansweep.gan.reader import Source
    from gansweep.gan.reference import halves as evaluation_halves
    from gansweep.gan.reference import reference_of
    from gansweep.gan.sampling import sample
    from gansweep.gan.spoiled import SPOILS, worn
    from gansweep.gan.training import Trainer
    from gansweep.health.evidence import Samples
    from gansweep.health.history import History
    from gansweep.health.history import traits as run_traits
    from gansweep.health.judge import Judge
    from gansweep.health.kinds import current_kind
    from gansweep.health.metrics import SAMPLE_METRICS, current_names
    from gansweep.health.quality import Gaussian, Histogram, frechet_distance
    from gansweep.health.verdict import FAILURES, Verdict
    from gansweep.planning.reopen import reopen
    from gansweep.records.journal import read as read_journal
    from gansweep.records.layout import Home
    from gansweep.report.palette import colour as verdict_colour
    from gansweep.report.tables import Tables, read_sweep
    from gansweep.tracking.reader import reader_of

    __version__: str

__all__ = [
    "EMBEDDINGS",
    "FAILURES",
    "SAMPLE_METRICS",
    "SPOILS",
    "Batches",
    "CheckpointError",
    "Evaluator",
    "FeaturesConfig",
    "Gaussian",
    "Generator",
    "Histogram",
    "History",
    "Home",
    "Judge",
    "OptimizerConfig",
    "Samples",
    "Source",
    "SweepFileError",
    "SweepResult",
    "Tables",
    "Trainer",
    "TrainingConfig",
    "TrialResult",
    "UserError",
    "Verdict",
    "__version__",
    "current_kind",
    "current_names",
    "evaluation_halves",
    "frechet_distance",
    "load_generator",
    "open_sweep",
    "prepare",
    "read_journal",
    "read_sweep",
    "reader_of",
    "reference_of",
    "reopen",
    "run_sweep",
    "run_traits",
    "sample",
    "verdict_colour",
    "worn",
]
_PLACES = {  # name → its module, and its name there if that differs
    "EMBEDDINGS": "gansweep.features",
    "FAILURES": "gansweep.health.verdict",
    "SAMPLE_METRICS": "gansweep.health.metrics",
    "SPOILS": "gansweep.gan.spoiled",
    "Batches": "gansweep.gan.batches",
    "CheckpointError": "gansweep.errors",
    "Evaluator": "gansweep.gan.evaluator",
    "FeaturesConfig": "gansweep.config",
    "Gaussian": "gansweep.health.quality",
    "Generator": "gansweep.gan.generator",
    "Histogram": "gansweep.health.quality",
    "History": "gansweep.health.history",
    "Home": "gansweep.records.layout",
    "Judge": "gansweep.health.judge",
    "OptimizerConfig": "gansweep.config",
    "Samples": "gansweep.health.evidence",
    "Source": "gansweep.gan.reader",
    "SweepFileError": "gansweep.errors",
    "SweepResult": "gansweep.api.results",
    "Tables": "gansweep.report.tables",
    "Trainer": "gansweep.gan.training",
    "TrainingConfig": "gansweep.config",
    "TrialResult": "gansweep.api.results",
    "UserError": "gansweep.errors",
    "Verdict": "gansweep.health.verdict",
    "current_kind": "gansweep.health.kinds",
    "current_names": "gansweep.health.metrics",
    "evaluation_halves": "gansweep.gan.reference:halves",
    "frechet_distance": "gansweep.health.quality",
    "load_generator": "gansweep.gan.generator",
    "open_sweep": "gansweep.api.results",
    "prepare": "gansweep.gan.data",
    "read_journal": "gansweep.records.journal:read",
    "read_sweep": "gansweep.report.tables",
    "reader_of": "gansweep.tracking.reader",
    "reference_of": "gansweep.gan.reference",
    "reopen": "gansweep.planning.reopen",
    "run_sweep": "gansweep.api.running",
    "run_traits": "gansweep.health.history:traits",
    "sample": "gansweep.gan.sampling",
    "verdict_colour": "gansweep.report.palette:colour",
    "worn": "gansweep.gan.spoiled",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return importlib.import_module("importlib.metadata").version("gansweep")
    if name not in _PLACES:
        raise AttributeError(f"module 'gansweep' has no attribute {name!r}")
    module, _, attribute = _PLACES[name].partition(":")
    return getattr(importlib.import_module(module), attribute or name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
