# SPDX-License-Identifier: BSD-3-Clause
"""What the mobile networks share: rounded widths, convolution with normalization and activation, residual blocks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from cnnkern import functional
from cnnkern.functional import _check as check
from cnnkern.models._network import Network
from cnnkern.nn import BatchNorm2d, Conv2d, Linear, Module, Sequential, init


def rounded(channels: float, divisor: int = 8) -> int:
    """The multiple of `divisor` nearest to `channels`, but not less than nine tenths of it, and at least one."""
    nearest = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return nearest if nearest >= 0.9 * channels else nearest + divisor


def multiplier(function: str, name: str, value: Any) -> float:
    """`value` as a positive, finite factor."""
    factor = check.finite(function, name, value, 0.0)
    if factor == 0.0:
        raise ValueError(f"{function}: {name} must be positive, found {value!r}")
    return factor


class Norm(NamedTuple):
    """What the batch normalizations of a network have in common."""

    eps: float = 1e-5
    momentum: float = 0.1


_NORM = Norm()


class ConvNormActivation(Sequential):
    """Convolution without bias ("0"), batch normalization ("1"), and the activation ("2") if there is one.

    Padding keeps height and width at stride 1, as of torchvision's layer of that name.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        stride: int = 1,
        groups: int = 1,
        activation: Callable[[], Module] | None = None,
        norm: Norm = _NORM,
    ) -> None:
        padding = (kernel_size - 1) // 2
        super().__init__(
            Conv2d(in_channels, out_channels, kernel_size, stride, padding, groups=groups, bias=False),
            BatchNorm2d(out_channels, norm.eps, norm.momentum),
        )
        if activation is not None:
            self.append(activation())


class Residual(Module):
    """`block(x)`, plus x where shapes allow it. Subclasses build the block; `branch` names it in the state dict."""

    branch = "block"

    def __init__(self, block: Module, adds: bool) -> None:
        self.register_module(self.branch, block)
        self.adds = adds

    def dropped(self, result: Any) -> Any:
        """What is added of the branch's result: all of it, unless the block has a stochastic depth."""
        return result

    def forward(self, input: Any) -> Any:
        """(N, in_channels, H, W) -> (N, out_channels, ceil(H / stride), ceil(W / stride))."""
        result = self._modules[self.branch](input)
        return functional.add(self.dropped(result), input) if self.adds else result


class MobileNetwork(Network):
    """Base of networks with the names "features" and "classifier"; initial values as in the papers' own code."""

    def initial_values(self, name: str, layer: Module) -> None:
        """He et al. (2015), by fan-out, for convolutions; normal values of deviation 0.01 for linear layers."""
        if isinstance(layer, Conv2d):
            layer.weight = init.he(layer.weight.shape, mode="fan_out")
        elif isinstance(layer, Linear):
            layer.weight = init.normal(layer.weight.shape, 0.01)
        if isinstance(layer, Conv2d | Linear) and layer.bias is not None:
            layer.bias[...] = 0.0

    def forward(self, input: Any) -> Any:
        """(N, in_channels, H, W) -> (N, num_classes)."""
        return self.classifier(self.flatten(self.avgpool(self.features(input))))
