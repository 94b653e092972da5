"""Program that uses each GPU as a trial would, to find out whether a process can be a client of MPS.

It creates a CUDA context on each GPU and prints one line: empty if this succeeds, else the call that failed. After a
success it keeps the contexts until its standard input closes. It uses only the library of NVIDIA's driver, since torch
would take seconds to import.
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
    """Return the CUDA devices that CUDA_VISIBLE_DEVICES makes visible to this process."""
    count = ctypes.c_int()
    _call(cuda, "cuInit", 0)
    _call(cuda, "cuDeviceGetCount", ctypes.byref(count))
    devices = [ctypes.c_int() for _ in range(count.value)]
    for ordinal, device in enumerate(devices):
        _call(cuda, "cuDeviceGet", ctypes.byref(device), ordinal)
    return devices


def _call(cuda: ctypes.CDLL, function: str, *arguments: object) -> None:
    """Call a function of the driver's library.

    Raises:
        OSError: The function returns an error, whose name is in the message.
    """
    code = getattr(cuda, function)(*arguments)
    if code:
        name = ctypes.c_char_p()
        cuda.cuGetErrorName(code, ctypes.byref(name))
        raise OSError(f"{function}: {(name.value or b'error %d' % code).decode()}")


if __name__ == "__main__":
    main()
