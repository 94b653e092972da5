"""Idle process in place of a process that a Ray node requires and a sweep does not use. It ends after its parent."""

import os
import time

while os.getppid() == int(os.environ["RAY_RAYLET_PID"]):
    time.sleep(1)
