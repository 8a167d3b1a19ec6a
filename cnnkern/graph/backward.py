# SPDX-License-Identifier: BSD-3-Clause
"""Gradients as a transformation of the graph: more nodes of the same kinds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cnnkern.graph.node import OPERATORS, Node, Symbol
from cnnkern.graph.tracing import Trace, current_trace


def gradients(trace: Trace, loss: Symbol, wrt: Sequence[Symbol]) -> list[Symbol | None]:
    """Record d loss / d w for each w of `wrt` into the trace; None where the loss does not depend on it.

    Walks the nodes in reverse program order. A gradient that arrives for a symbol that has one is added at once: sums
    go from the last node (and the last input of one node) to the first, and no part is kept until all are there.
    `loss` must have one element.
    """
    if loss.size != 1:
        raise ValueError(f"gradients: the loss must have one element, found shape {loss.shape}")
    if current_trace() is not trace:
        raise ValueError("gradients: call it while the trace is entered")
    nodes = list(trace.nodes)
    depends = set(wrt)
    for node in nodes:
        if not depends.isdisjoint(symbol for symbol in node.inputs if symbol is not None):
            depends.update(node.outputs)
    arrived: dict[Symbol, Symbol] = {}
    if loss in depends:
        arrived[loss] = trace.constant(np.ones(loss.shape, loss.dtype))
    for node in reversed(nodes):
        if not any(symbol in arrived and symbol in depends for symbol in node.outputs):
            continue
        contributions = _contributions(trace, node, [arrived.get(symbol) for symbol in node.outputs])
        for symbol, gradient in reversed(contributions):
            if symbol in depends:
                known = arrived.get(symbol)
                arrived[symbol] = gradient if known is None else OPERATORS["add"](known, gradient)
    return [arrived.get(symbol) for symbol in wrt]


def _contributions(trace: Trace, node: Node, grads: list[Symbol | None]) -> list[tuple[Symbol, Symbol]]:
    """What one node passes on to its inputs, in the order of the inputs."""
    custom = trace.derivatives.get(node.outputs[0])
    if custom is not None:
        return [(custom[0], OPERATORS["multiply"](grads[0], custom[1]))]
    if node.op.gradient is None:
        raise ValueError(f"gradients: {node.op.name} has no gradient rule")
    result = node.op.gradient(node, *grads)
    return [(s, g) for s, g in zip(node.inputs, result, strict=True) if s is not None and g is not None]
