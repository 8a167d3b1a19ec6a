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

    `rows` are the layers alone. `tree` also has the modules that hold them, each before its parts and with the sums of
    all that happens in it, as (depth, row); it is what `str` shows. `multiply_adds` of the model may exceed the sum of
    the rows by what a model computes outside any layer, `parameters` by the `unused_parameters` of auxiliary heads.
    """

    model: str
    input_shapes: tuple[Shape, ...]
    rows: tuple[LayerRow, ...]
    tree: tuple[tuple[int, LayerRow], ...]
    parameters: int
    trainable_parameters: int
    unused_parameters: int
    multiply_adds: int

    def __str__(self) -> str:
        return self.table()

    def table(self, depth: int | None = None) -> str:
        """The summary as text, with parts of parts down to `depth` levels (1: the model's direct parts; None: all)."""
        deepest = None if depth is None else check.integer("table", "depth", depth, 1)
        cells = [_cells(level, row) for level, row in self.tree if deepest is None or level <= deepest]
        header = ("layer", "output shape", "parameters", "multiply-adds")
        total = ("total", "", f"{self.parameters:,}", f"{self.multiply_adds:,}")
        widths = [max(len(row[i]) for row in (header, *cells, total)) for i in range(4)]
        rule = "-" * (sum(widths) + 6)

        def line(row: tuple[str, ...]) -> str:
            return f"{row[0]:<{widths[0]}}  {row[1]:<{widths[1]}}  {row[2]:>{widths[2]}}  {row[3]:>{widths[3]}}"

        inputs = ", ".join(_shape(shape) for shape in self.input_shapes)
        frozen = self.parameters - self.trainable_parameters
        tail = [f"frozen parameters: {frozen:,}"] if frozen else []
        if self.unused_parameters:
            tail.append(f"parameters not used in evaluation mode: {self.unused_parameters:,}")
        return "\n".join(
            [f"{self.model}, input {inputs}", rule, line(header), rule, *map(line, cells), rule, line(total), *tail]
        )


def _cells(level: int, row: LayerRow) -> tuple[str, ...]:
    name = row.name.rpartition(".")[2]
    label = "  " * (level - 1) + (f"{name} ({row.kind})" if name else row.kind)
    figures = (f"{figure:,}" if figure else "-" for figure in (row.parameters, row.multiply_adds))
    return label, _shape(row.output_shape), *figures


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


class _Recorder:
    """Watches the modules of a model being traced."""

    def __init__(self, model: Module) -> None:
        self._names = {id(module): name for name, module in model.named_modules()}
        self._counted: set[int] = set()
        self._parameters = 0
        self._open: list[tuple[int, int, int]] = []  # of each running module: place in the tree, nodes, parameters
        self._depth = 0
        self.tree: list[tuple[int, LayerRow]] = []
        self.rows: list[LayerRow] = []

    def __call__(self, module: Module, event: str, _inputs: tuple[Any, ...], outputs: Any) -> None:
        trace = graph.current_trace()
        assert trace is not None
        name = self._names.get(id(module))  # a container made on the way has none: its parts stand for it
        if name is None:
            return
        if event == "enter":
            self._open.append((len(self.tree), len(trace.nodes), self._parameters))
            self._depth += name != ""
            return
        place, first, before = self._open.pop()
        own = [array for array in module._parameters.values() if array is not None and id(array) not in self._counted]
        self._counted.update(id(array) for array in own)
        self._parameters += sum(array.size for array in own)
        row = LayerRow(
            name=name,
            kind=type(module).__name__,
            output_shape=tuple(next(_leaves(outputs)).shape),
            parameters=self._parameters - before,
            multiply_adds=sum(node.op.macs(node) for node in trace.nodes[first:] if node.op.macs is not None),
        )
        leaf = not any(True for _ in module.children())
        if leaf:
            self.rows.append(row)
        if name or leaf:
            self.tree.insert(place, (max(self._depth, 1), row))
        self._depth -= name != ""


def summarize(model: Module, input_shape: Any) -> Summary:
    """The `Summary` of a model for that input; nothing is computed."""
    shapes = input_shapes(input_shape)
    recorder = _Recorder(model)
    with observed(recorder):
        traced = _trace(model, shapes)
    used = {id(array) for array in traced.constants.values()}
    return Summary(
        model=type(model).__name__,
        input_shapes=shapes,
        rows=tuple(recorder.rows),
        tree=tuple(recorder.tree),
        parameters=sum(array.size for array in model.parameters()),
        trainable_parameters=sum(array.size for _, array in model.named_parameters(trainable=True)),
        unused_parameters=sum(array.size for array in model.parameters() if id(array) not in used),
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
