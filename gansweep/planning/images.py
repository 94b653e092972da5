"""Prepared image sets of a sweep."""

from __future__ import annotations

import functools
from pathlib import Path

from gansweep.gan.data import ImageSet, prepare
from gansweep.planning.codes import Codes
from gansweep.planning.source import source_of
from gansweep.records.layout import Home, SweepFolder, read_json
from gansweep.sweepfile.dataset import Dataset
from gansweep.sweepfile.schema import Sweep, TrialConfig
from gansweep.sweepfile.searches.method import AdaptiveSearch
from gansweep.sweepfile.trials import configurations


class ImageSets:
    """Preparation of the image sets of a sweep. Sets with the same settings are prepared once.

    Args:
        cache: Folder of the cache.
        codes: The user's code.
        folder: Folder of the sweep. If its trials were trained on images that version 0.1.0 decoded by other rules,
            those images are used.
    """

    def __init__(self, cache: Path, codes: Codes, folder: SweepFolder) -> None:
        self._cache, self._codes, self._folder = cache, codes, folder
        self._sets: dict[str, ImageSet] = {}

    def of(self, dataset: Dataset) -> ImageSet:
        """Return the images of a section `dataset`. Raises UserError if they are missing or cannot be read."""
        key = dataset.model_dump_json(exclude={"augment", "validation"})
        if key not in self._sets:
            source = source_of(dataset, self._codes.of(dataset, "dataset."))
            self._sets[key] = prepare(source, self._cache, lambda: self._trained_on)
        return self._sets[key]

    @functools.cached_property
    def _trained_on(self) -> frozenset[str]:
        """Fingerprints of the images that recorded trials were trained on."""
        documents = (read_json(trial.trial) for trial in self._folder.all_trials())
        return frozenset(document.get("data", {}).get("fingerprint", "") for document in documents)


def image_sets(sweep: Sweep, home: Home) -> list[ImageSet]:
    """Return all image sets of a sweep, each once, whether or not trials can be trained on them.

    Raises:
        UserError: Images are missing or cannot be read.
    """
    search, sets = sweep.method, ImageSets(home.cache, Codes(sweep.folder, home.cache / "code"), home.sweep(sweep.name))
    values = search.stand_ins(0) if isinstance(search, AdaptiveSearch) else ()
    found = [sets.of(TrialConfig.model_validate(config).dataset) for config, _ in configurations(sweep, values)]
    return list({images.fingerprint: images for images in found}.values())
