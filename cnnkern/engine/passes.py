# SPDX-License-Identifier: BSD-3-Clause
"""Rewriting a graph so that fewer and better kernels compute the same: folding batch norm, fusing epilogues.

A pass takes a `Program` and changes it in place. Training steps have passes of their own (engine/training.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from cnnkern.engine.bands import Joiner, fuse_bands
from cnnkern.engine.loading import Scaling, pool_before_pointwise, scale_on_load
from cnnkern.engine.options import DEFAULT, Options
from cnnkern.engine.rewrite import Program, Scaled, make_node
from cnnkern.engine.shuffle import simplify_shuffles
from cnnkern.graph import Array, Attrs, Graph, Node, Symbol

ACTIVATIONS = ("relu", "leaky_relu", "clamp")
LONG_ACTIVATIONS = ("silu", "hardswish", "sigmoid", "hardsigmoid")
_TAKES_LONG_ACTIVATION = ("conv2d", "batch_norm_training")
CONVOLUTIONS = ("conv1d", "conv2d", "conv3d")
_TAKES_ACTIVATION = (
    *CONVOLUTIONS,
    "matmul",
    "batch_norm",
    "batch_norm_training",
    "add",
    "subtract",
    "multiply",
    "divide",
)


class Folder:
    """Folds batch norm into convolutions and remembers the result, so that plans of other image sizes share weights."""

    def __init__(self) -> None:
        # The arrays are kept beside the result: an id is only good while its object lives.
        self._done: dict[tuple[float, ...], tuple[tuple[Any, ...], Scaled, Array]] = {}
        self.scaling = Scaling()
        self._widened: dict[tuple[int, int], tuple[Array | Scaled, Array | Scaled]] = {}
        self.joiner = Joiner()

    def fold(
        self, weight: Array | Scaled, bias: Array | None, norm: tuple[Array | None, ...], eps: float
    ) -> tuple[Scaled, Array]:
        """Weight and bias of a convolution that does what convolution and batch norm (mean, var, gamma, beta) did."""
        key = (eps, *(id(array) for array in (weight, bias, *norm)))
        if key not in self._done:
            mean, var, gamma, beta = (None if array is None else array.astype(np.float64) for array in norm)
            assert mean is not None and var is not None
            scale = (1.0 if gamma is None else gamma) / np.sqrt(var + eps)
            shift = -mean if bias is None else bias.astype(np.float64) - mean
            moved = shift * scale + (0.0 if beta is None else beta)
            plain = weight.dense() if isinstance(weight, Scaled) else np.require(weight, requirements=["C", "A"])
            self._done[key] = (weight, bias, *norm), Scaled(plain, scale), moved.astype(np.float32)
        return self._done[key][1:]

    def widened(self, array: Array | Scaled, size: int) -> Array | Scaled:
        """The array with zeros up to `size` along its first axis."""
        key = (id(array), size)
        if key not in self._widened:
            parts = array if isinstance(array, Scaled) else (array,)
            wide = [np.concatenate([part, np.zeros((size - len(part), *part.shape[1:]), part.dtype)]) for part in parts]
            self._widened[key] = array, Scaled(*wide) if isinstance(array, Scaled) else wide[0]
        return self._widened[key][1]


def fold_batch_norm(program: Program, folder: Folder) -> None:
    """convolution -> batch_norm with constant statistics: a convolution with other weights (computed in float64)."""
    readers = program.readers()
    for norm in list(program.nodes):
        if norm.op.name != "batch_norm" or norm.inputs[0] is None:
            continue
        conv = norm.inputs[0].node
        if conv is None or conv.op.name not in CONVOLUTIONS or readers[conv.outputs[0]] != [norm]:
            continue
        if conv.inputs[3] is not None or is_active(conv):
            continue
        arrays = [None if s is None else program.constants.get(s) for s in (*conv.inputs[1:3], *norm.inputs[1:])]
        present = [s is not None for s in (*conv.inputs[1:3], *norm.inputs[1:])]
        if any(array is None and there for array, there in zip(arrays, present, strict=True)):
            continue
        weight, bias, *rest = arrays
        assert weight is not None
        folded, moved = folder.fold(weight, bias, tuple(rest), norm.attrs["eps"])
        inputs = (conv.inputs[0], program.constant(folded), program.constant(moved), None)
        attrs = {**conv.attrs, **_epilogue(norm)}
        program.replace((conv, norm), make_node(conv.op, inputs, attrs, norm.outputs), conv)


def sums(program: Program, takes: Callable[[Node], bool]) -> Iterator[tuple[Node, list[tuple[Node, Symbol]]]]:
    """Additions of two maps, each with those of its operands, and the other one, that are the first result of an
    operation which `takes` a residual, and that nobody else reads. Additions without any are left out."""
    readers = program.readers()
    for add in list(program.nodes):
        if add.op.name != "add" or is_active(add) or add.inputs[0] is add.inputs[1]:
            continue
        found = []
        for branch, other in (add.inputs, add.inputs[::-1]):
            node = None if branch is None else branch.node
            if node is None or other is None or branch.shape != other.shape or readers[branch] != [add]:
                continue
            if branch is node.outputs[0] and takes(node):
                found.append((node, other))
        if found:
            yield add, found


def fuse_residuals(program: Program) -> None:
    """add(conv2d(x), r) becomes conv2d(x, residual=r), computed where the addition stood."""

    def takes(node: Node) -> bool:
        return node.op.name in CONVOLUTIONS and node.inputs[3] is None and not is_active(node)

    for add, ((conv, other), *_) in sums(program, takes):
        program.replace((conv, add), make_node(conv.op, (*conv.inputs[:3], other), conv.attrs, add.outputs), add)


def fuse_activations(program: Program) -> None:
    """An activation after an operation with an epilogue, and the only reader of its result, moves into the epilogue."""
    readers = program.readers()
    for node in list(program.nodes):
        if node.op.name not in (*ACTIVATIONS, *LONG_ACTIVATIONS) or node.inputs[0] is None:
            continue
        source = node.inputs[0].node
        takes = _TAKES_LONG_ACTIVATION if node.op.name in LONG_ACTIVATIONS else _TAKES_ACTIVATION
        if source is None or source.op.name not in takes or is_active(source):
            continue
        if readers[source.outputs[0]] != [node]:
            continue
        attrs = {**source.attrs, "activation": node.op.name, **node.attrs}
        outputs = (node.outputs[0], *source.outputs[1:])
        program.replace((source, node), make_node(source.op, source.inputs, attrs, outputs), source)


def drop_idle_reshapes(program: Program) -> None:
    """A reshape to the same shape is the symbol itself."""
    same: dict[Symbol, Symbol] = {}
    for node in list(program.nodes):
        inputs = tuple(same.get(s, s) if s is not None else None for s in node.inputs)
        if inputs != node.inputs:
            new = make_node(node.op, inputs, node.attrs, node.outputs)
            program.replace(node, new, node)
            node = new
        if node.op.name == "reshape" and node.inputs[0] is not None and node.inputs[0].shape == node.outputs[0].shape:
            same[node.outputs[0]] = node.inputs[0]
    program.outputs = [same.get(symbol, symbol) for symbol in program.outputs]


def is_active(node: Node) -> bool:
    return bool(node.attrs.get("activation", "none") != "none")


def _epilogue(node: Node) -> Attrs:
    return {key: node.attrs[key] for key in ("activation", "slope", "low", "high") if key in node.attrs}


def optimize_inference(graph: Graph, folder: Folder, options: Options = DEFAULT) -> Graph:
    """Everything: nobody looks at the values in between."""
    program = Program(graph)
    drop_idle_reshapes(program)
    fold_batch_norm(program, folder)
    fuse_residuals(program)
    fuse_activations(program)
    simplify_shuffles(program, folder)
    pool_before_pointwise(program)
    scale_on_load(program, folder.scaling)
    fuse_bands(program, options, folder.joiner)
    return program.graph()
