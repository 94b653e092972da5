"""Cache of the memory and throughput measured for trials on a GPU, so that later runs do not measure them again."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gansweep.errors import UserError
from gansweep.planning.job import Job
from gansweep.planning.packing import Rates
from gansweep.records.layout import read_json, write_json

VERSION = 1  # of the measurement: another one is measured again
FOLDER = "gpu"


@dataclass(frozen=True)
class KnownNeed:
    """Memory and throughput measured for trials of one shape: a record of the cache.

    Attributes:
        peak: Peak GPU memory of one trial in bytes.
        rates: Number of trials that share the GPU → their steps per second in total; empty if this was not measured.
    """

    peak: int
    rates: Rates


class NeedCache:
    """Cache of measurements on one type of GPU, with a JSON file for each shape of trial.

    Args:
        cache: Cache folder of the home.
        card: Name of the GPU.
        driver: Version of the GPU's driver.
    """

    def __init__(self, cache: Path, card: str, driver: str) -> None:
        self._folder = cache / FOLDER
        self._machine = {
            "version": VERSION,
            "card": card,
            "driver": driver,
            "torch": importlib.metadata.version("torch"),
        }

    def read(self, job: Job, shape: str) -> KnownNeed | None:
        """Return the measurement of a job; None if it has no file, or the file is damaged or of another version.

        Args:
            job: The job.
            shape: Shape of its trial, as returned by `planning.cost.shape_of`.
        """
        key = self._key(job, shape)
        with suppress(UserError, OSError, KeyError, TypeError, ValueError, AttributeError):
            found = read_json(self._path(key))
            if found and {name: found[name] for name in key} == key:
                rates = {int(number): float(rate) for number, rate in found["steps_per_s"].items()}
                if min([int(found["peak_bytes"]), *rates, *rates.values()]) > 0:
                    return KnownNeed(int(found["peak_bytes"]), rates)
        return None

    def write(self, job: Job, shape: str, measured: KnownNeed) -> None:
        """Store the measurement of a job for `read`. A cache that cannot be written raises no error."""
        key = self._key(job, shape)
        with suppress(UserError, OSError):
            rates = {str(number): round(rate, 1) for number, rate in measured.rates.items()}
            write_json(self._path(key), {**key, "peak_bytes": measured.peak, "steps_per_s": rates})

    def _key(self, job: Job, shape: str) -> dict[str, Any]:
        """Return everything that the measurement depends on."""
        return {
            **self._machine,
            "shape": json.loads(shape),
            "images": job.images.images,
            "samples": job.samples,
            "threads": job.threads,
        }

    def _path(self, key: Mapping[str, Any]) -> Path:
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
        return self._folder / f"{digest}.json"
