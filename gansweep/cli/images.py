"""`gansweep sample` and `animate`: images of a generator, enlarged without smoothing."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gansweep.api.checkpoints import classes_to_draw, columns_of, draw, restore
from gansweep.cli import options
from gansweep.cli.animation import animation, frame
from gansweep.cli.subjects import SUBJECT, find_checkpoint, generator_file
from gansweep.errors import UserError
from gansweep.records.layout import Home
from gansweep.words import counted

if TYPE_CHECKING:
    from PIL.Image import Image

    from gansweep.gan.restore import Restored

HOLD_S = 2.0  # additional time for which the last recorded grid is shown
GRIDS_FPS, WALK_FPS = 4, 12  # frames per second, by default
WALK_S, WALK_COUNT = 8, 36  # defaults of --seconds and --count
LEG_S = 2.0  # duration of a walk from one set of images to the next

output_option = click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="File to write.")
class_option = click.option(
    "--class", "wanted", multiple=True, metavar="NAME",
    help="Draw only this class of a conditional generator; repeatable.  [default: all, one row each]",
)  # fmt: skip


@click.command()
@click.argument("subject", metavar=SUBJECT)
@click.option("--count", default=64, show_default=True, type=click.IntRange(1, 10_000), help="Number of images.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Same seed, same images.")
@class_option
@click.option("--step", type=click.IntRange(0), help="Step of the trial's checkpoint.  [default: the best one kept]")
@output_option
@options.home_option
def sample(
    subject: str, count: int, seed: int, wanted: tuple[str, ...], step: int | None, output: Path, home_path: Path
) -> None:
    """Draw images from the generator of a trial or of a FILE, as a PNG grid.

    FILE is a checkpoint (.safetensors), or a file or folder that `gansweep save` has written. FOLDER is the folder of a
    trial or a single run. With the same seed the first images are equal for any --count. A conditional generator draws
    one row per class, with the same noise in each column.
    """
    options.check_output(output, (".png",))
    path, which, _ = find_checkpoint(subject, options.home_of(home_path), step)
    from gansweep.gan.sampling import grid_png, noise

    found = restore(path)
    rows = classes_to_draw(found, path, wanted, "--class")
    columns = columns_of(count, rows)
    images = draw(found, noise(found.latent_dim, columns or count, seed), rows)
    options.write_output(output, grid_png(images, columns))
    click.echo(f"{output}: {counted(len(images), 'image')} after {counted(found.step, 'step')} ({which})", err=True)


@click.command()
@click.argument("subject", metavar=SUBJECT)
@click.option(
    "--fps", type=click.IntRange(1, 30), help=f"Frames per second.  [default: {GRIDS_FPS}; for a walk {WALK_FPS}]"
)
@click.option(
    "--scale", type=click.IntRange(1, 8), help="Enlarge pixels by this factor.  [default: a grid of about 512 pixels]"
)
@click.option("--seconds", type=click.IntRange(1, 60), help=f"Duration of a walk in seconds.  [default: {WALK_S}]")
@click.option("--count", type=click.IntRange(1, 400), help=f"Number of images in a walk.  [default: {WALK_COUNT}]")
@click.option("--seed", type=click.IntRange(0), help="Seed of a walk: same seed, same walk.  [default: 0]")
@class_option
@output_option
@options.home_option
def animate(
    subject: str,
    fps: int | None,
    scale: int | None,
    seconds: int | None,
    count: int | None,
    seed: int | None,
    wanted: tuple[str, ...],
    output: Path,
    home_path: Path,
) -> None:
    """Animate samples over training, or a walk through latent space, as a .webp or .gif file.

    For a TRIAL, or the FOLDER of a trial or single run: samples from the same noise at every recorded step. For the
    FILE of a generator, as in `sample`: a closed walk that starts and ends at the images that `sample` draws.

    Both formats are lossless for grey images; a GIF reduces colours to 256 per frame.
    """
    options.check_output(output, (".webp", ".gif"))
    home = options.home_of(home_path)
    path = generator_file(subject, home)
    fps = fps or (GRIDS_FPS if path is None else WALK_FPS)
    if path is None:
        given = {"--seconds": seconds, "--count": count, "--seed": seed, "--class": wanted or None}
        if refused := [name for name, value in given.items() if value is not None]:
            raise click.UsageError(f"{refused[0]} is for walks; name the FILE of a generator instead of {subject}")
        grids = _grids(home, subject)
        frames, what = _recorded(grids, scale), f"steps {int(grids[0].stem):,} to {int(grids[-1].stem):,}"
        durations = [1000 // fps] * len(grids)
        durations[-1] += round(1000 * HOLD_S)
    else:
        found = restore(path)
        rows = classes_to_draw(found, path, wanted, "--class")
        seconds = seconds or WALK_S
        durations = [1000 // fps] * (fps * seconds)
        places = max(3, round(seconds / LEG_S))  # with two, the way back would be the same
        frames = _walk(found, rows, count or WALK_COUNT, seed or 0, len(durations), places, scale)
        what = f"a walk through latent space after {counted(found.step, 'step')}"
    options.write_output(output, animation(output.suffix.lower(), frames, durations))
    click.echo(f"{output}: {counted(len(durations), 'frame')}, {what}", err=True)


def _grids(home: Home, subject: str) -> list[Path]:
    """Return the paths of a trial's recorded sample grids. Raises UserError if there are fewer than two."""
    name, folder = options.find_folder(home, subject)
    paths = folder.all_samples()
    if len(paths) < 2:
        there = "one sample grid is" if paths else "no sample grid is"
        raise UserError(f"{name}: {there} recorded so far; an animation needs two")
    return paths


def _recorded(paths: Sequence[Path], scale: int | None) -> Iterator[Image]:
    """Yield a frame per grid, with its step as text. Raises UserError if a file is no image or differs in size."""
    from PIL import Image

    size: tuple[int, int] | None = None
    for path in paths:
        try:
            with Image.open(path) as opened:
                grid = opened.convert("RGB" if opened.mode == "RGB" else "L")
        except (OSError, SyntaxError, ValueError) as error:
            raise UserError(f"{path}: not a readable image ({error})") from None
        size = size or grid.size
        if grid.size != size:
            raise UserError(f"{path}: {grid.width}×{grid.height} pixels, but the grids before it {size[0]}×{size[1]}")
        yield frame(grid, f"step {int(path.stem):,}", scale)


def _walk(
    found: Restored, rows: Sequence[int], count: int, seed: int, frames: int, places: int, scale: int | None
) -> Iterator[Image]:
    from PIL import Image

    from gansweep.gan.sampling import grid_png, walk

    columns = columns_of(count, rows)
    for z in walk(found.latent_dim, columns or count, seed, frames, places):
        with Image.open(io.BytesIO(grid_png(draw(found, z, rows), columns))) as grid:
            yield frame(grid, f"step {found.step:,}", scale)
