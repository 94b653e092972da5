"""Copies of a user's code: written once, checked, and imported alone."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gansweep.errors import UserError
from gansweep.usercode.code import Code, digest_of, write
from gansweep.usercode.loading import CopyFinder
from gansweep.usercode.path import ImportPath

FILES = {
    "mynets/__init__.py": b"",
    "mynets/nets.py": b"""from mynets import sizes
def width():
    from .late import FACTOR
    return sizes.WIDTH * FACTOR
""",
    "mynets/sizes.py": b"WIDTH = 8\n",
    "mynets/late.py": b"FACTOR = 2\n",
}
WIDTH = ImportPath.parse("mynets.nets:width")


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    yield
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, CopyFinder)]


def test_the_hash_depends_on_names_and_bytes_alone(tmp_path: Path) -> None:
    one, two = write(FILES, tmp_path / "a"), write(dict(reversed(FILES.items())), tmp_path / "b")
    assert one.digest == two.digest == "bae6d25b4d94ee15"
    assert digest_of({**FILES, "mynets/sizes.py": b"WIDTH = 9\n"}) != one.digest
    assert digest_of({"a.py": b"x", "b.py": b""}) != digest_of({"a.py": b"", "b.py": b"x"})


def test_the_copy_is_imported_and_not_the_users_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path / "own"))
    for name in FILES:
        path = tmp_path / "own" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"raise RuntimeError('edited')\n")
    code = write(FILES, tmp_path / "code")
    assert code.load(WIDTH)() == 16
    assert Path(sys.modules["mynets.sizes"].__file__ or "").is_relative_to(code.path)
    assert code.files() == FILES, "importing leaves no compiled files"


def test_a_process_takes_up_another_copy(tmp_path: Path) -> None:
    first, second = write(FILES, tmp_path), write({**FILES, "mynets/sizes.py": b"WIDTH = 9\n"}, tmp_path)
    assert [code.load(WIDTH)() for code in (first, second, first)] == [16, 18, 16]


def test_an_existing_copy_is_used_again_and_a_changed_one_is_refused(tmp_path: Path) -> None:
    code = write(FILES, tmp_path)
    at = (code.path / "mynets/nets.py").stat().st_mtime_ns
    assert write(FILES, tmp_path) == code
    assert (code.path / "mynets/nets.py").stat().st_mtime_ns == at
    (code.path / "mynets/extra.py").write_text("")
    for use in (lambda: code.load(WIDTH), lambda: write(FILES, tmp_path)):
        with pytest.raises(UserError, match=rf"^{code.path}: the copy of a trial's code was changed; restore"):
            use()
    with pytest.raises(UserError, match="is missing; restore"):
        code.at(tmp_path / "other").load(WIDTH)


@pytest.mark.parametrize("name", ["../x.py", "/tmp/x.py", "a/../../x.py", "x.so", ".x.py", "a\\..\\x.py"])
def test_files_stay_in_the_copy(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="is not the name of a Python file"):
        write({name: b""}, tmp_path / "code")
    assert not [*tmp_path.rglob("*")]


def test_a_hash_that_is_a_path_is_refused() -> None:
    with pytest.raises(UserError, match="is not the hash"):
        Code("../../evil", "/home").load(WIDTH)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import math\n\n1 / 0\n", "nets.py:3: ZeroDivisionError: division by zero; correct the module"),
        ("import nowhere\n", "nets.py:1: ModuleNotFoundError: No module named 'nowhere'; correct the module"),
        ("import sys\nsys.exit(3)\n", "nets.py:2: SystemExit: 3; correct the module"),
        ("H = int\n", "nets.py defines no G; correct the name"),
        ("G = 3\n", "is not callable (int); name a function or a class"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    code = write({"nets.py": text.encode()}, tmp_path)
    with pytest.raises(UserError) as raised:
        code.load(ImportPath.parse("nets:G"))
    assert str(raised.value).startswith(f"nets:G: {message}")
    assert "\n" not in str(raised.value)
