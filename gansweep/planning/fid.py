"""Check of `evaluation.fid`: the file of the network, and the number of real images. Does not load torch."""

from __future__ import annotations

from pathlib import Path

from gansweep.config import FidConfig
from gansweep.errors import UserError
from gansweep.gan.data import ImageSet
from gansweep.gan.network_file import identify
from gansweep.health.fid import check_images
from gansweep.planning.source import place
from gansweep.sweepfile.schema import Sweep

KEY = "evaluation.fid"
WEIGHTS = f"{KEY}.weights"


def config_of(sweep: Sweep) -> FidConfig:
    """Return the settings of the FID measurement at the end of each trial, with the absolute path of the network.

    If the sweep file does not set `evaluation.fid`, the path is empty.

    Raises:
        UserError: The file is missing, or does not contain a network that FID can be measured with.
    """
    asked = sweep.evaluation.fid
    if asked is None:
        return FidConfig()
    try:
        path = place(asked.weights, WEIGHTS)
    except UserError as error:
        raise UserError(f"{sweep.place(WEIGHTS).removesuffix(WEIGHTS)}{error}") from None
    try:
        found = identify(Path(path or ""))
    except UserError as error:
        raise UserError(f"{sweep.place(WEIGHTS)}: {error}") from None
    return FidConfig(str(found.path), found.sha256, asked.samples)


def check(sweep: Sweep, images: ImageSet) -> None:
    """Raise UserError if a sweep measures FID and a data set has too few images for it."""
    if sweep.evaluation.fid is None:
        return
    try:
        check_images(images.images)
    except UserError as error:
        raise UserError(f"{sweep.place(KEY)}: {error}; remove {KEY}") from None
