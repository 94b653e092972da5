"""Process that computes the reference data of image sets: `python -m gansweep.engine.reference_process`.

It reads a list of references.Wanted as one line of JSON from stdin, and prints notices for the user on stdout. The
caller keeps stdin open. If stdin closes, the caller has ended, and this process ends at once.
"""

from __future__ import annotations

import json
import os
import sys
import threading

from gansweep.config import from_plain
from gansweep.engine.references import Wanted


def main() -> None:
    """Compute the reference data that stdin lists, unless they exist."""
    wanted = [from_plain(Wanted, plain) for plain in json.loads(sys.stdin.readline())]
    threading.Thread(target=_end_with_caller, daemon=True).start()
    from gansweep.gan.reference import reference_of  # loads torch, 2 s

    for one in wanted:
        for text in reference_of(one.images, one.features, one.code)[1]:
            print(text, flush=True)


def _end_with_caller() -> None:
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    main()
