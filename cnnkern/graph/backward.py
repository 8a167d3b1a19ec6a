# SPDX-License-Identifier: BSD-3-Clause
"""Gradients as a transformation of the graph: more nodes of the same kinds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cnnkern.graph.node import OPERATORS, Node, Symbol
from cnnkern.graph.tracing import Trace, current_trace


def gradients(trace: Trace, loss: Symbol, wrt: Sequence[Symbol]) -> list[Symbol | None]:
    """Record d loss / d w for each w of `wrt` into the trace; None where the loss does not depend on it.

    Walks the nodes in reverse program order. A gradient that arrives more than once is summed in the order of the nodes
    (and of the inputs of one node) that it comes from. `loss` must have one element.
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
    arriving: dict[Symbol, list[Symbol]] = {}
    if loss in depends:
        arriving[loss] = [trace.constant(np.ones(loss.shape, loss.dtype))]
    for node in reversed(nodes):
        if not any(symbol in arriving and symbol in depends for symbol in node.outputs):
            continue
        contributions = _contributions(trace, node, [_total(arriving, symbol) for symbol in node.outputs])
        for symbol, gradient in reversed(contributions):
            if symbol in depends:
                arriving.setdefault(symbol, []).append(gradient)
    return [_total(arriving, symbol) for symbol in wrt]


def _contributions(trace: Trace, node: Node, grads: list[Symbol | None]) -> list[tuple[Symbol, Symbol]]:
    """What one node passes on to its inputs, in the order of the inputs."""
    custom = trace.derivatives.get(node.outputs[0])
    if custom is not None:
        return [(custom[0], OPERATORS["multiply"](grads[0], custom[1]))]
    if node.op.gradient is None:
        raise ValueError(f"gradients: {node.op.name} has no gradient rule")
    result = node.op.gradient(node, *grads)
    return [(s, g) for s, g in zip(node.inputs, result, strict=True) if s is not None and g is not None]


def _total(arriving: dict[Symbol, list[Symbol]], symbol: Symbol) -> Symbol | None:
    """Sum what has arrived for a symbol, in node order (it was collected backwards), and remember the sum."""
    parts = arriving.get(symbol)
    if parts is None:
        return None
    total = parts[-1]
    for part in parts[-2::-1]:
        total = OPERATORS["add"](total, part)
    arriving[symbol] = [total]
    return total
