"""Recorded sweeps in Python: tables, the best trial, generators, samples, reports."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gansweep.api.checkpoints import best_kept, classes_to_draw, columns_of, draw, of_step, restore
from gansweep.errors import UserError
from gansweep.records.layout import Home, TrialFolder, home_at
from gansweep.tracking.places import absolute
from gansweep.tracking.reader import Source, reader_of
from gansweep.words import counted, names_like

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray
    from torch import nn

    from gansweep.report.tables import Tables
    from gansweep.sweeps.sweep import RecordedSweep, RecordedTrial


def open_sweep(
    name: str,
    *,
    home: str | os.PathLike[str] | None = None,
    tracking_uri: str | None = None,
    all_plans: bool = False,
) -> SweepResult:
    """Open a recorded sweep: finished, running or interrupted.

    The sweep is read from its folder if the home has one and `tracking_uri` is None, else from the tracking store.

    Args:
        name: Name of the sweep.
        home: Folder of all sweeps. Defaults to GANSWEEP_HOME, else ./gansweep-home.
        tracking_uri: URI of the tracking store to read.
        all_plans: Whether to include trials of earlier plans, which the sweep file no longer names.

    Raises:
        UserError: The sweep or its tracking store does not exist or cannot be read.
    """
    place = home_at(home)
    here = tracking_uri is None and any(folder.name == name for folder in place.sweeps())
    source: Source = "folder" if here else "store"
    uri = absolute(tracking_uri) if tracking_uri else None
    return SweepResult(reader_of(place, name, source, uri).read(all_plans=all_plans), place)


class SweepResult:
    """Records of a sweep, read when it was opened. Open the sweep again to read newer records.

    Returned by `run_sweep` and `open_sweep`. `len` is the number of recorded trials, and iterating yields them.
    """

    def __init__(self, recorded: RecordedSweep, home: Home) -> None:
        self._recorded, self._home = recorded, home

    def __repr__(self) -> str:
        return f"<SweepResult {self.name}: {counted(len(self._recorded.trials), 'trial')}>"

    def __len__(self) -> int:
        return len(self._recorded.trials)

    def __iter__(self) -> Iterator[TrialResult]:
        return (TrialResult(self, one) for one in self._recorded.in_plan_order())

    @property
    def name(self) -> str:
        """Name of the sweep."""
        return self._recorded.name

    @property
    def home(self) -> Path:
        """Folder of all sweeps."""
        return self._home.path

    @cached_property
    def tables(self) -> Tables:
        """All tables, described in docs/tables.md."""
        from gansweep.report.tables import tables_of

        return tables_of([self._recorded])

    @property
    def trials(self) -> pd.DataFrame:
        """Table with one row per started trial: settings, outcome, verdict, quality, rank."""
        return self.tables.trials

    def verdicts(self) -> pd.DataFrame:
        """Return a table with one row per verdict on each trial: kind, such as mode_collapse, reason and evidence."""
        return self.tables.verdicts

    def best(self) -> TrialResult:
        """Return the trial of rank 1. Raises UserError if no trial is ranked."""
        ranked = self.trials[self.trials["rank"] == 1]
        if ranked.empty:
            raise UserError(
                f"{self.name}: no trial is ranked; each has failed or has no value of {self._metric} so far"
            )
        return self.trial(str(ranked["trial"].iloc[0]))

    def trial(self, trial_id: str) -> TrialResult:
        """Return a trial by the first characters of its id. Raises UserError unless exactly one matches."""
        found = [one for one in self._recorded.trials if one.id.startswith(trial_id)] if trial_id else []
        if len(found) != 1:
            ids = [one.id for one in found or self._recorded.trials]
            wrong = f"{trial_id!r} matches {counted(len(found), 'trial')}" if found else f"no trial {trial_id!r}"
            raise UserError(f"{self.name}: {wrong}; {names_like(trial_id, ids)}")
        return TrialResult(self, found[0])

    def report(self, path: str | os.PathLike[str]) -> Path:
        """Write the report as a PDF, and return its path. Raises UserError if it cannot be written."""
        from gansweep.report.make import write_pdf

        output = Path(path)
        write_pdf(self.tables, output)
        return output

    @property
    def _metric(self) -> str:
        return self._recorded.ranking.metric


class TrialResult:
    """Trial of a sweep."""

    def __init__(self, sweep: SweepResult, recorded: RecordedTrial) -> None:
        self._sweep, self._recorded = sweep, recorded

    def __repr__(self) -> str:
        return f"<TrialResult {self._sweep.name}/{self.id}: {self.outcome}, {self.verdict}>"

    @property
    def id(self) -> str:
        """Id of the trial, 12 hex digits."""
        return self._recorded.id

    @property
    def seed(self) -> int:
        """Seed of the trial. Trials that differ only in their seed are replicates."""
        return self._recorded.seed

    @property
    def settings(self) -> Mapping[str, Any]:
        """Dotted key → value of every setting except the seed."""
        return self._recorded.settings

    @property
    def outcome(self) -> str:
        """Outcome: completed, stopped, crashed, interrupted or running."""
        return self._recorded.outcome

    @property
    def verdict(self) -> str:
        """Kind of the primary verdict on the trial, such as "healthy"."""
        return str(self.row["verdict"])

    @property
    def row(self) -> pd.Series:
        """Row of the trial in the sweep's `trials`: quality, best_value, steps_per_s and so on."""
        trials = self._sweep.trials
        return trials[trials["trial"] == self.id].iloc[0]

    def history(self) -> pd.DataFrame:
        """Return the metrics of the trial: one column per metric, indexed by step; NaN for missing values."""
        import pandas as pd

        found = {name: pd.Series(points.values, points.steps) for name, points in self._recorded.metrics.items()}
        return pd.DataFrame(found).rename_axis("step")

    def checkpoints(self) -> list[Path]:
        """Return the kept checkpoints, oldest first; empty if the sweep's folder is not in the home."""
        return self._folder.all_checkpoints()

    def generator(self, step: int | None = None) -> nn.Module:
        """Return the generator of a checkpoint, in eval mode and on the CPU.

        Args:
            step: Step of the checkpoint. Defaults to that of the best kept checkpoint, as in `gansweep sample`.

        Raises:
            UserError: The checkpoint was not kept or is damaged.
        """
        return restore(self._checkpoint(step)).generator.eval()

    def sample(
        self, count: int = 64, seed: int = 0, *, step: int | None = None, label: str | None = None
    ) -> NDArray[np.uint8]:
        """Draw images from the generator, equal to those of `gansweep sample`.

        Args:
            count: Number of images. A conditional generator without `label` draws one row per class; `count` is then
                rounded up so that all rows have the same length.
            seed: Seed of the noise. With the same seed the first images (of each row) are equal for any `count`.
            step: Step of the checkpoint. Defaults to that of the best kept checkpoint.
            label: Name of the only class to draw from a conditional generator. Defaults to all classes.

        Returns:
            Pixels from 0 to 255 of shape (N, C, H, W), ordered by class.

        Raises:
            UserError: The checkpoint was not kept or is damaged, or the generator does not have the class.
        """
        from gansweep.gan.sampling import noise

        path = self._checkpoint(step)
        found = restore(path)
        classes = classes_to_draw(found, path, [] if label is None else [label], "label")
        return draw(found, noise(found.latent_dim, columns_of(count, classes) or count, seed), classes)

    def save(self, path: str | os.PathLike[str], *, step: int | None = None) -> None:
        """Write the generator to a file or folder, as `gansweep save` does.

        Args:
            path: Path of a .safetensors, .pt2 or .onnx file. A path without an ending names a folder, which gets a
                model card.
            step: Step of the checkpoint. Defaults to that of the best kept checkpoint.

        Raises:
            UserError: The checkpoint was not kept or is damaged, or the path cannot be written.
        """
        from gansweep.api.saving import save

        save(self._checkpoint(step), Path(path), self._folder)

    def _checkpoint(self, step: int | None) -> Path:
        name = f"{self._sweep.name}/{self.id}"
        return best_kept(name, self._folder).path if step is None else of_step(name, self._folder, step)

    @property
    def _folder(self) -> TrialFolder:
        return Home(self._sweep.home).sweep(self._sweep.name).trial(self.id)
