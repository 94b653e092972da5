"""`gansweep data`: the images that a sweep would train on."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gansweep.cli import options
from gansweep.cli.image_lines import images_document, print_images
from gansweep.cli.text import to_json
from gansweep.errors import UserError
from gansweep.records.writable import check_writable
from gansweep.words import counted

if TYPE_CHECKING:
    from gansweep.gan.data import ImageSet
    from gansweep.gan.survey import Survey

MOST_NAMED = 5  # numbers of images per line
MOST_COUNTED = 10  # classes per line


@click.command()
@options.file_argument
@options.set_option
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Contact sheet to write (.png), one row per class.",
)
@options.home_option
@options.json_option
def data(file: Path, overrides: tuple[str, ...], output: Path | None, home_path: Path, as_json: bool) -> None:
    """Show the images that the sweep FILE would train on: number, classes, size, channels, duplicates, skipped files.

    The images are decoded to the cache of the home folder, as for training. Nothing is trained.
    """
    if output:
        options.check_output(output, (".png",))
    from gansweep.gan.survey import contact_sheet, survey
    from gansweep.planning.images import image_sets
    from gansweep.sweepfile.loader import load

    home = options.home_of(home_path)
    check_writable(home)
    sets = image_sets(load(file, overrides), home)
    if output and len(sets) > 1:
        raise UserError(f"--output: the sweep has {len(sets)} image sets; choose one with --set dataset.KEY=VALUE")
    found = [(images, survey(images)) for images in sets]
    if as_json:
        click.echo(to_json([_document(images, about) for images, about in found]))
    else:
        for images, about in found:
            print_images(images)
            _print(about)
    if output:
        options.write_output(output, contact_sheet(sets[0]))
        click.echo(f"{output}: contact sheet of {counted(sets[0].images, 'image')}", err=True)


def _document(images: ImageSet, about: Survey) -> dict[str, Any]:
    return {**images_document(images), **asdict(about)}


def _print(about: Survey) -> None:
    if len(about.per_class) > 1:
        counts = [f"{count:,}" for count in about.per_class.values()]
        more = f", … ({len(counts) - MOST_COUNTED} more)" if len(counts) > MOST_COUNTED else ""
        click.echo(f"images    {', '.join(counts[:MOST_COUNTED])}{more} per class")
    click.echo(f"values    {about.low} to {about.high}, mean {about.mean:.1f}")
    click.echo(f"repeated  {_numbers(about.duplicates, 'equal to an earlier one')}")
    click.echo(f"constant  {_numbers(about.constant, 'of a single value')}")


def _numbers(numbers: tuple[int, ...], what: str) -> str:
    if not numbers:
        return "none"
    named = ", ".join(f"{number:,}" for number in numbers[:MOST_NAMED])
    more = ", …" if len(numbers) > MOST_NAMED else ""
    return f"{counted(len(numbers), 'image')} {what} ({named}{more}, counted from 0)"
