"""Description of an image set, for `plan` and `data`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from gansweep.report.words import counted

if TYPE_CHECKING:
    from gansweep.gan.data import ImageSet

MOST_CLASSES = 10  # per line


def images_document(images: ImageSet) -> dict[str, Any]:
    """Return the JSON document of an image set."""
    from gansweep.gan.notes import shown

    kinds = ("used", "converted", "skipped")
    return {
        "fingerprint": images.fingerprint,
        "images": images.images,
        "channels": images.channels,
        "image_size": images.image_size,
        "classes": [shown(name) for name in images.classes],
        **{kind: [text for of, text in images.notes if of == kind] for kind in kinds},
    }


def print_images(images: ImageSet) -> None:
    """Print number, shape, fingerprint, classes and notes of an image set."""
    from gansweep.gan.notes import lines, named

    shape = f"{images.channels}×{images.image_size}×{images.image_size}"
    click.echo(f"data      {counted(images.images, 'image')} of {shape}, fingerprint {images.fingerprint}")
    if len(images.classes) > 1:
        click.echo(
            f"          {counted(len(images.classes), 'class', 'classes')}: {named(images.classes, MOST_CLASSES)}"
        )
    for line in lines(images.notes):
        click.echo(f"          {line}")
