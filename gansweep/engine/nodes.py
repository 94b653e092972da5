"""Check that a cluster's nodes have the packages that the user's code imports, before trials start."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from gansweep.errors import UserError
from gansweep.planning.plan import Plan
from gansweep.usercode.find import lacking, needs


def check_packages(plan: Plan) -> None:
    """Check that every node on which trials may run has the packages that the trials' code imports.

    Raises:
        UserError: A node lacks a package.
    """
    needed = {module: file for code in plan.codes.known for module, file in needs(code.path).items()}
    if not needed:
        return
    for host, missing in _answers([*needed]):
        if missing:
            name = missing[0]
            raise UserError(
                f"{needed[name]}: imports {name}, which is not installed on the node {host}; install it there, or end"
                " the node"
            )


def _answers(modules: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield (host name, modules that it lacks) of each node with CPU cores.

    Nodes that end before they answer are left out.
    """
    remote: Any = ray.remote(num_cpus=0, max_retries=0)(lacking)
    nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
    asked = [
        remote.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)).remote(modules)
        for node in nodes
    ]
    for node, answer in zip(nodes, asked, strict=True):
        with suppress(ray.exceptions.RayError):
            yield node["NodeManagerHostname"], ray.get(answer)
