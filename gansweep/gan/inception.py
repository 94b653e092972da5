"""Features and logits of images, computed by Inception or another network with the same interface."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from gansweep.errors import CheckpointError, UserError
from gansweep.gan.comparison import full_precision
from gansweep.gan.formats.exported import open_program
from gansweep.gan.network_file import NetworkFile

Function = Callable[[Tensor], tuple[Tensor, Tensor]]
FEATURES, LOGITS = "2048", "logits_unbiased"  # torch-fidelity's names of what FID and KID, and the inception score use
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Network:
    """A network loaded from a file, ready for use.

    Attributes:
        file: The file of the network.
        device: Device on which the network computes.
        function: Takes RGB images, (N, 3, H, W) uint8, and returns features, (N, d), and logits, (N, classes).
    """

    file: NetworkFile
    device: torch.device
    function: Function

    @torch.no_grad()
    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return float64 features, (N, d), and logits, (N, classes), on the CPU.

        Args:
            images: (N, C, H, W) uint8. Grey images are repeated to three channels.

        Raises:
            UserError: The network fails, or returns anything but two tensors of these shapes.
        """
        rgb = images.to(self.device).expand(-1, 3, -1, -1)
        try:
            with full_precision():
                features, logits = self.function(rgb)
            fits = features.ndim == logits.ndim == 2 and len(features) == len(logits) == len(images)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # of a network of the user
            what = f"{type(error).__name__}: {error}".partition("\n")[0]
            raise UserError(f"{self.file.path}: fails for images of {tuple(rgb.shape)} ({what})") from None
        if not fits:
            raise UserError(f"{self.file.path}: must return features (N, d) and logits (N, classes) of N images")
        return features.double().cpu(), logits.double().cpu()


def load(file: NetworkFile, device: torch.device) -> Network:
    """Load the network of a file. The state of torch's random streams does not change.

    Args:
        file: The file.
        device: Device for Inception. Other networks compute on the CPU.

    Raises:
        UserError: The file has changed since it was identified, or cannot be loaded.
    """
    try:
        content = file.path.read_bytes()
    except OSError as error:
        raise UserError(f"{file.path}: cannot be read ({error.strerror})") from None
    if hashlib.sha256(content).hexdigest() != file.sha256:
        raise UserError(f"{file.path}: has changed since it was checked; call the command again")
    if file.is_inception:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        return Network(file, device, inception(state, device))
    try:
        module, _ = open_program(content, file.path)
    except CheckpointError as error:
        raise UserError(str(error)) from None
    return Network(file, CPU, module)


def inception(state: dict[str, Tensor], device: torch.device) -> Function:
    """Return torch-fidelity's Inception with the given state dict, on a device. See `Network.function`."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    # The library reads its weights with weights_only=False, so it is given a file that this process has written.
    own = io.BytesIO()
    torch.save(state, own)
    own.seek(0)
    with torch.random.fork_rng(devices=[]):  # weights are drawn before they are replaced
        network = FeatureExtractorInceptionV3("inception", [FEATURES, LOGITS], feature_extractor_weights_path=own)
    function: Function = network.to(device).eval().requires_grad_(False)
    return function
