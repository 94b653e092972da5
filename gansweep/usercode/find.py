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
    """Return relative name → content of a module and of the modules that it imports, directly or not.

    The module is looked up in a folder first, then among installed modules. Modules of the folder import each other;
    of an installed package, only the package's own modules are returned. Imports in functions count as well.

    Args:
        path: Import path of the sweep file.
        beside: Folder of the sweep file.
        key: Dotted key of the path, for messages.

    Raises:
        UserError: There is no such module, a file is not valid Python, or it has the name of an installed module.
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
    """Return top-level module → file of a copy of code that imports it, of the installed modules that it imports.

    Modules of Python are left out, and those that are not installed here: their imports may be optional.
    """
    own = {path.stem for path in folder.iterdir()} | sys.stdlib_module_names
    found: dict[str, str] = {}
    for file in sorted(folder.rglob("*.py")):
        for name in (module.partition(".")[0] for module in _imports(file, "")):
            if name not in own and not lacking([name]):
                found.setdefault(name, file.relative_to(folder).as_posix())
    return found


def lacking(modules: Sequence[str]) -> list[str]:
    """Return the top-level modules that are not installed on this machine. Imports nothing."""
    return [name for name in modules if not any(True for _ in _installed(name))]


@dataclass(frozen=True)
class _Place:
    """A folder in which modules are looked up.

    Attributes:
        folder: The folder.
        owner: The only top-level name that belongs to the user's code; None for a folder of the user.
    """

    folder: Path
    owner: str | None = None

    def file(self, module: str) -> Path | None:
        """Return the file of a module; None if it is not here, or a package without `__init__.py`."""
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
    """Raise UserError if a file beside the sweep file has the name of a module of Python or of a package."""
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
    """Yield name and file of a module, of its packages, and of all modules of the place that they import."""
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
    """Yield the modules that a file may import. Of `from a import b`, b may be a module or not.

    Args:
        file: The file.
        package: Package that relative imports begin at.
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
    """Return the module that names are imported from; empty for a relative import outside any package."""
    above = package.split(".") if package and node.level else []
    kept = above[: len(above) - node.level + 1] if node.level else []
    return ".".join([*kept, *([node.module] if node.module and (kept or not node.level) else [])])
