# SPDX-License-Identifier: BSD-3-Clause
"""Rewriting a graph so that fewer and better kernels compute the same: folding batch norm, fusing epilogues.

A pass takes a `Program` and changes it in place. Inference runs all of them; a training step those that keep what the
backward pass needs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from cnnkern.engine.bands import Joiner, fuse_bands
from cnnkern.engine.loading import Scaling, pool_before_pointwise, scale_on_load
from cnnkern.engine.options import DEFAULT, Options
from cnnkern.engine.rewrite import Program, Scaled, make_node
from cnnkern.engine.shuffle import simplify_shuffles
from cnnkern.graph import Array, Attrs, Graph, Node, Symbol

_ACTIVATIONS = ("relu", "leaky_relu", "clamp")
_LONG_ACTIVATIONS = ("silu", "hardswish", "sigmoid", "hardsigmoid")
_TAKES_LONG_ACTIVATION = ("conv2d", "batch_norm_training")
# Gradients of activations that a batch norm's gradient can take in.
_SLOPES = {f"{name}_grad": name for name in (*_ACTIVATIONS, *_LONG_ACTIVATIONS)}
_NORMS = {"batch_norm": 4, "batch_norm_training": 2}  # where they have their bias
_CONVOLUTIONS = ("conv1d", "conv2d", "conv3d")
_GRADIENTS_BY_INPUT = tuple(f"{name}_grad_input" for name in _CONVOLUTIONS)
# Where operations of a training step take what they add to their result.
_RESIDUALS = {**dict.fromkeys(_GRADIENTS_BY_INPUT, 2), "batch_norm_training": 5, "batch_norm_grad": 6}
_GATE = 3  # of the gradients of convolutions
_TAKES_ACTIVATION = (
    *_CONVOLUTIONS,
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
        if conv is None or conv.op.name not in _CONVOLUTIONS or readers[conv.outputs[0]] != [norm]:
            continue
        if conv.inputs[3] is not None or _active(conv):
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


def fuse_residuals(program: Program) -> None:
    """add(conv2d(x), r) becomes conv2d(x, residual=r), computed where the addition stood."""
    readers = program.readers()
    for add in list(program.nodes):
        if add.op.name != "add" or _active(add):
            continue
        for branch, other in (add.inputs, add.inputs[::-1]):
            conv = None if branch is None else branch.node
            if (
                conv is None
                or conv.op.name not in _CONVOLUTIONS
                or readers[conv.outputs[0]] != [add]
                or branch is other
            ):
                continue
            if conv.inputs[3] is None and not _active(conv) and other is not None and other.shape == branch.shape:
                node = make_node(conv.op, (*conv.inputs[:3], other), conv.attrs, add.outputs)
                program.replace((conv, add), node, add)
                break


def relu_gradient_from_output(program: Program) -> None:
    """relu_grad(dy, x) becomes relu_grad(dy, relu(x)): the same mask, and x need not be kept for the backward pass."""
    results = {node.inputs[0]: node.outputs[0] for node in program.nodes if node.op.name == "relu"}
    for node in list(program.nodes):
        if node.op.name == "relu_grad" and node.inputs[1] in results:
            new = make_node(node.op, (node.inputs[0], results[node.inputs[1]]), node.attrs, node.outputs)
            program.replace(node, new, node)


def fuse_norm_gradients(program: Program) -> None:
    """The gradient of an activation between batch norm and its reader moves into the gradient of the batch norm, which
    computes the activation's input again: nothing but the batch norm's input is kept for the backward pass."""
    readers = program.readers()
    for grad in list(program.nodes):
        if grad.op.name != "batch_norm_grad" or _active(grad):
            continue
        slope = grad.inputs[0].node if grad.inputs[0] is not None else None
        if slope is None or slope.op.name not in _SLOPES or readers[slope.outputs[0]] != [grad]:
            continue
        saved = slope.inputs[1]
        activation = _SLOPES[slope.op.name]
        if activation == "sigmoid" and saved is not None and saved.node is not None:  # its gradient reads its result
            saved = saved.node.inputs[0]
        norm = saved.node if saved is not None else None
        if norm is None or norm.op.name not in _NORMS or norm.inputs[0] is not grad.inputs[1] or _active(norm):
            continue
        bias = norm.inputs[_NORMS[norm.op.name]]
        attrs = {**grad.attrs, **slope.attrs, "activation": activation}
        new = make_node(grad.op, (slope.inputs[0], *grad.inputs[1:5], bias, grad.inputs[6]), attrs, grad.outputs)
        program.replace((grad, slope), new, grad)


def fuse_sums(program: Program) -> None:
    """add(batch_norm_training(x), r), a residual connection, and sums of gradients move into one of their operands."""
    for source, other, add in _plain_sums(program):
        place = _RESIDUALS[source.op.name]
        inputs = (*source.inputs[:place], other, *source.inputs[place + 1 :])
        new = make_node(source.op, inputs, source.attrs, (add.outputs[0], *source.outputs[1:]))
        program.replace((source, add), new, add)


def gate_gradients(program: Program) -> None:
    """relu_grad(conv2d_grad_input(dy, w), x) becomes conv2d_grad_input(dy, w, gate=x)."""
    readers = program.readers()
    for relu in list(program.nodes):
        source = relu.inputs[0].node if relu.op.name == "relu_grad" and relu.inputs[0] is not None else None
        if source is None or source.op.name not in _GRADIENTS_BY_INPUT or readers[source.outputs[0]] != [relu]:
            continue
        if source.attrs["groups"] == 1 and source.inputs[_GATE] is None:
            inputs = (*source.inputs[:_GATE], relu.inputs[1])
            program.replace((source, relu), make_node(source.op, inputs, source.attrs, relu.outputs), relu)


def _plain_sums(program: Program) -> Iterator[tuple[Node, Symbol, Node]]:
    """(operation, other operand, addition) of the additions of two maps one of which an operation makes that can add
    the other itself; of two such operations the later one, so that little lies between it and the addition."""
    readers, order = program.readers(), {node: place for place, node in enumerate(program.nodes)}
    for add in list(program.nodes):
        if add.op.name != "add" or _active(add) or add.inputs[0] is add.inputs[1]:
            continue
        found = []
        for branch, other in (add.inputs, add.inputs[::-1]):
            node = None if branch is None else branch.node
            if node is None or other is None or branch.shape != other.shape or readers[branch] != [add]:
                continue
            if branch is node.outputs[0] and _takes_residual(node):
                found.append((order[node], node, other))
        if found:
            yield *max(found, key=lambda entry: entry[0])[1:], add


def _takes_residual(node: Node) -> bool:
    """Gradients of grouped convolutions do not: the depthwise kernel cannot add, and sums of them are rare."""
    place = _RESIDUALS.get(node.op.name)
    if place is None or node.inputs[place] is not None or node.attrs.get("groups", 1) > 1:
        return False
    return node.op.name == "batch_norm_grad" or not _active(node)  # its activation comes before the sum


def fuse_activations(program: Program) -> None:
    """An activation after an operation with an epilogue, and the only reader of its result, moves into the epilogue."""
    readers = program.readers()
    for node in list(program.nodes):
        if node.op.name not in (*_ACTIVATIONS, *_LONG_ACTIVATIONS) or node.inputs[0] is None:
            continue
        source = node.inputs[0].node
        takes = _TAKES_LONG_ACTIVATION if node.op.name in _LONG_ACTIVATIONS else _TAKES_ACTIVATION
        if source is None or source.op.name not in takes or _active(source):
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


def _active(node: Node) -> bool:
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


def optimize_training(graph: Graph) -> Graph:
    """What a backward pass allows: values that gradients read stay."""
    program = Program(graph)
    drop_idle_reshapes(program)
    fuse_norm_gradients(program)
    relu_gradient_from_output(program)
    fuse_sums(program)
    gate_gradients(program)
    fuse_activations(program)
    return program.graph()
