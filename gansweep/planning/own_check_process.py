"""Process that checks users' networks: designs from standard input, an answer for each to standard output, as JSON."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from gansweep.config import from_plain, to_plain
from gansweep.errors import UserError
from gansweep.networks.own import OwnDesign


def _answer(plain: dict[str, Any]) -> dict[str, Any]:
    from gansweep.networks.own_check import check

    try:
        facts: dict[str, Any] = to_plain(check(from_plain(OwnDesign, plain)))
        return facts
    except UserError as error:
        return {"problem": str(error)}


def main() -> None:
    """Answer the question on standard input. What code of the user prints goes to standard error."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    found = [_answer(plain) for plain in json.load(sys.stdin)]
    answers.write(json.dumps(found))
    answers.flush()
    os._exit(0)  # not kept by threads of the user's code


if __name__ == "__main__":
    main()
