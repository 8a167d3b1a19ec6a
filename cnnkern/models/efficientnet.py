# SPDX-License-Identifier: BSD-3-Clause
"""EfficientNet (Tan and Le, 2019): one network scaled in depth, width and resolution at once.

Compound scaling: depth grows as 1.2^phi, width as 1.1^phi, resolution as 1.15^phi, so that multiply-adds grow as
(1.2 * 1.1^2 * 1.15^2)^phi, about 2^phi. The published networks B0 to B7 round these factors: `SCALINGS`. State-dict
names are torchvision's.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from cnnkern.models._inverted_residual import InvertedResidual
from cnnkern.models._mobile import ConvNormActivation, MobileNetwork, Norm, rounded
from cnnkern.models._registry import Weights, build, register
from cnnkern.models._timm import efficientnet_names, renamed
from cnnkern.nn import AdaptiveAvgPool2d, Dropout, Flatten, Linear, Module, Sequential, SiLU, SqueezeExcitation, init

PAPER = "Tan and Le, EfficientNet: rethinking model scaling for convolutional neural networks"


class Scaling(NamedTuple):
    """How a network of the family differs from B0.

    Attributes:
        width: factor of all channel counts.
        depth: factor of the repetitions of all stages.
        resolution: height and width of the images.
        dropout: before the classifier.
        norm: eps and momentum of the batch normalizations, as the published weights were trained.
    """

    width: float
    depth: float
    resolution: int
    dropout: float
    norm: Norm = Norm()

    def channels(self, count: int) -> int:
        """Scaled channels, a multiple of 8."""
        return rounded(count * self.width)

    def layers(self, count: int) -> int:
        """Scaled repetitions, rounded up."""
        return math.ceil(count * self.depth)


_KERAS = Norm(1e-3, 0.01)
SCALINGS = {
    "b0": Scaling(1.0, 1.0, 224, 0.2),
    "b1": Scaling(1.0, 1.1, 240, 0.2),
    "b2": Scaling(1.1, 1.2, 260, 0.3),
    "b3": Scaling(1.2, 1.4, 300, 0.3),
    "b4": Scaling(1.4, 1.8, 380, 0.4),
    "b5": Scaling(1.6, 2.2, 456, 0.4, _KERAS),
    "b6": Scaling(1.8, 2.6, 528, 0.5, _KERAS),
    "b7": Scaling(2.0, 3.1, 600, 0.5, _KERAS),
}
# Table 1 of the paper: expansion, kernel size, stride of the first block, output channels, repetitions.
_STAGES = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)


class EfficientNet(MobileNetwork):
    """A 3x3 convolution, seven stages of inverted residuals with squeezing, a 1x1 convolution, a linear layer.

    Args:
        scaling: of depth and width.
        stochastic_depth: probability that the last block's branch is left out in training; it grows linearly with the
            block's number (Huang et al., 2016).
    """

    heads = ("classifier.1",)

    def __init__(
        self, scaling: Scaling, num_classes: int = 1000, in_channels: int = 3, stochastic_depth: float = 0.2
    ) -> None:
        norm, width = scaling.norm, scaling.channels(32)
        layers: list[Module] = [ConvNormActivation(in_channels, width, 3, 2, activation=SiLU, norm=norm)]
        total, number = sum(scaling.layers(stage[-1]) for stage in _STAGES), 0
        for expansion, kernel_size, stride, channels, repetitions in _STAGES:
            blocks, out_channels = [], scaling.channels(channels)
            for index in range(scaling.layers(repetitions)):
                drop = stochastic_depth * number / total
                squeeze = SqueezeExcitation(width * expansion, max(1, width // 4), SiLU)
                blocks.append(
                    InvertedResidual(
                        width,
                        width * expansion,
                        out_channels,
                        kernel_size,
                        1 if index else stride,
                        SiLU,
                        squeeze,
                        norm,
                        drop,
                    )
                )
                width, number = out_channels, number + 1
            layers.append(Sequential(*blocks))
        layers.append(ConvNormActivation(width, 4 * width, 1, activation=SiLU, norm=norm))
        self.features = Sequential(*layers)
        self.avgpool = AdaptiveAvgPool2d(1)
        self.flatten = Flatten()
        self.classifier = Sequential(Dropout(scaling.dropout), Linear(4 * width, num_classes))
        self.initialize()

    def initial_values(self, name: str, layer: Module) -> None:
        """He et al. (2015), by fan-out, for convolutions; uniform within 1 / sqrt(outputs) for the classifier."""
        super().initial_values(name, layer)
        if isinstance(layer, Linear):
            bound = 1.0 / math.sqrt(layer.out_features)
            layer.weight = init.uniform(layer.weight.shape, -bound, bound)


def _efficientnet(
    name: str,
    num_classes: int,
    in_channels: int,
    dropout: float | None,
    stochastic_depth: float,
    eps: float | None,
    weights: Weights,
    seed: init.Rng,
) -> EfficientNet:
    """One of `SCALINGS`. None: that network's own dropout; its own eps, or 1e-5 for weights by timm's names."""
    scaling = SCALINGS[name]
    if dropout is not None:
        scaling = scaling._replace(dropout=dropout)
    if eps is not None:
        scaling = scaling._replace(norm=scaling.norm._replace(eps=eps))
    return build(
        lambda: EfficientNet(scaling, num_classes, in_channels, stochastic_depth),
        weights,
        seed,
        renamed(efficientnet_names, 1e-5 if eps is None else None),
    )


@register(year=2019, paper=PAPER, interpolation="bicubic")
def efficientnet_b0(
    num_classes: int = 1000,
    in_channels: int = 3,
    *,
    dropout: float | None = None,
    stochastic_depth: float = 0.2,
    eps: float | None = None,
    weights: Weights = None,
    seed: init.Rng = None,
) -> EfficientNet:
    """EfficientNet-B0 (Tan and Le, 2019): 5,288,548 parameters.

    dropout: before the classifier; stochastic_depth: see `EfficientNet`. Weights may have torchvision's names or
    those of timm's `efficientnet_b0` (not `tf_efficientnet_b0`, which pads differently and would answer wrongly);
    `eps=None` takes what the published weights of those names were trained with.
    """
    return _efficientnet("b0", num_classes, in_channels, dropout, stochastic_depth, eps, weights, seed)


@register(year=2019, paper=PAPER, input_shape=(3, 240, 240), resize_size=255)
def efficientnet_b1(
    num_classes: int = 1000,
    in_channels: int = 3,
    *,
    dropout: float | None = None,
    stochastic_depth: float = 0.2,
    eps: float | None = None,
    weights: Weights = None,
    seed: init.Rng = None,
) -> EfficientNet:
    """EfficientNet-B1 (Tan and Le, 2019): 7,794,184 parameters; arguments as of `efficientnet_b0`."""
    return _efficientnet("b1", num_classes, in_channels, dropout, stochastic_depth, eps, weights, seed)


@register(year=2019, paper=PAPER, input_shape=(3, 288, 288), resize_size=288, interpolation="bicubic")
def efficientnet_b2(
    num_classes: int = 1000,
    in_channels: int = 3,
    *,
    dropout: float | None = None,
    stochastic_depth: float = 0.2,
    eps: float | None = None,
    weights: Weights = None,
    seed: init.Rng = None,
) -> EfficientNet:
    """EfficientNet-B2 (Tan and Le, 2019): 9,109,994 parameters.

    Its published weights take images of 288x288, the paper 260x260. Arguments as of `efficientnet_b0`.
    """
    return _efficientnet("b2", num_classes, in_channels, dropout, stochastic_depth, eps, weights, seed)


@register(year=2019, paper=PAPER, input_shape=(3, 300, 300), resize_size=320, interpolation="bicubic")
def efficientnet_b3(
    num_classes: int = 1000,
    in_channels: int = 3,
    *,
    dropout: float | None = None,
    stochastic_depth: float = 0.2,
    eps: float | None = None,
    weights: Weights = None,
    seed: init.Rng = None,
) -> EfficientNet:
    """EfficientNet-B3 (Tan and Le, 2019): 12,233,232 parameters; arguments as of `efficientnet_b0`."""
    return _efficientnet("b3", num_classes, in_channels, dropout, stochastic_depth, eps, weights, seed)


@register(year=2019, paper=PAPER, input_shape=(3, 380, 380), resize_size=384, interpolation="bicubic")
def efficientnet_b4(
    num_classes: int = 1000,
    in_channels: int = 3,
    *,
    dropout: float | None = None,
    stochastic_depth: float = 0.2,
    eps: float | None = None,
    weights: Weights = None,
    seed: init.Rng = None,
) -> EfficientNet:
    """EfficientNet-B4 (Tan and Le, 2019): 19,341,616 parameters; arguments as of `efficientnet_b0`."""
    return _efficientnet("b4", num_classes, in_channels, dropout, stochastic_depth, eps, weights, seed)


@register(year=2019, paper=PAPER, input_shape=(3, 456, 456), resize_size=456, interpolation="bicubic")
def efficientnet_b5(
    num_classes: int = 1000,
    in_channels: int = 3,
    *,
    dropout: float | None = None,
    stochastic_depth: float = 0.2,
    eps: float | None = None,
    weights: Weights = None,
    seed: init.Rng = None,
) -> EfficientNet:
    """EfficientNet-B5 (Tan and Le, 2019): 30,389,784 parameters; arguments as of `efficientnet_b0`."""
    return _efficientnet("b5", num_classes, in_channels, dropout, stochastic_depth, eps, weights, seed)


@register(year=2019, paper=PAPER, input_shape=(3, 528, 528), resize_size=528, interpolation="bicubic")
def efficientnet_b6(
    num_classes: int = 1000,
    in_channels: int = 3,
    *,
    dropout: float | None = None,
    stochastic_depth: float = 0.2,
    eps: float | None = None,
    weights: Weights = None,
    seed: init.Rng = None,
) -> EfficientNet:
    """EfficientNet-B6 (Tan and Le, 2019): 43,040,704 parameters; arguments as of `efficientnet_b0`."""
    return _efficientnet("b6", num_classes, in_channels, dropout, stochastic_depth, eps, weights, seed)


@register(year=2019, paper=PAPER, input_shape=(3, 600, 600), resize_size=600, interpolation="bicubic")
def efficientnet_b7(
    num_classes: int = 1000,
    in_channels: int = 3,
    *,
    dropout: float | None = None,
    stochastic_depth: float = 0.2,
    eps: float | None = None,
    weights: Weights = None,
    seed: init.Rng = None,
) -> EfficientNet:
    """EfficientNet-B7 (Tan and Le, 2019): 66,347,960 parameters; arguments as of `efficientnet_b0`."""
    return _efficientnet("b7", num_classes, in_channels, dropout, stochastic_depth, eps, weights, seed)
