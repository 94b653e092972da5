"""Weights that trials start from: `training.from`. They are found, hashed and copied without torch."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from gansweep.config import NetworkConfig, StartConfig, TrainingConfig, from_plain
from gansweep.errors import UserError
from gansweep.gan.formats.registry import IN_FOLDER
from gansweep.networks.own import OwnDesign
from gansweep.records.layout import Home, TrialFolder, write_atomically

HEADER = "__metadata__"
# Field of the settings in a file, which must be that of the trial → key of a sweep file.
SIZES = {
    "latent_dim": "model.latent_dim",
    "generator_maps": "model.generator.feature_maps",
    "image_size": "dataset.image_size",
    "channels": "dataset.channels",
}
STRUCTURE = {
    "architecture": "model.architecture",
    "conditioning": "model.conditioning",
    "classes": "dataset.classes",
    "generator_depth": "model.generator.depth",
    "generator_separable": "model.generator.separable",
    "generator_network": "model.generator.network",
}
OF_D = {"discriminator_network": "model.discriminator.network"}  # the same, if the file has weights of D


@dataclass(frozen=True)
class Weights:
    """Weights of G, and of D if the file has them.

    Attributes:
        path: The file: a checkpoint, or one of `save` or `import`.
    """

    path: Path

    @cached_property
    def _file(self) -> tuple[dict[str, Any], bytes]:
        """Header of the safetensors file and its data. Raises UserError if it is damaged."""
        try:
            content = self.path.read_bytes()
            end = 8 + int.from_bytes(content[:8], "little")
            header = json.loads(content[8:end])
            header[HEADER] = json.loads(header[HEADER]["gansweep"])
        except OSError as error:
            raise UserError(f"training.from: {self.path}: cannot be read ({error.strerror})") from None
        except (KeyError, TypeError, ValueError):
            raise UserError(f"training.from: {self.path}: damaged, or not a checkpoint of gansweep") from None
        return header, content[end:]

    @cached_property
    def content(self) -> bytes:
        """Content of a safetensors file with the tensors `generator.…` and, if there are any, `discriminator.…`.

        The weights of G are their average over time if `path` contains it. Raises UserError if `path` has no weights
        of G.
        """
        header, data = self._file
        names = {name: name for name in header if name.startswith(("generator.", "discriminator."))}
        names |= {f"generator.{n.removeprefix('average.')}": n for n in header if n.startswith("average.")}
        if not any(name.startswith("generator.") for name in names):
            raise UserError(f"training.from: {self.path}: contains no generator; name a checkpoint of a trial")
        described: dict[str, Any] = {}
        parts: list[bytes] = []
        at = 0
        for name, source in sorted(names.items()):
            begin, end = header[source]["data_offsets"]
            described[name] = {**header[source], "data_offsets": [at, at + end - begin]}
            parts.append(data[begin:end])
            at += end - begin
        head = json.dumps(described).encode()
        head += b" " * (-len(head) % 8)
        return b"".join([len(head).to_bytes(8, "little"), head, *parts])

    @cached_property
    def digest(self) -> str:
        """Hash of the weights, 16 hexadecimal digits: the same for all files that hold the same weights."""
        return hashlib.sha256(self.content).hexdigest()[:16]

    def config(self) -> StartConfig:
        """Return the hash and the path of the weights, as the start in a run's configuration."""
        return StartConfig(self.digest, str(self.path.absolute()))

    def check(self, training: TrainingConfig) -> None:
        """Raise UserError if the settings in the file show that the weights belong to other networks than a trial's."""
        settings: Mapping[str, Any] = self._file[0][HEADER].get("settings", {})
        found = {key: (settings[name], getattr(training, name)) for name, key in SIZES.items() if name in settings}
        if "networks" in settings:
            there = from_plain(NetworkConfig, settings["networks"])
            structure = STRUCTURE | (OF_D if self._values("discriminator") else {})
            found |= {key: (getattr(there, name), getattr(training.networks, name)) for name, key in structure.items()}
        for key, (recorded, asked) in found.items():
            if recorded != asked:
                network = "discriminator" if key in OF_D.values() else "generator"
                raise UserError(
                    f"training.from: {self.path} holds a {network} of {key}: {_words(recorded)}, not {_words(asked)};"
                    f" set {key}: {_words(recorded)}"
                )

    def check_own(self, network: str, design: OwnDesign) -> None:
        """Raise UserError if the file has another number of values for a network than a user's network has.

        Args:
            network: "generator" or "discriminator".
            design: Design of the user's network, with the facts that running it has shown.
        """
        stored, expected = self._values(network), design.parameters + design.buffers
        if stored not in (0, expected):
            raise UserError(
                f"training.from: {self.path} holds a {network} of {stored:,} values, and {design.path} has"
                f" {expected:,}; set model.{network}.options as there, or name other weights"
            )

    def _values(self, network: str) -> int:
        """Return the number of values in the state dict of a network; 0 if the file has no weights of it."""
        header, _ = self._file
        return sum(math.prod(one["shape"]) for name, one in header.items() if name.startswith(f"{network}."))


class Starts:
    """Weights that values of `training.from` name. Each file is read once.

    Args:
        home: Home folder of trials and imported weights.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        self._known: dict[Path, Weights] = {}

    def of(self, text: str) -> Weights:
        """Return the weights that a value of `training.from` names. Raises UserError if they do not exist."""
        path = self._path(text)
        return self._known.setdefault(path, Weights(path))

    def _path(self, text: str) -> Path:
        given = Path(text).expanduser()
        for place in (given, self._home.runs / text):
            if (place / IN_FOLDER).is_file():
                return place / IN_FOLDER
            if (place / "trial.json").is_file():
                return _checkpoint(TrialFolder(place), text, None)
            if place.is_file():
                return place
        reference, _, step = text.partition("@")
        sweep, _, prefix = reference.rpartition("/")
        trials = [one for one in self._home.sweep(sweep).all_trials() if prefix and one.id.startswith(prefix)]
        if len(trials) == 1 and (not step or step.isdecimal()):
            return _checkpoint(trials[0], text, int(step) if step else None)
        raise UserError(
            f"training.from: {text}: does not exist; name a .safetensors file, a folder of `gansweep save`, imported"
            " weights, or SWEEP/TRIAL[@STEP]"
        )


def write(start: StartConfig, folder: Path) -> None:
    """Copy weights to the folder of a sweep or run, under the name of their hash, unless it already holds them."""
    if start.digest and not (path := file_in(folder, start.digest)).exists():
        write_atomically(path, Weights(Path(start.path)).content, durable=True)


def file_in(folder: Path, digest: str) -> Path:
    """Return the path of the copy of weights in the folder of a sweep or run, given the hash of the weights."""
    return folder / "weights" / f"{digest}.safetensors"


def _checkpoint(folder: TrialFolder, text: str, step: int | None) -> Path:
    """Return the path of a trial's checkpoint at a step, or of the last one if the step is None.

    Raises:
        UserError: The trial keeps no such checkpoint.
    """
    kept = folder.all_checkpoints()
    steps = [int(path.stem) for path in kept]
    if not kept or step not in (None, *steps):
        there = f"those of {', '.join(map(str, steps))} are" if kept else "none is"
        raise UserError(f"training.from: {text}: no such checkpoint is kept; {there}")
    return kept[-1] if step is None else folder.checkpoint(step)


def _words(value: Any) -> str:
    if value is None:
        return "null"
    return f"[{', '.join(value)}]" if isinstance(value, tuple | list) else str(value)
