"""Generators in files: each format makes the images of the network that was saved, for batches of any size."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

import gansweep
from gansweep.api.card import Provenance
from gansweep.api.saving import write_folder
from gansweep.config import NetworkConfig, to_plain
from gansweep.errors import UserError
from gansweep.gan.formats import called, exported, onnx, registry
from gansweep.gan.restore import Restored, description
from gansweep.gan.training import Trainer
from gansweep.networks.registry import generator_design
from gansweep.usercode.code import write

CONDITIONAL = NetworkConfig(conditioning="concat", classes=("a", "b", "c"))
# Packages that a fresh environment has with `pip install torch safetensors` and `pip install --no-deps gansweep`.
INSTALLED = (
    "torch", "torchgen", "functorch", "triton", "cuda", "safetensors", "gansweep", "typing_extensions", "sympy",
    "mpmath", "networkx", "jinja2", "markupsafe", "fsspec", "filelock", "packaging", "setuptools", "_distutils_hack",
)  # fmt: skip
ELSEWHERE = f"""
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in sys.stdlib_module_names and top not in {INSTALLED} and not top.startswith("__editable__"):
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Blocked())
import warnings
warnings.filterwarnings("ignore", "Failed to initialize NumPy")
import gansweep, torch
generator = gansweep.load_generator(sys.argv[1])
images = generator(torch.linspace(-1, 1, 15).view(3, 5), torch.tensor([0, 1, 2]))
print(generator.classes, [round(float(image.mean()), 6) for image in images])
"""


@pytest.fixture(scope="module")
def found(make_trainer: Callable[..., Trainer]) -> Restored:
    """A conditional generator whose norms have running statistics of their own."""
    trainer = make_trainer(networks=CONDITIONAL)
    with torch.no_grad():
        trainer.generator(torch.randn(20, 5), torch.arange(20) % 3)
    return Restored(trainer.generator.eval(), 7, description(trainer.config)["settings"])


def assert_same(path: Path, found: Restored, tolerance: float) -> None:
    generator = gansweep.load_generator(path)
    assert (generator.latent_dim, generator.classes, generator.step) == (5, ("a", "b", "c"), 7)
    assert (generator.image_size, generator.channels) == (16, 1)
    for count in (1, 2, 7):
        z, labels = torch.randn(count, 5), torch.arange(count) % 3
        with torch.no_grad():
            expected = found.generator(z, labels)
        images = generator(z, labels)
        assert images.shape == (count, 1, 16, 16)
        assert float((images - expected).abs().max()) <= tolerance
        assert not torch.equal(images, generator(z, (labels + 1) % 3)), "classes have no effect"


def test_weights_make_the_same_images_where_only_torch_and_safetensors_are_installed(
    found: Restored, tmp_path: Path
) -> None:
    path = tmp_path / "g.safetensors"
    registry.format_of(path).write(found, path)
    assert_same(path, found, 0)
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, path], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    with torch.no_grad():
        images = found.generator(torch.linspace(-1, 1, 15).view(3, 5), torch.tensor([0, 1, 2]))
    means = [round(float(image.mean()), 6) for image in images]
    assert (done.stderr, done.stdout) == ("", f"{('a', 'b', 'c')} {means}\n")


def test_a_program_makes_the_same_images_and_holds_no_pickle(
    found: Restored, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "g.pt2"
    exported.write(found, path)
    assert_same(path, found, 1e-5)
    hostile = tmp_path / "hostile.pt2"
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(hostile, "w") as other:
        for name in archive.namelist():
            other.writestr(name, archive.read(name))
        other.writestr("archive/data/constants/opaque_obj_0", b"cos\nsystem\n(S'touch hacked'\ntR.")
    with pytest.raises(UserError, match=r"hostile\.pt2: refused, since it holds 'data/constants/opaque_obj_0' besides"):
        gansweep.load_generator(hostile)
    inputs = tmp_path / "inputs.pt2"
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(inputs, "w") as other:
        for name in archive.namelist():
            pickled = b"cos\nsystem\n(S'touch hacked'\ntR." if "sample_inputs" in name else archive.read(name)
            other.writestr(name, pickled)
    with pytest.raises(UserError, match=r"inputs\.pt2: damaged"):
        gansweep.load_generator(inputs)
    assert not Path("hacked").exists()


def test_an_onnx_graph_makes_the_same_images(found: Restored, tmp_path: Path) -> None:
    path = tmp_path / "g.onnx"
    onnx.write(found, path)
    assert_same(path, found, 1e-4)
    other = called.exportable(found)
    other.generator.norms[0].bias.fill_(0.5)  # type: ignore[union-attr, index, operator]
    with pytest.raises(UserError, match=r"g\.onnx: images of onnxruntime differ from those of torch by up to "):
        onnx._compare(other, onnx._session(path.read_bytes()), found, path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(UserError, match=r"g\.onnx: damaged"):
        gansweep.load_generator(path)


OWN = """
from torch import nn

def G(latent_dim, slope):
    return nn.Sequential(nn.Linear(latent_dim, 256), nn.LeakyReLU(slope), nn.Tanh(), nn.Unflatten(1, (1, 16, 16)))
"""


def test_a_folder_holds_the_code_of_a_class_of_the_user(found: Restored, tmp_path: Path) -> None:
    code = write({"mine.py": OWN.encode()}, tmp_path / "code")
    config = NetworkConfig(generator_network="mine:G", generator_options={"slope": 0.3})
    network = generator_design(5, 4, 16, 1, config, code).build().eval()
    settings = {**found.settings, "networks": to_plain(config), "code": {"digest": code.digest, "folder": ""}}
    own = Restored(network, 3, settings, code)
    write_folder(own, tmp_path / "mine", Provenance())
    shutil.rmtree(tmp_path / "code")
    z = torch.randn(3, 5)
    assert torch.equal(gansweep.load_generator(tmp_path / "mine")(z), network(z))
    with pytest.raises(UserError, match=r"g\.safetensors: the file would lack the code of the generator; save a "):
        registry.format_of(tmp_path / "g.safetensors").write(own, tmp_path / "g.safetensors")


class Unexportable(nn.Module):
    """The images depend on values in a way that no graph holds."""

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return x if float(x.sum()) > 0 else labels


def test_a_generator_that_cannot_be_exported_is_refused_in_one_line(
    found: Restored, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*_: object, **__: object) -> None:
        raise RuntimeError("no such operator in ONNX\nas a long report says")

    path = tmp_path / "g.x"
    with pytest.raises(UserError, match=r"g\.x: .*cannot.* export.*; save it as .*\.safetensors") as refused:
        exported.write(Restored(Unexportable(), 7, found.settings), path)  # type: ignore[arg-type]
    assert "\n" not in str(refused.value)
    monkeypatch.setattr(torch.onnx, "export", refuses)
    with pytest.raises(UserError, match=r"g\.x: .*cannot be exported to ONNX \(RuntimeError: no such operator"):
        onnx.write(found, path)
    assert not path.exists()


def test_the_extra_is_named_where_it_is_missing(
    found: Restored, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx.importlib.util, "find_spec", lambda name: None)  # type: ignore[attr-defined]
    for call in (lambda: onnx.write(found, tmp_path / "g.onnx"), lambda: gansweep.load_generator(tmp_path / "g.onnx")):
        with pytest.raises(UserError, match=r"needs .*onnxruntime; install with pip install 'gansweep\[onnx\]'$"):
            call()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none.safetensors", "none.safetensors: cannot be read (No such file or directory)"),
        ("none.pt2", "none.pt2: cannot be read (No such file or directory)"),
        ("g.pth", "g.pth: not a file of a generator; name a .safetensors, .pt2 or .onnx file"),
    ],
)
def test_what_cannot_be_loaded_is_refused(name: str, message: str) -> None:
    with pytest.raises(UserError) as refused:
        gansweep.load_generator(name)
    assert str(refused.value) == message
