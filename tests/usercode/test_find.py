"""The files of a user's code are found from their text: no module is run."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from gansweep.errors import UserError
from gansweep.usercode.find import find, lacking, needs
from gansweep.usercode.path import ImportPath

RAISES = "raise SystemExit('it was run')\n"


def write(folder: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(RAISES + text)
    return folder


def found(folder: Path, path: str) -> list[str]:
    return sorted(find(ImportPath.parse(path), folder, "model.architecture"))


@pytest.mark.parametrize(
    "text", ["nets", "nets:", ":G", "my pkg:G", "nets.py:G", "./nets:G", "a:b:c", "nets:G()", "1:G"]
)
def test_other_texts_are_no_import_paths(text: str) -> None:
    if text == "nets.py:G":  # a module may be called py
        assert ImportPath.parse(text).module == "nets.py"
        return
    with pytest.raises(ValueError, match=r"MODULE:NAME, as in mypkg\.nets:G"):
        ImportPath.parse(text)


@pytest.mark.parametrize(
    ("text", "more"),
    [
        ("import other", ["other.py"]),
        ("import mypkg.blocks", ["mypkg/blocks.py"]),
        ("from mypkg import blocks as b", ["mypkg/blocks.py"]),
        ("from . import blocks", ["mypkg/blocks.py"]),
        ("from .blocks import Block", ["mypkg/blocks.py"]),
        ("from .sub import deep", ["mypkg/sub/__init__.py", "mypkg/sub/deep.py"]),
        ("from .sub.deep import *", ["mypkg/sub/__init__.py", "mypkg/sub/deep.py"]),
        ("def make():\n    from .. import far\n    import other", ["other.py"]),
        ("try:\n    import absent, numpy\nexcept ImportError:\n    import plain.one", ["plain/one.py"]),
        ("x = 'import other'", []),
    ],
)
def test_imports_of_the_same_folder_are_followed(tmp_path: Path, text: str, more: list[str]) -> None:
    files = {
        "mypkg/__init__.py": "",
        "mypkg/nets.py": text,
        "mypkg/blocks.py": "",
        "mypkg/unused.py": "",
        "mypkg/sub/__init__.py": "",
        "mypkg/sub/deep.py": "from ..nets import G",  # a circle
        "plain/one.py": "",
        "other.py": "",
    }
    expected = sorted(["mypkg/__init__.py", "mypkg/nets.py", *more])
    assert found(write(tmp_path, files), "mypkg.nets:G") == expected


def test_modules_are_followed_through_others(tmp_path: Path) -> None:
    files = {
        "a.py": "import b",
        "b.py": "from pkg.c import C",
        "pkg/__init__.py": "import d",
        "pkg/c.py": "",
        "d.py": "",
    }
    assert found(write(tmp_path, files), "a:A") == ["a.py", "b.py", "d.py", "pkg/__init__.py", "pkg/c.py"]


def test_a_package_comes_with_its_own_modules_if_it_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"ownlib/__init__.py": "", "ownlib/layers.py": "", "otherlib.py": ""}
    files["ownlib/nets.py"] = "import otherlib\nfrom . import layers"
    monkeypatch.syspath_prepend(str(write(tmp_path / "site", files)))
    beside = write(tmp_path / "sweeps", {"layers.py": ""})
    assert found(beside, "ownlib.nets:G") == ["ownlib/__init__.py", "ownlib/layers.py", "ownlib/nets.py"]
    write(beside, {"otherlib.py": ""})
    assert "otherlib.py" not in find(ImportPath.parse("ownlib.nets:G"), beside, "k")


def test_a_module_in_the_folder_and_on_the_path_of_python_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(write(tmp_path, {"ownnets.py": ""})))
    assert found(tmp_path, "ownnets:G") == ["ownnets.py"]


def test_a_missing_module_is_named_with_the_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^model\.architecture: nonets:G: there is no module nonets in .*; correct"):
        found(tmp_path, "nonets:G")
    assert "nonets" not in sys.modules


@pytest.mark.parametrize("name", ["torch", "numpy", "random"])
def test_a_file_may_not_hide_an_installed_module(tmp_path: Path, name: str) -> None:
    write(tmp_path, {"nets.py": f"import {name}", f"{name}.py": ""})
    with pytest.raises(UserError, match=rf"^{tmp_path}/{name}\.py: {name} is also the name of .*; rename it$"):
        found(tmp_path, "nets:G")


def test_a_folder_of_images_may_have_the_name_of_a_module(tmp_path: Path) -> None:
    (tmp_path / "numpy").mkdir()
    assert found(write(tmp_path, {"nets.py": "import numpy"}), "nets:G") == ["nets.py"]


def test_a_syntax_error_has_its_line(tmp_path: Path) -> None:
    (tmp_path / "nets.py").write_text("import torch\nclass G(\n")
    with pytest.raises(UserError, match=rf"^{tmp_path}/nets\.py:2: is not valid Python \(.*\); correct it$"):
        found(tmp_path, "nets:G")


def test_installed_packages_that_a_copy_needs(tmp_path: Path) -> None:
    text = "import os, pkg.b\nfrom . import c\nfrom pytest import mark\nimport numpy.linalg, nowhere_at_all\n"
    write(tmp_path, {"pkg/__init__.py": "", "pkg/a.py": text, "pkg/b.py": "import torch, numpy\n", "pkg/c.py": ""})
    assert needs(tmp_path) == {"pytest": "pkg/a.py", "numpy": "pkg/a.py", "torch": "pkg/b.py"}
    assert lacking(["numpy", "nowhere_at_all", "pkg"]) == ["nowhere_at_all", "pkg"]
