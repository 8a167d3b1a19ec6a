# SPDX-License-Identifier: BSD-3-Clause
"""MobileNet (Howard et al., 2017): every 3x3 convolution split into a depthwise and a pointwise one."""

from __future__ import annotations

from cnnkern.models._mobile import ConvNormActivation, MobileNetwork, multiplier
from cnnkern.models._registry import Weights, build, register
from cnnkern.models._timm import mobilenet_v1_names, renamed
from cnnkern.nn import AdaptiveAvgPool2d, Dropout, Flatten, Linear, Module, ReLU6, Sequential, init

# Table 1 of the paper: output channels and stride of the depthwise-separable convolutions, by stage.
_STAGES = (
    ((64, 1),),
    ((128, 2), (128, 1)),
    ((256, 2), (256, 1)),
    ((512, 2), *((512, 1),) * 5),
    ((1024, 2), (1024, 1)),
)


class MobileNetV1(MobileNetwork):
    """A 3x3 convolution and thirteen depthwise-separable ones, each with normalization and ReLU6; a linear layer.

    The paper writes ReLU; its published weights were trained with ReLU6.

    Args:
        width_mult: alpha, which multiplies all channel counts (fractions are cut off).
        dropout: before the classifier.
    """

    heads = ("classifier.1",)

    def __init__(
        self, num_classes: int = 1000, in_channels: int = 3, width_mult: float = 1.0, dropout: float = 0.001
    ) -> None:
        factor = multiplier("mobilenet_v1", "width_mult", width_mult)
        width = max(1, int(32 * factor))
        layers: list[Module] = [ConvNormActivation(in_channels, width, 3, 2, activation=ReLU6)]
        for stage in _STAGES:
            for channels, stride in stage:
                out_channels = max(1, int(channels * factor))
                depthwise = ConvNormActivation(width, width, 3, stride, width, ReLU6)
                layers.append(Sequential(depthwise, ConvNormActivation(width, out_channels, 1, activation=ReLU6)))
                width = out_channels
        self.depths = tuple(len(stage) for stage in _STAGES)
        self.features = Sequential(*layers)
        self.avgpool = AdaptiveAvgPool2d(1)
        self.flatten = Flatten()
        self.classifier = Sequential(Dropout(dropout), Linear(width, num_classes))
        self.initialize()


@register(year=2017, paper="Howard et al., MobileNets: efficient convolutional neural networks for mobile vision")
def mobilenet_v1(
    num_classes: int = 1000,
    in_channels: int = 3,
    *,
    width_mult: float = 1.0,
    dropout: float = 0.001,
    weights: Weights = None,
    seed: init.Rng = None,
) -> MobileNetV1:
    """MobileNet (Howard et al., 2017): 4,231,976 parameters and 568,740,352 multiply-adds with 1000 classes.

    Weights may have this model's names or those of timm's `mobilenetv1_100`.
    """
    return build(
        lambda: MobileNetV1(num_classes, in_channels, width_mult, dropout), weights, seed, renamed(mobilenet_v1_names)
    )
