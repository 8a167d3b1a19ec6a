# SPDX-License-Identifier: BSD-3-Clause
"""What a graph is made of: operations, nodes and symbols."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, Any]
Shape = tuple[int, ...]
Attrs = dict[str, Any]

product = prod  # of sizes, in Python's integers, which cannot overflow


class Spec(NamedTuple):
    """Shape and dtype of a value."""

    shape: Shape
    dtype: np.dtype[Any] = np.dtype(np.float32)


class KernelCall(NamedTuple):
    """One call of the core: operation, attributes, and each argument, in the core's order, with its shape there."""

    op: str
    attrs: Attrs
    args: list[tuple[Any, Shape | None]]


class OpDef:
    """Definition of an operation.

    infer(inputs, attrs) gives the Spec of each output. gradient(node, *output_gradients) gives one Symbol or None per
    input (None: no gradient flows there); an op without a rule cannot be differentiated. mutates lists the inputs that
    are updated in place. lower(node) gives the kernel calls that compute the node; an empty list means that the output
    is another view of the first input's memory, and lower=None that only the reference can compute it. macs(node)
    counts multiply-adds.
    """

    __slots__ = ("gradient", "infer", "lower", "macs", "mutates", "name")

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
    """One application of an operation. In eager computation the same record holds arrays in place of symbols.

    `scope` is the innermost layer whose call recorded the node, or None outside any.
    """

    __slots__ = ("attrs", "inputs", "op", "outputs", "scope")

    def __init__(
        self, op: OpDef, inputs: tuple[Any, ...], attrs: Attrs, outputs: tuple[Any, ...], scope: object = None
    ) -> None:
        self.op = op
        self.inputs = inputs
        self.attrs = attrs
        self.outputs = outputs
        self.scope = scope

    def __repr__(self) -> str:
        return f"{self.op.name}({', '.join(map(repr, self.inputs))}) -> {', '.join(map(repr, self.outputs))}"


class Symbol:
    """A value of the graph: shape and dtype without content.

    `node` is the node that produces it (None for inputs and constants) and `index` which of that node's outputs it is.
    Supports + - * / and negation with symbols, arrays and numbers.
    """

    __slots__ = ("dtype", "index", "name", "node", "shape")
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
        return OPERATORS["add"](self, other)

    def __radd__(self, other: Any) -> Any:
        return OPERATORS["add"](other, self)

    def __sub__(self, other: Any) -> Any:
        return OPERATORS["subtract"](self, other)

    def __rsub__(self, other: Any) -> Any:
        return OPERATORS["subtract"](other, self)

    def __mul__(self, other: Any) -> Any:
        return OPERATORS["multiply"](self, other)

    def __rmul__(self, other: Any) -> Any:
        return OPERATORS["multiply"](other, self)

    def __truediv__(self, other: Any) -> Any:
        return OPERATORS["divide"](self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return OPERATORS["divide"](other, self)

    def __neg__(self) -> Any:
        return OPERATORS["negative"](self)

    def reshape(self, *shape: Any) -> Any:
        return OPERATORS["reshape"](self, shape[0] if len(shape) == 1 and not isinstance(shape[0], int) else shape)


# The functions behind Symbol's operators; functional supplies them when it is imported.
OPERATORS: dict[str, Callable[..., Any]] = {}
