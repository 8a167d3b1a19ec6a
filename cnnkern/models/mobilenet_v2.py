# SPDX-License-Identifier: BSD-3-Clause
"""MobileNetV2 (Sandler et al., 2018): inverted residuals, linear bottlenecks. State-dict names are torchvision's."""

from __future__ import annotations

from typing import Any

from cnnkern.models._mobile import ConvNormActivation, MobileNetwork, Residual, multiplier, rounded
from cnnkern.models._registry import Weights, build, register
from cnnkern.models._timm import mobilenet_v2_names, renamed
from cnnkern.nn import AdaptiveAvgPool2d, BatchNorm2d, Conv2d, Dropout, Flatten, Linear, Module, ReLU6, Sequential, init

# Table 2 of the paper: expansion t, output channels c, repetitions n, stride s of the first.
_STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


class LinearBottleneck(Residual):
    """1x1 convolution to t times the channels, depthwise 3x3, and 1x1 back without activation ("conv")."""

    branch = "conv"

    def __init__(self, in_channels: int, out_channels: int, stride: int, expansion: int) -> None:
        width = in_channels * expansion
        layers: list[Module] = []
        if expansion != 1:
            layers.append(ConvNormActivation(in_channels, width, 1, activation=ReLU6))
        layers += [
            ConvNormActivation(width, width, 3, stride, width, ReLU6),
            Conv2d(width, out_channels, 1, bias=False),
            BatchNorm2d(out_channels),
        ]
        super().__init__(Sequential(*layers), stride == 1 and in_channels == out_channels)


class MobileNetV2(MobileNetwork):
    """A 3x3 convolution, seven stages of inverted residuals, a 1x1 convolution to 1280 channels, a linear layer.

    Args:
        width_mult: multiplies all channel counts (rounded to multiples of 8), the last one only if above 1.
        dropout: before the classifier.
    """

    heads = ("classifier.1",)

    def __init__(
        self, num_classes: int = 1000, in_channels: int = 3, width_mult: float = 1.0, dropout: float = 0.2
    ) -> None:
        factor = multiplier("mobilenet_v2", "width_mult", width_mult)
        width, last = rounded(32 * factor), rounded(1280 * max(1.0, factor))
        layers: list[Any] = [ConvNormActivation(in_channels, width, 3, 2, activation=ReLU6)]
        for expansion, channels, depth, stride in _STAGES:
            for index in range(depth):
                out_channels = rounded(channels * factor)
                layers.append(LinearBottleneck(width, out_channels, 1 if index else stride, expansion))
                width = out_channels
        layers.append(ConvNormActivation(width, last, 1, activation=ReLU6))
        self.depths = tuple(stage[2] for stage in _STAGES)
        self.features = Sequential(*layers)
        self.avgpool = AdaptiveAvgPool2d(1)
        self.flatten = Flatten()
        self.classifier = Sequential(Dropout(dropout), Linear(last, num_classes))
        self.initialize()


@register(year=2018, paper="Sandler et al., MobileNetV2: inverted residuals and linear bottlenecks", resize_size=232)
def mobilenet_v2(
    num_classes: int = 1000,
    in_channels: int = 3,
    *,
    width_mult: float = 1.0,
    dropout: float = 0.2,
    weights: Weights = None,
    seed: init.Rng = None,
) -> MobileNetV2:
    """MobileNetV2 (Sandler et al., 2018): 3,504,872 parameters and about 300 million multiply-adds with 1000 classes.

    Weights may have torchvision's names or those of timm's `mobilenetv2_100`.
    """
    return build(
        lambda: MobileNetV2(num_classes, in_channels, width_mult, dropout), weights, seed, renamed(mobilenet_v2_names)
    )
