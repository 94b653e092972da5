"""Loaded into processes (as sitecustomize) for which CUDA's driver is a stand-in with two GPUs.

It is a client of the stand-in mps_control.py if that listens, as CUDA would be. MPS_CUDA: name of an error of cuInit,
or `hangs`.
"""

# ruff: noqa: N802

import ctypes
import os
import socket
import time
from contextlib import suppress

real = ctypes.CDLL


class Cuda:
    def cuInit(self, flags):
        fault = os.environ.get("MPS_CUDA")
        if fault == "hangs":
            time.sleep(600)
        if not fault:
            with suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
                connection.connect(os.environ["CUDA_MPS_PIPE_DIRECTORY"] + "/control")
                connection.sendall(b"client")
                connection.recv(1000)
        return 805 if fault else 0

    def cuGetErrorName(self, code, name):
        name._obj.value = os.environ["MPS_CUDA"].encode()
        return 0

    def cuDeviceGetCount(self, count):
        count._obj.value = 2
        return 0

    def cuDeviceGet(self, device, ordinal):
        device._obj.value = ordinal
        return 0

    def cuDevicePrimaryCtxRetain(self, context, device):
        return 0

    def cuDevicePrimaryCtxRelease_v2(self, device):
        return 0


def _load(name, *rest, **more):
    return Cuda() if name == "libcuda.so.1" else real(name, *rest, **more)


vars(ctypes)["CDLL"] = _load
