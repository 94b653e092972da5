"""Data sets of torchvision, named by their class, as in `torchvision:EMNIST`.

Options are arguments of the class. Files have torchvision's layout below `dataset.data_dir`. Sets that torchvision can
download are downloaded if they are missing.
"""

from __future__ import annotations

import contextlib
import inspect
import pickle
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

from gansweep.errors import UserError
from gansweep.gan.items import Items, Opened, class_names
from gansweep.gan.pictures import files_below
from gansweep.gan.reader import Source
from gansweep.gan.stored import reason
from gansweep.section import nearest

RESERVED = {"self", "root", "download", "loader", "transform", "target_transform", "transforms", "is_valid_file"}
DIGESTED = {"CIFAR10", "CIFAR100"}  # stored as pickles, whose digests torchvision checks before it opens them


class Torchvision(Items):
    """Reader of a data set of torchvision.

    Args:
        source: Specification of the set.
        root: Folder of the files, which torchvision calls `root`.
    """

    def __init__(self, source: Source, root: Path) -> None:
        super().__init__(source)
        self._root = root

    def signature(self) -> Any:
        if not (files := files_below(self._root)):
            self.open_items()  # downloads it, or refuses
            files = files_below(self._root)
        return files

    def open_items(self) -> Opened:
        found = self._class()
        taken = _parameters(found)
        options = self._checked_options(taken)
        arguments = {"root": str(self._root), **options} if "root" in taken else options
        steps = [{"download": False}, {"download": True}] if "download" in taken else [{}]
        problem: Exception | None = None
        for step in steps:
            try:
                with contextlib.redirect_stdout(sys.stderr), _without_pickles(found.__name__):
                    opened = found(**arguments, **step)
                return Opened(opened, class_names(opened))
            except (UserError, KeyboardInterrupt):
                raise
            except Exception as error:  # whatever a data set raises
                problem = error
        assert problem is not None
        raise self._missing(problem, len(steps) > 1)

    def _class(self) -> Any:
        import torchvision

        name = self.source.argument
        found = getattr(torchvision.datasets, name, None)
        if name not in torchvision.datasets.__all__ or not isinstance(found, type):
            known = [
                one for one in torchvision.datasets.__all__ if isinstance(getattr(torchvision.datasets, one), type)
            ]
            raise self._refusal(f"torchvision has no data set {name}{nearest(name, known)}")
        return found

    def _checked_options(self, taken: Mapping[str, inspect.Parameter]) -> dict[str, Any]:
        options, known = dict(self.source.options or {}), [name for name in taken if name not in RESERVED]
        for name in options:
            if name not in known:
                raise UserError(
                    f"dataset.options.{name}: torchvision's {self.source.argument} has no such option;"
                    f" it has {', '.join(known) or 'none'}"
                )
        needed = [name for name in known if taken[name].default is inspect.Parameter.empty and name not in options]
        if needed:
            raise UserError(f"dataset.options: torchvision's {self.source.argument} needs {', '.join(needed)}")
        return options

    def _missing(self, error: Exception, downloadable: bool) -> UserError:
        if isinstance(error, ModuleNotFoundError):
            return self._refusal(f"needs the package {error.name}; install it")
        if isinstance(error, ValueError | TypeError):
            return UserError(f"dataset.options: torchvision's {self.source.argument}: {reason(error)}")
        tried = " and could not be downloaded" if downloadable else ""
        return UserError(
            f"dataset.data_dir: {self.source.name} is not in {self._root}{tried} ({reason(error)}); name"
            " the folder that torchvision calls root with --set dataset.data_dir=FOLDER"
        )


def open_source(source: Source, cache: Path) -> Torchvision:
    """Return the reader of a set in `dataset.data_dir`; if that is not set, in the set's own folder in the cache."""
    own = cache / "downloads" / f"torchvision-{source.argument}"
    return Torchvision(source, Path(source.data_dir).absolute() if source.data_dir else own)


def _parameters(found: Any) -> dict[str, inspect.Parameter]:
    """Return the parameters of a class by name, with those of its base classes if it passes **kwargs on to them."""
    parameters: dict[str, inspect.Parameter] = {}
    for base in inspect.getmro(found):
        if (initialise := vars(base).get("__init__")) is None:
            continue
        own = inspect.signature(initialise).parameters
        kinds = [one.kind for one in own.values()]
        parameters |= {
            name: one
            for name, one in own.items()
            if name not in parameters and one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL)
        }
        if inspect.Parameter.VAR_KEYWORD not in kinds:
            break
    return parameters


@contextlib.contextmanager
def _without_pickles(name: str) -> Iterator[None]:
    """Keep a data set from loading pickles, such as the list of keys that LSUN writes, and from leaving any.

    Within the block pickle.load raises UserError, and pickle.dump deletes the file instead of writing to it. Both work
    as usual for the data sets in DIGESTED.

    Args:
        name: Class of the data set.
    """
    if name in DIGESTED:
        yield
        return

    def refuse(file: Any, **_: Any) -> NoReturn:
        raise UserError(
            f"dataset.data_dir: {Path(file.name).absolute()}: is a pickle, which may run code; delete it and try again"
        )

    def delete(obj: object, file: Any, **_: Any) -> None:
        file.close()
        Path(file.name).unlink()

    load, dump = pickle.load, pickle.dump
    pickle.load, pickle.dump = refuse, delete  # type: ignore[assignment]
    try:
        yield
    finally:
        pickle.load, pickle.dump = load, dump
