# SPDX-License-Identifier: BSD-3-Clause
"""What a plan is told beside its graph: names of layers, algorithms, what may change rounding."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from cnnkern.graph import Graph, Node


class Options(NamedTuple):
    """winograd: may its algorithm be chosen; names: of layers, by id; algorithms: by label of the node (`labels`)."""

    winograd: bool = False
    names: Mapping[int, str] = {}
    algorithms: Mapping[str, str] = {}


DEFAULT = Options()


def labels(graph: Graph, names: Mapping[int, str]) -> dict[Node, str]:
    """What each node is called: the state-dict name of its layer, or its operation outside any.

    Nodes with multiply-adds, which may be given an algorithm, are told apart: the second of a name gets "#2".
    """
    found: dict[Node, str] = {}
    seen: Counter[str] = Counter()
    for node in graph.nodes:
        name = names.get(id(node.scope), "")
        if node.op.macs is None:
            found[node] = name
            continue
        name = name or node.op.name
        seen[name] += 1
        found[node] = name if seen[name] == 1 else f"{name}#{seen[name]}"
    return found
