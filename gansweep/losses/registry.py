"""Registry of losses and their options. Does not load torch.

To add a loss, write a subclass of Loss and add it to BUILT_IN, or call `register` from your own package before the
sweep file's schema is imported. The schema, the template of `gansweep init`, the checks of sweep files and the reports
read this registry.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from gansweep.losses.cross_entropy import NonSaturating, Saturating
from gansweep.losses.loss import Loss
from gansweep.losses.margins import Hinge, LeastSquares
from gansweep.losses.relativistic import Relativistic
from gansweep.losses.wasserstein import WassersteinClip, WassersteinGP
from gansweep.usercode.path import is_import_path

BUILT_IN = (NonSaturating, Saturating, LeastSquares, Hinge, WassersteinClip, WassersteinGP, Relativistic)
LOSSES: dict[str, type[Loss]] = {}


@dataclass(frozen=True)
class Option:
    """A key of `training` that belongs to one or more losses.

    Attributes:
        name: Name of the key.
        default: Default of the option.
        metadata: Description and limits, as in pydantic's Field.
        losses: Names of the losses that have this option.
    """

    name: str
    default: float
    metadata: Mapping[str, Any]
    losses: tuple[str, ...]

    @property
    def help(self) -> str:
        """Description for the schema and the template: losses and meaning."""
        return f"{', '.join(self.losses)}: {self.metadata['description']}"


def register(loss: type[Loss]) -> type[Loss]:
    """Make a loss available under its name; usable as a class decorator.

    Raises:
        ValueError: The name is taken, or an option of the same name has another default or other limits.
    """
    if loss.name in LOSSES:
        raise ValueError(f"a loss {loss.name!r} already exists")
    for field in fields(loss):
        known = options().get(field.name)
        if known and (known.default, known.metadata) != (field.default, field.metadata):
            raise ValueError(f"option {field.name!r} of {loss.name!r} differs from that of {known.losses[0]!r}")
    LOSSES[loss.name] = loss
    return loss


def options() -> dict[str, Option]:
    """Return the options of all losses by name."""
    found: dict[str, Option] = {}
    for loss in LOSSES.values():
        for field in fields(loss):
            losses = (*found[field.name].losses, loss.name) if field.name in found else (loss.name,)
            found[field.name] = Option(field.name, field.default, field.metadata, losses)  # type: ignore[arg-type]
    return found


def is_critic(name: str | None, own: object = False) -> bool:
    """Whether D is a critic under a loss; False for an unknown name.

    Args:
        name: Name of the loss, or import path.
        own: Value of `training.critic`, which tells whether a loss of the user has a critic: a Boolean, or its text in
            records, "True" or "False".
    """
    return str(own).lower() == "true" if is_import_path(name) else name in LOSSES and LOSSES[name].critic


def compares(name: str) -> bool:
    """Whether a loss compares D's outputs for real images with those for fakes; True for any user's loss."""
    return is_import_path(name) or (name in LOSSES and LOSSES[name].compares)


def has_logits(name: str | None) -> bool:
    """Whether a loss treats D's outputs as logits; True for None, the default loss, and False for a user's loss."""
    return name is None or (name in LOSSES and LOSSES[name].logits)


def penalises_images(name: str) -> bool:
    """Whether a registered loss has a penalty that treats each image by itself.

    False for a user's loss, which `OwnLoss.create` checks.
    """
    return name in LOSSES and LOSSES[name].penalises == "images"


def unit(name: str) -> str:
    """Return the unit of a loss. If it has none or is unknown, return its name, with spaces instead of underscores."""
    return (name in LOSSES and LOSSES[name].unit) or name.replace("_", " ")


def create(name: str, options: Mapping[str, Any]) -> Loss:
    """Return a loss with the given options. Raises KeyError for an unknown name, TypeError for an unknown option."""
    return LOSSES[name](**options)


for _loss in BUILT_IN:
    register(_loss)
