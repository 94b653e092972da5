"""`gansweep init`, `validate` and `schema`: create, check and describe sweep files."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

import click

from gansweep.cli import options
from gansweep.errors import UserError
from gansweep.words import counted

TEMPLATE_NAME, DEFAULT_FILE = "my-sweep", "sweep.yaml"
WORDS = ("true", "false", "null")  # of YAML


@click.command()
@click.argument("file", type=click.Path(path_type=Path), default=DEFAULT_FILE)
def init(file: Path) -> None:
    """Create a commented sweep file to start from. An existing file is not overwritten.

    The sweep is named after the file, or after the folder if the file is called sweep.yaml.
    """
    from gansweep.sweepfile.template import template

    text = template().replace(f"name: {TEMPLATE_NAME:<20}", f"name: {_name(file):<20}", 1)
    try:
        with file.open("x", encoding="utf-8") as new:
            new.write(text)
    except FileExistsError:
        raise UserError(f"{file}: already exists; name another file") from None
    except OSError as error:
        raise UserError(f"{file}: cannot be written ({error.strerror})") from None
    click.echo(f"wrote {file}; try `gansweep plan {file}`", err=True)


def _name(file: Path) -> str:
    """Return a name for the sweep in a file, made of the name of the file or its folder, as a YAML scalar.

    The scalar is quoted if YAML could read it as a number or keyword.
    """
    stem = file.stem if file.name != DEFAULT_FILE else file.absolute().parent.name
    plain = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode()
    kept = re.sub(r"[^A-Za-z0-9._-]+", "-", plain).strip("._-")[:64] or TEMPLATE_NAME
    return f'"{kept}"' if kept[0].isdigit() or kept.lower() in WORDS else kept


@click.command()
@options.file_argument
@options.set_option
@options.max_trials_option
@click.option(
    "--import/--no-import", "runs", default=True, show_default=True, help="Run networks of yours that FILE names."
)
def validate(file: Path, overrides: tuple[str, ...], max_trials: int, runs: bool) -> None:
    """Check FILE and report every problem with its line and column.

    Networks that FILE names by import path are run on tiny batches. With --no-import no code of theirs is run.
    """
    from gansweep.planning import own
    from gansweep.sweepfile.loader import load
    from gansweep.sweepfile.trials import count, repeated

    sweep = load(file, overrides, max_trials)
    own.validate(sweep, runs=runs)
    for sentence in sweep.thresholds.sentences:
        click.echo(f"{file}: {sentence}", err=True)
    again = repeated(sweep) * sweep.replicates
    trials = counted(count(sweep) - again, "trial")
    repeats = f" ({again:,} left out as duplicates)" if again else ""
    click.echo(f"{file}: {sweep.name}, {trials}{repeats}", err=True)


@click.command()
def schema() -> None:
    """Print the JSON schema of sweep files, for editors."""
    import json

    from gansweep.sweepfile.schema import Sweep

    click.echo(json.dumps(Sweep.model_json_schema(), indent=2))
