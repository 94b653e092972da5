"""Program that uses each GPU as a trial would, to find out whether a process can be a client of MPS.

It prints a line, which is empty or names what failed, and holds the GPUs until its standard input ends. It needs only
the driver's library: torch would take seconds to import.
"""

from __future__ import annotations

import ctypes
import sys


def main() -> None:
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
        devices = _devices(cuda)
        for device in devices:
            _call(cuda, "cuDevicePrimaryCtxRetain", ctypes.byref(ctypes.c_void_p()), device)
    except OSError as error:
        print(error)
        return
    print(flush=True)
    sys.stdin.read()
    for device in devices:
        cuda.cuDevicePrimaryCtxRelease_v2(device)


def _devices(cuda: ctypes.CDLL) -> list[ctypes.c_int]:
    """Return the devices that CUDA_VISIBLE_DEVICES leaves."""
    count = ctypes.c_int()
    _call(cuda, "cuInit", 0)
    _call(cuda, "cuDeviceGetCount", ctypes.byref(count))
    devices = [ctypes.c_int() for _ in range(count.value)]
    for ordinal, device in enumerate(devices):
        _call(cuda, "cuDeviceGet", ctypes.byref(device), ordinal)
    return devices


def _call(cuda: ctypes.CDLL, function: str, *arguments: object) -> None:
    """Call a function of CUDA's driver. Raises OSError with the name of CUDA's error."""
    code = getattr(cuda, function)(*arguments)
    if code:
        name = ctypes.c_char_p()
        cuda.cuGetErrorName(code, ctypes.byref(name))
        raise OSError(f"{function}: {(name.value or b'error %d' % code).decode()}")


if __name__ == "__main__":
    main()
