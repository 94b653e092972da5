"""Metrics of any generator against any data set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from gansweep.api.checkpoints import restore
from gansweep.datasets import DATA_SETS
from gansweep.errors import UserError
from gansweep.gan.data import ImageSet, evaluation_samples, prepare
from gansweep.planning.codes import Codes
from gansweep.planning.source import source_of
from gansweep.records.layout import Home
from gansweep.section import one_of
from gansweep.sweepfile.dataset import Dataset
from gansweep.sweepfile.loader import load

if TYPE_CHECKING:
    from gansweep.gan.restore import Restored

ARRAYS = (".npz", ".npy", ".pt")
KNOWN = one_of([name for name, kind in DATA_SETS.items() if not kind.path and not kind.argument])


@dataclass(frozen=True)
class Evaluation:
    """Metrics of a generator.

    Attributes:
        metrics: Name → value, in the order of the registry.
        samples: Number of samples.
        images: The real images.
        notices: Sentences for the user, such as that a metric needs more samples.
    """

    metrics: dict[str, float]
    samples: int
    images: ImageSet
    notices: tuple[str, ...]


def evaluate(path: Path, data: str, home: Home, samples: int = 256, seed: int = 0) -> Evaluation:
    """Return every metric of samples that the data allow.

    Args:
        path: File of the generator.
        data: Name of a data set; path of a folder, an archive or a file of images, or of a sweep file.
        home: Home folder, whose cache holds the decoded images.
        samples: Number of samples; fewer if the data set has too few images to compare with.
        seed: Seed of the noise.

    Raises:
        UserError: The generator or the data set cannot be read, or the data set is too small.
    """
    found = restore(path)
    dataset = _dataset(data, found)
    code = Codes(Path(data).parent, home.cache / "code").of(dataset, "dataset.")
    images = prepare(source_of(dataset, code), home.cache)
    count = evaluation_samples(images.images, samples)
    from gansweep.gan.batches import generator
    from gansweep.gan.evaluator import Evaluator
    from gansweep.gan.reference import reference_of
    from gansweep.gan.sampling import in_chunks, noise
    from gansweep.health.kernel import KERNEL_DISTANCE
    from gansweep.health.metrics import SAMPLE_METRICS

    reference, notices = reference_of(images)
    evaluator = Evaluator(reference, count, seed, (*SAMPLE_METRICS, KERNEL_DISTANCE))
    z = noise(found.latent_dim, count, seed)
    notices += evaluator.notices
    if not found.classes:
        return Evaluation(evaluator.quality(in_chunks(found.generator, z)), count, images, tuple(notices))
    import torch

    if {*found.classes} == {*images.classes}:
        requested = evaluator.classes(count, generator(seed, "evaluation classes"))
        places = torch.tensor([found.classes.index(name) for name in images.classes])
        pixels = in_chunks(found.generator, z, places[requested])
        return Evaluation(evaluator.quality(pixels, requested.numpy()), count, images, tuple(notices))
    notices.append("the data have other classes than the generator, which makes as many images of each of its own")
    pixels = in_chunks(found.generator, z, torch.arange(count) % len(found.classes))
    return Evaluation(evaluator.quality(pixels), count, images, tuple(notices))


def _dataset(data: str, found: Restored) -> Dataset:
    """Return the section `dataset` that a text stands for, with the size and channels of a generator's images."""
    shape: dict[str, Any] = {"image_size": found.settings["image_size"], "channels": found.settings["channels"]}
    path = Path(data)
    if path.suffix.lower() in (".yaml", ".yml"):
        return load(path, ()).dataset.model_copy(update=shape)
    try:
        return Dataset.model_validate({**_named(data, path), **shape})
    except ValidationError:
        raise UserError(
            f"--data {data}: does not exist; name a folder, an archive or a file of images, a sweep file,"
            f" or one of {KNOWN}"
        ) from None


def _named(data: str, path: Path) -> dict[str, str]:
    """Return the keys that select a data set: its name, or the kind of a path."""
    if path.is_dir():
        return {"name": "image_folder", "path": data}
    if path.is_file():
        return {"name": "arrays" if path.suffix.lower() in ARRAYS else "archive", "path": data}
    return {"name": data}
