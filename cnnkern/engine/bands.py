# SPDX-License-Identifier: BSD-3-Clause
"""Convolutions in a row become one step that computes them band by band, so that the maps between them stay in L2.

A chain is a 1x1 convolution or the first one of a network, then a depthwise one, then a 1x1 one, at least two of them.
Whether one pays is predicted, as every choice of an algorithm is; each convolution keeps its tiles, so the bits do not
change.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from cnnkern import _core
from cnnkern.engine.layout import in_layout
from cnnkern.engine.options import Options, expanded, joined, labels
from cnnkern.engine.rewrite import Program, Scaled, make_node
from cnnkern.graph import Array, Attrs, KernelCall, Node, OpDef, Spec, Symbol, product

SEPARATE = "separate"  # the algorithm of a chain that is none
Part = Array | Scaled | int
# Predictions overrate what maps that leave L2 cost: below a tenth of gain, chains and separate steps measure alike.
_WORTH = 0.9
_STAGES = ("head", "middle", "tail")


class Chain(NamedTuple):
    """Convolutions that can be one step; head or tail may be None."""

    head: Node | None
    middle: Node
    tail: Node | None

    @property
    def nodes(self) -> list[Node]:
        return [node for node in self if node is not None]


class Joiner:
    """Puts arrays one behind the other, and remembers the result, so that plans of other image sizes share weights."""

    def __init__(self) -> None:
        # The arrays are kept beside the result: an id is only good while its object lives.
        self._done: dict[tuple[int, ...], tuple[list[Part], Array]] = {}

    def join(self, parts: list[Part]) -> Array:
        """A number stands for so many zeros."""
        key = tuple(-part if isinstance(part, int) else id(part) for part in parts)
        if key not in self._done:
            self._done[key] = parts, np.concatenate([_dense(part).ravel() for part in parts])
        return self._done[key][1]


def _dense(part: Part) -> Array:
    if isinstance(part, int):
        return np.zeros(part, np.float32)
    return part.dense() if isinstance(part, Scaled) else part


def _lower(node: Node) -> list[KernelCall]:
    attrs: Attrs = {}
    args = [(value, None if value is None else value.shape) for value in (*node.inputs, *node.outputs)]
    for stage, entries in node.attrs["stages"].items():
        attrs.update({f"{stage}_{key}": value for key, value in entries.items()})
    return [KernelCall("conv2d_chain", attrs, args)]


CONV2D_CHAIN = OpDef(
    "conv2d_chain",
    lambda inputs, attrs: (Spec(attrs["shape"], inputs[0].dtype),),
    lower=_lower,
    macs=lambda node: int(node.attrs["macs"]),
)


def fuse_bands(program: Program, options: Options, joiner: Joiner) -> None:
    """Replace the chains that pay, and those that `options.algorithms` wants, by one step each.

    Raises ValueError if it gives an algorithm to a chain that there is not, or that cannot have it.
    """
    names = labels(program.graph(), options.names)
    readers = program.readers()
    known: set[str] = set()
    apart = [set(expanded(label)) for label, wanted in options.algorithms.items() if wanted == SEPARATE]
    for middle in list(program.nodes):
        if not _is_depthwise(middle):
            continue
        best: tuple[float, Node, Chain] | None = None
        for chain in _chains(middle, readers):
            layers = [names[node] for node in chain.nodes]
            constant = all(s is None or s in program.constants for node in chain.nodes for s in node.inputs[1:3])
            if not constant or any(name in options.algorithms for name in layers):
                continue
            known.add(joined(layers))
            if any(group.issuperset(layers) for group in apart):
                continue
            node = _chain_node(chain, layers)
            gain = _gain(node, options.algorithms.get(joined(layers), ""))
            if gain > (best[0] if best else 0.0):
                best = gain, node, chain
        if best is not None:
            _, node, chain = best
            for symbol, parts in zip(node.inputs[1:3], _parameters(chain, program), strict=True):
                program.constants[symbol] = joiner.join(parts)
            program.replace(chain.nodes, node, chain.nodes[-1])
    unknown = [label for label in options.algorithms if len(expanded(label)) > 1 and label not in known]
    if unknown:
        raise ValueError(f"compile: algorithms names {unknown[0]!r}; chains are {', '.join(sorted(known)) or 'none'}")


def _gain(node: Node, wanted: str) -> float:
    """Predicted nanoseconds that a chain saves: infinite where it is wanted, 0 where it cannot be or does not pay."""
    found = _predicted(_lowered(node), wanted)
    if found is None and wanted:
        label = joined(node.attrs["layers"])
        raise ValueError(f"compile: algorithms gives {label!r} {wanted!r}, which cannot serve it")
    if found is None:
        return 0.0
    if wanted:
        return float("inf")
    separate = float(node.attrs["separate_ns"])
    return separate - found if found < _WORTH * separate else 0.0


def _chains(middle: Node, readers: dict[Symbol, list[Any]]) -> Iterator[Chain]:
    """All chains around a depthwise convolution."""
    head, tail = middle.inputs[0].node, None
    if head is None or readers[middle.inputs[0]] != [middle] or not _is_head(head):
        head = None
    after = readers.get(middle.outputs[0], [])
    if len(after) == 1 and after[0] is not None and _is_tail(after[0], middle):
        tail = after[0]
    for first in {id(head): head, id(None): None}.values():
        for last in {id(tail): tail, id(None): None}.values():
            if first is not None or last is not None:
                yield Chain(first, middle, last)


def _is_plain_conv(node: Node) -> bool:
    return node.op.name == "conv2d" and len(node.outputs[0].shape) == 4 and set(node.attrs["dilation"]) == {1}


def _is_depthwise(node: Node) -> bool:
    if not _is_plain_conv(node) or node.inputs[3] is not None:
        return False
    groups, (outputs, inputs, height, width) = node.attrs["groups"], node.inputs[1].shape
    return bool(groups == outputs and inputs == 1 and height == width and height in (3, 5))


def _is_pointwise(node: Node) -> bool:
    attrs = node.attrs
    whole = node.inputs[1].shape[2:] == (1, 1) and set(attrs["stride"]) == {1}
    return bool(whole and attrs["groups"] == 1 and not any(map(any, attrs["padding"])))


def _is_head(node: Node) -> bool:
    if not _is_plain_conv(node) or node.inputs[3] is not None or node.attrs["groups"] != 1:
        return False
    return _is_pointwise(node) or node.inputs[0].shape[1] <= 4


def _is_tail(node: Node, middle: Node) -> bool:
    return _is_plain_conv(node) and _is_pointwise(node) and node.inputs[0] is middle.outputs[0]


def _chain_node(chain: Chain, layers: list[str]) -> Node:
    """The step, with weights and biases that are not there yet."""
    last = chain.nodes[-1]
    shapes = [node.inputs[1].shape for node in chain.nodes]
    attrs = {
        "stages": {name: _stage(node) for name, node in zip(_STAGES, chain, strict=True) if node is not None},
        "shape": last.outputs[0].shape,
        "macs": sum(product(node.outputs[0].shape) * product(node.inputs[1].shape[1:]) for node in chain.nodes),
        "layers": layers,
        "separate_ns": sum(_separate(node) for node in chain.nodes),
    }
    weights, biases = Symbol((sum(map(product, shapes)),)), Symbol((sum(shape[0] for shape in shapes),))
    residual = None if chain.tail is None else chain.tail.inputs[3]
    return make_node(CONV2D_CHAIN, (chain.nodes[0].inputs[0], weights, biases, residual), attrs, last.outputs)


def _parameters(chain: Chain, program: Program) -> tuple[list[Part], list[Part]]:
    """Weights and biases of the convolutions, as the Joiner takes them."""
    weights = [program.constants[node.inputs[1]] for node in chain.nodes]
    biases = [None if (symbol := node.inputs[2]) is None else program.constants[symbol] for node in chain.nodes]
    return weights, [w.shape[0] if b is None else b for w, b in zip(weights, biases, strict=True)]


def _lowered(node: Node) -> KernelCall:
    assert node.op.lower is not None
    return node.op.lower(node)[0]


def _stage(node: Node) -> Attrs:
    call = _lowered(node)
    return {**call.attrs, "weight": list(node.inputs[1].shape), "size": list(node.outputs[0].shape[2:])}


def _separate(node: Node) -> float:
    found = _predicted(_lowered(node), "")
    assert found is not None
    return found


def _predicted(call: KernelCall, algorithm: str) -> float | None:
    """Time of the fastest kernel with maps blocked, or with only the input plain."""
    maps, _, _ = _core.op_arguments(call.op)
    shapes = [shape for _, shape in call.args]
    blocked = [maps[i] and shape is not None for i, shape in enumerate(shapes)]
    times = []
    for flags in (blocked, [flag and i > 0 for i, flag in enumerate(blocked)]):
        found, _ = _core.plan_candidates(call.op, call.attrs, shapes, in_layout(flags))
        times += [ns for name, ns in found if not algorithm or name == algorithm]
    return min(times, default=None)
