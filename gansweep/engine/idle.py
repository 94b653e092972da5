"""Placeholder for a process that a Ray node requires and a sweep does not use: idle until its parent has ended."""

import os
import time

while os.getppid() == int(os.environ["RAY_RAYLET_PID"]):
    time.sleep(1)
