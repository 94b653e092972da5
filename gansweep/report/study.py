"""Data shared by the sections of a report: tables, names, trials shown in detail, pictures, and files."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import pandas as pd

from gansweep.health.metrics import COVERAGE, D_AUC, FD_RATIO, is_frechet, label
from gansweep.health.verdict import STATES, short_title, title
from gansweep.records.outcome import failure_of
from gansweep.records.ranking import Ranking
from gansweep.report import choose, prose
from gansweep.report.configurations import configurations
from gansweep.report.curves import Curves
from gansweep.report.palette import colour
from gansweep.report.pixels import placeholder
from gansweep.report.remarks import remarks
from gansweep.report.tables import Key, Tables
from gansweep.report.words import item, measured, setting, short, titles
from gansweep.sweepfile.rerun import rerun_command

FINAL = (FD_RATIO, COVERAGE, D_AUC)  # columns of the appendix, with FID if it is measured
MOST_SETTINGS = 3  # maximum number of settings that leave room for FINAL in the appendix
Block = dict[str, Any]
Cell = str | dict[str, Any]  # text; or with a link `to` a `label`, a colour, `more` in grey, `strong`, `mono`


@dataclass(frozen=True)
class Study:
    """Data of a report.

    Args:
        tables: Tables of the sweeps.
        fetch: Function that takes (sweep, trial) and the name of an artifact of the trial. It returns the bytes of the
            artifact, or None if it does not exist.
        files: Name → content of the pictures that the document shows. Sections add them while they are composed.
        missing: Trials for which a sample grid was requested that does not exist. `grid_at` and `last_grid` add them.
    """

    tables: Tables
    fetch: Callable[[Key, str], bytes | None]
    files: dict[str, bytes] = field(default_factory=dict)
    missing: set[Key] = field(default_factory=set)

    @cached_property
    def trials(self) -> pd.DataFrame:
        """Table of trials, one row per trial. If sweeps can be compared, all their trials are ranked together."""
        trials = self.tables.trials
        if not self.several or not self.comparable:
            return trials
        ranked = trials[trials["rank"].notna()]
        scores = ranked["quality"].map(self.ranking.score).to_dict()
        failures = {i: failure_of(row["outcome"], row["verdict"]) for i, row in ranked.iterrows()}
        places = self.ranking.places(self.ranking.admitted(scores, failures))
        return trials.assign(rank=pd.array([places.get(i) for i in trials.index], dtype="Int64"))

    @property
    def settings(self) -> tuple[str, ...]:
        """Varied settings, preceded by the name of the sweep if there are several."""
        return (*(["sweep"] if self.several else []), *self.tables.settings)

    @property
    def several(self) -> bool:
        return len(self.tables.sweeps) > 1

    @property
    def comparable(self) -> bool:
        """Whether the quality of all trials can be compared."""
        return not self.incomparable

    @property
    def incomparable(self) -> str:
        """Why the quality of trials cannot be compared, as the end of a sentence; "" if it can be.

        Trials of version 0.1.0 have no features on record. They do not prevent a comparison.
        """
        trials, sweeps = self.tables.trials, self.tables.sweeps
        if trials["data_fingerprint"].nunique() > 1:
            return "were trained on different images"
        if len({*zip(sweeps["objective"], sweeps["mode"], strict=True)}) > 1:
            return "have different objectives"
        judged = trials[trials["features"] != ""]
        if len(judged[["features", "features_resolution"]].drop_duplicates()) > 1:
            return "are judged in different features"
        return ""

    @property
    def ranking(self) -> Ranking:
        """Objective of the first sweep. It ranks the trials of all sweeps."""
        first = self.tables.sweeps.iloc[0]
        return Ranking(str(first["objective"]), first["mode"])

    def ranking_of(self, sweep: str) -> Ranking:
        """Return the objective of a sweep, by which its own trials are ranked."""
        row = self.tables.sweeps.set_index("sweep").loc[sweep]
        return Ranking(str(row["objective"]), row["mode"])

    @property
    def metric(self) -> str:
        return self.ranking.metric

    @property
    def lower(self) -> bool:
        """Whether lower values of the objective are better."""
        return self.mode == "min"

    @property
    def mode(self) -> Literal["min", "max"]:
        return self.ranking.mode

    @property
    def log(self) -> bool:
        """Whether the objective is averaged and drawn on a log scale."""
        return self.ranking.on_log_scale(self.tables.trials["quality"])

    @property
    def called(self) -> str:
        return label(self.metric) if self.tables.sweeps["objective"].nunique() <= 1 else "quality"

    @cached_property
    def names(self) -> dict[str, str]:
        return titles(self.settings)

    @cached_property
    def configurations(self) -> pd.DataFrame:
        """Table of configurations (see `configurations`), best first; sweep by sweep if sweeps cannot be compared."""
        if self.comparable:
            return configurations(self.trials, log=self.log, mode=self.mode)
        return pd.concat([self.configurations_of(name) for name in self.tables.sweeps["sweep"]], ignore_index=True)

    def configurations_of(self, sweep: str) -> pd.DataFrame:
        """Return the table of configurations of one sweep, best first."""
        trials, ranking = self.trials[self.trials["sweep"] == sweep], self.ranking_of(sweep)
        return configurations(trials, log=ranking.on_log_scale(trials["quality"]), mode=ranking.mode)

    def held(self, kind: str) -> pd.Series:
        """Return a boolean for each trial: whether any verdict on it, primary or not, is of this kind."""
        found = self.tables.verdicts[self.tables.verdicts["kind"] == kind]
        pairs = pd.MultiIndex.from_frame(found[["sweep", "trial"]])
        mine = pd.MultiIndex.from_frame(self.trials[["sweep", "trial"]])
        return pd.Series(mine.isin(pairs), index=self.trials.index)

    @cached_property
    def remarks(self) -> dict[Key, str]:
        """Trial → remark on its quality, such as `4.2 × the best`; by sweep if sweeps cannot be compared."""
        found: dict[Key, str] = {}
        for name, trials in [("", self.trials)] if self.comparable else self.trials.groupby("sweep", sort=False):
            keyed = trials.set_index(["sweep", "trial"])
            ranked = keyed.index[keyed["rank"].notna()]
            found |= remarks(self.ranking_of(name) if name else self.ranking, keyed["quality"].to_dict(), set(ranked))
        return found

    def thresholds(self, kind: str) -> str:
        """Return a sentence on the thresholds of a kind of verdict, listed by sweep if sweeps have different ones."""
        judges = self.tables.judges
        found = {sweep: one.in_words() if (one := judge.detector(kind)) else "" for sweep, judge in judges.items()}
        if len(set(found.values())) > 1:
            return "Thresholds: " + " ".join(f"{sweep}: {values}." for sweep, values in found.items())
        values = next(iter(found.values()), "")
        return f"Thresholds: {values}." if values else "It has no thresholds."

    @cached_property
    def in_words(self) -> dict[tuple[str, int], str]:
        """(sweep, configuration) → text of its settings, such as `learning rate 2e-4, beta1 0.5`."""
        groups = [trials for _, trials in self.trials.groupby("sweep", sort=False)]
        named = (prose.called(trials, self.settings_of(trials), with_sweep=self.several) for trials in groups)
        return {key: words for one in named for key, words in one.items()}

    def settings_of(self, trials: pd.DataFrame) -> tuple[str, ...]:
        """Return the settings that vary among trials."""
        return tuple(key for key in self.tables.settings if trials[key].nunique(dropna=False) > 1)

    def columns(self) -> list[dict[str, Any]]:
        """Return the heads of the columns that show `settings` in a table (see `head`)."""
        return [head(self.names[key], right=key != "sweep") for key in self.settings]

    def cells(self, trial: pd.Series) -> list[Cell]:
        """Return the cells of a trial in the columns of `columns`: one text per setting, – if it is not set."""
        return ["–" if prose.missing(value := trial[key]) else short(item(value)) for key in self.settings]

    @property
    def final_names(self) -> list[str]:
        """Headings of the columns of `finals`: metrics other than the objective, at the last evaluation."""
        return [label(name) for name in self._finals]

    def finals(self, trial: pd.Series) -> list[str]:
        """Return the values of the metrics `final_names` at the last evaluation of a trial, as text; – if missing."""
        found = [self.series.evaluation((trial["sweep"], trial["trial"]), name)[1] for name in self._finals]
        return [measured(float(values[-1])) if len(values) else "–" for values in found]

    @property
    def _finals(self) -> list[str]:
        if len(self.settings) > MOST_SETTINGS:  # they need the room
            return []
        recorded = self.tables.evaluations.columns
        names = [*filter(is_frechet, recorded), *(name for name in FINAL if name in recorded)]
        return [name for name in names if name != self.metric]

    def command(self, trial: pd.Series) -> str:
        """Return the shell command that trains this one trial again, from the sweep file."""
        sweep = self.tables.sweeps.set_index("sweep").loc[trial["sweep"]]
        mine = self.settings_of(self.trials[self.trials["sweep"] == trial["sweep"]])
        given = [key for key in self.tables.settings if key in mine or not prose.missing(trial[key])]
        varied = {key: None if prose.missing(trial[key]) else _given(item(trial[key])) for key in given}
        return rerun_command(
            sweep["path"], trial["sweep"], trial["trial"], int(trial["seed"]), varied, sweep["overrides"]
        )

    @cached_property
    def chosen(self) -> pd.DataFrame:
        return choose.in_detail(self.trials)

    @cached_property
    def series(self) -> Curves:
        verdicts = self.tables.verdicts
        return Curves(self.tables.histories, self.tables.evaluations, verdicts[verdicts["kind"].isin(STATES)])

    @cached_property
    def captions(self) -> dict[Key, str]:
        """Trial → its settings and seed, short enough for the title of a panel."""
        seeds = self.trials["seed"].nunique() > 1
        keys = {name: self.settings_of(trials) for name, trials in self.trials.groupby("sweep", sort=False)}
        found = {}
        for _, trial in self.trials.iterrows():
            varied = {key: value for key in keys[trial["sweep"]] if not prose.missing(value := trial[key])}
            parts = [trial["sweep"]] if self.several else []
            parts += [setting({key: value}, self.names) for key, value in varied.items()]
            parts += [f"seed {trial['seed']}"] if seeds or not parts else []
            found[trial["sweep"], trial["trial"]] = ", ".join(parts)
        return found

    @cached_property
    def grids(self) -> dict[Key, dict[int, str]]:
        """Trial → step → name of the sample grid's artifact."""
        found: dict[Key, dict[int, str]] = {}
        for row in self.tables.samples.itertuples():
            found.setdefault((row.sweep, row.trial), {})[row.step] = row.artifact
        return found

    def size(self, trial: pd.Series) -> int:
        """Return the side of the images of a trial, in pixels."""
        return int(trial.get("dataset.image_size", 32))

    def grid_at(self, trial: pd.Series, step: int) -> bytes | None:
        key = (trial["sweep"], trial["trial"])
        artifact = self.grids.get(key, {}).get(step)
        found = self.fetch(key, artifact) if artifact else None
        if found is None:
            self.missing.add(key)
        return found

    def last_grid(self, trial: pd.Series) -> bytes:
        """Return the last sample grid of a trial as PNG; a grey placeholder if it is missing."""
        steps = self.sample_steps(trial)
        found = self.grid_at(trial, steps[-1]) if steps else None
        if found is None:
            self.missing.add((trial["sweep"], trial["trial"]))
        return found or placeholder(self.size(trial))

    def sample_steps(self, trial: pd.Series) -> list[int]:
        """Return the steps at which a trial recorded samples, in order."""
        return sorted(self.grids.get((trial["sweep"], trial["trial"]), {}))

    def add(self, name: str, content: bytes) -> str:
        """Add a file to the document and return its name."""
        self.files[name] = content
        return name

    def picture(self, name: str, content: bytes, alt: str, caption: str) -> Block:
        return {"kind": "picture", "file": self.add(f"{name}.svg", content), "alt": alt, "caption": caption}


def _given(value: Any) -> Any:
    """Return the value of a setting as a sweep file has it: lists of texts, which tables hold as text, are parsed."""
    if isinstance(value, str) and value[:2] in ("['", '["'):
        try:
            return ast.literal_eval(value)
        except (ValueError, SyntaxError):
            return value  # text that only begins like a list
    return value


def kind(trial: pd.Series) -> str:
    """Return the primary verdict of a trial, or `crashed`."""
    return "crashed" if trial["outcome"] == "crashed" else str(trial["verdict"])


def step_of(trial: pd.Series) -> str:
    """Return the last recorded step of a trial as text, such as 1,200; – if there is none."""
    return "–" if prose.missing(trial["step"]) else f"{trial['step']:,}"


def verdict_cell(trial: pd.Series, others: Sequence[str] = ()) -> dict[str, Any]:
    """Return a cell with the primary verdict, other verdicts and states of a trial, as in `poor, imbalance · D won`.

    Args:
        trial: Row of the table of trials.
        others: Kinds of the other verdicts on the trial, without states.
    """
    states = [one for one in str(trial["states"]).split(",") if one]
    more = "".join([*(f", {title(one)}" for one in others), *(f" · {short_title(one)}" for one in states)])
    return {"text": title(kind(trial)), "colour": colour(kind(trial)), **({"more": more} if more else {})}


def trial_cell(trial: pd.Series) -> dict[str, Any]:
    """Return a cell with the short id of a trial, which links to its row in the appendix."""
    return {"text": trial["trial"][:8], "to": f"trial-{trial['sweep']}-{trial['trial']}"}


def head(name: str, *, right: bool = False, wide: bool = False) -> dict[str, Any]:
    """Return the head of a table's column.

    Args:
        name: Heading.
        right: Whether cells are aligned right, as numbers are.
        wide: Whether the column takes the remaining width.
    """
    return {"title": name, "right": right, "wide": wide}


def table(columns: Sequence[Block], rows: Sequence[Sequence[Cell]]) -> Block:
    """Return a table as a block of a section. columns: heads of the columns, made by `head`."""
    return {"kind": "rows", "columns": list(columns), "rows": [list(row) for row in rows]}


def section(
    name: str, *blocks: Block | None, level: int = 1, label: str = "", new_page: bool = False
) -> dict[str, Any]:
    """Return a section of the document. Blocks that are None are left out."""
    found = {"title": name, "level": level, "label": label or name.lower().replace(" ", "-"), "new-page": new_page}
    return {**found, "blocks": [block for block in blocks if block]}


def paragraphs(*texts: str) -> Block:
    return {"kind": "prose", "paragraphs": [text for text in texts if text]}
