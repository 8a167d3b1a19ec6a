# SPDX-License-Identifier: BSD-3-Clause
"""What can be done with a finished graph without an engine: interpret it, count its work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cnnkern.graph.node import Array, Symbol
from cnnkern.graph.tracing import Graph, evaluate


def run_numpy(graph: Graph, inputs: Sequence[Array], implicit: Mapping[str, Array] | None = None) -> Any:
    """Interpret a graph node by node on arrays (float32 through the kernels, float64 through the reference).

    implicit supplies the graph's implicit inputs by name. Constants that nodes mutate are updated in place.
    """
    if len(inputs) != len(graph.inputs):
        raise ValueError(f"run_numpy: the graph has {len(graph.inputs)} inputs, {len(inputs)} were given")
    values: dict[Symbol | None, Any] = {None: None, **dict(graph.constants.items())}
    given = list(zip(graph.inputs, inputs, strict=True))
    for name, symbol in graph.implicit.items():
        if implicit is None or name not in implicit:
            raise ValueError(f"run_numpy: the graph needs the implicit input {name!r}: {symbol!r}")
        given.append((symbol, implicit[name]))
    for symbol, array in given:
        if array.shape != symbol.shape or array.dtype != symbol.dtype:
            raise ValueError(f"run_numpy: expected {symbol!r}, found {array.dtype}{list(array.shape)}")
        values[symbol] = array
    for node in graph.nodes:
        outputs = evaluate(node.op, tuple(values[symbol] for symbol in node.inputs), node.attrs)
        values.update(zip(node.outputs, outputs, strict=True))
    return graph.restore([values[symbol] for symbol in graph.outputs])


def count_multiply_adds(graph: Graph) -> int:
    """Multiply-adds of the convolutions and matrix products of a graph (bias additions are not counted)."""
    return sum(node.op.macs(node) for node in graph.nodes if node.op.macs is not None)
