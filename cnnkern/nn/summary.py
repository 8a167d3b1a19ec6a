# SPDX-License-Identifier: BSD-3-Clause
"""What a model consists of: output shape, parameters and multiply-adds per layer, read off the traced graph."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from cnnkern import graph
from cnnkern.functional import _check as check
from cnnkern.nn.module import Module, mode, observed, require_module

Shape = tuple[int, ...]


@dataclass(frozen=True)
class LayerRow:
    """One layer: `name` as in the state dict, `kind` its class, `multiply_adds` for the whole input."""

    name: str
    kind: str
    output_shape: Shape
    parameters: int
    multiply_adds: int


@dataclass(frozen=True)
class Summary:
    """The layers in order of execution, and the totals. A layer that runs twice has two rows, its parameters in one.

    `multiply_adds` of the model may exceed the sum of the rows by what a model computes outside any layer.
    """

    model: str
    input_shapes: tuple[Shape, ...]
    rows: tuple[LayerRow, ...]
    parameters: int
    trainable_parameters: int
    multiply_adds: int

    def __str__(self) -> str:
        header = ("layer", "output shape", "parameters", "multiply-adds")
        cells = [
            (
                f"{row.name} ({row.kind})" if row.name else row.kind,
                _shape(row.output_shape),
                f"{row.parameters:,}",
                f"{row.multiply_adds:,}",
            )
            for row in self.rows
        ]
        total = ("total", "", f"{self.parameters:,}", f"{self.multiply_adds:,}")
        widths = [max(len(row[i]) for row in (header, *cells, total)) for i in range(4)]
        rule = "-" * (sum(widths) + 6)

        def line(row: tuple[str, ...]) -> str:
            return f"{row[0]:<{widths[0]}}  {row[1]:<{widths[1]}}  {row[2]:>{widths[2]}}  {row[3]:>{widths[3]}}"

        inputs = ", ".join(_shape(shape) for shape in self.input_shapes)
        frozen = self.parameters - self.trainable_parameters
        tail = [f"frozen parameters: {frozen:,}"] if frozen else []
        return "\n".join(
            [f"{self.model}, input {inputs}", rule, line(header), rule, *map(line, cells), rule, line(total), *tail]
        )


def _shape(shape: Shape) -> str:
    return " x ".join(str(size) for size in shape) or "scalar"


def input_shapes(input_shape: Any) -> tuple[Shape, ...]:
    """One shape, or a sequence of shapes, as a tuple of shapes."""
    several = isinstance(input_shape, tuple | list) and bool(input_shape)
    several = several and all(isinstance(shape, tuple | list) for shape in input_shape)
    shapes = tuple(input_shape) if several else (input_shape,)
    return tuple(check.shape("input_shape", "each shape" if several else "the shape", shape) for shape in shapes)


def _trace(model: Module, shapes: tuple[Shape, ...]) -> graph.Graph:
    with mode(model, training=False):
        return graph.trace(model, [graph.Spec(shape, np.dtype(np.float32)) for shape in shapes])


def count_macs(model: Module, input_shape: Any) -> int:
    """Multiplications in the convolutions and matrix products of one forward pass in evaluation mode.

    Args:
        model: any module.
        input_shape: (N, C, H, W) or whatever the model takes, or a tuple of shapes; N = 1 gives the figure per image.
    """
    return graph.count_multiply_adds(_trace(require_module("count_macs", model), input_shapes(input_shape)))


def summarize(model: Module, input_shape: Any) -> Summary:
    """The `Summary` of a model for that input; nothing is computed."""
    shapes = input_shapes(input_shape)
    names = {id(module): name for name, module in model.named_modules()}
    counted: set[int] = set()
    rows: list[LayerRow] = []
    starts: list[int] = []

    def observe(module: Module, event: str, _inputs: tuple[Any, ...], outputs: Any) -> None:
        trace = graph.current_trace()
        assert trace is not None
        nodes = trace.nodes
        if event == "enter":
            starts.append(len(nodes))
            return
        start = starts.pop()
        if any(True for _ in module.children()):
            return
        own = [array for array in module._parameters.values() if array is not None and id(array) not in counted]
        counted.update(id(array) for array in own)
        rows.append(
            LayerRow(
                name=names[id(module)],
                kind=type(module).__name__,
                output_shape=tuple(next(_leaves(outputs)).shape),
                parameters=sum(array.size for array in own),
                multiply_adds=sum(node.op.macs(node) for node in nodes[start:] if node.op.macs is not None),
            )
        )

    with observed(observe):
        traced = _trace(model, shapes)
    return Summary(
        model=type(model).__name__,
        input_shapes=shapes,
        rows=tuple(rows),
        parameters=sum(array.size for array in model.parameters()),
        trainable_parameters=sum(array.size for _, array in model.named_parameters(trainable=True)),
        multiply_adds=graph.count_multiply_adds(traced),
    )


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        value = tuple(value.values())
    if isinstance(value, tuple | list):
        for item in value:
            yield from _leaves(item)
    else:
        yield value
