"""Functions of pixels: spread and structural similarity of images. NumPy only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gansweep.health.quality import Floats, TooFewSamplesError

SSIM_WINDOW, SSIM_SIGMA = 7, 1.5  # small: images have 16 to 64 pixels
SSIM_SCALES = (0.5, 0.5)  # exponents of two scales


def spread(images: NDArray[np.uint8]) -> tuple[float, float]:
    """Return (across, within) of images (N, C, H, W), in grey levels.

    across: standard deviation over images, averaged over pixels. within: standard deviation over pixels, averaged over
    images.

    Raises:
        TooFewSamplesError: N < 2.
    """
    if len(images) < 2:
        raise TooFewSamplesError("the spread across samples", len(images), 2)
    flat = images.reshape(len(images), -1).astype(np.float32)
    return float(flat.std(axis=0, ddof=1).mean()), float(flat.std(axis=1).mean())


def ms_ssim(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> Floats:
    """Return (N,) multi-scale structural similarity of pairs of images (N, C, H, W), 1 for equal images.

    Two scales, Gaussian window (Wang, Simoncelli & Bovik 2003, eq. 7; negative factors count as 0). H, W ≥ 14.
    """
    x: Floats = a.astype(np.float64)
    y: Floats = b.astype(np.float64)
    result: Floats = np.ones(len(x))
    for scale, exponent in enumerate(SSIM_SCALES):
        luminance, contrast = _ssim_parts(x, y)
        last = scale == len(SSIM_SCALES) - 1
        factor = (luminance * contrast if last else contrast).mean(axis=(1, 2, 3))
        result *= np.maximum(factor, 0) ** exponent
        x, y = _halved(x), _halved(y)
    return result


def _ssim_parts(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mx, my = _blurred(x), _blurred(y)
    vx, vy, cov = _blurred(x * x) - mx * mx, _blurred(y * y) - my * my, _blurred(x * y) - mx * my
    return (2 * mx * my + c1) / (mx * mx + my * my + c1), (2 * cov + c2) / (vx + vy + c2)


def _blurred(x: Floats) -> Floats:
    """Filter by the window, without padding."""
    weights = np.exp(-((np.arange(SSIM_WINDOW) - SSIM_WINDOW // 2) ** 2) / (2 * SSIM_SIGMA**2))
    weights /= weights.sum()

    def band(size: int) -> Floats:
        rows = np.zeros((size - SSIM_WINDOW + 1, size))
        for i in range(len(rows)):
            rows[i, i : i + SSIM_WINDOW] = weights
        return rows

    blurred: Floats = band(x.shape[2]) @ x @ band(x.shape[3]).T
    return blurred


def _halved(x: Floats) -> Floats:
    n, c, h, w = x.shape
    x = x[:, :, : h // 2 * 2, : w // 2 * 2]
    halved: Floats = x.reshape(n, c, h // 2, 2, w // 2, 2).mean(axis=(3, 5))
    return halved
