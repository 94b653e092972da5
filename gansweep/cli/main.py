"""Entry point of the command line `gansweep`. Modules of commands are imported on use, so that help is printed fast."""

from __future__ import annotations

import gc
import importlib
import sys
import time
import traceback
from keyword import iskeyword
from pathlib import Path

import click

from gansweep.cli import streams, surroundings
from gansweep.cli.call import Call
from gansweep.errors import UserError
from gansweep.records import disk
from gansweep.words import names_like

# command → (module, its one-line help): the module is imported when the command is called.
COMMANDS = {
    "init": ("gansweep.cli.sweep_file", "Create a commented sweep file to start from."),
    "validate": ("gansweep.cli.sweep_file", "Check a sweep file without reading any data."),
    "data": ("gansweep.cli.data", "Show the images that a sweep would train on."),
    "plan": ("gansweep.cli.plan", "List a sweep's trials, their state, and the cost of the unfinished ones."),
    "run": ("gansweep.cli.run", "Train the unfinished trials of a sweep."),
    "submit": ("gansweep.cli.submit", "Submit a sweep to a Ray cluster and return."),
    "train": ("gansweep.cli.train", "Train one configuration in this process, without a sweep."),
    "status": ("gansweep.cli.look", "Show all sweeps, or the trials of one sweep."),
    "logs": ("gansweep.cli.logs", "Print a sweep's log."),
    "show": ("gansweep.cli.look", "Show one trial: settings, results, files."),
    "diagnose": ("gansweep.cli.diagnose", "List the verdict on each trial of a sweep, with onset and reason."),
    "report": (
        "gansweep.cli.report",
        "Write a PDF report on sweeps: what was tried, what worked, what failed and why.",
    ),
    "best": ("gansweep.cli.results", "Show a sweep's best trial and the runners-up."),
    "compare": ("gansweep.cli.results", "Compare trials: settings that differ, and results."),
    "sample": ("gansweep.cli.images", "Draw images from a trial's generator, or from a checkpoint."),
    "animate": ("gansweep.cli.images", "Animate a trial's samples over training, or a walk through latent space."),
    "import": ("gansweep.cli.import_", "Import the weights of a generator that was trained elsewhere."),
    "save": (
        "gansweep.cli.save",
        "Save a generator as safetensors, torch.export or ONNX, or in a folder with a model card.",
    ),
    "evaluate": ("gansweep.cli.save", "Print every metric of a generator against any data set."),
    "fid": ("gansweep.cli.fid", "Measure FID, KID and the inception score of trials that have ended."),
    "export": ("gansweep.cli.export", "Write a sweep's tables as CSV files, or its records for TensorBoard."),
    "ui": ("gansweep.cli.ui", "Serve the MLflow UI for the local tracking store."),
    "stop": ("gansweep.cli.upkeep", "Stop a running sweep, or one of its trials, gracefully."),
    "sync": ("gansweep.cli.upkeep", "Compare a sweep's tracking store with its folder, and send missing records."),
    "clean": ("gansweep.cli.upkeep", "Remove a sweep's files and records."),
    "doctor": ("gansweep.cli.doctor", "Check versions, devices, disk, locks, ports and the home folder."),
    "schema": ("gansweep.cli.sweep_file", "Print the JSON schema of sweep files, for editors."),
}


class LazyGroup(click.Group):
    """Group of commands that imports the module of a command only when the command is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        name = f"{cmd_name}_" if iskeyword(cmd_name) else cmd_name
        command: click.Command = getattr(importlib.import_module(COMMANDS[cmd_name][0]), name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-") and not ctx.resilient_parsing:
            ctx.fail(f"No such command {name!r}; {names_like(name, COMMANDS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Terms and metrics: docs/glossary.md",
)
@click.version_option(package_name="gansweep")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def cli(debug: bool) -> None:
    """Train sweeps of GANs, which can be killed at any moment and resumed with the same command.

    A sweep file lists what to vary; `gansweep run FILE` trains the unfinished trials; `gansweep ui` shows them.
    """


def main() -> None:
    """Run the command line and exit with its code, one of those in docs/operation.md, "Exit codes"."""
    gc.set_threshold(50_000, 20, 20)  # most objects, those of imported modules first, last until the process ends
    streams.settle()
    surroundings.settle()
    call = Call()
    code = _run(call)
    call.leave(code)


def _run(call: Call) -> int:
    """Run the command and return its exit code. An error is shown as one line."""
    debug = "--debug" in sys.argv[1:]
    try:
        code = cli.main(standalone_mode=False, obj=call)
    except click.exceptions.Abort:
        return 130
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except UserError as error:
        if debug:
            traceback.print_exc()
        click.echo(_of_machine(error) or str(error), err=True)
        return 1
    except Exception as error:
        if debug:
            traceback.print_exc()
        if sentence := disk.lack(error) or _of_machine(error):
            click.echo(sentence, err=True)
            return 1
        what = f"{type(error).__name__}: {error}".partition("\n")[0]
        click.echo(f"gansweep: internal error: {what}; the traceback is in {_log_traceback()}", err=True)
        return 3
    return code if isinstance(code, int) else 0


def _of_machine(error: Exception) -> str | None:
    """Return a message if the working directory was deleted or a package cannot be imported; None for other errors."""
    if isinstance(error, FileNotFoundError | UserError) and _is_nowhere():
        return "the working directory has been deleted; change to another one (cd) and try again"
    if isinstance(error, ImportError) and not (error.name or "").startswith("gansweep"):
        what = str(error).partition("\n")[0]
        return f"a package that gansweep needs cannot be imported ({what}); see `gansweep doctor`, install it again"
    return None


def _is_nowhere() -> bool:
    try:
        Path.cwd()
    except FileNotFoundError:
        return True
    return False


def _home() -> Path:
    """Return the home folder given by --home or GANSWEEP_HOME. Does not use click, so that it works after any error."""
    import os
    from itertools import pairwise

    given = [value for option, value in pairwise(sys.argv) if option == "--home"]
    given += [word.removeprefix("--home=") for word in sys.argv if word.startswith("--home=")]
    return Path(given[-1] if given else os.environ.get("GANSWEEP_HOME", "gansweep-home"))


def _log_traceback() -> Path:
    """Write the traceback to a file in the home's logs, or in the temporary folder if that fails.

    Returns the path of the file; that of the null device if neither folder can be written.
    """
    import os
    import tempfile

    from gansweep.tracking.store import without_password

    text = without_password(f"{' '.join(sys.argv)}\n{traceback.format_exc()}")
    name = f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
    for folder in (_home() / "logs", Path(tempfile.gettempdir())):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        except OSError:
            continue
        return folder / name
    return Path(os.devnull)
