"""scikit-learn's copy of the UCI handwritten digits: 1,797 images of 8×8 pixels."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from gansweep.gan.pictures import Labelled, Pictures
from gansweep.gan.reader import Source


class Digits(Pictures):
    """Reader of the digits in the installed scikit-learn, which is not imported."""

    def __init__(self, source: Source) -> None:
        super().__init__(source, [str(digit) for digit in range(10)])
        spec = importlib.util.find_spec("sklearn")
        assert spec is not None
        assert spec.origin is not None
        self._file = Path(spec.origin).parent / "datasets" / "data" / "digits.csv.gz"

    def signature(self) -> int:
        return self._file.stat().st_size

    def pictures(self) -> Iterator[Labelled]:
        for row in np.loadtxt(self._file, delimiter=",", dtype=np.int64):
            # 0…16 → 0…255
            yield Image.fromarray(np.minimum(row[:64] * 16, 255).astype(np.uint8).reshape(8, 8)), int(row[64])


def open_source(source: Source, cache: Path) -> Digits:
    """Return the reader of the digits."""
    return Digits(source)
