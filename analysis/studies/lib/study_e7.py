"""Claim E7: the message of `gansweep plan` for RGB images and a model with one channel."""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

from analysis.studies.lib.rules import decided, finding

KEY = "model.channels"
SWEEP = """
name: rgb
dataset: {name: image_folder, path: images, image_size: 16}
model: {channels: 1, feature_maps: 4}
training: {steps: 10, batch_size: 4}
"""


def refused():
    """Return the message of `gansweep plan` for a few coloured squares."""
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder) / "images"
        images.mkdir()
        for number in range(8):
            Image.new("RGB", (16, 16), (30 * number, 200, 90)).save(images / f"{number}.png")
        (Path(folder) / "rgb.yaml").write_text(SWEEP)
        command = [sys.executable, "-m", "gansweep.cli", "plan", "rgb.yaml", "--no-timing", "--home", "home"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return judged(done.returncode, done.stderr.strip())


def judged(code, message):
    """Decide E7: holds if the file is refused with a message that names the setting and, after it, both counts."""
    numbers = set(re.findall(r"\b\d+\b", message.partition(KEY)[2]))
    return finding(f"`gansweep plan` says “{message}”", decided(code != 0 and {"1", "3"} <= numbers, True), seeds=1)
