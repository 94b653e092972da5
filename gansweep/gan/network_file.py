"""Files of networks whose features compare samples with real images: Inception for FID, or another network.

A state dict is accepted only if its SHA-256 is that of the published weights of Inception. No other file is unpickled,
and no other network's distance is called FID. This module does not load torch.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path

from gansweep.errors import UserError
from gansweep.gan.data import ImageSet

# Weights that were ported from TensorFlow's graph of 2015-12-05, which the publications of FID and KID used.
# torch-fidelity and pytorch-fid distribute the same file; its name ends with the first digits.
INCEPTION_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
INCEPTION_FILE = "pt_inception-2015-12-05-6726825d.pth"
PROGRAM = ".pt2"
STATISTICS_VERSION = 1  # increase if their computation or the resizing to the network's size changes
SHOWN = 16  # digits of a digest in messages


@dataclass(frozen=True)
class NetworkFile:
    """A file of a network.

    Attributes:
        path: The file.
        sha256: Its SHA-256, in hexadecimal digits.
    """

    path: Path
    sha256: str

    @property
    def is_inception(self) -> bool:
        """Whether it holds the published weights of Inception."""
        return self.sha256 == INCEPTION_SHA256

    @property
    def name(self) -> str:
        """Name of the network in names of metrics; "" for Inception."""
        return "" if self.is_inception else re.sub(r"[^\w.-]+", "-", self.path.stem)

    def statistics(self, images: ImageSet) -> Path:
        """Return the path of the file for the statistics of a data set in the features of this network.

        The file lies beside the decoded images, whose file is named by a fingerprint that includes the image size.
        """
        return Path(images.file).with_suffix(f".features-{STATISTICS_VERSION}-{self.sha256[:16]}.safetensors")


def identify(path: Path) -> NetworkFile:
    """Return the file of a network, identified by its SHA-256. The file is not deserialised.

    Raises:
        UserError: The file cannot be read, or is neither the published weights of Inception nor a program of
            torch.export (by its suffix), or it holds the weights of Inception and torch-fidelity is not installed.
    """
    try:
        status = path.stat()
        found = NetworkFile(path, _sha256(path, (status.st_size, status.st_mtime_ns)))
    except FileNotFoundError:
        raise UserError(f"{path}: does not exist; copy {INCEPTION_FILE} there (docs/features.md)") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    if found.is_inception:
        if importlib.util.find_spec("torch_fidelity") is None:
            raise UserError(f"{path}: needs the package torch-fidelity; pip install 'gansweep[fid]'")
    elif path.suffix.lower() != PROGRAM:
        raise UserError(
            f"{path}: has the SHA-256 {found.sha256[:SHOWN]}…, and {INCEPTION_FILE} has {INCEPTION_SHA256[:SHOWN]}…;"
            f" name that file, or another network as a program of torch.export ({PROGRAM})"
        )
    return found


@functools.cache
def _sha256(path: Path, stamp: tuple[int, int]) -> str:
    """Return the SHA-256 of a file.

    The result is cached per `stamp` (size, time of change in ns), because a plan asks for it once per trial.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
