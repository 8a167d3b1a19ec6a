# SPDX-License-Identifier: BSD-3-Clause
"""Activations as layers. All keep the shape unless said otherwise. inplace=True is refused: inputs never change."""

from __future__ import annotations

from typing import Any

import numpy as np

from cnnkern import functional
from cnnkern.functional import _check as check
from cnnkern.nn.module import Module


class ReLU(Module):
    """max(x, 0); NaN stays NaN, the derivative at 0 is 0."""

    def __init__(self, inplace: bool = False) -> None:
        check.not_in_place("ReLU", inplace)

    def forward(self, input: Any) -> Any:
        """Any shape, kept."""
        return functional.relu(input)


class ReLU6(Module):
    """min(max(x, 0), 6) (Howard et al., 2017)."""

    def __init__(self, inplace: bool = False) -> None:
        check.not_in_place("ReLU6", inplace)

    def forward(self, input: Any) -> Any:
        """Any shape, kept."""
        return functional.relu6(input)


class LeakyReLU(Module):
    """x for x > 0, else negative_slope x."""

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        self.negative_slope = check.number("LeakyReLU", "negative_slope", negative_slope)
        check.not_in_place("LeakyReLU", inplace)

    def forward(self, input: Any) -> Any:
        """Any shape, kept."""
        return functional.leaky_relu(input, self.negative_slope)

    def extra_repr(self) -> str:
        return f"negative_slope={self.negative_slope:g}"


class PReLU(Module):
    """x for x > 0, else weight x, the weight learned (He et al., 2015).

    num_parameters: 1, one weight for all, or the number of channels (axis 1). init: its initial value.
    """

    def __init__(self, num_parameters: int = 1, init: float = 0.25) -> None:
        self.num_parameters = check.integer("PReLU", "num_parameters", num_parameters, 1)
        self.init = check.finite("PReLU", "init", init)
        self.register_parameter("weight", np.full(self.num_parameters, self.init, np.float32))

    def forward(self, input: Any) -> Any:
        """Any shape, kept."""
        return functional.prelu(input, self.weight)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"


class RReLU(Module):
    """x for x > 0, else a x: in training a is random in lower .. upper, else their mean (Xu et al., 2015)."""

    def __init__(self, lower: float = 1.0 / 8, upper: float = 1.0 / 3, inplace: bool = False) -> None:
        self.lower = check.finite("RReLU", "lower", lower)
        self.upper = check.finite("RReLU", "upper", upper)
        check.not_in_place("RReLU", inplace)
        if self.lower > self.upper:
            raise ValueError(f"RReLU: lower must not be above upper, found {self.lower} and {self.upper}")

    def forward(self, input: Any) -> Any:
        """Any shape, kept."""
        return functional.rrelu(input, self.lower, self.upper, self.training)

    def extra_repr(self) -> str:
        return f"lower={self.lower:g}, upper={self.upper:g}"


class Hardtanh(Module):
    """min(max(x, min_val), max_val)."""

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> None:
        self.min_val = check.number("Hardtanh", "min_val", min_val)
        self.max_val = check.number("Hardtanh", "max_val", max_val)
        check.not_in_place("Hardtanh", inplace)
        if not self.min_val <= self.max_val:
            raise ValueError(f"Hardtanh: min_val must not be above max_val, found {self.min_val} and {self.max_val}")

    def forward(self, input: Any) -> Any:
        """Any shape, kept."""
        return functional.hardtanh(input, self.min_val, self.max_val)

    def extra_repr(self) -> str:
        return f"min_val={self.min_val:g}, max_val={self.max_val:g}"


class Hardsigmoid(Module):
    """min(max(x + 3, 0), 6) / 6 (Howard et al., 2019)."""

    def __init__(self, inplace: bool = False) -> None:
        check.not_in_place("Hardsigmoid", inplace)

    def forward(self, input: Any) -> Any:
        """Any shape, kept."""
        return functional.hardsigmoid(input)


class Hardswish(Module):
    """x min(max(x + 3, 0), 6) / 6 (Howard et al., 2019)."""

    def __init__(self, inplace: bool = False) -> None:
        check.not_in_place("Hardswish", inplace)

    def forward(self, input: Any) -> Any:
        """Any shape, kept."""
        return functional.hardswish(input)


class Hardshrink(Module):
    """0 for |x| <= lambd, else x."""

    def __init__(self, lambd: float = 0.5) -> None:
        self.lambd = check.number("Hardshrink", "lambd", lambd)

    def forward(self, input: Any) -> Any:
        """Any shape, kept."""
        return functional.hardshrink(input, self.lambd)

    def extra_repr(self) -> str:
        return f"lambd={self.lambd:g}"


class Softshrink(Module):
    """0 for |x| <= lambd, else x moved towards 0 by lambd."""

    def __init__(self, lambd: float = 0.5) -> None:
        self.lambd = check.finite("Softshrink", "lambd", lambd, 0.0)

    def forward(self, input: Any) -> Any:
        """Any shape, kept."""
        return functional.softshrink(input, self.lambd)

    def extra_repr(self) -> str:
        return f"lambd={self.lambd:g}"


class Threshold(Module):
    """x for x > threshold, else `value`."""

    def __init__(self, threshold: float, value: float, inplace: bool = False) -> None:
        self.threshold = check.number("Threshold", "threshold", threshold)
        self.value = check.number("Threshold", "value", value)
        check.not_in_place("Threshold", inplace)

    def forward(self, input: Any) -> Any:
        """Any shape, kept."""
        return functional.threshold(input, self.threshold, self.value)

    def extra_repr(self) -> str:
        return f"threshold={self.threshold:g}, value={self.value:g}"
