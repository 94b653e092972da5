"""`gansweep import`: import the weights of a generator that another program trained."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import click

from gansweep.cli import options
from gansweep.errors import UserError
from gansweep.records.writable import check_writable


@click.command("import")
@click.argument("generator", metavar="NETG", type=click.Path(path_type=Path))
@click.option(
    "--netD",
    "discriminator",
    type=click.Path(path_type=Path),
    help="File of the state dict of a DCGAN's discriminator.",
)
@click.option("--as", "name", required=True, metavar="NAME", help="Name of the folder in runs/ of the home folder.")
@click.option("--network", metavar="MODULE:NAME", help="Class of the generator.  [default: a DCGAN]")
@click.option("--option", "arguments", multiple=True, metavar="KEY=VALUE", help="Argument of the class; repeatable.")
@click.option(
    "--latent-dim", default=100, show_default=True, type=click.IntRange(1), help="With --network: length of z."
)
@click.option(
    "--image-size", default=64, show_default=True, type=click.IntRange(1), help="With --network: side in pixels."
)
@click.option("--channels", default="3", show_default=True, type=click.Choice(["1", "3"]), help="With --network.")
@options.home_option
def import_(
    generator: Path,
    discriminator: Path | None,
    name: str,
    network: str | None,
    arguments: tuple[str, ...],
    latent_dim: int,
    image_size: int,
    channels: str,
    home_path: Path,
) -> None:
    """Import the weights of a generator that was trained elsewhere.

    NETG holds the state dict, as written by torch.save or safetensors, or a checkpoint with plain state dicts. Layers
    of a DCGAN are matched by kind and order, whatever their names; those of another class by name. `sample`, `animate`,
    `evaluate` and `save` accept NAME; the folder's path is printed.
    """
    from gansweep.api.importing import OwnNetwork, import_weights
    from gansweep.usercode.path import ImportPath

    if discriminator and network:
        raise click.UsageError("--netD: only of a DCGAN; omit it with --network")
    home = options.home_of(home_path)
    check_writable(home)
    own = None
    if network:
        try:
            path = ImportPath.parse(network)
        except ValueError as error:
            raise UserError(f"--network: {error}") from None
        own = OwnNetwork(path, dict(map(_argument, arguments)), latent_dim, image_size, int(channels))
    click.echo(import_weights(generator, name, home, discriminator, own))


def _argument(text: str) -> tuple[str, object]:
    """Return key and value of an argument KEY=VALUE. The value is a number, bool, None or, if none of these, text.

    Raises UserError if the argument has another form.
    """
    key, equals, value = text.partition("=")
    found: object = value
    with suppress(ValueError):
        found = json.loads(value)
    if not key.isidentifier() or not equals or not isinstance(found, bool | int | float | str | None):
        raise UserError(f"--option {text}: write KEY=VALUE, as in width=64")
    return key, found
