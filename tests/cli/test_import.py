"""`gansweep import`: what is drawn from imported weights equals what their own network makes."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from bad_calls import Call
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import save_file
from torch import nn

import gansweep
from gansweep.cli.main import cli
from gansweep.gan import checkpoint
from gansweep.gan.sampling import noise
from gansweep.records.layout import Home

LATENT, MAPS = 6, 4


def tutorial(maps: int = MAPS, kernel: int = 4, last_bias: bool = False) -> nn.Module:
    """G of PyTorch's DCGAN tutorial for 32 pixels and three channels, trained for a moment as far as norms can tell."""
    widths = [4 * maps, 2 * maps, maps]
    layers: list[nn.Module] = [nn.ConvTranspose2d(LATENT, widths[0], 4, 1, 0, bias=False)]
    for inputs, outputs in pairwise(widths):
        layers += [nn.BatchNorm2d(inputs), nn.ReLU(True), nn.ConvTranspose2d(inputs, outputs, kernel, 2, 1, bias=False)]
    layers += [
        nn.BatchNorm2d(widths[-1]),
        nn.ReLU(True),
        nn.ConvTranspose2d(maps, 3, 4, 2, 1, bias=last_bias),
        nn.Tanh(),
    ]
    torch.manual_seed(0)
    network = nn.Module()
    network.main = nn.Sequential(*layers)
    with torch.no_grad():
        for parameter in network.parameters():
            nn.init.normal_(parameter, 0.0, 0.3)
        if kernel == 4:
            network.main(torch.randn(50, LATENT, 1, 1))
    return network.eval()


def judge(maps: int = MAPS) -> nn.Module:
    network = nn.Module()
    network.main = nn.Sequential(
        nn.Conv2d(3, maps, 4, 2, 1, bias=False), nn.LeakyReLU(0.2),
        nn.Conv2d(maps, 2 * maps, 4, 2, 1, bias=False), nn.BatchNorm2d(2 * maps), nn.LeakyReLU(0.2),
        nn.Conv2d(2 * maps, 4 * maps, 4, 2, 1, bias=False), nn.BatchNorm2d(4 * maps), nn.LeakyReLU(0.2),
        nn.Conv2d(4 * maps, 1, 4, 1, 0, bias=False), nn.Sigmoid(),
    )  # fmt: skip
    return network


def run(*arguments: object) -> str:
    result = CliRunner().invoke(cli, list(map(str, arguments)), prog_name="gansweep")
    assert result.exit_code == 0, (result.output, result.exception)
    return result.stdout.strip()


@pytest.fixture(autouse=True)
def _beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def without(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A state dict as PyTorch 0.4 wrote it."""
    return {name: tensor for name, tensor in state.items() if "num_batches" not in name}


WRITTEN = {
    "netG.pth": lambda g, d, file: torch.save(g, file),
    "netG.safetensors": lambda g, d, file: save_file(g, file),
    "parallel.pt": lambda g, d, file: torch.save({f"module.{k}": t for k, t in without(g).items()}, file),
    "lightning.ckpt": lambda g, d, file: torch.save(
        {"epoch": 3, "state_dict": {f"{of}.{k}": t for of, s in (("discriminator", d), ("generator", g))
                                    for k, t in s.items()}}, file),
    "torchgan.model": lambda g, d, file: torch.save(
        {"epoch": 1, "discriminator": d, "optimizer_generator": {"state": {0: {"step": torch.ones(())}}},
         "generator": g}, file),
}  # fmt: skip


@pytest.mark.parametrize("name", WRITTEN)
def test_samples_equal_the_output_of_the_network_itself(name: str, home: Home) -> None:
    network = tutorial()
    WRITTEN[name](network.state_dict(), judge().state_dict(), Path(name))
    folder = Path(run("import", name, "--as", "faces"))
    assert folder == home.runs / "faces"
    z = noise(LATENT, 5, 0)
    with torch.no_grad():
        images = network.get_submodule("main")(z[:, :, None, None])
    torch.testing.assert_close(gansweep.load_generator(folder)(z), images, rtol=0, atol=1e-6)
    run("sample", "faces", "-o", "grid.png", "--count", 4)
    drawn = np.asarray(Image.open("grid.png"))[:32, :32].transpose(2, 0, 1).astype(int)
    assert np.abs(drawn - (images[0].numpy() + 1) * 127.5).max() <= 0.51
    assert f"imported from {name}." in (folder / "README.md").read_text()


def test_the_discriminator_is_imported_as_well() -> None:
    networks = tutorial(), judge(maps=6)
    for name, network in zip(("netG.pth", "netD.pth"), networks, strict=True):
        torch.save(network.state_dict(), name)
    folder = Path(run("import", "netG.pth", "--netD", "netD.pth", "--as", "both"))
    tensors, _ = checkpoint.load(folder / "model.safetensors")
    assert torch.equal(tensors["discriminator.weights.1"], networks[1].main[2].weight)
    assert torch.equal(tensors["discriminator.norms.0.running_var"], networks[1].main[3].running_var)


def test_a_class_of_the_user_is_imported_with_its_code() -> None:
    Path("mine.py").write_text(
        "from torch import nn\n"
        "def G(latent_dim, width):\n"
        "    return nn.Sequential(nn.Linear(latent_dim, width), nn.ReLU(), nn.Linear(width, 256), nn.Tanh(),\n"
        "                         nn.Unflatten(1, (1, 16, 16)))\n"
    )
    network = nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 256), nn.Tanh(), nn.Unflatten(1, (1, 16, 16)))
    torch.save(network.state_dict(), "netG.pth")
    folder = Path(
        run("import", "netG.pth", "--as", "own", "--network", "mine:G", "--option", "width=9", "--latent-dim", 6,
            "--image-size", 16, "--channels", 1)
    )  # fmt: skip
    Path("mine.py").unlink()
    z = torch.randn(3, 6)
    assert torch.equal(gansweep.load_generator(folder)(z), network(z))


def test_what_does_not_fit_is_shown_side_by_side(call: Call) -> None:
    torch.save(tutorial(kernel=3, last_bias=True).state_dict(), "netG.pth")
    Path("pickle.pth").write_bytes(b"cos\nsystem\n(S'touch hacked'\ntR.")
    torch.save({"netG": tutorial()}, "module.pth")
    torch.save(nn.Linear(2, 3).state_dict(), "linear.pth")
    torch.save({"step": 3}, "nothing.pth")
    Path("mine.py").write_text("from torch import nn\ndef G(latent_dim):\n    return nn.Linear(latent_dim, 4)\n")
    for arguments, message in [
        ("netG.pth", "netG.pth: does not fit a dcgan of 32 pixels and 4 feature maps: main.3.weight (16, 8, 3, 3) is"
                     " weights.1 (16, 8, 4, 4) here; main.6.weight (8, 4, 3, 3) is weights.2 (8, 4, 4, 4) here;"
                     " main.9.bias (3,) has no counterpart"),
        ("none.pth", "none.pth: cannot be read (No such file or directory)"),
        ("nothing.pth", "nothing.pth: holds no state dict of a generator; save it: torch.save(net.state_dict(),"
                        " 'net.pth')"),
        ("linear.pth", "linear.pth: is not a DCGAN's generator: it has 0 kernels of convolutions; name its class with"
                       " --network MODULE:NAME"),
        ("linear.pth --network mine:G --latent-dim 3", "linear.pth: does not fit mine:G: weight (3, 2) is"
                       " network.weight (4, 3) here; bias (3,) is network.bias (4,) here"),
        ("linear.pth --network mine", "--network: 'mine' is not an import path; write MODULE:NAME, as in mypkg.nets:G"),
    ]:  # fmt: skip
        assert call("import", *arguments.split(), "--as", "x") == f"{message}\n"
    for name in ("pickle.pth", "module.pth"):
        found = call("import", name, "--as", "x")
        assert found.startswith(f"{name}: is not a file of tensors (")
        assert found.endswith("); save the state dict alone: torch.save(netG.state_dict(), 'netG.pth')\n")
        assert found.count("\n") == 1
    assert not Path("hacked").exists()
    torch.save(tutorial().state_dict(), "good.pth")
    assert call("import", "good.pth", "--as", "../x").startswith("--as ../x: cannot name a folder")
    run("import", "good.pth", "--as", "x")
    assert "exists; choose another name" in call("import", "good.pth", "--as", "x")
