"""Process that computes the reference data of image sets: `python -m gansweep.engine.reference_process`.

It reads the sets as a line of JSON from stdin, which the caller keeps open, and ends at once when stdin closes: the
caller has ended. Notices for the user are printed on stdout.
"""

from __future__ import annotations

import json
import os
import sys
import threading

from gansweep.config import from_plain
from gansweep.gan.data import ImageSet


def main() -> None:
    """Compute what is missing."""
    sets = [from_plain(ImageSet, plain) for plain in json.loads(sys.stdin.readline())]
    threading.Thread(target=_end_with_caller, daemon=True).start()
    from gansweep.gan.reference import reference_of  # loads torch, 2 s

    for images in sets:
        for text in reference_of(images)[1]:
            print(text, flush=True)


def _end_with_caller() -> None:
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    main()
