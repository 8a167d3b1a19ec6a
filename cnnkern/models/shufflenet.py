# SPDX-License-Identifier: BSD-3-Clause
"""ShuffleNetV2 (Ma, Zhang, Zheng and Sun, 2018). State-dict names are torchvision's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cnnkern import functional
from cnnkern.models._network import Network
from cnnkern.models._registry import Weights, build, register
from cnnkern.nn import (
    AdaptiveAvgPool2d,
    BatchNorm2d,
    Conv2d,
    Flatten,
    Linear,
    MaxPool2d,
    Module,
    ReLU,
    Sequential,
    init,
)


def _pointwise(in_channels: int, out_channels: int) -> list[Module]:
    return [Conv2d(in_channels, out_channels, 1, bias=False), BatchNorm2d(out_channels), ReLU()]


def _depthwise(channels: int, stride: int) -> list[Module]:
    return [Conv2d(channels, channels, 3, stride, 1, groups=channels, bias=False), BatchNorm2d(channels)]


class ShuffleUnit(Module):
    """Two branches of half the output channels each, concatenated and shuffled.

    At stride 1 the first half of the channels passes as it is; at stride 2 both branches see all channels.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        half = out_channels // 2
        self.splits = stride == 1
        first = in_channels // 2 if self.splits else in_channels
        if not self.splits:
            self.branch1 = Sequential(*_depthwise(in_channels, stride), *_pointwise(in_channels, half))
        self.branch2 = Sequential(*_pointwise(first, half), *_depthwise(half, stride), *_pointwise(half, half))

    def forward(self, input: Any) -> Any:
        """(N, in_channels, H, W) -> (N, out_channels, ceil(H / stride), ceil(W / stride))."""
        if self.splits:
            kept, changed = functional.chunk(input, 2, 1)
        else:
            kept, changed = self.branch1(input), input
        return functional.channel_shuffle(functional.concat([kept, self.branch2(changed)], 1), 2)


class ShuffleNetV2(Network):
    """3x3 convolution and max pooling, three stages of shuffle units, a 1x1 convolution, a linear layer.

    Args:
        depths: units in each of the three stages.
        widths: channels of the first convolution, of the three stages, and of the last convolution.
    """

    heads = ("fc",)

    def __init__(
        self, depths: Sequence[int], widths: Sequence[int], num_classes: int = 1000, in_channels: int = 3
    ) -> None:
        stem, *stages, last = widths
        self.conv1 = Sequential(Conv2d(in_channels, stem, 3, 2, 1, bias=False), BatchNorm2d(stem), ReLU())
        self.maxpool = MaxPool2d(3, 2, 1)
        width = stem
        for number, (depth, channels) in enumerate(zip(depths, stages, strict=True), 2):
            units = [ShuffleUnit(channels if index else width, channels, 1 if index else 2) for index in range(depth)]
            self.register_module(f"stage{number}", Sequential(*units))
            width = channels
        self.conv5 = Sequential(*_pointwise(width, last))
        self.avgpool = AdaptiveAvgPool2d(1)
        self.flatten = Flatten()
        self.fc = Linear(last, num_classes)

    def features(self, input: Any) -> Any:
        """(N, in_channels, H, W) -> (N, 1024, H / 32, W / 32), the maps of the last convolution."""
        out = self.maxpool(self.conv1(input))
        return self.conv5(self.stage4(self.stage3(self.stage2(out))))

    def forward(self, input: Any) -> Any:
        """(N, in_channels, H, W) -> (N, num_classes)."""
        return self.fc(self.flatten(self.avgpool(self.features(input))))


@register(year=2018, paper="Ma et al., ShuffleNet V2: practical guidelines for efficient CNN architecture design")
def shufflenet_v2_x1_0(
    num_classes: int = 1000, in_channels: int = 3, *, weights: Weights = None, seed: init.Rng = None
) -> ShuffleNetV2:
    """ShuffleNetV2 at width 1 (Ma et al., 2018): 2,278,604 parameters, about 145 million multiply-adds.

    Initial values are PyTorch's, as torchvision leaves them.
    """
    return build(lambda: ShuffleNetV2((4, 8, 4), (24, 116, 232, 464, 1024), num_classes, in_channels), weights, seed)
