"""`gansweep init`, `validate` and `schema`: the sweep file itself."""

from __future__ import annotations

from pathlib import Path

import click

from gansweep.cli import options
from gansweep.errors import UserError


@click.command()
@click.argument("file", type=click.Path(path_type=Path), default="sweep.yaml")
def init(file: Path) -> None:
    """Write a commented sweep file to begin with (never over an existing one)."""
    from importlib import resources

    text = resources.files("gansweep.plan").joinpath("template.yaml").read_text(encoding="utf-8")
    try:
        with file.open("x", encoding="utf-8") as new:
            new.write(text)
    except FileExistsError:
        raise UserError(f"{file}: is there already; name another file") from None
    except OSError as error:
        raise UserError(f"{file}: cannot be written ({error.strerror})") from None
    click.echo(f"wrote {file}; try `gansweep plan {file}`", err=True)


@click.command()
@options.file_argument
@options.set_option
@options.max_trials_option
def validate(file: Path, overrides: tuple[str, ...], max_trials: int) -> None:
    """Check FILE and report every problem with its line and column."""
    from gansweep.plan.loader import load
    from gansweep.plan.trials import count

    sweep = load(file, overrides, max_trials)
    click.echo(f"{file}: {sweep.name}, {count(sweep)} trials", err=True)


@click.command()
def schema() -> None:
    """Print the JSON schema of sweep files, for editors."""
    import json

    from gansweep.plan.schema import Sweep

    click.echo(json.dumps(Sweep.model_json_schema(), indent=2))
