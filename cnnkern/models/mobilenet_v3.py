# SPDX-License-Identifier: BSD-3-Clause
"""MobileNetV3 (Howard et al., 2019): squeeze-and-excitation and hard-swish. State-dict names are torchvision's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from cnnkern.models._inverted_residual import InvertedResidual
from cnnkern.models._mobile import ConvNormActivation, MobileNetwork, Norm, multiplier, rounded
from cnnkern.models._registry import Weights, build, register
from cnnkern.models._timm import mobilenet_v3_names, renamed
from cnnkern.nn import (
    AdaptiveAvgPool2d,
    Dropout,
    Flatten,
    Hardsigmoid,
    Hardswish,
    Linear,
    Module,
    ReLU,
    Sequential,
    SqueezeExcitation,
    init,
)

PAPER = "Howard et al., Searching for MobileNetV3"
_EPS, _MOMENTUM = 1e-3, 0.01  # of torchvision's weights; timm trained its own with an eps of 1e-5


class Row(NamedTuple):
    """One line of the paper's tables: kernel size, width of the depthwise convolution, and so on."""

    kernel_size: int
    width: int
    out_channels: int
    squeezes: bool
    activation: Callable[[], Module]
    stride: int


# Tables 1 and 2 of the paper, by stages of equal output channels.
_LARGE = (
    (Row(3, 16, 16, False, ReLU, 1),),
    (Row(3, 64, 24, False, ReLU, 2), Row(3, 72, 24, False, ReLU, 1)),
    (Row(5, 72, 40, True, ReLU, 2), *(Row(5, 120, 40, True, ReLU, 1),) * 2),
    (
        Row(3, 240, 80, False, Hardswish, 2),
        Row(3, 200, 80, False, Hardswish, 1),
        *(Row(3, 184, 80, False, Hardswish, 1),) * 2,
    ),
    (Row(3, 480, 112, True, Hardswish, 1), Row(3, 672, 112, True, Hardswish, 1)),
    (Row(5, 672, 160, True, Hardswish, 2), *(Row(5, 960, 160, True, Hardswish, 1),) * 2),
)
_SMALL = (
    (Row(3, 16, 16, True, ReLU, 2),),
    (Row(3, 72, 24, False, ReLU, 2), Row(3, 88, 24, False, ReLU, 1)),
    (Row(5, 96, 40, True, Hardswish, 2), *(Row(5, 240, 40, True, Hardswish, 1),) * 2),
    (Row(5, 120, 48, True, Hardswish, 1), Row(5, 144, 48, True, Hardswish, 1)),
    (Row(5, 288, 96, True, Hardswish, 2), *(Row(5, 576, 96, True, Hardswish, 1),) * 2),
)


class MobileNetV3(MobileNetwork):
    """A 3x3 convolution, inverted residuals, a 1x1 convolution to six times the channels, two linear layers.

    Args:
        stages: lines of the paper's table.
        last: width of the hidden linear layer.
        width_mult: multiplies all channel counts (rounded to multiples of 8).
        dropout: before the last layer.
        eps: of the batch normalizations.
    """

    heads = ("classifier.3",)

    def __init__(
        self,
        stages: Sequence[Sequence[Row]],
        last: int,
        num_classes: int = 1000,
        in_channels: int = 3,
        width_mult: float = 1.0,
        dropout: float = 0.2,
        eps: float = _EPS,
    ) -> None:
        factor, norm = multiplier("mobilenet_v3", "width_mult", width_mult), Norm(eps, _MOMENTUM)
        width = rounded(16 * factor)
        layers: list[Module] = [ConvNormActivation(in_channels, width, 3, 2, activation=Hardswish, norm=norm)]
        for row in (row for stage in stages for row in stage):
            layers.append(_block(row, width, factor, norm))
            width = rounded(row.out_channels * factor)
        layers.append(ConvNormActivation(width, 6 * width, 1, activation=Hardswish, norm=norm))
        self.depths = tuple(len(stage) for stage in stages)
        self.features = Sequential(*layers)
        self.avgpool = AdaptiveAvgPool2d(1)
        self.flatten = Flatten()
        hidden = rounded(last * factor)
        self.classifier = Sequential(
            Linear(6 * width, hidden), Hardswish(), Dropout(dropout), Linear(hidden, num_classes)
        )
        self.initialize()


def _block(row: Row, in_channels: int, factor: float, norm: Norm) -> InvertedResidual:
    width, out_channels = rounded(row.width * factor), rounded(row.out_channels * factor)
    squeeze = None
    if row.squeezes:
        squeeze = SqueezeExcitation(width, rounded(width // 4), scale_activation=Hardsigmoid)
    return InvertedResidual(
        in_channels, width, out_channels, row.kernel_size, row.stride, row.activation, squeeze, norm
    )


@register(year=2019, paper=PAPER)
def mobilenet_v3_small(
    num_classes: int = 1000,
    in_channels: int = 3,
    *,
    width_mult: float = 1.0,
    dropout: float = 0.2,
    eps: float | None = None,
    weights: Weights = None,
    seed: init.Rng = None,
) -> MobileNetV3:
    """MobileNetV3-Small (Howard et al., 2019): 2,542,856 parameters, about 56 million multiply-adds.

    Weights may have torchvision's names or those of timm's `mobilenetv3_small_100` (not `tf_...`, which pads
    differently). `eps=None` takes 1e-3, as torchvision, or 1e-5 if the weights have timm's names.
    """
    return build(
        lambda: MobileNetV3(_SMALL, 1024, num_classes, in_channels, width_mult, dropout, _EPS if eps is None else eps),
        weights,
        seed,
        renamed(mobilenet_v3_names, 1e-5 if eps is None else None),
    )


@register(year=2019, paper=PAPER, resize_size=232)
def mobilenet_v3_large(
    num_classes: int = 1000,
    in_channels: int = 3,
    *,
    width_mult: float = 1.0,
    dropout: float = 0.2,
    eps: float | None = None,
    weights: Weights = None,
    seed: init.Rng = None,
) -> MobileNetV3:
    """MobileNetV3-Large (Howard et al., 2019): 5,483,032 parameters, about 217 million multiply-adds.

    Weights may have torchvision's names or those of timm's `mobilenetv3_large_100`; `eps` as of `mobilenet_v3_small`.
    """
    return build(
        lambda: MobileNetV3(_LARGE, 1280, num_classes, in_channels, width_mult, dropout, _EPS if eps is None else eps),
        weights,
        seed,
        renamed(mobilenet_v3_names, 1e-5 if eps is None else None),
    )
