# SPDX-License-Identifier: BSD-3-Clause
"""Fully connected layers."""

from __future__ import annotations

from typing import Any

from cnnkern import functional
from cnnkern.functional import _check as check
from cnnkern.nn import init
from cnnkern.nn.module import Module


class Linear(Module):
    """y = x weight^T + bias; weight: (out_features, in_features), bias: (out_features,).

    Initial values are PyTorch's: uniform within 1 / sqrt(in_features); `rng` seeds them.
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True, *, rng: init.Rng = None) -> None:
        self.in_features = in_features = check.integer("Linear", "in_features", in_features, 1)
        self.out_features = out_features = check.integer("Linear", "out_features", out_features, 1)
        source = init.generator(rng)
        self.register_parameter("weight", init.fan_in_uniform((out_features, in_features), in_features, source))
        wanted = check.boolean("Linear", "bias", bias)
        self.register_parameter("bias", init.fan_in_uniform((out_features,), in_features, source) if wanted else None)

    def forward(self, input: Any) -> Any:
        """(..., in_features) -> (..., out_features)."""
        return functional.linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}" + ("" if self.bias is not None else ", bias=False")


class Bilinear(Module):
    """y = x1^T weight x2 + bias; weight: (out_features, in1_features, in2_features), bias: (out_features,).

    Initial values are PyTorch's: uniform within 1 / sqrt(in1_features); `rng` seeds them.
    """

    def __init__(
        self, in1_features: int, in2_features: int, out_features: int, bias: bool = True, *, rng: init.Rng = None
    ) -> None:
        self.in1_features = one = check.integer("Bilinear", "in1_features", in1_features, 1)
        self.in2_features = other = check.integer("Bilinear", "in2_features", in2_features, 1)
        self.out_features = out = check.integer("Bilinear", "out_features", out_features, 1)
        source = init.generator(rng)
        self.register_parameter("weight", init.fan_in_uniform((out, one, other), one, source))
        wanted = check.boolean("Bilinear", "bias", bias)
        self.register_parameter("bias", init.fan_in_uniform((out,), one, source) if wanted else None)

    def forward(self, input1: Any, input2: Any) -> Any:
        """(..., in1_features), (..., in2_features) -> (..., out_features)."""
        return functional.bilinear(input1, input2, self.weight, self.bias)

    def extra_repr(self) -> str:
        sizes = f"{self.in1_features}, {self.in2_features}, {self.out_features}"
        return sizes + ("" if self.bias is not None else ", bias=False")


class Flatten(Module):
    """Joins the axes from `start_dim` to `end_dim` into one."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        self.start_dim = check.integer("Flatten", "start_dim", start_dim)
        self.end_dim = check.integer("Flatten", "end_dim", end_dim)

    def forward(self, input: Any) -> Any:
        """(N, C, H, W) -> (N, C * H * W) with the defaults."""
        return functional.flatten(input, self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"
