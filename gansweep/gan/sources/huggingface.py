"""Data sets of Hugging Face's package `datasets` (the extra `hf`), from a folder or from the hub.

`huggingface_folder` is a folder that `save_to_disk` wrote; `huggingface:NAME` is downloaded from the hub to the cache.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gansweep.errors import UserError
from gansweep.gan.items import Items, Opened
from gansweep.gan.pictures import files_below
from gansweep.gan.reader import Source
from gansweep.gan.stored import reason

TRAIN = "train"  # the split that is used unless the options name another


@dataclass(frozen=True)
class _Columns:
    """Rows of a data set as pairs (image, label). Labels are None if there is no column of labels."""

    rows: Any
    image: str
    label: str | None

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        row = self.rows[index]
        return row[self.image], None if self.label is None else row[self.label]


class HuggingFace(Items):
    """A data set that is read with Hugging Face's library `datasets`.

    Args:
        source: Its `path` is a folder, or the name of a data set on the hub. Its `options` are `split`, `image` and
            `label` (the names of columns), and for the hub `config` and `revision`.
        downloads: Folder for files of the hub.
    """

    def __init__(self, source: Source, downloads: Path) -> None:
        super().__init__(source)
        self._options: Mapping[str, Any] = source.options or {}
        self._downloads = downloads

    def signature(self) -> Any:
        """Return names, sizes and times of all files below a folder; [] for a set of the hub.

        A set of the hub is identified by its name and options.
        """
        return files_below(Path(self.source.path)) if self.source.path else []

    def open_items(self) -> Opened:
        rows = self._rows()
        features: Mapping[str, Any] = rows.features
        image = self._column(features, "image", "Image")
        if image is None:
            raise self._refusal(f"choose the column of images: dataset.options: {{image: NAME}}; {_listed(features)}")
        label = self._column(features, "label", "ClassLabel")
        return Opened(_Columns(rows, image, label), getattr(features.get(label or ""), "names", None) or ())

    def _rows(self) -> Any:
        try:
            import datasets
        except ModuleNotFoundError as error:
            raise self._refusal(f"needs the package {error.name}; install it with pip install 'gansweep[hf]'") from None
        try:
            found = self._from_folder(datasets) if self.source.path else self._from_hub(datasets)
        except Exception as error:  # whatever the package raises
            place = self.source.path or self.source.argument
            raise self._refusal(f"{place}: cannot be opened ({reason(error)})") from None
        if hasattr(found, "features"):
            return found
        split = self._options.get("split", TRAIN if TRAIN in found else None)
        if split not in found:
            raise UserError(f"dataset.options.split: must be one of {', '.join(found)}, got {split!r}")
        return found[split]

    def _from_folder(self, datasets: Any) -> Any:
        return datasets.load_from_disk(self.source.path)

    def _from_hub(self, datasets: Any) -> Any:
        return datasets.load_dataset(
            self.source.argument,
            self._options.get("config"),
            split=self._options.get("split", TRAIN),
            revision=self._options.get("revision"),
            cache_dir=str(self._downloads),
        )

    def _column(self, features: Mapping[str, Any], option: str, kind: str) -> str | None:
        """Return the name of the column of images or labels.

        Args:
            features: Column → its type.
            option: Option that may name the column.
            kind: Type of the column if the option is not set.

        Returns:
            The column that the option names, or else the only column of the type; None if there is not exactly one.

        Raises:
            UserError: The option names no column.
        """
        if (given := self._options.get(option)) is not None:
            if given not in features:
                raise UserError(f"dataset.options.{option}: {given!r} is not a column; {_listed(features)}")
            return str(given)
        found = [name for name, feature in features.items() if type(feature).__name__ == kind]
        return found[0] if len(found) == 1 else None


def open_source(source: Source, cache: Path) -> HuggingFace:
    """Return the reader of a data set. Raises UserError if its folder does not exist."""
    if source.path and not Path(source.path).is_dir():
        raise UserError(f"dataset.path: {source.path}: is not a folder that save_to_disk wrote")
    return HuggingFace(source, Path(source.data_dir) if source.data_dir else cache / "downloads" / "huggingface")


def _listed(features: Mapping[str, Any]) -> str:
    return f"the set has {', '.join(features)}"
