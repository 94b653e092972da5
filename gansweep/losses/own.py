"""Losses that users write, named by import paths. This module does not load torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gansweep.errors import UserError
from gansweep.losses.loss import Loss
from gansweep.usercode.code import Code
from gansweep.usercode.path import ImportPath


@dataclass(frozen=True)
class OwnLoss:
    """A loss that the user has written.

    Attributes:
        path: Import path of the subclass of `Loss`, or of a function that returns a loss.
        code: The user's code that defines it.
        options: Keyword arguments for the class or function, from the sweep file.
        critic: Whether D is a critic according to `training.critic` in the sweep file: see `Loss.critic`.
        mixes: Whether D mixes the images of a batch, as batch norm does.
    """

    path: ImportPath
    code: Code
    options: Mapping[str, Any]
    critic: bool
    mixes: bool = False

    @property
    def key(self) -> str:
        """Dotted key of the sweep file that names it."""
        return "training.loss"

    def create(self) -> Loss:
        """Return the loss.

        Raises:
            UserError: The class or function fails or returns no `Loss`, or the loss contradicts `critic`, or its
                penalty treats each image by itself although D mixes the images of a batch.
        """
        call = self.code.load(self.path)
        try:
            loss = call(**self.options)
        except Exception as error:
            raise self.error(f"cannot be built: {self.code.failure(error)}") from None
        if not isinstance(loss, Loss):
            raise self.error(f"returns {loss!r:.80}, expected a subclass of gansweep.losses.loss.Loss")
        if loss.critic != self.critic:
            yes, what = str(loss.critic).lower(), "a critic" if loss.critic else "no critic"
            raise UserError(f"training.critic: {self.path} makes D {what}; set training.critic: {yes}")
        if self.mixes and loss.penalises == "images":
            raise self.error(
                "its penalty treats each image by itself, and batch norm in D mixes them; use another norm"
            )
        return loss

    def error(self, what: str) -> UserError:
        """Return a UserError that names the loss and states what is wrong with it."""
        return UserError(f"{self.key}: {self.path}: {what}")
