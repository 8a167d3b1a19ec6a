# SPDX-License-Identifier: BSD-3-Clause
"""Channel shuffles as ShuffleNet has them, kept blocked and without copies around them.

A unit there concatenates two maps of 58 channels (or 116, 232), shuffles the channels and splits the result again.
Blocked maps are concatenated in place only at multiples of 16, and cut without a copy only there. So a slice of a
gather becomes a gather of fewer channels, and the pieces of a concatenation that only gathers read become as many whole
blocks, whose last channels are zero: the convolution that computes a piece takes no longer, since it works on whole
blocks anyway. What is left of a unit is one pass over its map.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cnnkern.engine.rewrite import Program, make_node
from cnnkern.graph import Array, Node, Symbol

if TYPE_CHECKING:
    from cnnkern.engine.passes import Folder

_BLOCK = 16
_KEEP_ZERO = ("none", "relu", "leaky_relu", "silu", "hardswish")


def simplify_shuffles(program: Program, folder: Folder) -> None:
    """Both steps, where they apply."""
    _cut_gathers(program)
    for concat in [node for node in program.nodes if node.op.name == "concat"]:
        if concat.attrs["axis"] == 1 and any(piece is not None and piece.shape[1] % _BLOCK for piece in concat.inputs):
            _align(program, folder, concat)


def _cut_gathers(program: Program) -> None:
    """slice(gather(x)) along the channels is a gather of fewer channels, if slices are all that reads the gather."""
    readers = program.readers()
    for gather in list(program.nodes):
        table = _table(program, gather)
        parts = readers.get(gather.outputs[0], [])
        if table is None or not all(part is not None and _cuts_channels(part) for part in parts):
            continue
        start, index, weight = table
        for part in parts:
            kept = start[part.attrs["start"] : part.attrs["stop"] + 1]
            taps = slice(kept[0], kept[-1])
            tables = (kept - kept[0], index[taps], weight[taps])
            inputs = (gather.inputs[0], *map(program.constant, tables))
            program.replace(part, make_node(gather.op, inputs, gather.attrs, part.outputs), part)


def _cuts_channels(node: Node) -> bool:
    return node.op.name == "slice" and node.attrs["axis"] == 1 and node.outputs[0].shape[1] > 0


def _table(program: Program, node: Node) -> tuple[Array, Array, Array] | None:
    """start, index and weight of a gather of a map's channels, None for anything else."""
    if node.op.name != "resample" or node.attrs["axis"] != 1 or len(node.outputs[0].shape) not in (3, 4, 5):
        return None
    start, index, weight = (None if symbol is None else program.constants.get(symbol) for symbol in node.inputs[1:4])
    return None if start is None or index is None or weight is None else (start, index, weight)


def _align(program: Program, folder: Folder, concat: Node) -> None:
    """Gives every piece whole blocks, if each can be widened and only gathers read the concatenation."""
    readers = program.readers()
    gathers = readers.get(concat.outputs[0], [])
    pieces = [piece for piece in concat.inputs if piece is not None]
    if len(set(pieces)) < len(pieces) or any(gather is None or _table(program, gather) is None for gather in gathers):
        return
    wider = [_wider(program, folder, piece, readers[piece] == [concat]) for piece in pieces]
    nodes = [node for node in wider if node is not None]
    if len(nodes) < len(wider):
        return
    inputs = [node.outputs[0] for node in nodes]
    for piece, node in zip(pieces, nodes, strict=True):
        if piece.node is not None and node is not piece.node:
            program.replace(piece.node, node, piece.node)
    y = concat.outputs[0]
    whole = Symbol((y.shape[0], sum(symbol.shape[1] for symbol in inputs), *y.shape[2:]), y.dtype)
    program.replace(concat, make_node(concat.op, inputs, concat.attrs, (whole,)), concat)
    starts = np.cumsum([0, *(symbol.shape[1] for symbol in inputs[:-1])])
    place = np.concatenate([first + np.arange(piece.shape[1]) for first, piece in zip(starts, pieces, strict=True)])
    for gather in gathers:
        index = program.constants[gather.inputs[2]]
        moved = program.constant(place[index].astype(np.int32))
        taken = (whole, gather.inputs[1], moved, *gather.inputs[3:4])
        program.replace(gather, make_node(gather.op, taken, gather.attrs, gather.outputs), gather)


def _wider(program: Program, folder: Folder, piece: Symbol, alone: bool) -> Node | None:
    """The node that computes a piece with zero channels up to a whole block; None where that cannot be."""
    node = piece.node
    channels = -(-piece.shape[1] // _BLOCK) * _BLOCK
    if node is None or channels == piece.shape[1]:
        return node
    if not alone:
        return None
    result = Symbol((piece.shape[0], channels, *piece.shape[2:]), piece.dtype)
    table = _table(program, node)
    if table is not None:  # channels without taps are zero
        start = np.concatenate([table[0], np.full(channels - piece.shape[1], table[0][-1], np.int32)])
        return make_node(node.op, (node.inputs[0], program.constant(start), *node.inputs[2:4]), node.attrs, (result,))
    if node.op.name != "conv2d" or node.attrs["groups"] != 1 or node.inputs[3] is not None:
        return None
    weight, bias = (None if symbol is None else program.constants.get(symbol) for symbol in node.inputs[1:3])
    if weight is None or (bias is None and node.inputs[2] is not None) or not _keeps_zero(node):
        return None
    wide_weight, wide_bias = folder.widened(weight, channels), None if bias is None else folder.widened(bias, channels)
    inputs = (node.inputs[0], program.constant(wide_weight), None if wide_bias is None else program.constant(wide_bias))
    return make_node(node.op, (*inputs, None), node.attrs, (result,))


def _keeps_zero(node: Node) -> bool:
    activation = node.attrs["activation"]
    return activation in _KEEP_ZERO or (activation == "clamp" and node.attrs["low"] <= 0 <= node.attrs["high"])
