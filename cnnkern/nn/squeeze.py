# SPDX-License-Identifier: BSD-3-Clause
"""Squeeze-and-excitation: channels weighed by what the whole map shows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cnnkern import functional
from cnnkern.functional import _check as check
from cnnkern.nn import init
from cnnkern.nn.activation import ReLU
from cnnkern.nn.conv import Conv2d
from cnnkern.nn.module import Module
from cnnkern.nn.pool import AdaptiveAvgPool2d
from cnnkern.nn.smooth import Sigmoid


class SqueezeExcitation(Module):
    """x * scale_activation(fc2(activation(fc1(mean of x over H, W)))) (Hu, Shen and Sun, 2018).

    fc1 and fc2 are 1 x 1 convolutions from input_channels to squeeze_channels and back; activation and
    scale_activation are called without arguments to make the layers between and after them. Names and arguments are
    those of torchvision.ops. `rng` seeds the initial weights.
    """

    def __init__(
        self,
        input_channels: int,
        squeeze_channels: int,
        activation: Callable[[], Module] = ReLU,
        scale_activation: Callable[[], Module] = Sigmoid,
        *,
        rng: init.Rng = None,
    ) -> None:
        name, source = "SqueezeExcitation", init.generator(rng)
        input_channels = check.integer(name, "input_channels", input_channels, 1)
        squeeze_channels = check.integer(name, "squeeze_channels", squeeze_channels, 1)
        for argument, make in (("activation", activation), ("scale_activation", scale_activation)):
            if not callable(make):
                raise TypeError(f"{name}: {argument} must be a class or function that makes a layer, found {make!r}")
        self.avgpool = AdaptiveAvgPool2d(1)
        self.fc1 = Conv2d(input_channels, squeeze_channels, 1, rng=source)
        self.fc2 = Conv2d(squeeze_channels, input_channels, 1, rng=source)
        self.activation = activation()
        self.scale_activation = scale_activation()

    def forward(self, input: Any) -> Any:
        """(N, input_channels, H, W), the shape kept."""
        squeezed = self.activation(self.fc1(self.avgpool(input)))
        return functional.multiply(input, self.scale_activation(self.fc2(squeezed)))
