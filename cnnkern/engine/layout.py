# SPDX-License-Identifier: BSD-3-Clause
"""Which layout each map has, and how wide a border of zeros: blocked where the kernels want it, plain at the edges.

Nodes are visited in program order. For each kernel call the layouts that some kernel serves are compared: the predicted
time of the best kernel plus the reorders that its inputs would need. So reorders stand only where two worlds meet.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any, NamedTuple

from cnnkern import _core
from cnnkern.engine.options import Options
from cnnkern.graph import Graph, KernelCall, Node, Symbol

Border = tuple[int, ...]  # front, back, top, bottom, left, right
NO_BORDER: Border = (0, 0, 0, 0, 0, 0)

# A reorder reads and writes four bytes an element at the nominal 30 bytes a nanosecond, after a barrier.
_REORDER_NS_PER_ELEMENT = 8 / 30
_REORDER_NS = 1000.0


class Use(NamedTuple):
    """A kernel call, for each argument whether it is taken blocked, and the algorithm that it must have, or "".

    ns: predicted time with the reorders of its inputs, 0 of the pieces of a concatenation.
    """

    call: KernelCall
    blocked: tuple[bool, ...]
    algorithm: str = ""
    ns: float = 0.0


class Layout:
    """The result: `uses` per node (parallel to graph.nodes), `border` of every symbol that is kept blocked."""

    def __init__(
        self, graph: Graph, options: Options, names: Mapping[Node, str], parts: Mapping[Symbol, Symbol] | None = None
    ) -> None:
        """names: the labels under which `options` may give nodes their algorithm; parts: symbols that are some images
        of another one, and share its layout."""
        self._options = options
        self._whole = parts or {}
        self.uses: list[list[Use]] = []
        self.border: dict[Symbol, Border] = {}
        self._blocked: dict[Symbol, bool] = {}  # the layout in which a symbol is produced
        lowered = _lowered(graph)
        self._wants_blocked = self._readers_that_want_blocked(graph, lowered)
        for node, calls in zip(graph.nodes, lowered, strict=True):
            if len(calls) > 1:
                self.uses.append(self._pieces(calls))
            else:
                algorithm = options.algorithms.get(names[node], "") if node.op.macs is not None else ""
                self.uses.append([self._choose(call, algorithm, names[node]) for call in calls])

    def _home(self, symbol: Symbol) -> Symbol:
        """The symbol whose layout this one shares, which may be itself."""
        return self._whole.get(symbol, symbol)

    def produced_blocked(self, symbol: Symbol) -> bool:
        """Is this map computed by a step that writes it blocked?"""
        return self._blocked.get(self._home(symbol), False)

    def _pieces(self, calls: list[KernelCall]) -> list[Use]:
        """Several copies into one result (a concatenation): blocked if the pieces are and fall on whole blocks."""
        result = calls[0].args[-1][0]
        aligned = all(call.attrs["offset"][1] % 16 == 0 and _is_map(*call.args[0]) for call in calls) and _is_map(
            *calls[0].args[-1]
        )
        whole = all(call.args[0][0].shape[1] % 16 == 0 for call in calls[:-1])
        blocked = aligned and whole and any(self.produced_blocked(call.args[0][0]) for call in calls)
        self._blocked[self._home(result)] = blocked
        if blocked:
            self.border.setdefault(result, NO_BORDER)
        return [
            Use(call, (self.produced_blocked(call.args[0][0]) and _is_map(*call.args[0]), blocked)) for call in calls
        ]

    def _choose(self, call: KernelCall, algorithm: str, label: str) -> Use:
        maps, written, _ = _core.op_arguments(call.op)
        shapes = [shape for _, shape in call.args]
        able = [maps[i] and _is_map(*arg) for i, arg in enumerate(call.args)]
        none = [False] * len(able)
        options = [none]
        if any(able):
            options.append(able)
            if call.op in ("conv2d", "conv2d_chain", "conv2d_grad_weight"):
                options.append([flag and i != 0 for i, flag in enumerate(able)])
            if call.op == "copy":
                options.append([self.produced_blocked(call.args[0][0]) and able[0], able[1]])
        best: tuple[float, list[bool], list[Border]] | None = None
        known: set[str] = set()
        for flags in options:
            try:
                found, borders = _core.plan_candidates(
                    call.op, call.attrs, shapes, flags, self._options.winograd or bool(algorithm)
                )
            except ValueError:  # what cannot be said in this layout is no candidate
                continue
            known.update(name for name, _ in found)
            found = [entry for entry in found if not algorithm or entry[0] == algorithm]
            if not found:
                continue
            cost = found[0][1] + sum(
                self._reorder(symbol, flags[i], written[i]) for i, (symbol, _) in enumerate(call.args) if able[i]
            )
            if best is None or cost < best[0]:
                best = cost, flags, borders
        if best is None and algorithm:
            raise ValueError(
                f"compile: algorithms gives {label!r} {algorithm!r}, which cannot serve it; "
                f"{', '.join(sorted(known))} can"
            )
        if best is None:
            raise ValueError(f"compile: no kernel can serve {call.op} on {shapes}")
        ns, flags, borders = best
        for (symbol, _), flag, border, output in zip(call.args, flags, borders, written, strict=True):
            if flag and symbol is not None:
                self.border[symbol] = widest(self.border.get(symbol, NO_BORDER), border)
            if output and symbol is not None:
                self._blocked[self._home(symbol)] = flag
        return Use(call, tuple(flags), algorithm, ns)

    def _reorder(self, symbol: Symbol, blocked: bool, output: bool) -> float:
        """Predicted time of bringing an input into the wanted layout, or of what the readers of an output will need."""
        wanted = self._wants_blocked.get(self._home(symbol), blocked)
        has = blocked == (wanted if output else self.produced_blocked(symbol))
        return 0.0 if has else _REORDER_NS + symbol.size * _REORDER_NS_PER_ELEMENT

    def _readers_that_want_blocked(self, graph: Graph, lowered: list[list[KernelCall]]) -> dict[Symbol, bool]:
        """For each map: has some reader only blocked kernels, or none (a reshape or an output wants it plain)?"""
        wants: dict[Symbol, bool] = {}
        for node, calls in zip(graph.nodes, lowered, strict=True):
            for call in calls:
                maps, written, _ = _core.op_arguments(call.op)
                for i, (symbol, shape) in enumerate(call.args):
                    if not written[i] and _is_map(symbol, shape) and maps[i]:
                        wants[self._home(symbol)] = True
            if not calls and node.inputs[0] is not None:
                wants.setdefault(self._home(node.inputs[0]), False)
        for symbol in graph.outputs:
            wants.setdefault(symbol, False)
        return wants


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


def _is_map(value: Any, shape: tuple[int, ...] | None) -> bool:
    return value is not None and len(value.shape) in (3, 4, 5) and tuple(value.shape) == tuple(shape or ())


def widest(a: Border, b: Border) -> Border:
    return tuple(map(max, a, b))
