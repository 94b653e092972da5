"""FID, KID and the inception score: equal to those of torch-fidelity, and called so for its Inception alone."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import stand_in
import torch
import torch_fidelity
from torch import Tensor
from torch_fidelity.feature_extractor_base import FeatureExtractorBase
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from gansweep.errors import UserError
from gansweep.gan import fid, inception, network_file
from gansweep.gan.data import ImageSet
from gansweep.gan.fid import Progress, Samples, measure
from gansweep.gan.network_file import NetworkFile, identify
from gansweep.health.fid import Distances

CPU = torch.device("cpu")
REAL, MADE = 2_500, 2_060  # images: neither is a multiple of a batch


class Extractor(FeatureExtractorBase):  # type: ignore[misc]
    """The stand-in for torch-fidelity."""

    def __init__(self, name: str, features_list: list[str], **_: Any) -> None:
        super().__init__(name, features_list)
        self.network = stand_in.StandIn()

    @staticmethod
    def get_provided_features_list() -> tuple[str, ...]:
        return inception.FEATURES, inception.LOGITS

    @staticmethod
    def get_default_feature_layer_for_metric(metric: str) -> str:
        return inception.LOGITS if metric == "isc" else inception.FEATURES

    @staticmethod
    def can_be_compiled() -> bool:
        return False

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        found = dict(zip(self.get_provided_features_list(), self.network(images), strict=True))
        return tuple(found[name] for name in self.features_list)


class Images(torch.utils.data.Dataset[Tensor]):
    def __init__(self, pixels: np.ndarray) -> None:
        self._pixels = torch.from_numpy(pixels).expand(-1, 3, -1, -1)

    def __len__(self) -> int:
        return len(self._pixels)

    def __getitem__(self, at: int) -> Tensor:
        return self._pixels[at]


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> NetworkFile:
    return identify(stand_in.write(tmp_path_factory.mktemp("network") / f"{stand_in.NAME}.pt2"))


@pytest.fixture
def images(tmp_path: Path) -> ImageSet:
    """Grey noise of two classes, one of them three times as frequent."""
    pixels = np.random.default_rng(0).integers(0, 200, (REAL, 1, 16, 16), np.uint8)
    np.save(tmp_path / "abc.npy", pixels)
    np.save(tmp_path / "abc.labels.npy", np.arange(REAL) % 4 // 3)
    return ImageSet(str(tmp_path / "abc.npy"), "abc", REAL, 1, 16, ("a", "b"))


def generate(z: Tensor, labels: Tensor | None) -> Tensor:
    """Images that depend on z and the class, and differ in their brightness."""
    shift = 0 if labels is None else 40 * labels.view(-1, 1, 1, 1)
    return (z.view(-1, 1, 16, 16) * 60 + 90 + 30 * z[:, 0].view(-1, 1, 1, 1) + shift).clamp(0, 255).byte()


def samples(count: int = MADE, *, conditional: bool = False, seed: int = 0) -> Samples:
    return Samples(generate, 256, conditional, count, seed)


def result(work: Generator[Progress, None, Distances]) -> Distances:
    while True:
        try:
            next(work)
        except StopIteration as end:
            found: Distances = end.value
            return found


def test_equals_torch_fidelity_on_the_same_images(network: NetworkFile, images: ImageSet) -> None:
    found = result(measure(network, images, samples(), CPU))
    if stand_in.NAME not in torch_fidelity.registry.FEATURE_EXTRACTORS_REGISTRY:
        torch_fidelity.register_feature_extractor(stand_in.NAME, Extractor)
    made = torch.cat([*samples().batches(images)]).numpy()
    theirs = torch_fidelity.calculate_metrics(
        input1=Images(made), input2=Images(images.load()), feature_extractor=stand_in.NAME, fid=True, kid=True,
        isc=True, cuda=False, verbose=False, save_cpu_ram=True, cache=False,
    )  # fmt: skip
    assert found.frechet == pytest.approx(theirs["frechet_inception_distance"], abs=1e-3)
    assert found.frechet > 0.1
    for mine, name in ((found.kernel, "kernel_inception_distance"), (found.score, "inception_score")):
        assert mine == pytest.approx((theirs[f"{name}_mean"], theirs[f"{name}_std"]), abs=1e-6)
    assert {*found.record()} == {
        f"{one}/stand-in" for one in ("frechet", "kernel", "kernel_std", "score", "score_std")
    }  # fmt: skip


def test_classes_have_the_proportions_of_the_data_and_the_seed_decides(images: ImageSet) -> None:
    asked: list[Tensor] = []

    def note(z: Tensor, labels: Tensor | None) -> Tensor:
        assert labels is not None
        asked.append(labels)
        return generate(z, labels)

    first = torch.cat([*Samples(note, 256, True, 2_048, 0).batches(images)])
    assert torch.bincount(torch.cat(asked)).tolist() == [1536, 512]
    assert torch.cat(asked)[:1000].sum() == pytest.approx(250, abs=50)  # in random order
    again, other = (torch.cat([*samples(2_048, conditional=True, seed=seed).batches(images)]) for seed in (0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_real_images_are_read_once_and_the_rest_repeats(
    network: NetworkFile, images: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fid, "SUBSETS", 3)
    first = result(measure(network, images, samples(), CPU))
    monkeypatch.setattr(ImageSet, "load", lambda _: pytest.fail("reads the real images again"))
    assert result(measure(network, images, samples(), CPU)) == first
    network.statistics(images).write_bytes(b"damaged")
    with pytest.raises(pytest.fail.Exception, match="again"):
        result(measure(network, images, samples(), CPU))


def test_nothing_is_left_of_interrupted_work_and_another_process_is_waited_for(
    network: NetworkFile, images: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fid, "WAIT_S", 0)
    first, second = (measure(network, images, samples(), CPU) for _ in range(2))
    assert next(first) == Progress("real images", fid.BATCH, REAL)
    assert next(second).total == 0
    first.close()
    assert not network.statistics(images).exists()
    assert next(second) == Progress("real images", fid.BATCH, REAL)


def test_kid_draws_from_a_part_of_many_images(
    network: NetworkFile, images: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fid, "SUBSETS", 3)
    whole = result(measure(network, images, samples(), CPU))
    network.statistics(images).unlink()
    monkeypatch.setattr(fid, "KEPT", 1_500)
    part = result(measure(network, images, samples(), CPU))
    assert (part.frechet, part.score) == (whole.frechet, whole.score)
    assert part.kernel != whole.kernel
    assert part.kernel[0] == pytest.approx(whole.kernel[0], rel=0.1)


def test_too_few_images_or_samples_are_refused(network: NetworkFile, images: ImageSet) -> None:
    few = ImageSet(images.file, "abc", 2_047, 1, 16, ())
    with pytest.raises(UserError, match=r"^2,047 images are too few, 2,048 are needed: with fewer, the covariance"):
        result(measure(network, few, samples(), CPU))
    with pytest.raises(UserError, match=r"its 24 features need as many samples, got 20$"):
        result(measure(network, images, samples(20), CPU))


def test_only_known_weights_are_opened(tmp_path: Path) -> None:
    opened = tmp_path / "opened"

    class Evil:
        def __reduce__(self) -> tuple[Callable[[], None], tuple[()]]:
            return opened.touch, ()

    code = tmp_path / "code.pth"
    torch.save({"weight": Evil()}, code)
    for path in (code, tmp_path / "code.pt2"):
        path.write_bytes(code.read_bytes())
    digest = hashlib.sha256(code.read_bytes()).hexdigest()
    with pytest.raises(UserError) as refused:
        identify(code)
    assert str(refused.value) == (
        f"{code}: has the SHA-256 {digest[:16]}…, and pt_inception-2015-12-05-6726825d.pth has 6726825d0af5f729…; name"
        " that file, or another network as a program of torch.export (.pt2)"
    )
    with pytest.raises(UserError, match=r"code.pt2: refused, since it holds '.*' besides a graph and weights"):
        inception.load(identify(tmp_path / "code.pt2"), CPU)
    with pytest.raises(UserError, match=r"absent.pth: does not exist; copy pt_inception"):
        identify(tmp_path / "absent.pth")
    with pytest.raises(UserError, match="cannot be read"):
        identify(tmp_path)
    assert not opened.exists()


def test_a_file_that_changes_after_the_check_is_refused(tmp_path: Path) -> None:
    file = identify(stand_in.write(tmp_path / "net.pt2"))
    file.path.write_bytes(file.path.read_bytes() + b"x")
    with pytest.raises(UserError, match="has changed since it was checked"):
        inception.load(file, CPU)


@pytest.mark.parametrize("wrong", ["one", "flat"])
def test_a_network_of_another_interface_is_told(network: NetworkFile, wrong: str) -> None:
    outputs = {"one": torch.zeros(2, 3), "flat": (torch.zeros(2), torch.zeros(2, 3))}
    found = inception.Network(network, CPU, lambda _: outputs[wrong])  # type: ignore[arg-type,return-value]
    with pytest.raises(UserError, match=r"stand-in.pt2: "):
        found(torch.zeros(2, 1, 16, 16, dtype=torch.uint8))


@pytest.mark.slow
def test_the_known_weights_give_the_features_of_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With random weights of Inception in place of the published ones, which tests cannot download."""
    monkeypatch.setattr("torch_fidelity.feature_extractor_inceptionv3.load_state_dict_from_url", lambda *_, **__: {})
    monkeypatch.setattr(FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
    theirs = FeatureExtractorInceptionV3("theirs", [inception.FEATURES, inception.LOGITS])
    monkeypatch.undo()
    torch.save(theirs.state_dict(), tmp_path / "weights.pth")
    digest = hashlib.sha256((tmp_path / "weights.pth").read_bytes()).hexdigest()
    monkeypatch.setattr(network_file, "INCEPTION_SHA256", digest)
    file = identify(tmp_path / "weights.pth")
    assert (file.is_inception, file.name) == (True, "")
    before = torch.get_rng_state()
    network = inception.load(file, CPU)
    assert torch.equal(torch.get_rng_state(), before)
    grey = torch.randint(0, 256, (3, 1, 32, 32), dtype=torch.uint8)
    features, logits = network(grey)
    assert (features.shape, logits.shape) == ((3, 2048), (3, 1008))
    for mine, their in zip((features, logits), theirs(grey.expand(-1, 3, -1, -1)), strict=True):
        torch.testing.assert_close(mine, their.double())
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"needs the package torch-fidelity; pip install 'gansweep\[fid\]'"):
        identify(file.path)


def test_numbers_are_called_fid_for_inception_alone() -> None:
    found = Distances("", 1.0, (2.0, 0.1), (3.0, 0.2)).record()
    assert found == {"fid": 1.0, "kid": 2.0, "kid_std": 0.1, "inception_score": 3.0, "inception_score_std": 0.2}
    assert NetworkFile(Path("my net.pt2"), "0" * 64).name == "my-net"
