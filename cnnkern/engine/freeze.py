# SPDX-License-Identifier: BSD-3-Clause
"""A graph with its layout becomes a `_core.Plan`: tensors, steps, reorders, memory."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from cnnkern import _core
from cnnkern.engine.bands import CONV2D_CHAIN, SEPARATE
from cnnkern.engine.layout import NO_BORDER, Border, Use, best_layout, widest
from cnnkern.engine.options import DEFAULT, Options, labels
from cnnkern.engine.planner import Lifetime, plan_memory
from cnnkern.engine.rewrite import Scaled
from cnnkern.engine.rounds import ONCE, Rounds
from cnnkern.engine.views import View, channel_views, place
from cnnkern.graph import Array, Graph, Shape, Symbol


class StepInfo(NamedTuple):
    """What one step of a plan computes and how.

    layer: state-dict name of the layer that it belongs to; shapes and layouts ("plain", "blocked" or "lanes"): of the
    kernel's arguments; alternatives: the algorithms that could serve in these layouts, with predicted nanoseconds, the
    chosen one first; multiply_adds: of the operation as defined, whatever the algorithm saves; bytes: read and written,
    each tensor once, weights as they are packed, and what one phase hands to the next; weight_bytes: those of them that
    are constants; times: how often it runs, each time on so many other images as its shapes say (nanoseconds, bytes and
    multiply-adds are of all together, but constants count once).
    """

    layer: str
    op: str
    algorithm: str
    shapes: tuple[Shape | None, ...]
    layouts: tuple[str, ...]
    predicted_ns: float
    alternatives: tuple[tuple[str, float], ...]
    multiply_adds: int
    bytes: int
    weight_bytes: int
    times: int = 1


class Frozen:
    """A plan with what is needed to call it: its inputs in order, its outputs in order, its steps."""

    def __init__(self, graph: Graph, packed: Any | None, options: Options = DEFAULT, rounds: Rounds = ONCE) -> None:
        self.graph = graph
        self._rounds = rounds
        self._layer = ""
        self.inputs = [*graph.inputs, *graph.implicit.values()]
        self.steps: list[StepInfo] = []
        self.empty = any(symbol.size == 0 for symbol in (*self.inputs, *graph.outputs))
        if not self.empty:
            self._build(packed, options)

    def _build(self, packed: Any | None, options: Options) -> None:
        self.plan = _core.Plan(packed, options.winograd)
        names = labels(self.graph, options.names)
        self._layout = best_layout(self.graph, options, names, self._rounds.parts)
        self._views = channel_views(self._layout)
        self._borders = self._common_borders()
        self._tensor: dict[tuple[Symbol, str], int] = {}  # by symbol and layout
        self._life: dict[int, list[int]] = {}  # arena tensors: first and last step
        self._inside: dict[int, int] = {}  # tensors that live in another one, and that one
        self._times = self._rounds.times  # of the steps that are added
        self._root = self._aliases()
        for index, symbol in enumerate(self.inputs):
            self.plan.input(self._new(symbol, "plain"), index)
        for part, whole in self._rounds.parts.items():
            if whole in self.inputs:
                self._tensor[part, "plain"] = self.plan.part(self._tensor[whole, "plain"], part.shape[0])
        for symbol, value in self.graph.constants.items():
            array, scale = value if isinstance(value, Scaled) else (value, None)
            self.plan.constant(self._new(symbol, "plain"), np.require(array, requirements=["C", "A"]), scale)
        late = self._claim_outputs()
        for index, (node, uses) in enumerate(zip(self.graph.nodes, self._layout.uses, strict=True)):
            if index == self._rounds.nodes:
                self._end_rounds()
            self._layer = names[node]
            macs = node.op.macs(node) if node.op.macs is not None else 0
            for use in uses:
                self._add(use, macs)
            if node.op is CONV2D_CHAIN:
                other = (SEPARATE, node.attrs["separate_ns"] * self._times)
                self.steps[-1] = self.steps[-1]._replace(alternatives=(*self.steps[-1].alternatives, other))
        if self._rounds.nodes == len(self.graph.nodes):
            self._end_rounds()
        self._layer = ""
        for tensor, symbol in late:
            root = self._root[symbol]
            source = self._existing(root) or "plain"
            views = {1: root.shape} if source == "plain" else {}
            self._step("copy", {}, [self._get(root, source), tensor], views, (symbol, symbol), (source, "plain"))
        sizes = {tensor: self.plan.bytes(tensor) for tensor in self._life}
        offsets, arena_bytes = plan_memory([Lifetime(t, sizes[t], *life) for t, life in self._life.items()])
        for tensor, offset in offsets.items():
            self.plan.arena(tensor, offset)
        self.plan.freeze(arena_bytes)

    def _end_rounds(self) -> None:
        """What is added from here on runs once, on the whole batch."""
        if self._rounds.times > 1:
            self.plan.end_rounds(self._rounds.times)
        self._times = 1

    def _common_borders(self) -> dict[Symbol, Border]:
        """A map and those that live in it have one border: the widest that any of them needs."""
        borders = dict(self._layout.border)
        inside = [(symbol, root) for symbol, (root, _) in self._views.items()]
        for symbol, root in (*inside, *self._rounds.parts.items(), *inside):  # a part may have parts, or be one of them
            borders[root] = widest(borders.get(root, NO_BORDER), borders.get(symbol, NO_BORDER))
        return borders

    def _aliases(self) -> dict[Symbol, Symbol]:
        """The symbol whose memory each symbol uses: a reshape shares that of its input."""
        parts = self._rounds.parts
        root: dict[Symbol, Symbol] = {s: s for s in (*self.inputs, *self.graph.constants, *parts, *parts.values())}
        for node, uses in zip(self.graph.nodes, self._layout.uses, strict=True):
            for symbol in node.outputs:
                root[symbol] = symbol if uses else root[node.inputs[0]]
        return root

    def _claim_outputs(self) -> list[tuple[int, Symbol]]:
        """Tensors for the results. What a step can write itself is that step's; the others are copied at the end."""
        late = []
        written_plain = {
            symbol
            for uses in self._layout.uses
            for use in uses
            for (symbol, _), layout, written in zip(
                use.call.args, use.layouts, _core.op_arguments(use.call.op)[1], strict=True
            )
            if written and layout == "plain" and symbol is not None
        }
        written_plain |= {whole for part, whole in self._rounds.parts.items() if part in written_plain}
        for index, symbol in enumerate(self.graph.outputs):
            root = self._root[symbol]
            key = (root, "plain")
            if root in written_plain and key not in self._tensor:
                tensor = self._new(root, "plain")
            else:
                tensor = self.plan.tensor(root.shape)
                late.append((tensor, symbol))
            self.plan.output(tensor, index)
        return late

    def _existing(self, symbol: Symbol) -> str | None:
        """A layout in which a tensor of the symbol exists: plain if there is one."""
        return next((layout for layout in ("plain", "blocked", "lanes") if (symbol, layout) in self._tensor), None)

    def _new(self, symbol: Symbol, layout: str) -> int:
        border = NO_BORDER if layout == "plain" else self._borders.get(symbol, NO_BORDER)
        tensor: int = self.plan.tensor(symbol.shape, layout, list(border))
        self._tensor[symbol, layout] = tensor
        return tensor

    def _get(self, symbol: Symbol, layout: str) -> int:
        """The tensor of a symbol in a layout; made by a reorder if it exists only in another."""
        plain = layout == "plain"
        root = self._root[symbol] if plain else symbol
        if layout == "blocked" and root in self._views:
            return self._view(root)
        tensor = self._tensor.get((root, layout))
        if tensor is None:
            found = self._existing(root)
            if plain and found is not None:
                source, before = self._tensor[root, found], found
            else:  # by way of the plain map, which may be the memory that an alias shares
                source, before = self._get(symbol, "plain"), "plain"
            tensor = self._arena(root, layout)
            views = {} if plain or self._root[symbol].shape == symbol.shape else {0: symbol.shape}
            self._step("copy", {}, [source, tensor], views, (symbol, symbol), (before, layout))
        return tensor

    def _view(self, symbol: Symbol) -> int:
        """The tensor of a blocked map that lives inside another."""
        tensor = self._tensor.get((symbol, "blocked"))
        if tensor is None:
            root, channel = self._views[symbol]
            whole = self._tensor.get((root, "blocked"))
            if whole is None:
                exists = self._existing(root) is not None
                whole = self._get(root, "blocked") if exists else self._arena(root, "blocked")
            tensor = self._tensor[symbol, "blocked"] = self.plan.view(whole, symbol.shape, channel)
            self._inside[tensor] = self._inside.get(whole, whole)
        return tensor

    def _part(self, symbol: Symbol, layout: str) -> int:
        """A tensor for some images of a map that the steps after the rounds read as a whole."""
        whole = self._rounds.parts[symbol]
        around = self._tensor.get((whole, layout))
        if around is None:
            viewed = layout == "blocked" and whole in self._views
            around = self._view(whole) if viewed else self._arena(whole, layout)
        root = self._inside.get(around, around)
        if root in self._life:
            self._life[root][0] = 0  # all rounds leave it alone
        tensor: int = self.plan.part(around, symbol.shape[0])
        self._tensor[symbol, layout] = tensor
        self._inside[tensor] = root
        return tensor

    def _in_place(self, call: Any, layouts: tuple[str, ...]) -> bool:
        """Does this copy find its data where it would write them?"""
        if call.op != "copy" or layouts != ("blocked", "blocked"):
            return False
        (x, _), (y, _) = call.args
        if x not in self._views and y not in self._views:
            return False
        source, target = place(self._views, x), place(self._views, y)
        return source == View(target.root, target.channel + call.attrs["offset"][1])

    def _arena(self, symbol: Symbol, layout: str) -> int:
        if symbol in self._rounds.parts and self._rounds.parts[symbol] not in self.inputs:
            return self._part(symbol, layout)
        tensor = self._new(symbol, layout)
        self._life[tensor] = [len(self.steps), len(self.steps)]
        return tensor

    def _add(self, use: Use, macs: int) -> None:
        call, layouts, algorithm, _ = use
        if self._in_place(call, layouts):
            self._get(call.args[0][0], "blocked")
            self._get(call.args[1][0], "blocked")
            return
        _, written, _ = _core.op_arguments(call.op)
        tensors, views = [], {}
        for i, ((symbol, shape), layout) in enumerate(zip(call.args, layouts, strict=True)):
            if symbol is None:
                tensors.append(-1)
                continue
            known = (self._root[symbol], "plain") in self._tensor or self._existing(symbol) is not None
            if written[i] and not known and not (layout == "blocked" and symbol in self._views):
                tensors.append(self._arena(symbol, layout))
            else:
                tensors.append(self._get(symbol, layout))
            if layout == "plain":
                views[i] = shape
        self._step(call.op, call.attrs, tensors, views, [symbol for symbol, _ in call.args], layouts, macs, algorithm)

    def _step(
        self,
        op: str,
        attrs: Any,
        tensors: list[int],
        views: Any,
        symbols: Any,
        layouts: tuple[str, ...],
        macs: int = 0,
        algorithm: str = "",
    ) -> None:
        step = len(self.steps)
        report = self.plan.step(op, attrs, tensors, views, algorithm)
        for tensor in tensors:
            whole = self._inside.get(tensor, tensor)
            if whole in self._life:
                self._life[whole][1] = step
        shapes = tuple(None if symbol is None else symbol.shape for symbol in symbols)
        moved, weights = self._bytes(symbols, report)
        self.steps.append(
            StepInfo(
                self._layer,
                op,
                report["algorithm"],
                shapes,
                layouts,
                report["predicted_ns"] * self._times,
                tuple((name, ns * self._times) for name, ns in report["alternatives"]),
                macs * self._times,
                (moved - weights) * self._times + weights,
                weights,
                self._times,
            )
        )

    def _bytes(self, symbols: Any, report: Any) -> tuple[int, int]:
        """Bytes that a step moves, and those of them that are constants."""
        constants = [s for s in symbols if s in self.graph.constants]
        weights = sum(4 * s.size for s in constants)
        if report["packed_bytes"] and constants:  # the largest is the one that was packed
            weights += report["packed_bytes"] - max(4 * s.size for s in constants)
        others = sum(4 * s.size for s in symbols if s is not None and s not in self.graph.constants)
        return weights + others + 2 * report["shared_bytes"], weights

    def run(self, arrays: list[Array], threads: int = 0, profile: bool = False) -> tuple[list[Array], list[float]]:
        """Compute on C-contiguous arrays of the planned shapes. Returns outputs and, if asked, nanoseconds per step."""
        outputs = [np.empty(symbol.shape, symbol.dtype) for symbol in self.graph.outputs]
        if self.empty:
            return outputs, []
        return outputs, self.plan.run(arrays, outputs, threads, profile)

    def memory(self, threads: int) -> int:
        """Bytes of one run: arena, shared and per-thread buffers."""
        return 0 if self.empty else int(self.plan.memory(threads))
