# SPDX-License-Identifier: BSD-3-Clause
"""Large batches go through the first part of a network a few images at a time, so that maps stay in the caches.

A batch's maps leave L2, and with them every step waits for memory: ResNet-50's 1x1 convolutions on 56x56 maps take 1.4
times as long for each of eight images as for one alone. Where maps are small and weights are large the opposite holds,
so the rest of the network runs on the whole batch. Where to cut, and whether at all, is predicted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from cnnkern.engine.layout import best_layout
from cnnkern.engine.options import Options, labels
from cnnkern.graph import Graph, Node, Symbol

# Steps shorter than this gain nothing that their start does not cost.
_STEP_NS = 10_000.0
_FUNCTIONS = (
    "relu", "leaky_relu", "clamp", "silu", "hardswish", "hardsigmoid", "sigmoid", "tanh", "exp", "log", "sqrt",
    "square", "abs", "add", "subtract", "multiply", "divide", "maximum", "minimum",
)  # fmt: skip
_WINDOWS = tuple(
    kind.format(axes)
    for kind in ("conv{}d", "conv{}d_grad_input", "max_pool{}d", "avg_pool{}d", "adaptive_avg_pool{}d",
                 "adaptive_max_pool{}d")
    for axes in (1, 2, 3)
)  # fmt: skip
_ALONG_AN_AXIS = ("concat", "slice", "resample", "softmax", "log_softmax")
_OTHERS = ("batch_norm", "local_response_norm", "reshape", "matmul")
_PER_IMAGE = {*_FUNCTIONS, *_WINDOWS, *_ALONG_AN_AXIS, *_OTHERS}


class Rounds(NamedTuple):
    """The first `nodes` nodes of a graph run so many `times`, each time on other images.

    parts: the symbols of one round that are some images of another symbol: the graph's inputs, and the map that the
    last of these nodes computes, which the nodes after them read as a whole.
    """

    times: int
    nodes: int
    parts: Mapping[Symbol, Symbol]


ONCE = Rounds(1, 0, {})


class Traced(NamedTuple):
    """A graph as it was recorded, and what passes made of it."""

    recorded: Graph
    optimized: Graph


def in_rounds(whole: Traced, trace: Callable[[int], Traced], options: Options) -> tuple[Graph, Rounds]:
    """The optimized graph with its first part for fewer images, if that is predicted to be faster.

    trace(images) gives the same model on so many images.
    """
    images = _images(whole.recorded)
    if images < 2 or not whole.optimized.nodes:
        return whole.optimized, ONCE
    times = _predicted(whole.optimized, options)
    wanted = _STEP_NS * len(times) * images / max(sum(times), 1.0)
    few = next(count for count in range(1, images + 1) if images % count == 0 and count >= min(wanted, images))
    if few == images:
        return whole.optimized, ONCE
    try:
        part = trace(few)
    except ValueError:  # a model for this batch size alone
        return whole.optimized, ONCE
    if not _is_per_image(part.recorded, whole.recorded, few, images):
        return whole.optimized, ONCE
    rounds = images // few
    try:
        part_times = _predicted(part.optimized, options)
    except ValueError:  # an algorithm that was asked for cannot serve so few images
        return whole.optimized, ONCE
    cut = fastest(common_cuts(part, whole), rounds, part_times, times)
    return (whole.optimized, ONCE) if cut is None else _joined(part.optimized, whole.optimized, cut, rounds)


class Cut(NamedTuple):
    """The first nodes of the part, the first nodes of the whole that they replace, and the map that they hand over."""

    part_nodes: int
    whole_nodes: int
    part: Symbol
    whole: Symbol


def _images(graph: Graph) -> int:
    """The size of the first axis that all inputs have in common, or 0."""
    sizes = {symbol.shape[0] if symbol.shape else 0 for symbol in graph.inputs}
    return sizes.pop() if len(sizes) == 1 and not graph.implicit else 0


def _is_per_image(part: Graph, whole: Graph, few: int, images: int) -> bool:
    """Does the model treat every image alone, by the same operations for any number of them?"""
    if len(part.nodes) != len(whole.nodes):
        return False

    def same(a: Symbol | None, b: Symbol | None) -> bool:
        if a is None or b is None:
            return a is b
        if a in part.constants or b in whole.constants:
            return a in part.constants and b in whole.constants and a.shape == b.shape
        return (*a.shape[:1], *b.shape[:1]) == (few, images) and a.shape[1:] == b.shape[1:]

    for a, b in zip(part.nodes, whole.nodes, strict=True):
        pairs = [*zip(a.inputs, b.inputs, strict=True), *zip(a.outputs, b.outputs, strict=True)]
        if a.op is not b.op or not _keeps_images_apart(b, whole) or not all(same(*pair) for pair in pairs):
            return False
        keys = {*a.attrs, *b.attrs} - {"shape", "input_shape"}
        if any(a.attrs.get(key) != b.attrs.get(key) for key in keys):
            return False
    return True


def _keeps_images_apart(node: Node, graph: Graph) -> bool:
    name, attrs = node.op.name, node.attrs
    if name == "matmul":
        return node.inputs[1] in graph.constants and not attrs["transpose_a"]
    rank = len(node.outputs[0].shape)
    return name in _PER_IMAGE and (name not in _ALONG_AN_AXIS or attrs["axis"] % rank != 0)


def _predicted(graph: Graph, options: Options) -> list[float]:
    """Nanoseconds of every node."""
    layout = best_layout(graph, options, labels(graph, options.names))
    return [sum(use.ns for use in uses) for uses in layout.uses]


def _cuts(graph: Graph) -> Iterator[tuple[int, Symbol]]:
    """Numbers of first nodes after which a single map is all that the others need, and that map."""
    last = {symbol: i for i, node in enumerate(graph.nodes) for symbol in node.inputs if symbol is not None}
    last.update({symbol: len(graph.nodes) for symbol in graph.outputs})
    alive = {symbol for symbol in graph.inputs if symbol in last}
    for i, node in enumerate(graph.nodes):
        alive = {symbol for symbol in (*alive, *node.outputs) if last.get(symbol, -1) > i}
        if len(alive) == 1 and node.outputs[0] in alive and node.op.name not in ("concat", "slice", "reshape"):
            yield i + 1, node.outputs[0]


def common_cuts(part: Traced, whole: Traced) -> list[Cut]:
    """Where both graphs, each as its passes have left it, can be cut at the same map."""
    recorded = {
        b: a
        for one, other in zip(part.recorded.nodes, whole.recorded.nodes, strict=True)
        for a, b in zip(one.outputs, other.outputs, strict=True)
    }
    places = {symbol: nodes for nodes, symbol in _cuts(part.optimized)}
    twins = [(nodes, symbol, recorded.get(symbol)) for nodes, symbol in _cuts(whole.optimized)]
    return [Cut(places[twin], nodes, twin, symbol) for nodes, symbol, twin in twins if twin in places]


def fastest(cuts: list[Cut], rounds: int, part_ns: list[float], whole_ns: list[float]) -> Cut | None:
    """The cut of the least predicted time, or None if none beats the whole."""

    def ns(cut: Cut) -> float:
        return rounds * sum(part_ns[: cut.part_nodes]) + sum(whole_ns[cut.whole_nodes :])

    best = min(cuts, key=ns, default=None)
    return best if best is not None and ns(best) < sum(whole_ns) else None


def _joined(part: Graph, whole: Graph, cut: Cut, count: int) -> tuple[Graph, Rounds]:
    nodes = [*part.nodes[: cut.part_nodes], *whole.nodes[cut.whole_nodes :]]
    parts = {**dict(zip(part.inputs, whole.inputs, strict=True)), cut.part: cut.whole}
    read = {symbol for node in nodes for symbol in node.inputs} | set(whole.outputs)
    constants = {s: array for graph in (part, whole) for s, array in graph.constants.items() if s in read}
    joined = Graph(whole.inputs, whole.outputs, whole.structure, constants, nodes, whole.implicit)
    return joined, Rounds(count, cut.part_nodes, parts)
