"""Finding the files that an import path loads, from the text of `import` statements. Runs no code of the user."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gansweep.errors import UserError
from gansweep.usercode.loading import CopyFinder
from gansweep.usercode.path import ImportPath


def find(path: ImportPath, beside: Path, key: str) -> Mapping[str, bytes]:
    """Return path → content of the files of a module and of the modules that it imports, directly or indirectly.

    The module is looked up in the folder `beside` first, then among installed modules. If it is in the folder, only
    modules of the folder are returned; if it is installed, only those of the same top-level package. Imports within
    functions count as well. Paths are relative to the folder in which the module was found.

    Args:
        path: Import path of the sweep file.
        beside: Folder of the sweep file.
        key: Dotted key of the path, for messages.

    Raises:
        UserError: There is no such module, a file is not valid Python, or a file of the folder has the name of a module
            of Python or of an installed one.
    """
    place = _place_of(path.module, beside)
    if place is None:
        raise UserError(
            f"{key}: {path}: there is no module {path.module} in {beside.absolute()}, the folder of the sweep file, and"
            " none is installed; correct the path, or move the module there"
        )
    contents: dict[str, bytes] = {}
    for name, file in _imported(place, path.module):
        if place.owner is None:
            _check_shadows(place, name, file)
        contents[file.relative_to(place.folder).as_posix()] = file.read_bytes()
    return contents


def needs(folder: Path) -> dict[str, str]:
    """Return the installed top-level modules that a copy of code imports: module → first file that imports it.

    Modules of Python's standard library are left out. So are modules that are not installed on this machine, because
    their imports may be optional.

    Args:
        folder: Folder of the copy.
    """
    own = {path.stem for path in folder.iterdir()} | sys.stdlib_module_names
    found: dict[str, str] = {}
    for file in sorted(folder.rglob("*.py")):
        for name in (module.partition(".")[0] for module in _imports(file, "")):
            if name not in own and not lacking([name]):
                found.setdefault(name, file.relative_to(folder).as_posix())
    return found


def lacking(modules: Sequence[str]) -> list[str]:
    """Return those of the given top-level modules that are not installed on this machine. Imports none of them."""
    return [name for name in modules if not any(True for _ in _installed(name))]


@dataclass(frozen=True)
class _Place:
    """A folder in which modules are looked up.

    Attributes:
        folder: The folder.
        owner: Top-level name of the only module or package that is looked up here; None for the folder of a sweep
            file, in which all are.
    """

    folder: Path
    owner: str | None = None

    def file(self, module: str) -> Path | None:
        """Return the file of a module; None if the folder has none, as for a package without `__init__.py`."""
        top, *_ = parts = module.split(".")
        if self.owner not in (None, top):
            return None
        path = self.folder.joinpath(*parts)
        return next(
            (file for file in (path / "__init__.py", path.with_name(f"{path.name}.py")) if file.is_file()), None
        )


def _place_of(module: str, beside: Path) -> _Place | None:
    here = _Place(beside.absolute())
    if here.file(module):
        return here
    top = module.partition(".")[0]
    for folder in _installed(top):
        installed = _Place(folder, top)
        if installed.file(module):
            return installed
    return None


def _installed(name: str) -> Iterator[Path]:
    """Yield the folders that hold an installed top-level module."""
    for finder in sys.meta_path:
        spec = None if isinstance(finder, CopyFinder) else finder.find_spec(name, None)
        if spec and spec.submodule_search_locations:
            yield from (Path(place).parent for place in spec.submodule_search_locations)
        elif spec and spec.origin and Path(spec.origin).is_file():
            yield Path(spec.origin).parent


def _check_shadows(place: _Place, module: str, file: Path) -> None:
    """Raise UserError if a file beside the sweep file would hide a module of Python or an installed module."""
    top = module.partition(".")[0]
    installed = [other for folder in _installed(top) if (other := _Place(folder, top).file(top))]
    if top in sys.stdlib_module_names:
        owner = "a module of Python"
    elif installed and installed[0].resolve() != (place.file(top) or file).resolve():
        owner = f"the installed {installed[0]}"
    else:
        return
    raise UserError(f"{file}: {top} is also the name of {owner}, which it would hide; rename it")


def _imported(place: _Place, module: str) -> Iterator[tuple[str, Path]]:
    """Yield the name and file of a module, of the packages around it, and of all modules of `place` they import."""
    waiting, seen = [module], set[str]()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        package = name.rpartition(".")[0]
        waiting += [package] if package else []
        if file := place.file(name):
            yield name, file
            waiting += _imports(file, name if file.name == "__init__.py" else package)


def _imports(file: Path, package: str) -> Iterator[str]:
    """Yield the names of the modules that a file may import. `from a import b` yields `a` and `a.b`.

    Args:
        file: The file.
        package: Dotted name of the package that relative imports start from; "" outside any package.

    Raises:
        UserError: The file is not valid Python.
    """
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError) as error:
        line = f":{error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        raise UserError(f"{file}{line}: is not valid Python ({getattr(error, 'msg', error)}); correct it") from None
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _base(node, package)
            yield from (base, *(f"{base}.{alias.name}" for alias in node.names)) if base else ()


def _base(node: ast.ImportFrom, package: str) -> str:
    """Return the absolute name of `a` in `from a import b`; "" for a relative import outside any package."""
    above = package.split(".") if package and node.level else []
    kept = above[: len(above) - node.level + 1] if node.level else []
    return ".".join([*kept, *([node.module] if node.module and (kept or not node.level) else [])])
