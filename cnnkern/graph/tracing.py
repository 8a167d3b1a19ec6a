# SPDX-License-Identifier: BSD-3-Clause
"""Recording: calls on symbols become nodes of a trace, and a trace becomes a graph."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from cnnkern.graph.node import Array, Attrs, Node, OpDef, Shape, Spec, Symbol

_local = threading.local()
_evaluator: Callable[..., tuple[Array, ...]]


def install(evaluator: Callable[..., tuple[Array, ...]]) -> None:
    """Set how arrays are computed: evaluator(op, inputs, attrs) -> outputs. The graph itself computes nothing."""
    global _evaluator
    _evaluator = evaluator


def evaluate(op: OpDef, inputs: Sequence[Any], attrs: Attrs) -> tuple[Array, ...]:
    """Compute an operation on arrays."""
    return _evaluator(op, inputs, attrs)


def current_trace() -> Trace | None:
    """The trace that records on this thread, or None."""
    return getattr(_local, "trace", None)


class Trace:
    """Records nodes on this thread while it is entered.

    scope is what nodes are noted to belong to (layers set it). constants maps id(array) to its (Symbol, array): an
    array has one symbol, whoever uses it. implicit holds inputs that nobody passed, by name: "rng" (int32 (1, 2): seed,
    step) once a dropout has been recorded. An operation on arrays that are already constants here is recorded too, so
    that gradients flow through what a model computes from its parameters alone: call `constant` on the parameters
    first.
    """

    def __init__(self) -> None:
        self.constants: dict[int, tuple[Symbol, Array]] = {}
        self.nodes: list[Node] = []
        self.implicit: dict[str, Symbol] = {}
        self.derivatives: dict[Symbol, tuple[Symbol, Symbol]] = {}
        self.scope: object = None
        self._outer: Trace | None = None
        self._counter = 0

    def __enter__(self) -> Trace:
        self._outer = current_trace()
        _local.trace = self
        return self

    def __exit__(self, *_: object) -> None:
        _local.trace = self._outer

    @contextlib.contextmanager
    def within(self, scope: object) -> Iterator[None]:
        """Nodes recorded in this block belong to `scope`, unless to one inside it."""
        outer, self.scope = self.scope, scope
        try:
            yield
        finally:
            self.scope = outer

    def constant(self, array: Array, name: str = "") -> Symbol:
        """The symbol that stands for this array (the object, not its present content)."""
        entry = self.constants.get(id(array))
        if entry is None:
            entry = self.constants[id(array)] = (Symbol(array.shape, array.dtype, name), array)
        return entry[0]

    def lift(self, value: Symbol | Array | None) -> Symbol | None:
        return value if value is None or isinstance(value, Symbol) else self.constant(value)

    def rng(self) -> Symbol:
        """The implicit input that random operations draw from."""
        return self.implicit.setdefault("rng", Symbol((1, 2), np.int32, "rng"))

    def next_index(self) -> int:
        """0, 1, 2, ...: tells the random operations of one trace apart."""
        self._counter += 1
        return self._counter - 1

    def record(self, op: OpDef, inputs: Sequence[Symbol | Array | None], attrs: Attrs) -> tuple[Symbol, ...]:
        symbols = tuple(self.lift(value) for value in inputs)
        outputs = tuple(Symbol(spec.shape, spec.dtype) for spec in op.infer(symbols, attrs))
        node = Node(op, symbols, attrs, outputs, self.scope)
        for index, symbol in enumerate(outputs):
            symbol.node, symbol.index = node, index
        self.nodes.append(node)
        return outputs


def apply(op: OpDef, inputs: Sequence[Any], attrs: Attrs) -> tuple[Any, ...]:
    """Apply an operation: compute it if all inputs are arrays, record it if one is a Symbol. Returns the outputs."""
    trace = getattr(_local, "trace", None)
    for value in inputs:
        if value.__class__ is Symbol:
            if trace is None:
                raise ValueError(f"{op.name}: a Symbol was used outside the trace that it belongs to")
            return trace.record(op, inputs, attrs)  # type: ignore[no-any-return]
    if trace is not None and any(id(value) in trace.constants for value in inputs):
        return trace.record(op, inputs, attrs)  # type: ignore[no-any-return]
    return evaluate(op, inputs, attrs)


def override_gradient(value: Any, of: Any, derivative: Callable[[], Any]) -> Any:
    """Declare d value / d of (elementwise, same shapes) where the product of the steps' own derivatives would be 0 / 0.

    Returns value; on arrays there is nothing to declare.
    """
    if isinstance(value, Symbol) and isinstance(of, Symbol):
        trace = current_trace()
        assert trace is not None
        trace.derivatives[value] = (of, derivative())
    return value


class Graph:
    """A recorded computation.

    inputs: the symbols of the arguments; implicit: further inputs by name; outputs: flat list, with `structure` saying
    how the function returned them; constants: symbol -> array; nodes: in program order, which every user must keep for
    nodes that mutate an input.
    """

    def __init__(
        self,
        inputs: list[Symbol],
        outputs: list[Symbol],
        structure: Any,
        constants: dict[Symbol, Array],
        nodes: list[Node],
        implicit: dict[str, Symbol] | None = None,
    ) -> None:
        self.inputs = inputs
        self.outputs = outputs
        self.structure = structure
        self.constants = constants
        self.nodes = nodes
        self.implicit = implicit or {}

    def restore(self, values: Sequence[Any]) -> Any:
        """Put a flat list of output values into the structure that the traced function returned."""
        return unflatten(self.structure, values)

    def __repr__(self) -> str:
        return "\n".join([f"Graph of {len(self.nodes)} nodes", *(f"  {node!r}" for node in self.nodes)])


def flatten(value: Any, leaves: list[Any]) -> Any:
    """Append the leaves of nested tuples, lists and dicts to `leaves`; return the same nest with their positions."""
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(flatten(item, leaves) for item in value))
    if isinstance(value, (tuple, list)):
        return type(value)(flatten(item, leaves) for item in value)
    if isinstance(value, dict):
        return {key: flatten(item, leaves) for key, item in value.items()}
    if value is None:
        return None
    leaves.append(value)
    return len(leaves) - 1


def unflatten(structure: Any, values: Sequence[Any]) -> Any:
    """The inverse of `flatten`."""
    if isinstance(structure, tuple) and hasattr(structure, "_fields"):
        return type(structure)(*(unflatten(item, values) for item in structure))
    if isinstance(structure, (tuple, list)):
        return type(structure)(unflatten(item, values) for item in structure)
    if isinstance(structure, dict):
        return {key: unflatten(item, values) for key, item in structure.items()}
    return None if structure is None else values[structure]


def trace(function: Callable[..., Any], specs: Sequence[Spec | Shape]) -> Graph:
    """Call `function` on one Symbol per spec (a bare shape means float32) and return what it recorded.

    Nodes that nothing needs are dropped, unless they update an input.
    The function may return symbols and arrays in any nest of tuples, lists and dicts. It may call `gradients`.
    """
    inputs = [Symbol(*(spec if isinstance(spec, Spec) else Spec(tuple(spec)))) for spec in specs]
    leaves: list[Any] = []
    with Trace() as record:
        structure = flatten(function(*inputs), leaves)
        for leaf in leaves:
            if not isinstance(leaf, (Symbol, np.ndarray)):
                raise TypeError(f"trace: the function must return arrays and symbols, found {type(leaf).__name__}")
        outputs = [symbol for leaf in leaves if (symbol := record.lift(leaf)) is not None]
    return finish(record, inputs, outputs, structure)


def finish(record: Trace, inputs: list[Symbol], outputs: list[Symbol], structure: Any) -> Graph:
    """Make a Graph of a trace: drop nodes that nothing needs, check that every symbol has a source."""
    needed = set(outputs)
    kept = []
    for node in reversed(record.nodes):
        if node.op.mutates or any(symbol in needed for symbol in node.outputs):
            kept.append(node)
            needed.update(symbol for symbol in node.inputs if symbol is not None)
    kept.reverse()
    constants = {symbol: array for symbol, array in record.constants.values() if symbol in needed}
    known = {*inputs, *record.implicit.values(), *constants}
    for node in kept:
        for symbol in node.inputs:
            if symbol is not None and symbol not in known:
                raise ValueError(f"trace: {node.op.name} uses a symbol of another trace: {symbol!r}")
        known.update(node.outputs)
    for symbol in outputs:
        if symbol not in known:
            raise ValueError(f"trace: the function returned a symbol of another trace: {symbol!r}")
    return Graph(inputs, outputs, structure, constants, kept, {k: s for k, s in record.implicit.items() if s in needed})
