"""Record the studies' trials of a home folder in results/studies.jsonl.gz, one line per trial.

Records of other sweeps are kept.
"""

import gzip
import io
import json
import sys

import numpy as np

from analysis.studies.lib.classes import classes_of
from analysis.studies.lib.runs import RECORDS
from gansweep import CheckpointError, Home, UserError, read_journal

PREFIX = "study-"
COUNTED = ("study-c", "study-c-conditional")  # sweeps whose classes are counted
SERIES = ("loss_d", "loss_g", "val_loss_d", "val_loss_g", "fd_ratio", "coverage", "requested", "requested_worst")
PLACES = ("dataset.path", "dataset.data_dir")  # settings that are locations on a machine


def collect(home):
    """Record every trial that completed or was stopped by divergence.

    Trials left out, and trials whose classes could not be counted, are reported on stderr.
    """
    home, found = Home(home.absolute()), {}
    for folder in home.sweeps():
        if folder.name.startswith(PREFIX):
            ended = [trial for trial in folder.planned() if outcome_of(trial).get("kind") in ("completed", "stopped")]
            print(f"{folder.name}: {len(ended)} of {len(folder.planned())} trials have ended", file=sys.stderr)
            found[folder.name] = [record(home, folder.name, trial) for trial in ended]
    others = [one for one in recorded() if one["sweep"] not in found]
    write([*others, *(one for runs in found.values() for one in runs)])


def outcome_of(folder):
    return json.loads(folder.outcome.read_text()) if folder.outcome.exists() else {}


def record(home, sweep, folder):
    """Return one line with the fields of runs.Run."""
    trial, outcome, journal = json.loads(folder.trial.read_text()), outcome_of(folder), read_journal(folder.journal)
    settings = flat(trial["config"])
    speed = [one.values["steps_per_s"] for one in journal if "steps_per_s" in one.values]
    return {
        "sweep": sweep,
        "id": folder.id,
        "settings": {key: value for key, value in settings.items() if key not in (*PLACES, "seed")},
        "seed": trial["config"]["seed"],
        "steps": trial["steps"],
        "outcome": outcome["kind"],
        "verdicts": [verdict["kind"] for verdict in outcome["verdicts"]],
        "parameters": trial["parameters"],
        "steps_per_s": rounded(float(np.median(speed))),
        "wall_s": rounded(journal[-1].time - journal[0].time),
        "series": series(journal),
        "classes": counted(home, sweep, folder) if sweep in COUNTED else None,
    }


def counted(home, sweep, folder):
    try:
        return classes_of(home, sweep, folder.id)
    except (UserError, CheckpointError) as error:
        print(f"classes are not counted: {error}", file=sys.stderr)
        return None


def series(journal):
    """Return metric → [steps, values]."""
    found = {}
    for one in journal:
        for name in SERIES:
            if name in one.values:
                steps, values = found.setdefault(name, ([], []))
                steps.append(one.step)
                values.append(rounded(one.values[name]))
    return found


def rounded(value):
    return float(f"{value:.5g}")


def flat(data, prefix=""):
    """Return nested settings with dotted keys, without None."""
    found = {}
    for key, value in data.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{key}.")
        elif value is not None:
            found[prefix + key] = value
    return found


def recorded():
    """Return the recorded lines."""
    if not RECORDS.exists():
        return []
    with gzip.open(RECORDS, "rt") as file:
        return [json.loads(line) for line in file]


def write(lines):
    """Write the lines by sweep, in the order of trials; equal records give equal bytes."""
    text = "".join(json.dumps(line) + "\n" for line in sorted(lines, key=lambda line: line["sweep"]))
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as file:
        file.write(text.encode())
    RECORDS.write_bytes(packed.getvalue())
