"""Copies of a user's code, named by the hash of their content. Trials import them instead of the user's files."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gansweep.errors import UserError
from gansweep.usercode.loading import failure, load
from gansweep.usercode.path import ImportPath

DIGEST = re.compile(r"[0-9a-f]{16}")
NAME = re.compile(r"(?:[^\W\d]\w*/)*[^\W\d]\w*\.py")  # of a file in a copy: it stays below the copy's folder


@dataclass(frozen=True)
class Code:
    """The code that a trial imports from outside gansweep.

    Attributes:
        digest: Hash of the code's files, 16 hexadecimal digits; "" for a trial that imports nothing.
        folder: Folder on this machine that holds copies of code. The copy of this code is its subfolder `digest`.
    """

    digest: str = ""
    folder: str = ""

    @property
    def path(self) -> Path:
        """Folder of the copy, `folder`/`digest`.

        Raises:
            UserError: `digest`, which may come from an untrusted file, is not 16 hexadecimal digits.
        """
        if not DIGEST.fullmatch(self.digest):
            raise UserError(f"{self.folder}: {self.digest!r} is not the hash of a copy of code")
        return Path(self.folder, self.digest)

    def at(self, folder: Path | str) -> Code:
        """Return this code with another `folder`. Copies no file: see `copy_to`."""
        return replace(self, folder=str(folder)) if self.digest else self

    def files(self) -> dict[str, bytes]:
        """Return path within the copy → content of each of its files; {} for a trial that imports nothing.

        Raises:
            UserError: The copy is missing, or was changed after it was written.
        """
        if not self.digest:
            return {}
        found = {p.relative_to(self.path).as_posix(): p.read_bytes() for p in self.path.rglob("*") if p.is_file()}
        if digest_of(found) != self.digest:
            what = "was changed" if found else "is missing"
            raise UserError(f"{self.path}: the copy of a trial's code {what}; restore it from a copy of the folder")
        return found

    def copy_to(self, folder: Path) -> Code:
        """Copy the files to another folder of copies, and return the code with that folder."""
        return write(self.files(), folder) if self.digest else self

    def load(self, path: ImportPath) -> Callable[..., Any]:
        """Return the function or class that an import path names.

        Raises:
            UserError: The copy of the user's code is missing or was changed, the import of the module raises an error,
                or the module does not define the name.
        """
        self.files()
        return load(self.path, path)

    def failure(self, error: BaseException) -> str:
        """Return an error of the code as one line: FILE:LINE, the error's type and the first line of its message."""
        return failure(self.path, error)


def digest_of(files: Mapping[str, bytes]) -> str:
    """Return the hash of files (name → content), 16 hexadecimal digits. It is the same on all machines."""
    content = hashlib.sha256()
    for name in sorted(files):
        content.update(f"{name} {len(files[name])}\n".encode() + files[name])
    return content.hexdigest()[:16]


def write(files: Mapping[str, bytes], folder: Path) -> Code:
    """Write files as a copy into a folder of copies, completely or not at all, and return its `Code`.

    Nothing is written if the folder already holds the copy.

    Args:
        files: Path within the copy → content.
        folder: Folder of copies.

    Raises:
        UserError: A path is not that of a Python file below the copy, or the copy that the folder holds was changed.
    """
    if bad := next((name for name in files if not NAME.fullmatch(name)), None):
        raise UserError(f"{folder}: {bad!r} is not the name of a Python file")
    code = Code(digest_of(files), str(folder))
    if not code.path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".", dir=folder))
        try:
            for name, content in files.items():
                _write_file(temporary / name, content)
            temporary.chmod(0o755)
            with contextlib.suppress(OSError):  # another process has written it in the meantime
                temporary.rename(code.path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    code.files()
    return code


def _write_file(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
