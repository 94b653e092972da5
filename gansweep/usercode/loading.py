"""Importing a user's modules from the copy of the user's code, never from the user's own files."""

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
    """Loader that neither reads nor writes compiled files (.pyc), so that the copy stays as it was written."""

    def path_stats(self, path: Any) -> Any:
        raise OSError


class CopyFinder(MetaPathFinder):
    """Finder of the modules in a copy of code. It is first on sys.meta_path; other finders find all other modules.

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
        """Return the spec of a module of the copy; None for a module that is not in the copy."""
        if not self.holds(fullname):
            return None
        specs = (FileFinder(place, (_Loader, [".py"])).find_spec(fullname) for place in path or [str(self.folder)])
        return next((spec for spec in specs if spec), None)


def load(folder: Path, path: ImportPath) -> Callable[..., Any]:
    """Return the function or class that an import path names in a copy of code.

    A process holds the modules of one copy at a time: those of another copy are removed from sys.modules.

    Raises:
        UserError: The module raises an error when it is imported, or has no such function or class.
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
    """Return an error of the user's code as one line: FILE:LINE, the error's type and the first line of its message.

    Args:
        folder: The copy of the user's code; FILE is relative to it. Errors raised elsewhere have no FILE:LINE.
        error: The error.
    """
    what = f"{type(error).__name__}: {error}".partition("\n")[0]
    places = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError):
        places.append((error.filename or "", error.lineno))
    own = [(Path(file), line) for file, line in places if Path(file).is_relative_to(folder)]
    return f"{own[-1][0].relative_to(folder).as_posix()}:{own[-1][1]}: {what}" if own else what


def _use(folder: Path) -> None:
    """Make the modules of a copy importable.

    Loaded modules of the copy used before, and those with the names of modules of this one, are removed from
    sys.modules.
    """
    before = [finder for finder in sys.meta_path if isinstance(finder, CopyFinder)]
    if [finder.folder for finder in before] == [folder]:
        return
    now = CopyFinder(folder)
    for name in [name for name in sys.modules if any(finder.holds(name) for finder in (*before, now))]:
        del sys.modules[name]
    sys.meta_path[:] = [now, *(finder for finder in sys.meta_path if finder not in before)]
