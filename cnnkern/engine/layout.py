# SPDX-License-Identifier: BSD-3-Clause
"""Which layout each map has, and how wide a border of zeros: blocked where the kernels want it, plain at the edges.

Nodes are visited in program order. For each kernel call the layouts that some kernel serves are compared: the predicted
time of the best kernel plus the reorders that its inputs would need. So reorders stand only where two worlds meet.

Networks of few channels, which would leave most lanes of a block empty, may do better with images in the lanes: of
whole plans with and without them the one of less predicted time is taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from typing import Any, NamedTuple

from cnnkern import _core
from cnnkern.engine.options import Options
from cnnkern.graph import Graph, KernelCall, Node, Shape, Symbol

Border = tuple[int, ...]  # front, back, top, bottom, left, right
NO_BORDER: Border = (0, 0, 0, 0, 0, 0)

# A reorder reads and writes four bytes an element at the nominal 30 bytes a nanosecond, after a barrier.
_REORDER_NS_PER_ELEMENT = 8 / 30
_REORDER_NS = 1000.0


class Use(NamedTuple):
    """A kernel call, the layout of each argument ("plain", "blocked" or "lanes"), and the algorithm that it must have,
    or "".

    ns: predicted time with the reorders of its inputs, 0 of the pieces of a concatenation.
    """

    call: KernelCall
    layouts: tuple[str, ...]
    algorithm: str = ""
    ns: float = 0.0


class Layout:
    """The result: `uses` per node (parallel to graph.nodes), `border` of every symbol that is not kept plain."""

    def __init__(
        self,
        graph: Graph,
        options: Options,
        names: Mapping[Node, str],
        parts: Mapping[Symbol, Symbol] | None = None,
        lanes: bool = False,
    ) -> None:
        """names: the labels under which `options` may give nodes their algorithm; parts: symbols that are some images
        of another one, and share its layout; lanes: may maps be images in lanes?"""
        self._options = options
        self._whole = parts or {}
        self._lanes = lanes
        self.uses: list[list[Use]] = []
        self.border: dict[Symbol, Border] = {}
        self._produced: dict[Symbol, str] = {}  # the layout in which a symbol is produced
        lowered = _lowered(graph)
        self._wanted = self._wanted_by_readers(graph, lowered)
        for node, calls in zip(graph.nodes, lowered, strict=True):
            if len(calls) > 1:
                self.uses.append(self._pieces(calls))
            else:
                algorithm = options.algorithms.get(names[node], "") if node.op.macs is not None else ""
                self.uses.append([self._choose(call, algorithm, names[node]) for call in calls])

    def _home(self, symbol: Symbol) -> Symbol:
        """The symbol whose layout this one shares, which may be itself."""
        return self._whole.get(symbol, symbol)

    @property
    def ns(self) -> float:
        """Predicted time of everything."""
        return sum(use.ns for uses in self.uses for use in uses)

    def produced(self, symbol: Symbol) -> str:
        """The layout in which a step, or the caller, writes this map."""
        return self._produced.get(self._home(symbol), "plain")

    def produced_blocked(self, symbol: Symbol) -> bool:
        """Is this map computed by a step that writes it blocked?"""
        return self.produced(symbol) == "blocked"

    def _pieces(self, calls: list[KernelCall]) -> list[Use]:
        """Several copies into one result (a concatenation): blocked if the pieces are and fall on whole blocks."""
        result = calls[0].args[-1][0]
        aligned = all(call.attrs["offset"][1] % 16 == 0 and _is_map(*call.args[0]) for call in calls) and _is_map(
            *calls[0].args[-1]
        )
        whole = all(call.args[0][0].shape[1] % 16 == 0 for call in calls[:-1])
        blocked = aligned and whole and any(self.produced_blocked(call.args[0][0]) for call in calls)
        self._produced[self._home(result)] = "blocked" if blocked else "plain"
        if blocked:
            self.border.setdefault(result, NO_BORDER)
        return [
            Use(call, in_layout((self.produced_blocked(call.args[0][0]) and _is_map(*call.args[0]), blocked)))
            for call in calls
        ]

    def _choose(self, call: KernelCall, algorithm: str, label: str) -> Use:
        maps, written, _ = _core.op_arguments(call.op)
        shapes = [shape for _, shape in call.args]
        able = [maps[i] and _is_map(*arg) for i, arg in enumerate(call.args)]
        options = [[False] * len(able)]
        if any(able):
            options.append(able)
            if call.op in ("conv2d", "conv2d_chain", "conv2d_grad_weight"):
                options.append([flag and i != 0 for i, flag in enumerate(able)])
            if call.op == "copy":
                options.append([self.produced_blocked(call.args[0][0]) and able[0], able[1]])
        candidates = [in_layout(flags) for flags in options]
        able_maps = [symbol for (symbol, _), flag in zip(call.args, able, strict=True) if flag]
        if self._lanes and able_maps and all(fills_lanes(symbol.shape) for symbol in able_maps):
            candidates.append(in_layout(able, "lanes"))
        best: tuple[float, tuple[str, ...], list[Border]] | None = None
        known: set[str] = set()
        for layouts in candidates:
            try:
                found, borders = _core.plan_candidates(
                    call.op, call.attrs, shapes, layouts, self._options.winograd or bool(algorithm)
                )
            except ValueError:  # what cannot be said in this layout is no candidate
                continue
            known.update(name for name, _ in found)
            found = [entry for entry in found if not algorithm or entry[0] == algorithm]
            if not found:
                continue
            cost = found[0][1] + sum(
                self._reorder(symbol, layouts[i], written[i]) for i, (symbol, _) in enumerate(call.args) if able[i]
            )
            if best is None or cost < best[0]:
                best = cost, layouts, borders
        if best is None and algorithm:
            raise ValueError(
                f"compile: algorithms gives {label!r} {algorithm!r}, which cannot serve it; "
                f"{', '.join(sorted(known))} can"
            )
        if best is None:
            raise ValueError(f"compile: no kernel can serve {call.op} on {shapes}")
        ns, layouts, borders = best
        for (symbol, _), layout, border, output in zip(call.args, layouts, borders, written, strict=True):
            if layout != "plain" and symbol is not None:
                self.border[symbol] = widest(self.border.get(symbol, NO_BORDER), border)
            if output and symbol is not None:
                self._produced[self._home(symbol)] = layout
        return Use(call, layouts, algorithm, ns)

    def _reorder(self, symbol: Symbol, layout: str, output: bool) -> float:
        """Predicted time of bringing an input into the wanted layout, or of what the readers of an output will need."""
        other = self._wanted.get(self._home(symbol), layout) if output else self.produced(symbol)
        steps = 0 if layout == other else 1 if "plain" in (layout, other) else 2  # the way leads through a plain map
        return steps * (_REORDER_NS + symbol.size * _REORDER_NS_PER_ELEMENT)

    def _wanted_by_readers(self, graph: Graph, lowered: list[list[KernelCall]]) -> dict[Symbol, str]:
        """For each map the layout that some reader's kernels are best at; a reshape or an output wants it plain."""
        wanted: dict[Symbol, str] = {}
        for node, calls in zip(graph.nodes, lowered, strict=True):
            for call in calls:
                maps, written, _ = _core.op_arguments(call.op)
                for i, (symbol, shape) in enumerate(call.args):
                    if not written[i] and _is_map(symbol, shape) and maps[i]:
                        lanes = self._lanes and fills_lanes(symbol.shape) and _core.op_takes_lanes(call.op)
                        wanted[self._home(symbol)] = "lanes" if lanes else "blocked"
            if not calls and node.inputs[0] is not None:
                wanted.setdefault(self._home(node.inputs[0]), "plain")
        for symbol in graph.outputs:
            wanted.setdefault(symbol, "plain")
        return wanted


def best_layout(
    graph: Graph, options: Options, names: Mapping[Node, str], parts: Mapping[Symbol, Symbol] | None = None
) -> Layout:
    """Of the layouts with and without images in lanes the one of less predicted time. Lanes may be asked for, too."""
    if "lanes" in options.algorithms.values():
        return Layout(graph, options, names, parts, lanes=True)
    layout = Layout(graph, options, names, parts)
    if not _few_channels(layout):
        return layout
    lanes = Layout(graph, options, names, parts, lanes=True)
    return lanes if lanes.ns < layout.ns else layout


def _lowered(graph: Graph) -> list[list[KernelCall]]:
    """The kernel calls of every node."""
    read = {symbol for node in graph.nodes for symbol in node.inputs} | set(graph.outputs)
    calls = []
    for node in graph.nodes:
        assert node.op.lower is not None
        calls.append([_without_unread(call, read) for call in node.op.lower(node)])
    return calls


def _without_unread(call: KernelCall, read: Set[Symbol | None]) -> KernelCall:
    """A result that may be left out and that nobody reads (the indices of max pooling) is not computed."""
    _, written, optional = _core.op_arguments(call.op)
    unread = [
        out and may and value not in read for (value, _), out, may in zip(call.args, written, optional, strict=True)
    ]
    args = [(None, None) if drop else arg for arg, drop in zip(call.args, unread, strict=True)]
    return KernelCall(call.op, call.attrs, args)


def _few_channels(layout: Layout) -> bool:
    """Does a convolution of many images make fewer channels than a block has?"""
    results = [use.call.args[4][0] for uses in layout.uses for use in uses if use.call.op == "conv2d"]
    return any(fills_lanes(y.shape) and y.shape[1] < 16 for y in results)


def fills_lanes(shape: Shape | None) -> bool:
    """Is this the shape of images of one plane, a multiple of 16 of them?"""
    return shape is not None and len(shape) in (3, 4) and shape[0] % 16 == 0


def in_layout(flags: Iterable[bool], layout: str = "blocked") -> tuple[str, ...]:
    """For each argument whose flag is set this layout, for the others "plain"."""
    return tuple(layout if flag else "plain" for flag in flags)


def _is_map(value: Any, shape: tuple[int, ...] | None) -> bool:
    return value is not None and len(value.shape) in (3, 4, 5) and tuple(value.shape) == tuple(shape or ())


def widest(a: Border, b: Border) -> Border:
    return tuple(map(max, a, b))
