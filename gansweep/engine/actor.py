"""The methods of tune.Trainable that Tune calls in a trial's process, without importing Ray Tune there.

Importing Tune and its libraries costs each process one second of CPU time and 80 MB of memory.
"""

from __future__ import annotations

import gc
import os
import socket
import time
from typing import Any

from ray.util import get_node_ip_address


class Actor:
    """Base class of processes that train one trial after another. Tune calls its methods.

    The arguments that Tune passes besides the configuration differ between its versions. They are ignored.
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
        """Prepare another trial in this process, and return whether this process can train it."""
        raise NotImplementedError

    def step(self) -> dict[str, Any]:
        """Train for a short time and return the trial's result. Its value of `done` is whether the trial has ended."""
        raise NotImplementedError

    def cleanup(self) -> None:
        """Suspend the trial, since the process is about to end."""
        raise NotImplementedError

    def train(self) -> dict[str, Any]:
        """Call `step` and return its result together with the keys that Tune requires."""
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
        """Prepare another trial in this process, and return whether this process can train it."""
        self._began, self._iteration = time.monotonic(), 0
        return self.reset_config(_own(new_config))

    def stop(self) -> None:
        """Suspend the trial, and end training in this process."""
        self.cleanup()

    def get_current_ip_pid(self) -> tuple[str, int]:
        """Return the IP address of the node, and the id of this process."""
        return get_node_ip_address(), os.getpid()

    def get_auto_filled_metrics(self, debug_metrics_only: bool = True) -> dict[str, Any]:
        """Return the id, host, GPUs and current time of this process, under the keys that Tune uses."""
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
