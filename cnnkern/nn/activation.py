# SPDX-License-Identifier: BSD-3-Clause
"""Activations and dropout as layers. All keep the shape."""

from __future__ import annotations

from typing import Any

from cnnkern import functional
from cnnkern.functional import _check as check
from cnnkern.nn.module import Module


class ReLU(Module):
    """max(x, 0); NaN stays NaN, the derivative at 0 is 0. `inplace` only serves PyTorch code: inputs never change."""

    def __init__(self, inplace: bool = False) -> None:
        self.inplace = check.boolean("ReLU", "inplace", inplace)

    def forward(self, input: Any) -> Any:
        """Any shape, kept."""
        return functional.relu(input)


class ReLU6(Module):
    """min(max(x, 0), 6) (Howard et al., 2017). `inplace` as for `ReLU`."""

    def __init__(self, inplace: bool = False) -> None:
        self.inplace = check.boolean("ReLU6", "inplace", inplace)

    def forward(self, input: Any) -> Any:
        """Any shape, kept."""
        return functional.relu6(input)


class LeakyReLU(Module):
    """x for x > 0, else negative_slope x."""

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        self.negative_slope = check.number("LeakyReLU", "negative_slope", negative_slope)
        self.inplace = check.boolean("LeakyReLU", "inplace", inplace)

    def forward(self, input: Any) -> Any:
        """Any shape, kept."""
        return functional.leaky_relu(input, self.negative_slope)

    def extra_repr(self) -> str:
        return f"negative_slope={self.negative_slope:g}"


class Sigmoid(Module):
    """1 / (1 + exp(-x))."""

    def forward(self, input: Any) -> Any:
        """Any shape, kept."""
        return functional.sigmoid(input)


class Tanh(Module):
    """The hyperbolic tangent."""

    def forward(self, input: Any) -> Any:
        """Any shape, kept."""
        return functional.tanh(input)


class Softmax(Module):
    """exp(x) / sum exp(x) along `dim`."""

    def __init__(self, dim: int = 1) -> None:
        self.dim = check.integer("Softmax", "dim", dim)

    def forward(self, input: Any) -> Any:
        """Any shape that has axis `dim`, kept."""
        return functional.softmax(input, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class LogSoftmax(Module):
    """x - log sum exp(x) along `dim`."""

    def __init__(self, dim: int = 1) -> None:
        self.dim = check.integer("LogSoftmax", "dim", dim)

    def forward(self, input: Any) -> Any:
        """Any shape that has axis `dim`, kept."""
        return functional.log_softmax(input, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class Dropout(Module):
    """In training zeroes each element with probability p and divides the rest by 1 - p (Srivastava et al., 2014)."""

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        self.p = check.finite("Dropout", "p", p, 0.0, 1.0)
        self.inplace = check.boolean("Dropout", "inplace", inplace)

    def forward(self, input: Any) -> Any:
        """Any shape, kept."""
        return functional.dropout(input, self.p, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p:g}"
