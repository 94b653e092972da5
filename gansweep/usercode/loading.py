"""Importing from a copy of a user's code, and from nowhere else."""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import FileFinder, ModuleSpec, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

from gansweep.errors import UserError
from gansweep.usercode.path import ImportPath


class _Loader(SourceFileLoader):
    """Loader without compiled files: a copy stays as it was written."""

    def path_stats(self, path: Any) -> Any:
        raise OSError


class CopyFinder(MetaPathFinder):
    """Finder of the modules in a copy. It comes first on sys.meta_path, and leaves all other names to the others.

    Args:
        folder: Folder of the copy.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._names = frozenset(path.stem for path in folder.iterdir())

    def holds(self, name: str) -> bool:
        """Whether a module belongs to the copy."""
        return name.partition(".")[0] in self._names

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of a module of the copy; None for others, which are not looked up here."""
        if not self.holds(fullname):
            return None
        specs = (FileFinder(place, (_Loader, [".py"])).find_spec(fullname) for place in path or [str(self.folder)])
        return next((spec for spec in specs if spec), None)


def load(folder: Path, path: ImportPath) -> Callable[..., Any]:
    """Return what an import path names in a copy.

    The modules of a copy that was used before are forgotten: a process holds those of one copy at a time.

    Raises:
        UserError: The module raises, or has no such function or class.
    """
    _use(folder)
    try:
        found: Any = importlib.import_module(path.module)
    except (Exception, SystemExit) as error:
        raise UserError(f"{path}: {failure(folder, error)}; correct the module, or install what it lacks") from None
    file = Path(found.__file__ or folder).relative_to(folder)
    for name in path.attribute.split("."):
        if not hasattr(found, name):
            raise UserError(f"{path}: {file.as_posix()} defines no {path.attribute}; correct the name")
        found = getattr(found, name)
    if not callable(found):
        raise UserError(f"{path}: is not callable ({type(found).__name__}); name a function or a class")
    return found  # type: ignore[no-any-return]


def failure(folder: Path, error: BaseException) -> str:
    """Return the place of an error in a copy, FILE:LINE, its type and the first line of its text."""
    what = f"{type(error).__name__}: {error}".partition("\n")[0]
    places = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError):
        places.append((error.filename or "", error.lineno))
    own = [(Path(file), line) for file, line in places if Path(file).is_relative_to(folder)]
    return f"{own[-1][0].relative_to(folder).as_posix()}:{own[-1][1]}: {what}" if own else what


def _use(folder: Path) -> None:
    """Make modules of a copy importable, and forget those of the same names, and of the copy used before."""
    before = [finder for finder in sys.meta_path if isinstance(finder, CopyFinder)]
    if [finder.folder for finder in before] == [folder]:
        return
    now = CopyFinder(folder)
    for name in [name for name in sys.modules if any(finder.holds(name) for finder in (*before, now))]:
        del sys.modules[name]
    sys.meta_path[:] = [now, *(finder for finder in sys.meta_path if finder not in before)]
