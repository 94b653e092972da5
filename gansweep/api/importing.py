"""Import of weights that other programs trained, to a saved folder in the home."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gansweep.api.card import Provenance
from gansweep.api.saving import write_folder
from gansweep.config import NetworkConfig, to_plain
from gansweep.errors import UserError
from gansweep.networks.registry import generator_design
from gansweep.records.layout import TRIAL_ID, Home
from gansweep.usercode import code
from gansweep.usercode.find import find
from gansweep.usercode.path import ImportPath

if TYPE_CHECKING:
    from torch import Tensor

    from gansweep.gan.restore import Restored


@dataclass(frozen=True)
class OwnNetwork:
    """User's class of a generator, for weights that are not those of a DCGAN.

    Attributes:
        path: Import path of the class, looked up in the working directory and among installed modules.
        options: Arguments of the class, by name.
        latent_dim: Length of z.
        image_size: Side of the generated images in pixels.
        channels: Number of channels of the generated images.
    """

    path: ImportPath
    options: Mapping[str, Any] = field(default_factory=dict)
    latent_dim: int = 100
    image_size: int = 64
    channels: int = 3


def import_weights(
    generator: Path, name: str, home: Home, discriminator: Path | None = None, own: OwnNetwork | None = None
) -> Path:
    """Write weights that were trained elsewhere to a new folder in the home, and return the path of the folder.

    The folder has the layout that `gansweep save` writes. It also holds the weights of D if `discriminator` is given.

    Args:
        generator: File of G's state dict.
        name: Name of the new folder in `runs` of the home.
        home: The home folder.
        discriminator: File of the state dict of a DCGAN's D; None to import G alone.
        own: Class of G; None for a DCGAN.

    Raises:
        UserError: A file cannot be read, its weights do not fit the network, the name is invalid or taken, or the
            folder cannot be written.
    """
    folder = home.runs / name
    if not re.fullmatch(TRIAL_ID, name):
        raise UserError(f"--as {name}: cannot name a folder; use letters, digits, '.', '_' and '-'")
    if folder.exists():
        raise UserError(f"--as {name}: {folder} exists; choose another name, or delete the folder")
    found = _own(generator, own, home) if own else _dcgan(generator)
    more = _discriminator(discriminator, found) if discriminator else {}
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        write_folder(found, folder, Provenance(origin=generator.name), more)
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise UserError(f"{folder}: cannot be written ({error.strerror})") from None
    return folder


def _dcgan(path: Path) -> Restored:
    from gansweep.gan import foreign
    from gansweep.gan.restore import Restored

    state = foreign.read_state(path, "generator")
    settings = foreign.sizes_of_dcgan(state, path)
    design = foreign.dcgan(settings)
    what = f"a dcgan of {settings['image_size']} pixels and {settings['generator_maps']} feature maps"
    return Restored(foreign.load(design, foreign.fitted(state, design, path, what)), 0, settings)


def _discriminator(path: Path, found: Restored) -> dict[str, Tensor]:
    """Return the weights of a DCGAN's D: name in a gansweep checkpoint → tensor."""
    from gansweep.gan import foreign

    state, size = foreign.read_state(path, "discriminator"), found.settings["image_size"]
    design = foreign.dcgan_discriminator(state, found.settings)
    fitted = foreign.fitted(state, design, path, f"the D of a dcgan of {size} pixels")
    return {f"discriminator.{key}": tensor for key, tensor in fitted.items()}


def _own(path: Path, own: OwnNetwork, home: Home) -> Restored:
    import torch

    from gansweep.gan import foreign
    from gansweep.gan.restore import Restored
    from gansweep.gan.sampling import evaluating

    state = foreign.read_state(path, "generator")
    copied = code.write(find(own.path, Path.cwd(), "--network"), home.cache / "code")
    config = NetworkConfig(generator_network=str(own.path), generator_options=own.options)
    settings = {
        "latent_dim": own.latent_dim, "generator_maps": 64, "image_size": own.image_size, "channels": own.channels,
        "networks": to_plain(config), "code": {"digest": copied.digest, "folder": ""},
    }  # fmt: skip
    design = generator_design(own.latent_dim, 64, own.image_size, own.channels, config, copied)
    network = foreign.own(design, state, path, str(own.path))
    with evaluating(network):
        shape = tuple(network(torch.zeros(2, own.latent_dim)).shape)
    if shape != (wanted := (2, own.channels, own.image_size, own.image_size)):
        raise UserError(
            f"--network {own.path}: makes images {shape} of 2 z, not {wanted}; set --image-size, --channels"
        )
    return Restored(network, 0, settings, copied)
