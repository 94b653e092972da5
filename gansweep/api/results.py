"""A recorded sweep for Python callers: tables, the best trial, generators, samples, reports."""

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

    It is read from its folder where the home has it and no store is named, else from the tracking store.

    Args:
        home: folder of all sweeps; GANSWEEP_HOME by default, else ./gansweep-home.
        tracking_uri: the store to read.
        all_plans: include the trials of earlier plans, which the sweep file as it was last run no longer names.

    Raises:
        UserError: the sweep or its store is missing or cannot be read.
    """
    place = home_at(home)
    here = tracking_uri is None and any(folder.name == name for folder in place.sweeps())
    source: Source = "folder" if here else "store"
    uri = absolute(tracking_uri) if tracking_uri else None
    return SweepResult(reader_of(place, name, source, uri).read(all_plans=all_plans), place)


class SweepResult:
    """A sweep as it was recorded when it was opened; open it again to see newer records.

    Made by `run_sweep` and `open_sweep`. Iterating gives its trials.
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
        """All tables: see docs/tables.md."""
        from gansweep.report.tables import tables_of

        return tables_of([self._recorded])

    @property
    def trials(self) -> pd.DataFrame:
        """A row a trial that has begun: settings, outcome, verdict, quality, rank."""
        return self.tables.trials

    def verdicts(self) -> pd.DataFrame:
        """Return a row a (trial, verdict), with the evidence."""
        return self.tables.verdicts

    def best(self) -> TrialResult:
        """Return the trial of rank 1. Raises UserError where no trial is ranked."""
        ranked = self.trials[self.trials["rank"] == 1]
        if ranked.empty:
            raise UserError(
                f"{self.name}: no trial is ranked; each has failed or has no value of {self._metric} so far"
            )
        return self.trial(str(ranked["trial"].iloc[0]))

    def trial(self, trial_id: str) -> TrialResult:
        """Return a trial by its id or the first characters of it. Raises UserError unless exactly one fits."""
        found = [one for one in self._recorded.trials if one.id.startswith(trial_id)] if trial_id else []
        if len(found) != 1:
            ids = [one.id for one in found or self._recorded.trials]
            wrong = f"{trial_id!r} fits {counted(len(found), 'trial')}" if found else f"no trial {trial_id!r}"
            raise UserError(f"{self.name}: {wrong}; {names_like(trial_id, ids)}")
        return TrialResult(self, found[0])

    def report(self, path: str | os.PathLike[str]) -> Path:
        """Write the report as a PDF, and return its path. Raises UserError where it cannot be written."""
        from gansweep.report.make import write_pdf

        output = Path(path)
        write_pdf(self.tables, output)
        return output

    @property
    def _metric(self) -> str:
        return self._recorded.ranking.metric


class TrialResult:
    """One trial of a sweep."""

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
        """Seed of the trial: trials that differ in nothing else are replicates."""
        return self._recorded.seed

    @property
    def settings(self) -> Mapping[str, Any]:
        """Dotted key → value of every setting but the seed."""
        return self._recorded.settings

    @property
    def outcome(self) -> str:
        """completed, stopped, crashed, interrupted or running."""
        return self._recorded.outcome

    @property
    def verdict(self) -> str:
        """The kind of verdict that names the trial."""
        return str(self.row["verdict"])

    @property
    def row(self) -> pd.Series:
        """Its row of the sweep's `trials`: quality, best_value, steps_per_s and so on."""
        trials = self._sweep.trials
        return trials[trials["trial"] == self.id].iloc[0]

    def history(self) -> pd.DataFrame:
        """Return its metrics, a column each, by step; NaN where one was not recorded at a step."""
        import pandas as pd

        found = {name: pd.Series(points.values, points.steps) for name, points in self._recorded.metrics.items()}
        return pd.DataFrame(found).rename_axis("step")

    def checkpoints(self) -> list[Path]:
        """Return the checkpoints that were kept, oldest first; none where the sweep's folder is not in the home."""
        return self._folder.all_checkpoints()

    def generator(self, step: int | None = None) -> nn.Module:
        """Return the generator of a checkpoint, in eval mode and on the CPU.

        Args:
            step: of the checkpoint; by default the best that was kept, which `gansweep sample` draws from.

        Raises:
            UserError: no such checkpoint is kept, or it is damaged.
        """
        return restore(self._checkpoint(step)).generator.eval()

    def sample(
        self, count: int = 64, seed: int = 0, *, step: int | None = None, label: str | None = None
    ) -> NDArray[np.uint8]:
        """Draw images from the generator, the same as `gansweep sample` draws.

        Args:
            count: number of images; without `label` a conditional generator rounds it up to whole rows, a row a class.
            seed: with one seed the first images are the same, however many are drawn.
            step: of the checkpoint; by default the best that was kept.
            label: class to draw from a conditional generator.

        Returns:
            (N, C, H, W), 0 to 255.

        Raises:
            UserError: no such checkpoint is kept, it is damaged, or the generator does not know the class.
        """
        from gansweep.gan.sampling import noise

        path = self._checkpoint(step)
        found = restore(path)
        classes = classes_to_draw(found, path, [] if label is None else [label], "label")
        return draw(found, noise(found.latent_dim, columns_of(count, classes) or count, seed), classes)

    def _checkpoint(self, step: int | None) -> Path:
        name = f"{self._sweep.name}/{self.id}"
        return best_kept(name, self._folder).path if step is None else of_step(name, self._folder, step)

    @property
    def _folder(self) -> TrialFolder:
        return Home(self._sweep.home).sweep(self._sweep.name).trial(self.id)
