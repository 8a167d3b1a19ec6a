# SPDX-License-Identifier: BSD-3-Clause
"""What a plan is told beside its graph: names of layers, algorithms, what may change rounding."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import NamedTuple

from cnnkern.graph import Graph, Node


class Options(NamedTuple):
    """winograd: may its algorithm be chosen; names: of layers, by id; algorithms: by label of the node (`labels`)."""

    winograd: bool = False
    names: Mapping[int, str] = {}
    algorithms: Mapping[str, str] = {}


DEFAULT = Options()


def joined(members: Sequence[str]) -> str:
    """The label of several layers, as a shell abbreviates them: features.2.conv.{0.0,1.0,2}."""
    containers = zip(*(name.split(".")[:-1] for name in members), strict=False)
    start = "".join(f"{parts[0]}." for parts in takewhile(lambda parts: len(set(parts)) == 1, containers))
    return f"{start}{{{','.join(name[len(start) :] for name in members)}}}"


def expanded(label: str) -> list[str]:
    """The inverse of `joined`; any other label alone."""
    start, brace, rest = label.partition("{")
    return [start + name for name in rest.removesuffix("}").split(",")] if brace else [label]


def labels(graph: Graph, names: Mapping[int, str]) -> dict[Node, str]:
    """What each node is called: the state-dict name of its layer, or its operation outside any.

    Nodes with multiply-adds, which may be given an algorithm, are told apart: the second of a name gets "#2".
    """
    found: dict[Node, str] = {}
    seen: Counter[str] = Counter()
    for node in graph.nodes:
        if "layers" in node.attrs:  # several in one step: they keep the names that they would have of their own
            seen.update(member.partition("#")[0] for member in node.attrs["layers"])
            found[node] = joined(node.attrs["layers"])
            continue
        name = names.get(id(node.scope), "")
        if node.op.macs is None:
            found[node] = name
            continue
        name = name or node.op.name
        seen[name] += 1
        found[node] = name if seen[name] == 1 else f"{name}#{seen[name]}"
    return found
