"""Interface of tune.Trainable, as far as Tune uses it in a trial's process, without importing Ray Tune there.

Tune and the libraries that it loads cost each process a second of a core and 80 MB.
"""

from __future__ import annotations

import gc
import os
import socket
import time
from typing import Any

from ray.util import get_node_ip_address


class Actor:
    """Base class of processes that train one trial after another. Methods are called by Tune.

    What Tune passes besides a configuration differs between its versions, and is not used.
    """

    def __init__(self, config: dict[str, Any], **_: object) -> None:
        # Importing torch makes half a million objects that stay, and steps leave no garbage in cycles.
        gc.set_threshold(50_000, 20, 20)
        self._began, self._iteration = time.monotonic(), 0
        self.setup(_own(config))

    def setup(self, config: dict[str, Any]) -> None:
        """Prepare the first trial."""
        raise NotImplementedError

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Prepare another trial. Returns whether this process can train it."""
        raise NotImplementedError

    def step(self) -> dict[str, Any]:
        """Train for a while and return the result. `done`: whether the trial has ended."""
        raise NotImplementedError

    def cleanup(self) -> None:
        """Suspend the trial: the process ends."""
        raise NotImplementedError

    def train(self) -> dict[str, Any]:
        """Return the result of a step with the keys that Tune requires."""
        began = time.monotonic()
        result = self.step()
        self._iteration += 1
        now = time.monotonic()
        return {
            **result,
            "training_iteration": self._iteration,
            "time_this_iter_s": now - began,
            "time_total_s": now - self._began,
            **self.get_auto_filled_metrics(),
        }

    def reset(self, new_config: dict[str, Any], **_: object) -> bool:
        """Prepare another trial."""
        self._began, self._iteration = time.monotonic(), 0
        return self.reset_config(_own(new_config))

    def stop(self) -> None:
        """End training in this process."""
        self.cleanup()

    def get_current_ip_pid(self) -> tuple[str, int]:
        """Return the address of the node and the id of this process."""
        return get_node_ip_address(), os.getpid()

    def get_auto_filled_metrics(self, debug_metrics_only: bool = True) -> dict[str, Any]:
        """Return where and when this process answered."""
        address, pid = self.get_current_ip_pid()
        return {
            "pid": pid,
            "hostname": socket.gethostname(),
            "node_ip": address,
            "timestamp": time.time(),
            "gpu": os.environ.get("CUDA_VISIBLE_DEVICES", ""),
        }


def _own(config: dict[str, Any]) -> dict[str, Any]:
    """Return a configuration without the keys that Tune adds."""
    return {key: value for key, value in config.items() if not key.startswith("__")}
