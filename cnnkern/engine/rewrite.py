# SPDX-License-Identifier: BSD-3-Clause
"""What passes share: a graph's nodes as an editable list, who reads a symbol, replacing one symbol by another."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from cnnkern.graph import Array, Attrs, Graph, Node, OpDef, Shape, Symbol


class Scaled(NamedTuple):
    """A constant whose rows (of the first axis) count so many times each, in float64.

    Plans multiply while they pack, so that the product needs no memory beside the packed weights.
    """

    array: Array
    scale: Array

    @property
    def shape(self) -> Shape:
        return tuple(self.array.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self.array.dtype)

    @property
    def nbytes(self) -> int:
        return self.array.nbytes

    def dense(self) -> Array:
        rows = self.scale.reshape(-1, *(1,) * (self.array.ndim - 1))
        return (self.array.astype(np.float64) * rows).astype(np.float32)


class Program:
    """The nodes of a graph in program order, being rewritten. `graph()` gives the result."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self.nodes = list(graph.nodes)
        self.outputs = list(graph.outputs)
        self.constants: dict[Symbol, Any] = dict(graph.constants)  # arrays or Scaled

    def readers(self) -> dict[Symbol, list[Node]]:
        """The nodes that read each symbol; an output of the graph counts as read by None."""
        found: dict[Symbol, list[Any]] = {}
        for node in self.nodes:
            for symbol in dict.fromkeys(s for s in node.inputs if s is not None):
                found.setdefault(symbol, []).append(node)
        for symbol in self.outputs:
            found.setdefault(symbol, []).append(None)
        return found

    def constant(self, array: Array | Scaled, name: str = "") -> Symbol:
        symbol = Symbol(array.shape, array.dtype, name)
        self.constants[symbol] = array
        return symbol

    def replace(self, old: Node | Iterable[Node], new: Node, position: Node) -> None:
        """Put `new` where `position` stands and drop the old nodes. The outputs of `new` are taken over as they are,
        and it belongs to the layer of the first old node."""
        replaced = [old] if isinstance(old, Node) else list(old)
        new.scope = replaced[0].scope
        dropped = {id(node) for node in replaced}
        place = next(i for i, node in enumerate(self.nodes) if node is position)
        before = [node for node in self.nodes[:place] if id(node) not in dropped]
        after = [node for node in self.nodes[place:] if id(node) not in dropped]
        self.nodes = [*before, new, *after]
        for index, symbol in enumerate(new.outputs):
            symbol.node, symbol.index = new, index

    def insert(self, new: Node, position: Node) -> None:
        """Put `new` before `position`, in the same layer."""
        new.scope = position.scope
        place = next(i for i, node in enumerate(self.nodes) if node is position)
        self.nodes.insert(place, new)
        for index, symbol in enumerate(new.outputs):
            symbol.node, symbol.index = new, index

    def graph(self) -> Graph:
        """Without the nodes that nothing needs any more."""
        needed = set(self.outputs)
        kept = []
        for node in reversed(self.nodes):
            updates = any(node.inputs[i] is not None for i in node.op.mutates)
            if updates or not needed.isdisjoint(node.outputs):
                kept.append(node)
                needed.update(symbol for symbol in node.inputs if symbol is not None)
        kept.reverse()
        constants = {symbol: array for symbol, array in self.constants.items() if symbol in needed}
        old = self._graph
        return Graph(old.inputs, self.outputs, old.structure, constants, kept, old.implicit)


def make_node(op: OpDef, inputs: Iterable[Symbol | None], attrs: Attrs, outputs: Iterable[Symbol]) -> Node:
    return Node(op, tuple(inputs), attrs, tuple(outputs))
