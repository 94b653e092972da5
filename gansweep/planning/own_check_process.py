"""Process that checks users' networks, losses, metrics and embeddings: reads them and writes the answers as JSON."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from gansweep.config import from_plain, to_plain
from gansweep.errors import UserError
from gansweep.features import OwnFeatures
from gansweep.health.own import OwnMetric
from gansweep.losses.own import OwnLoss
from gansweep.networks.own import OwnDesign


def _network(plain: dict[str, Any]) -> dict[str, Any]:
    """Run a network, and return the facts about it as plain data."""
    from gansweep.networks.own_check import check

    facts: dict[str, Any] = to_plain(check(from_plain(OwnDesign, plain)))
    return facts


def _loss(plain: dict[str, Any]) -> dict[str, Any]:
    """Check a loss, and return {} if it can be used."""
    from gansweep.losses.own_check import check

    check(from_plain(OwnLoss, plain))
    return {}


def _metric(plain: dict[str, Any]) -> dict[str, Any]:
    """Check a metric, and return {} if it can be used."""
    from_plain(OwnMetric, plain).check()
    return {}


def _features(plain: dict[str, Any]) -> dict[str, Any]:
    """Check an embedding, and return {} if it can be used."""
    from gansweep.gan.features.imported import check
    from gansweep.gan.features.recipe import Source

    own = from_plain(OwnFeatures, plain)
    check(Source(str(own.path), code=own.code), own.channels, own.size)
    return {}


KINDS = {
    OwnDesign.__name__: _network,
    OwnLoss.__name__: _loss,
    OwnMetric.__name__: _metric,
    OwnFeatures.__name__: _features,
}


def _answer(kind: str, plain: dict[str, Any]) -> dict[str, Any]:
    try:
        return KINDS[kind](plain)
    except UserError as error:
        return {"problem": str(error)}


def main() -> None:
    """Check the parts read from standard input, and write the answers to standard output.

    Output of the user's code goes to standard error.
    """
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    found = [_answer(kind, plain) for kind, plain in json.load(sys.stdin)]
    answers.write(json.dumps(found))
    answers.flush()
    os._exit(0)  # not kept by threads of the user's code


if __name__ == "__main__":
    main()
