"""Degradations of real images, with strengths that were fixed before anything was measured.

Each is a function of images (N, C, H, W) uint8 and a generator of random numbers that returns images of the same shape.
They change every image; `analysis.features.lib.draws` has those that change which images are drawn.
"""

import io

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

BLUR = 1 / 32  # standard deviation of the Gaussian, as a share of the image's side: 1 pixel of 32
NOISE = 20  # standard deviation, in grey levels
SHIFT = (20, 0, -20)  # grey levels added to red, green and blue
QUALITY = 15  # of JPEG
CHECKERBOARD = 25  # grey levels by which a weight of 1 changes a pixel
OVERLAPS = np.array([1, 2])  # outputs of a transposed convolution (kernel 3, stride 2) that fall on each second pixel


def blur(images, rng):
    """Blur with a Gaussian whose standard deviation is 1/32 of the side."""
    return as_pixels(gaussian_filter(images.astype(np.float32), (0, 0, *[BLUR * images.shape[-1]] * 2), mode="nearest"))


def noise(images, rng):
    """Add Gaussian noise of 20 grey levels."""
    return as_pixels(images + rng.normal(0, NOISE, images.shape))


def colour_shift(images, rng):
    """Add 20 grey levels to red and subtract 20 from blue."""
    return as_pixels(images + np.reshape(SHIFT, (1, 3, 1, 1)))


def swapped_channels(images, rng):
    """Swap red and blue."""
    return images[:, ::-1].copy()


def jpeg(images, rng):
    """Compress with JPEG at quality 15."""
    return np.stack([_compressed(image) for image in images])


def checkerboard(images, rng):
    """Add the grid of period 2 of a transposed convolution whose kernel its stride does not divide.

    Odena, Dumoulin & Olah 2016, "Deconvolution and checkerboard artifacts": a kernel of 3 and a stride of 2 write 1, 2,
    2 and 4 times to the four pixels of each 2 × 2 block. The pattern is this count over its mean, less 1.
    """
    counts = np.outer(OVERLAPS, OVERLAPS)
    side = images.shape[-1]
    grid = np.tile(counts / counts.mean() - 1, (side // 2 + 1, side // 2 + 1))[:side, :side]
    return as_pixels(images + CHECKERBOARD * grid)


def mirrored(images, rng):
    """Replace the right half by the mirrored left half."""
    half = images.shape[-1] // 2
    found = images.copy()
    found[..., -half:] = images[..., :half][..., ::-1]
    return found


def shifted(images, right, down):
    """Move images by a few pixels; the border is repeated."""
    padded = np.pad(images, ((0, 0), (0, 0), (down, 0), (right, 0)), mode="edge")
    return padded[..., : images.shape[-2], : images.shape[-1]]


def as_pixels(images):
    return np.clip(np.rint(images), 0, 255).astype(np.uint8)


def _compressed(image):
    """Return an image (C, H, W) after JPEG."""
    file = io.BytesIO()
    Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0)).save(file, "JPEG", quality=QUALITY)
    found = np.asarray(Image.open(file))
    return found[None] if len(image) == 1 else found.transpose(2, 0, 1)


OF_ANY = (blur, noise, jpeg, checkerboard, mirrored)
OF_COLOUR = (colour_shift, swapped_channels)


def of(channels):
    """Return name → degradation for images of 1 or 3 channels."""
    return {one.__name__: one for one in (*OF_ANY, *(OF_COLOUR if channels == 3 else ()))}
