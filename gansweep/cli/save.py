"""`gansweep save` and `evaluate`: write a generator to a file for use elsewhere, and measure its samples."""

from __future__ import annotations

from pathlib import Path

import click

from gansweep.cli import options
from gansweep.cli.subjects import SUBJECT, find_checkpoint
from gansweep.cli.text import measured, to_json
from gansweep.words import counted

step_option = click.option(
    "--step", type=click.IntRange(0), help="Step of the trial's checkpoint.  [default: the best one kept]"
)


@click.command()
@click.argument("subject", metavar=SUBJECT)
@step_option
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path),
    help="File that ends in .safetensors, .pt2 or .onnx, or a folder.",
)  # fmt: skip
@options.home_option
def save(subject: str, step: int | None, output: Path, home_path: Path) -> None:
    """Save the generator of a trial, for use elsewhere.

    .safetensors holds weights, which `gansweep.load_generator` reads. .pt2 (torch.export) and .onnx (needs the extra
    `onnx`) hold programs that run without gansweep, for batches of any size. A folder holds weights, settings, metrics,
    a sample grid and a model card, in the layout of the Hugging Face hub.
    """
    from gansweep.api.saving import check_target, save

    check_target(output)
    path, which, folder = find_checkpoint(subject, options.home_of(home_path), step)
    save(path, output, folder)
    click.echo(f"{output}: the generator of {which}", err=True)


@click.command()
@click.argument("subject", metavar=SUBJECT)
@click.option(
    "--data", required=True, metavar="NAME|FOLDER|FILE",
    help="Real images: name of a data set, folder, archive, file of arrays, or sweep file.",
)  # fmt: skip
@click.option("--samples", default=256, show_default=True, type=click.IntRange(1, 10_000), help="Number of samples.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Same seed, same samples.")
@step_option
@options.home_option
@options.json_option
def evaluate(
    subject: str, data: str, samples: int, seed: int, step: int | None, home_path: Path, as_json: bool
) -> None:
    """Print every metric of a generator's samples against any data set.

    The images are brought to the size and the channels of the generator. Nothing is recorded.
    """
    from gansweep.api import evaluation

    home = options.home_of(home_path)
    path, which, _ = find_checkpoint(subject, home, step)
    found = evaluation.evaluate(path, data, home, samples, seed)
    images = found.images
    for notice in found.notices:
        click.echo(notice, err=True)
    if as_json:
        document = {
            "generator": str(path),
            "data": {"fingerprint": images.fingerprint, "images": images.images, "classes": list(images.classes)},
            "samples": found.samples,
            "metrics": found.metrics,
        }
        click.echo(to_json(document))
        return
    width = max(map(len, found.metrics))
    for name, value in found.metrics.items():
        click.echo(f"{name:<{width}}  {measured(value)}")
    of = f"{counted(found.samples, 'sample')} against {counted(images.images, 'image')} of {data}"
    click.echo(f"{of}; the generator of {which}", err=True)
