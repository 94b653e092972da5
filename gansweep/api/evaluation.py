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
    """Metrics of a generator against a data set.

    Attributes:
        metrics: Metric → value, in the order of the registry of metrics.
        samples: Number of samples that were measured.
        images: The real images.
        notices: Sentences for the user, such as one stating that a metric needs more samples.
    """

    metrics: dict[str, float]
    samples: int
    images: ImageSet
    notices: tuple[str, ...]


def evaluate(path: Path, data: str, home: Home, samples: int = 256, seed: int = 0) -> Evaluation:
    """Compare samples of a generator with a data set by every metric that applies to the data set.

    Args:
        path: File or saved folder of the generator.
        data: Name of a data set; or path of a folder, an archive or a file of images, or of a sweep file.
        home: Home folder, whose cache holds the decoded images.
        samples: Number of samples. Fewer are drawn if the data set has too few images to compare them with.
        seed: Seed of the noise.

    Raises:
        UserError: The generator or the data set cannot be read, or there are too few samples or images.
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
    """Return the section `dataset` for the argument `data` of `evaluate`.

    Image size and channels are those of the generator. Raises UserError if there is no such data set.
    """
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
    """Return the keys of the section `dataset` that select a data set by its name, or by its path and kind of files."""
    if path.is_dir():
        return {"name": "image_folder", "path": data}
    if path.is_file():
        return {"name": "arrays" if path.suffix.lower() in ARRAYS else "archive", "path": data}
    return {"name": data}
