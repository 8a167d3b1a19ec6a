# SPDX-License-Identifier: BSD-3-Clause
"""Memory for time: values of the forward pass that gradients read are computed again instead of kept.

The forward nodes are cut into segments. What crosses a cut is kept; everything else that the gradients of a segment
read is computed again, from what is kept, where they first read it: Chen et al., "Training deep nets with sublinear
memory cost", 2016. The same kernels on the same operands give the same bits.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from cnnkern.graph import Graph, Node, Symbol

# Statistics of a batch norm, class scores: nothing is gained by computing them again.
_SMALL_BYTES = 1 << 16
_WINDOW = 0.25  # of a segment: so far from its end is the cheapest cut looked for


def recomputed(graph: Graph, loss: Symbol, segments: int) -> Graph:
    """The graph of a training step with its forward nodes, those that `loss` depends on, in so many segments."""
    forward = _needed_for(graph, [loss])
    bounds = _bounds(forward, segments)
    parts = _cut(forward, bounds)
    made_in = {symbol: i for i, part in enumerate(parts) for node in part for symbol in node.outputs}
    kept = {symbol for bound in bounds for symbol in _crossing(forward, bound)}
    kept.update(symbol for symbol in made_in if 4 * symbol.size <= _SMALL_BYTES or symbol in graph.outputs)

    belongs = {id(node) for node in forward}
    nodes: list[Node] = []
    again: dict[Symbol, Symbol] = {}
    done: set[int] = set()  # segments that are computed again already
    for node in graph.nodes:
        if id(node) in belongs:
            nodes.append(node)
            continue
        # The last segment's gradients come right after it.
        wanted = {made_in[s] for s in node.inputs if s in made_in and s not in kept and made_in[s] < len(bounds)}
        for index in sorted(wanted - done):
            nodes += _computed_again(graph, parts[index], index, made_in, kept, again)
        done |= wanted
        nodes.append(_reading(node, again) if wanted else node)
    return Graph(graph.inputs, graph.outputs, graph.structure, graph.constants, nodes, graph.implicit)


def _needed_for(graph: Graph, symbols: Iterable[Symbol]) -> list[Node]:
    needed = set(symbols)
    found = []
    for node in reversed(graph.nodes):
        if not needed.isdisjoint(node.outputs):
            found.append(node)
            needed.update(symbol for symbol in node.inputs if symbol is not None)
    return found[::-1]


def _cut(forward: list[Node], bounds: list[int]) -> list[list[Node]]:
    edges = [0, *bounds, len(forward)]
    return [forward[a:b] for a, b in pairwise(edges)]


def _crossing(forward: list[Node], bound: int) -> set[Symbol]:
    """What the nodes from `bound` on read of those before it."""
    made = {symbol for node in forward[:bound] for symbol in node.outputs}
    return {symbol for node in forward[bound:] for symbol in node.inputs if symbol in made}


def _bounds(forward: list[Node], count: int) -> list[int]:
    """Where segments of about equal bytes begin, each where little crosses."""
    sizes = [sum(symbol.size for symbol in node.outputs) for node in forward]
    total, bounds = max(1, sum(sizes)), []
    reached, places = 0, []
    for place, size in enumerate(sizes):
        reached += size
        places.append((place + 1, reached * count / total))
    for segment in range(1, count):
        near = [place for place, share in places[:-1] if abs(share - segment) <= _WINDOW]
        near = near or [min(places, key=lambda entry: abs(entry[1] - segment))[0]]
        best = min(near, key=lambda place: sum(symbol.size for symbol in _crossing(forward, place)))
        if 0 < best < len(forward) and best not in bounds:
            bounds.append(best)
    return sorted(bounds)


def _computed_again(
    graph: Graph,
    segment: list[Node],
    index: int,
    made_in: dict[Symbol, int],
    kept: set[Symbol],
    again: dict[Symbol, Symbol],
) -> list[Node]:
    """Copies of the nodes of a segment whose results somebody outside the forward pass reads; `again` learns them."""
    members = {id(node) for node in segment}
    outside = {
        symbol
        for node in graph.nodes
        if id(node) not in members
        for symbol in node.inputs
        if made_in.get(symbol) == index
    }
    needed = outside - kept
    chosen = []
    for node in reversed(segment):
        if not needed.isdisjoint(node.outputs):
            chosen.append(node)
            needed.update(symbol for symbol in node.inputs if symbol in made_in and symbol not in kept)
    copies = []
    for node in reversed(chosen):
        inputs = [
            None if symbol is None or i in node.op.mutates else again.get(symbol, symbol)
            for i, symbol in enumerate(node.inputs)
        ]
        outputs = tuple(Symbol(symbol.shape, symbol.dtype) for symbol in node.outputs)
        copy = Node(node.op, tuple(inputs), node.attrs, outputs, node.scope)
        for position, (old, new) in enumerate(zip(node.outputs, outputs, strict=True)):
            new.node, new.index = copy, position
            if old not in kept:
                again[old] = new
        copies.append(copy)
    return copies


def _reading(node: Node, again: dict[Symbol, Symbol]) -> Node:
    """The node on the values that were computed again."""
    inputs = tuple(again.get(symbol, symbol) if symbol is not None else None for symbol in node.inputs)
    copy = Node(node.op, inputs, node.attrs, node.outputs, node.scope)
    for position, symbol in enumerate(node.outputs):
        symbol.node, symbol.index = copy, position
    return copy
