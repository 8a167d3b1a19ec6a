# SPDX-License-Identifier: BSD-3-Clause
"""Passes that change what a 1x1 convolution reads: pixels scaled as they are loaded, pixels averaged before."""

from __future__ import annotations

import numpy as np

from cnnkern.engine.rewrite import Program, make_node
from cnnkern.graph import OPS, Array, Node, Symbol, product

# Each reader scales the pixels anew: from here on one step that does it for all of them is cheaper.
_MOST_READERS = 2


class Scaling:
    """The vectors of batch norms in float32, remembered so that plans of other image sizes share them."""

    def __init__(self) -> None:
        # The arrays are kept beside the result: an id is only good while its object lives.
        self._done: dict[tuple[float, ...], tuple[tuple[Array | None, ...], Array]] = {}

    def scale(self, var: Array, gamma: Array | None, eps: float) -> Array:
        """gamma / sqrt(var + eps), with the roundings of the kernel of batch_norm."""
        key = (eps, id(var), id(gamma))
        if key not in self._done:
            one = np.float32(1)
            found = (one if gamma is None else gamma) / np.sqrt(var + np.float32(eps))
            self._done[key] = (var, gamma), np.ascontiguousarray(found, np.float32)
        return self._done[key][1]


def scale_on_load(program: Program, scaling: Scaling) -> None:
    """A batch norm (with ReLU), or a product with one number per channel, that only 1x1 convolutions read is done by
    them: conv2d_scaled."""
    readers = program.readers()
    for node in list(program.nodes):
        found = _vectors(program, node, scaling)
        convolutions = readers.get(node.outputs[0], [])
        if found is None or len(convolutions) > _MOST_READERS:
            continue
        if not all(conv is not None and _loads(conv, node.outputs[0]) for conv in convolutions):
            continue
        x, *vectors = found
        active = node.attrs.get("activation", "none")
        for conv in convolutions:
            attrs = {**conv.attrs, "input_activation": active}
            new = make_node(OPS["conv2d_scaled"], (x, *conv.inputs[1:], *vectors), attrs, conv.outputs)
            program.replace(conv, new, conv)


def _loads(conv: Node, symbol: Symbol) -> bool:
    """Is it a 1x1 convolution of this map, which kernels of conv2d_scaled serve?"""
    if conv.op.name != "conv2d" or conv.inputs[0] is not symbol or symbol in conv.inputs[1:]:
        return False
    return _is_pointwise(conv) and bool(conv.attrs["groups"] == 1)


def _is_pointwise(conv: Node) -> bool:
    return bool(conv.inputs[1].shape[2:] == (1, 1) and conv.attrs["padding"] == ((0, 0), (0, 0)))


def _vectors(program: Program, node: Node, scaling: Scaling) -> tuple[Symbol | None, ...] | None:
    """x, scale, shift and centre of a node that computes activation((x - centre) * scale + shift), or None."""
    if len(node.outputs[0].shape) != 4 or node.attrs.get("activation", "none") not in ("none", "relu"):
        return None
    if node.op.name == "batch_norm":
        x, mean, var, gamma, beta = node.inputs
        arrays = [None if s is None else program.constants.get(s) for s in (var, gamma)]
        if arrays[0] is None or (gamma is not None and arrays[1] is None):
            return None
        return x, program.constant(scaling.scale(arrays[0], arrays[1], node.attrs["eps"])), beta, mean
    if node.op.name == "multiply":
        for x, gate in (node.inputs, node.inputs[::-1]):
            n, c, *_ = node.outputs[0].shape
            if x.shape == node.outputs[0].shape and gate.shape in ((n, c, 1, 1), (1, c, 1, 1)) and gate is not x:
                return x, gate, None, None
    return None


def pool_before_pointwise(program: Program) -> None:
    """avg_pool2d(conv2d(x)) of a 1x1 convolution becomes conv2d(avg_pool2d(x)): the same sums in another order, and
    only the pixels that are left are multiplied (the transitions of DenseNet: a quarter)."""
    readers = program.readers()
    for pool in list(program.nodes):
        conv = pool.inputs[0].node if pool.op.name == "avg_pool2d" and pool.inputs[0] is not None else None
        if conv is None or conv.op.name != "conv2d" or readers[conv.outputs[0]] != [pool]:
            continue
        if not _is_pointwise(conv) or conv.attrs["stride"] != (1, 1) or conv.inputs[3] is not None:
            continue
        if conv.attrs.get("activation", "none") != "none" or not _keeps_constants(pool):
            continue
        size, pooled = pool.inputs[0].shape[2:], pool.outputs[0].shape[2:]
        if 2 * product(pooled) > product(size):
            continue
        x = conv.inputs[0]
        between = Symbol((*x.shape[:2], *pooled), x.dtype)
        average = make_node(pool.op, (x,), pool.attrs, (between,))
        after = make_node(conv.op, (between, *conv.inputs[1:]), conv.attrs, pool.outputs)
        program.replace(conv, average, pool)
        program.replace(pool, after, pool)
        average.scope, after.scope = after.scope, average.scope


def _keeps_constants(pool: Node) -> bool:
    """Is every window inside the map and its sum divided by its size, so that the average of a bias is the bias?"""
    attrs = pool.attrs
    rows = zip(pool.inputs[0].shape[2:], attrs["output_size"], attrs["kernel"], attrs["stride"], strict=True)
    inside = all((count - 1) * stride + kernel <= size for size, count, kernel, stride in rows)
    return inside and not attrs["divisor"] and all(pads == (0, 0) for pads in attrs["padding"])
