# SPDX-License-Identifier: BSD-3-Clause
"""What a generator draws its configuration from, and what it returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

Array = np.ndarray[Any, Any]
T = TypeVar("T")

SIZES = (1, 1, 2, 2, 3, 3, 4, 5, 7, 8, 15, 16, 17)


@dataclass
class Call:
    """One call: the arguments of cnnkern's function and, where they differ, of PyTorch's.

    Arrays among the arguments, also in tuples and lists, become tensors. torch_function(torch) gives another
    counterpart than PyTorch's function of that name (or than OWN of the family). tolerance: relative to the largest
    value, instead of that of the dtype. gradients: the positional arguments whose gradients are compared too (in a
    share of the float64 draws). statistical(actual, expected): replaces the comparison of values.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any] = field(default_factory=dict)
    torch_args: tuple[Any, ...] | None = None
    torch_kwargs: dict[str, Any] | None = None
    torch_function: Callable[[Any], Callable[..., Any]] | None = None
    tolerance: float | None = None
    gradients: tuple[int, ...] = ()
    statistical: Callable[[Any, Any], None] | None = None


class Draw:
    """Random choices of one configuration. dtype: of its floating-point arrays; bad: it should be refused."""

    def __init__(self, seed: Sequence[int]) -> None:
        self.rng = np.random.default_rng(seed)
        self.dtype = np.dtype(self.choice(("float32", "float64")))
        self.bad = self.maybe(0.1)

    def maybe(self, probability: float = 0.5) -> bool:
        return bool(self.rng.random() < probability)

    def choice(self, values: Sequence[T]) -> T:
        return values[int(self.rng.integers(len(values)))]

    def integer(self, low: int, high: int) -> int:
        """low .. high, both included."""
        return int(self.rng.integers(low, high + 1))

    def number(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def size(self, most: int = 17) -> int:
        """A size of an axis: small, or around 16."""
        return self.choice([size for size in SIZES if size <= most])

    def batch(self, most: int = 4) -> int:
        """A size of the batch axis: sometimes 0."""
        return 0 if self.maybe(0.08) else self.integer(1, most)

    def shape(self, low: int = 0, high: int = 4, most: int = 9) -> tuple[int, ...]:
        """A shape of `low` to `high` axes, its first sometimes empty."""
        rank = self.integer(low, high)
        return tuple(self.batch(6) if axis == 0 else self.size(most) for axis in range(rank))

    def normal(self, *shape: int, scale: float = 1.0) -> Array:
        return np.asarray(self.rng.standard_normal(shape) * scale).astype(self.dtype)

    def uniform(self, low: float, high: float, *shape: int) -> Array:
        return np.asarray(self.rng.uniform(low, high, shape)).astype(self.dtype)

    def pick(self, values: Sequence[float], *shape: int) -> Array:
        """Each element one of `values`: ties, and the places where a function changes its formula."""
        return np.asarray(self.rng.choice(values, shape)).astype(self.dtype)

    def indices(self, high: int, *shape: int) -> Array:
        """int64 in 0 .. high - 1."""
        return np.asarray(self.rng.integers(0, high, shape))

    def strided(self, array: Array) -> Array:
        """The same values, sometimes in another memory layout."""
        if array.ndim < 2 or self.maybe(0.7):
            return array
        return np.asfortranarray(array) if self.maybe() else np.repeat(array, 2, axis=-1)[..., ::2]

    def broken(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Another shape than this one."""
        if shape and self.maybe():
            axis = self.integer(0, len(shape) - 1)
            return (*shape[:axis], shape[axis] + 1, *shape[axis + 1 :])
        return (*shape, 2) if self.maybe() or not shape else shape[1:]

    def some(self, options: Mapping[str, Callable[[], Any]], probability: float = 0.5) -> dict[str, Any]:
        """Keyword arguments, each there or not."""
        return {name: make() for name, make in options.items() if self.maybe(probability)}


Generator = Callable[[Draw], Call]
Counterpart = Callable[[Any], Callable[..., Any]]  # torch -> function


def autograd(function: Callable[..., Any]) -> Counterpart:
    """The counterpart of a gradient function (grad_output, x, ...): what autograd makes of function(torch, x, ...)."""

    def make(torch: Any) -> Callable[..., Any]:
        def gradient(grad_output: Any, x: Any, *rest: Any, **options: Any) -> Any:
            x.requires_grad_()
            y = function(torch, x, *rest, **options)
            if y.shape != grad_output.shape:
                raise ValueError(f"grad_output of shape {grad_output.shape}, expected {y.shape}")
            return torch.autograd.grad(y, x, grad_output)[0]

        return gradient

    return make
