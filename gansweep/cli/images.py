"""`gansweep sample` and `animate`: what a generator makes, in pixels that were never smoothed."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gansweep.cli import options
from gansweep.errors import CheckpointError, UserError
from gansweep.records import journal
from gansweep.records.layout import Home
from gansweep.records.ranking import ranking_of, score_at

if TYPE_CHECKING:
    from PIL.Image import Image

PIXELS = 512  # an animation's grids are enlarged by a whole factor to about so many
MARGIN, STRIP, LETTERS = 0.02, 0.07, 0.042  # of the grid's width: white around it, below it for the step, its type
HOLD_S = 2.0  # how much longer the last frame is shown

output_option = click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="File to write.")


@click.command()
@click.argument("subject", metavar="TRIAL|CHECKPOINT")
@click.option("--count", default=64, show_default=True, type=click.IntRange(1, 10_000), help="How many images.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Same seed, same images.")
@click.option("--step", type=click.IntRange(0), help="Which of the trial's checkpoints.  [default: the best one kept]")
@output_option
@options.home_option
def sample(subject: str, count: int, seed: int, step: int | None, output: Path, home_path: Path) -> None:
    """Draw images from a trial's generator, or from that of a CHECKPOINT file (.safetensors) alone, as a PNG grid.

    With one seed the first images are the same, however many are drawn.
    """
    options.check_output(output, (".png",))
    if Path(subject).suffix:
        path, which = _checkpoint_file(Path(subject), step), subject
    else:
        path, which = _kept(options.home_of(home_path), subject, step)
    from gansweep.gan.restore import generator_of
    from gansweep.gan.sampling import draw, grid_png

    try:
        found = generator_of(path)
    except CheckpointError as error:
        raise UserError(str(error)) from None
    options.write_output(output, grid_png(draw(found.generator, found.latent_dim, count, seed)))
    click.echo(f"{output}: {count:,} images after {found.step:,} steps ({which})", err=True)


@click.command()
@click.argument("trial")
@click.option("--fps", default=4, show_default=True, type=click.IntRange(1, 30), help="Frames a second.")
@click.option(
    "--scale", type=click.IntRange(1, 8), help="Pixels for each pixel of the samples.  [default: a grid of about 512]"
)
@output_option
@options.home_option
def animate(trial: str, fps: int, scale: int | None, output: Path, home_path: Path) -> None:
    """Show how TRIAL's samples came about: the same noise at every recorded step, as a .webp or .gif file.

    Both keep every grey; of colours a GIF keeps the nearest 256 a frame, WebP all.
    """
    options.check_output(output, (".webp", ".gif"))
    sweep, folder = options.find_trial(options.home_of(home_path), trial)
    paths = folder.all_samples()
    if len(paths) < 2:
        there = "one sample grid is" if paths else "no sample grid is"
        raise UserError(f"{sweep.name}/{folder.id}: {there} recorded so far, and two make an animation")
    durations = [1000 // fps] * len(paths)
    durations[-1] += round(1000 * HOLD_S)
    options.write_output(output, _animation(output.suffix.lower(), _frames(paths, scale), durations))
    click.echo(f"{output}: {len(paths)} frames, steps {int(paths[0].stem):,} to {int(paths[-1].stem):,}", err=True)


def _checkpoint_file(path: Path, step: int | None) -> Path:
    """Raises UserError for what is no safetensors file by its name: pickles are never opened."""
    if step is not None:
        raise click.UsageError(f"--step chooses among a trial's checkpoints, and {path} is one file")
    if path.suffix != ".safetensors":
        raise UserError(f"{path}: no checkpoint of gansweep; name a .safetensors file, or a trial")
    return path


def _kept(home: Home, trial: str, step: int | None) -> tuple[Path, str]:
    """A trial's checkpoint, the best one unless a step is named, and which one that is in words."""
    sweep, folder = options.find_trial(home, trial)
    paths, name = folder.all_checkpoints(), f"{sweep.name}/{folder.id}"
    if not paths:
        raise UserError(f"{name}: no checkpoint is recorded so far; see cadence.checkpoints")
    if step is not None:
        if folder.checkpoint(step) not in paths:
            kept = ", ".join(str(int(path.stem)) for path in paths)
            raise UserError(f"{name}: no checkpoint of step {step} is kept; those of {kept} are")
        return folder.checkpoint(step), name
    ranking = ranking_of(sweep)
    points = ranking.points(journal.read(folder.journal))
    best = min(reversed(paths), key=lambda path: score_at(points, int(path.stem)))
    which = f"best by {ranking.metric}" if points else "the last"
    return best, f"{name}, {which} of {len(paths)} checkpoints kept"


def _animation(ending: str, frames: Iterator[Image], durations_ms: list[int]) -> bytes:
    """Loops for ever. RGB frames lose colours in a GIF, nothing else is lost."""
    how: dict[str, Any] = {".webp": {"lossless": True, "quality": 50, "method": 2}, ".gif": {}}[ending]
    buffer = io.BytesIO()
    first = next(frames)
    first.save(buffer, ending[1:], save_all=True, append_images=frames, duration=durations_ms, loop=0, **how)
    return buffer.getvalue()


def _frames(paths: Sequence[Path], scale: int | None) -> Iterator[Image]:
    """Each grid enlarged, on white, its step below it. Raises UserError for a file that is no grid of this trial."""
    from PIL import Image, ImageDraw, ImageFont

    from gansweep.report.palette import INK
    from gansweep.report.style import fonts

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
        factor = scale or max(1, round(PIXELS / max(size)))
        width, height = size[0] * factor, size[1] * factor
        margin, strip = round(width * MARGIN), round(width * STRIP)
        frame = Image.new(grid.mode, (width + 2 * margin, margin + height + strip), "white")
        frame.paste(grid.resize((width, height), Image.Resampling.NEAREST), (margin, margin))
        font = ImageFont.truetype(fonts() / "SourceSansPro-Regular.ttf", round(width * LETTERS))
        middle = margin + height + strip // 2
        ImageDraw.Draw(frame).text((margin, middle), f"step {int(path.stem):,}", INK, font, "lm")
        yield frame
