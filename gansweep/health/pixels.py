"""Functions of pixels: spread and structural similarity of images. NumPy; `similarity` also takes torch tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gansweep.health.quality import Floats, TooFewSamplesError

SSIM_WINDOW, SSIM_SIGMA = 7, 1.5  # small, for images of 16 pixels
LEAST_SCALES, COARSEST = 2, 16  # scales of MS-SSIM: as many as leave 16 pixels, and two for smaller images
MOST_VALUES = 2_000 * 3 * 64**2  # converted at a time, which bounds the memory for large images


def spread(images: NDArray[np.uint8]) -> tuple[float, float]:
    """Return the spread across images and within images (N, C, H, W), in grey levels.

    The spread across images is the standard deviation over images, averaged over pixels. The spread within images is
    the standard deviation over pixels, averaged over images.

    Raises:
        TooFewSamplesError: N < 2.
    """
    if len(images) < 2:
        raise TooFewSamplesError("the spread across samples", len(images), 2)
    flat = images.reshape(len(images), -1)
    columns, rows = (max(1, MOST_VALUES // length) for length in flat.shape)
    across = [
        flat[:, at : at + columns].astype(np.float32).std(axis=0, ddof=1) for at in range(0, flat.shape[1], columns)
    ]
    within = [flat[at : at + rows].astype(np.float32).std(axis=1) for at in range(0, len(flat), rows)]
    return float(np.concatenate(across).mean()), float(np.concatenate(within).mean())


def ms_ssim(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> Floats:
    """Return (N,) multi-scale structural similarity of pairs of images (N, C, H, W): ≥ 0, and 1 for equal images.

    It is computed by eq. 7 of Wang, Simoncelli & Bovik 2003 with a Gaussian window, which is smaller for images below
    14 pixels. The function `scales` returns the number of scales. They have equal weights, and the factor of each is a
    mean over pixels and channels. Negative factors count as 0.
    """
    pairs = max(1, MOST_VALUES // 16 // a[0].size)
    found: list[Floats] = [
        similarity(a[at : at + pairs].astype(np.float64), b[at : at + pairs].astype(np.float64), ssim_window)
        for at in range(0, len(a), pairs)
    ]
    return np.concatenate(found)


def similarity(x: Any, y: Any, window: Callable[[int], Any]) -> Any:
    """Return (N,) `ms_ssim` of pairs of float64 images, which are NumPy arrays or torch tensors.

    Args:
        x: (N, C, H, W), grey levels.
        y: (N, C, H, W), grey levels.
        window: Returns `ssim_window` of a size, as an array or a tensor like the images.
    """
    result, count = 1.0, scales(min(x.shape[2:]))
    for scale in range(count):
        luminance, contrast = _ssim_parts(x, y, window)
        last = scale == count - 1
        factor = (luminance * contrast if last else contrast).mean((1, 2, 3))
        result = result * factor.clip(0) ** (1 / count)
        x, y = _halved(x), _halved(y)
    return result


def scales(side: int) -> int:
    """Return the number of scales for images of `side` pixels: 2 below 64, 3 from there on, 4 from 128, 5 from 256.

    If there were always two, structures larger than 14 pixels would not be compared, even in large images.
    """
    return max(LEAST_SCALES, (side // COARSEST).bit_length())


def ssim_window(size: int) -> Floats:
    """Return the matrix that filters a column of `size` pixels by the Gaussian window of SSIM, without padding.

    Its shape is (size − width + 1, size) for a window of `width` pixels.
    """
    width = min(SSIM_WINDOW, size - 1 + size % 2)  # odd
    weights = np.exp(-((np.arange(width) - width // 2) ** 2) / (2 * SSIM_SIGMA**2))
    weights /= weights.sum()
    rows = np.zeros((size - width + 1, size))
    for i in range(len(rows)):
        rows[i, i : i + width] = weights
    return rows


def _ssim_parts(x: Any, y: Any, window: Callable[[int], Any]) -> tuple[Any, Any]:
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    columns, rows = window(x.shape[2]), window(x.shape[3]).T

    def blurred(images: Any) -> Any:
        return columns @ images @ rows

    mx, my = blurred(x), blurred(y)
    vx, vy, cov = blurred(x * x) - mx * mx, blurred(y * y) - my * my, blurred(x * y) - mx * my
    return (2 * mx * my + c1) / (mx * mx + my * my + c1), (2 * cov + c2) / (vx + vy + c2)


def _halved(x: Any) -> Any:
    n, c, h, w = x.shape
    x = x[:, :, : h // 2 * 2, : w // 2 * 2]
    return x.reshape(n, c, h // 2, 2, w // 2, 2).mean((3, 5))
