"""Evaluation metrics of users, named by import paths. Does not load torch; functions load NumPy."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gansweep.errors import UserError
from gansweep.health.measure import Metric
from gansweep.usercode.code import Code
from gansweep.usercode.part import OwnFunction
from gansweep.usercode.path import ImportPath

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from gansweep.health.evidence import Samples

BATCH = 16  # images of each kind in a check


@dataclass(frozen=True)
class OwnMetric(OwnFunction):
    """A metric of the user: a function of real images and samples that returns a number.

    Its import path is its name in records.
    """

    key = "evaluation.metrics"

    def check(self) -> None:
        """Check the user's function by computing the metric for random images.

        Raises:
            UserError: The function cannot be imported, fails, or does not return a number.
        """
        import numpy as np

        shape = (BATCH, self.channels, self.size, self.size)
        self._value(self._load(), *np.random.default_rng(0).integers(0, 256, (2, *shape), np.uint8))

    def metric(self, real: NDArray[np.uint8]) -> Metric[Samples]:
        """Return the metric for evaluations. Its computation raises UserError if the function fails.

        Args:
            real: (N, C, H, W) real images that samples are compared with.

        Raises:
            UserError: The function cannot be imported.
        """
        name, call = str(self.path), self._load()
        return Metric(name, name, "a metric of your own", lambda samples: self._value(call, real, samples.pixels))

    def _value(self, call: Callable[..., Any], real: NDArray[np.uint8], samples: NDArray[np.uint8]) -> float:
        """Call the user's function and return its value, which may be NaN. The function cannot change the images.

        Raises:
            UserError: The function fails or does not return a number.
        """
        import numpy as np

        try:
            with np.errstate(all="ignore"):
                found = np.asarray(call(_read_only(real), _read_only(samples)))
        except Exception as error:  # the code is somebody else's
            raise self._error(f"fails: {self.code.failure(error)}") from None
        if found.shape or found.dtype.kind not in "iuf":
            raise self._error(
                f"returns {found.tolist()!r:.40}, expected a number; return float(…), or NaN for no value"
            )
        return float(found)

    def _load(self) -> Callable[..., Any]:
        try:
            return self.code.load(self.path)
        except UserError as error:
            raise UserError(f"{self.key}: {error}") from None

    def _error(self, what: str) -> UserError:
        return UserError(f"{self.key}: {self.path}: {what}")


def own_metrics(paths: Iterable[str], code: Code, channels: int, size: int) -> tuple[OwnMetric, ...]:
    """Return the metrics of the user that a sweep file names.

    Args:
        paths: Import paths of their functions.
        code: The user's code.
        channels: Number of channels of the images.
        size: Side of the images in pixels.
    """
    return tuple(OwnMetric(ImportPath.parse(path), code, channels, size) for path in paths)


def _read_only(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a view of images through which they cannot be changed."""
    view = images.view()
    view.flags.writeable = False
    return view
