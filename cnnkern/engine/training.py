# SPDX-License-Identifier: BSD-3-Clause
"""Rewriting the graph of a training step: values that gradients read stay, sums and masks go into what computes."""

from __future__ import annotations

from cnnkern.engine.passes import (
    ACTIVATIONS,
    CONVOLUTIONS,
    LONG_ACTIVATIONS,
    drop_idle_reshapes,
    fuse_activations,
    is_active,
    sums,
)
from cnnkern.engine.rewrite import Program, make_node
from cnnkern.graph import OPS, Attrs, Graph, Node, Symbol

# Gradients of activations that a batch norm's gradient can take in.
_SLOPES = {f"{name}_grad": name for name in (*ACTIVATIONS, *LONG_ACTIVATIONS)}
_NORMS = {"batch_norm": 4, "batch_norm_training": 2}  # where they have their bias
_GRADIENTS_BY_INPUT = tuple(f"{name}_grad_input" for name in CONVOLUTIONS)
# Where operations of a training step take what they add to their result.
_RESIDUALS = {**dict.fromkeys(_GRADIENTS_BY_INPUT, 2), "batch_norm_training": 5, "batch_norm_grad": 6}
_GATE = 3  # of the gradients of convolutions


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
        if grad.op.name != "batch_norm_grad" or is_active(grad):
            continue
        slope = grad.inputs[0].node if grad.inputs[0] is not None else None
        if slope is None or slope.op.name not in _SLOPES or readers[slope.outputs[0]] != [grad]:
            continue
        saved = slope.inputs[1]
        activation = _SLOPES[slope.op.name]
        if activation == "sigmoid" and saved is not None and saved.node is not None:  # its gradient reads its result
            saved = saved.node.inputs[0]
        norm = saved.node if saved is not None else None
        if norm is None or norm.op.name not in _NORMS or norm.inputs[0] is not grad.inputs[1] or is_active(norm):
            continue
        bias = norm.inputs[_NORMS[norm.op.name]]
        attrs = {**grad.attrs, **slope.attrs, "activation": activation}
        new = make_node(grad.op, (slope.inputs[0], *grad.inputs[1:5], bias, grad.inputs[6]), attrs, grad.outputs)
        program.replace((grad, slope), new, grad)


def fuse_sums(program: Program) -> None:
    """add(batch_norm_training(x), r), a residual connection, and sums of gradients move into one of their operands: of
    two the later one, so that little lies between it and the addition."""
    order = {node: place for place, node in enumerate(program.nodes)}
    for add, found in sums(program, _takes_residual):
        source, other = max(found, key=lambda entry: order[entry[0]])
        place = _RESIDUALS[source.op.name]
        inputs = (*source.inputs[:place], other, *source.inputs[place + 1 :])
        new = make_node(source.op, inputs, source.attrs, (add.outputs[0], *source.outputs[1:]))
        program.replace((source, add), new, add)


def grow_prefix_gradients(program: Program) -> None:
    """Gradients of the pieces of concatenations that grow (DenseNet's): where a batch norm's gradient is cut into
    pieces each of which is added to the same piece of a larger gradient, it adds that one as a whole."""
    readers = program.readers()
    for node in list(program.nodes):
        if node.op.name != "batch_norm_grad" or node.inputs[_RESIDUALS[node.op.name]] is not None:
            continue
        dx = node.outputs[0]
        cuts = readers.get(dx, [])
        reading = [readers[cut.outputs[0]] if _is_channel_slice(cut) else [] for cut in cuts]
        if not cuts or any(len(each) != 1 or each[0] is None or each[0].op.name != "add" for each in reading):
            continue
        adds = [each[0] for each in reading]
        wider = [_same_piece(cut, add) for cut, add in zip(cuts, adds, strict=True)]
        whole = wider[0]
        if whole is None or any(each is not whole for each in wider) or not _cover(cuts, dx.shape[1]):
            continue
        first = min(adds, key=program.nodes.index)
        residual, total = Symbol(dx.shape, dx.dtype), Symbol(dx.shape, dx.dtype)
        program.insert(make_node(OPS["slice"], (whole,), _channels(0, dx.shape[1]), (residual,)), first)
        inputs = (*node.inputs[:6], residual)
        program.replace(node, make_node(node.op, inputs, node.attrs, (total, *node.outputs[1:])), first)
        for cut, add in zip(cuts, adds, strict=True):
            program.replace((cut, add), make_node(cut.op, (total,), cut.attrs, add.outputs), add)


def _channels(start: int, stop: int) -> Attrs:
    return {"axis": 1, "start": start, "stop": stop}


def _is_channel_slice(node: Node | None) -> bool:
    return node is not None and node.op.name == "slice" and node.attrs["axis"] == 1


def _cover(cuts: list[Node], channels: int) -> bool:
    """Do the slices make up all channels?"""
    spans = sorted((cut.attrs["start"], cut.attrs["stop"]) for cut in cuts)
    starts, stops = zip(*spans, strict=True)
    return (*starts, channels) == (0, *stops)


def _same_piece(cut: Node, add: Node) -> Symbol | None:
    """What the other operand of a plain addition to `cut` is cut from, if it is the same piece."""
    piece = cut.outputs[0]
    (other,) = [symbol for symbol in add.inputs if symbol is not piece] or [None]
    source = None if other is None or is_active(add) else other.node
    return source.inputs[0] if source is not None and _is_channel_slice(source) and source.attrs == cut.attrs else None


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


def _takes_residual(node: Node) -> bool:
    """Gradients of grouped convolutions do not: the depthwise kernel cannot add, and sums of them are rare."""
    place = _RESIDUALS.get(node.op.name)
    if place is None or node.inputs[place] is not None or node.attrs.get("groups", 1) > 1:
        return False
    return node.op.name == "batch_norm_grad" or not is_active(node)  # its activation comes before the sum


def optimize_training(graph: Graph) -> Graph:
    """What a backward pass allows: values that gradients read stay."""
    program = Program(graph)
    drop_idle_reshapes(program)
    fuse_norm_gradients(program)
    relu_gradient_from_output(program)
    grow_prefix_gradients(program)
    fuse_sums(program)
    gate_gradients(program)
    fuse_activations(program)
    return program.graph()
