# SPDX-License-Identifier: BSD-3-Clause
"""The graph: what the operations of `cnnkern.functional` record when they are called on symbols.

An operation is one `OpDef`: a shape rule, a gradient rule and the kernel calls that compute it. `apply` computes at once
when it is given arrays and records a `Node` when it is given a `Symbol`. Gradients are more nodes of the same kinds,
written by `gradients` into the same trace, so that one representation serves inference and training.
"""
from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

Array = np.ndarray[Any, Any]
Shape = tuple[int, ...]
Attrs = dict[str, Any]


class Shaped(Protocol):
    """What shape rules look at: an array, a Symbol or a Spec."""

    @property
    def shape(self) -> Shape: ...

    @property
    def dtype(self) -> np.dtype[Any]: ...


class Spec(NamedTuple):
    """Shape and dtype of a value."""

    shape: Shape
    dtype: np.dtype[Any] = np.dtype(np.float32)


class KernelCall(NamedTuple):
    """One call of the core: its operation, attributes and, in the core's order, each argument with the shape it takes there."""

    op: str
    attrs: Attrs
    args: list[tuple[Any, Shape | None]]


class OpDef:
    """Definition of an operation.

    infer(inputs, attrs) gives the Spec of each output. gradient(node, *output_gradients) gives one Symbol or None per input
    (None: no gradient flows there); an op without a rule cannot be differentiated. mutates lists the inputs that are
    updated in place. lower(node) gives the kernel calls that compute the node; an empty list means that the output is
    another view of the first input's memory, and lower=None that only the reference can compute it. macs(node) counts
    multiply-adds.
    """

    __slots__ = ("name", "infer", "gradient", "mutates", "lower", "macs")

    def __init__(
        self,
        name: str,
        infer: Callable[[Sequence[Any], Attrs], tuple[Spec, ...]],
        gradient: Callable[..., tuple[Symbol | None, ...]] | None = None,
        mutates: tuple[int, ...] = (),
        lower: Callable[[Node], list[KernelCall]] | None = None,
        macs: Callable[[Node], int] | None = None,
    ) -> None:
        self.name = name
        self.infer = infer
        self.gradient = gradient
        self.mutates = mutates
        self.lower = lower
        self.macs = macs

    def __repr__(self) -> str:
        return f"OpDef({self.name!r})"


OPS: dict[str, OpDef] = {}


def define(name: str, infer: Callable[[Sequence[Any], Attrs], tuple[Spec, ...]], **fields: Any) -> OpDef:
    """Make an OpDef and enter it into `OPS`."""
    if name in OPS:
        raise ValueError(f"define: there is already an operation called {name!r}")
    OPS[name] = OpDef(name, infer, **fields)
    return OPS[name]


class Node:
    """One application of an operation. In eager computation the same record holds arrays in place of symbols."""

    __slots__ = ("op", "inputs", "attrs", "outputs")

    def __init__(self, op: OpDef, inputs: tuple[Any, ...], attrs: Attrs, outputs: tuple[Any, ...]) -> None:
        self.op = op
        self.inputs = inputs
        self.attrs = attrs
        self.outputs = outputs

    def __repr__(self) -> str:
        return f"{self.op.name}({', '.join(map(repr, self.inputs))}) -> {', '.join(map(repr, self.outputs))}"


class Symbol:
    """A value of the graph: shape and dtype without content.

    `node` is the node that produces it (None for inputs and constants) and `index` which of that node's outputs it is.
    Supports + - * / and negation with symbols, arrays and numbers.
    """

    __slots__ = ("shape", "dtype", "name", "node", "index")
    __array_ufunc__ = None  # so that array + symbol asks the symbol

    def __init__(self, shape: Iterable[int], dtype: Any = np.float32, name: str = "") -> None:
        self.shape: Shape = tuple(int(n) for n in shape)
        self.dtype: np.dtype[Any] = np.dtype(dtype)
        self.name = name
        self.node: Node | None = None
        self.index = 0

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return product(self.shape)

    def __repr__(self) -> str:
        return f"Symbol({self.name + ': ' if self.name else ''}{self.dtype.name}{list(self.shape)})"

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("a Symbol without axes has no length")
        return self.shape[0]

    def _no_value(self, *_: Any, **__: Any) -> Any:
        raise TypeError(
            "a Symbol has no value: while a model is traced, its control flow cannot depend on data, "
            "and NumPy functions cannot be used on it (use cnnkern.functional)"
        )

    __bool__ = __float__ = __int__ = __array__ = __iter__ = __getitem__ = _no_value

    def __add__(self, other: Any) -> Any:
        return _operators["add"](self, other)

    def __radd__(self, other: Any) -> Any:
        return _operators["add"](other, self)

    def __sub__(self, other: Any) -> Any:
        return _operators["subtract"](self, other)

    def __rsub__(self, other: Any) -> Any:
        return _operators["subtract"](other, self)

    def __mul__(self, other: Any) -> Any:
        return _operators["multiply"](self, other)

    def __rmul__(self, other: Any) -> Any:
        return _operators["multiply"](other, self)

    def __truediv__(self, other: Any) -> Any:
        return _operators["divide"](self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return _operators["divide"](other, self)

    def __neg__(self) -> Any:
        return _operators["negative"](self)

    def reshape(self, *shape: Any) -> Any:
        return _operators["reshape"](self, shape[0] if len(shape) == 1 and not isinstance(shape[0], int) else shape)


def product(values: Iterable[int]) -> int:
    """Product in Python's integers, which cannot overflow."""
    result = 1
    for value in values:
        result *= value
    return result


# functional supplies these two when it is imported; the graph itself computes nothing.
_operators: dict[str, Callable[..., Any]] = {}
_evaluate: Callable[..., tuple[Array, ...]]


def install(evaluate: Callable[..., tuple[Array, ...]], operators: Mapping[str, Callable[..., Any]]) -> None:
    """Set how arrays are computed, evaluate(op, inputs, attrs) -> outputs, and the functions behind Symbol's operators."""
    global _evaluate
    _evaluate = evaluate
    _operators.update(operators)


_local = threading.local()


def current_trace() -> Trace | None:
    """The trace that records on this thread, or None."""
    return getattr(_local, "trace", None)


class Trace:
    """Records nodes on this thread while it is entered.

    constants maps id(array) to its (Symbol, array): an array has one symbol, whoever uses it. implicit holds inputs that
    nobody passed, by name: "rng" (int32 (1, 2): seed, step) once a dropout has been recorded. An operation on arrays
    that are already constants here is recorded too, so that gradients flow through what a model computes from its
    parameters alone: call `constant` on the parameters first.
    """

    def __init__(self) -> None:
        self.constants: dict[int, tuple[Symbol, Array]] = {}
        self.nodes: list[Node] = []
        self.implicit: dict[str, Symbol] = {}
        self.derivatives: dict[Symbol, tuple[Symbol, Symbol]] = {}
        self._outer: Trace | None = None
        self._counter = 0

    def __enter__(self) -> Trace:
        self._outer = current_trace()
        _local.trace = self
        return self

    def __exit__(self, *_: object) -> None:
        _local.trace = self._outer

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
        node = Node(op, symbols, attrs, outputs)
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
    return _evaluate(op, inputs, attrs)


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

    inputs: the symbols of the arguments; implicit: further inputs by name; outputs: flat list, with `structure` saying how
    the function returned them; constants: symbol -> array; nodes: in program order, which every user must keep for nodes
    that mutate an input.
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
    """Call `function` on one Symbol per spec (a bare shape means float32) and return what it recorded, without dead nodes.

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


def gradients(trace: Trace, loss: Symbol, wrt: Sequence[Symbol]) -> list[Symbol | None]:
    """Record d loss / d w for each w of `wrt` into the trace; None where the loss does not depend on it.

    Walks the nodes in reverse program order. A gradient that arrives more than once is summed in the order of the nodes
    (and of the inputs of one node) that it comes from. `loss` must have one element.
    """
    if loss.size != 1:
        raise ValueError(f"gradients: the loss must have one element, found shape {loss.shape}")
    if current_trace() is not trace:
        raise ValueError("gradients: call it while the trace is entered")
    nodes = list(trace.nodes)
    depends = set(wrt)
    for node in nodes:
        if not depends.isdisjoint(symbol for symbol in node.inputs if symbol is not None):
            depends.update(node.outputs)
    arriving: dict[Symbol, list[Symbol]] = {}
    if loss in depends:
        arriving[loss] = [trace.constant(np.ones(loss.shape, loss.dtype))]
    for node in reversed(nodes):
        if not any(symbol in arriving and symbol in depends for symbol in node.outputs):
            continue
        contributions = _contributions(trace, node, [_total(arriving, symbol) for symbol in node.outputs])
        for symbol, gradient in reversed(contributions):
            if symbol in depends:
                arriving.setdefault(symbol, []).append(gradient)
    return [_total(arriving, symbol) for symbol in wrt]


def _contributions(trace: Trace, node: Node, grads: list[Symbol | None]) -> list[tuple[Symbol, Symbol]]:
    """What one node passes on to its inputs, in the order of the inputs."""
    custom = trace.derivatives.get(node.outputs[0])
    if custom is not None:
        return [(custom[0], _operators["multiply"](grads[0], custom[1]))]
    if node.op.gradient is None:
        raise ValueError(f"gradients: {node.op.name} has no gradient rule")
    result = node.op.gradient(node, *grads)
    return [(s, g) for s, g in zip(node.inputs, result, strict=True) if s is not None and g is not None]


def _total(arriving: dict[Symbol, list[Symbol]], symbol: Symbol) -> Symbol | None:
    """Sum what has arrived for a symbol, in node order (it was collected backwards), and remember the sum."""
    parts = arriving.get(symbol)
    if parts is None:
        return None
    total = parts[-1]
    for part in parts[-2::-1]:
        total = _operators["add"](total, part)
    arriving[symbol] = [total]
    return total


def run_numpy(graph: Graph, inputs: Sequence[Array], implicit: Mapping[str, Array] | None = None) -> Any:
    """Interpret a graph node by node on arrays (float32 through the kernels, float64 through the reference).

    implicit supplies the graph's implicit inputs by name. Constants that nodes mutate are updated in place.
    """
    if len(inputs) != len(graph.inputs):
        raise ValueError(f"run_numpy: the graph has {len(graph.inputs)} inputs, {len(inputs)} were given")
    values: dict[Symbol | None, Any] = {None: None, **graph.constants}
    pairs = [*zip(graph.inputs, inputs, strict=True), *((s, (implicit or {})[name]) for name, s in graph.implicit.items())]
    for symbol, array in pairs:
        if array.shape != symbol.shape or array.dtype != symbol.dtype:
            raise ValueError(f"run_numpy: expected {symbol!r}, found {array.dtype}{list(array.shape)}")
        values[symbol] = array
    for node in graph.nodes:
        outputs = _evaluate(node.op, tuple(values[symbol] for symbol in node.inputs), node.attrs)
        values.update(zip(node.outputs, outputs, strict=True))
    return graph.restore([values[symbol] for symbol in graph.outputs])


def count_multiply_adds(graph: Graph) -> int:
    """Multiply-adds of the convolutions and matrix products of a graph (bias additions are not counted)."""
    return sum(node.op.macs(node) for node in graph.nodes if node.op.macs is not None)
