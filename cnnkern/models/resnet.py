# SPDX-License-Identifier: BSD-3-Clause
"""Residual networks (He, Zhang, Ren and Sun, "Deep residual learning for image recognition", 2015).

State-dict names are torchvision's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from cnnkern import functional
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

StridePlacement = Literal["3x3", "1x1"]


def _conv(in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> Conv2d:
    layer = Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, bias=False)
    layer.weight = init.he(layer.weight.shape, mode="fan_out")
    return layer


class BasicBlock(Module):
    """Two 3x3 convolutions; y = relu(F(x) + shortcut(x))."""

    expansion = 1

    def __init__(
        self, in_channels: int, channels: int, stride: int, downsample: Module | None, stride_placement: StridePlacement
    ) -> None:
        self.conv1 = _conv(in_channels, channels, 3, stride)
        self.bn1 = BatchNorm2d(channels)
        self.relu = ReLU()
        self.conv2 = _conv(channels, channels, 3)
        self.bn2 = BatchNorm2d(channels)
        if downsample is not None:
            self.downsample = downsample
        self.projects = downsample is not None

    @property
    def last_norm(self) -> BatchNorm2d:
        """The normalization whose output meets the shortcut."""
        return self.bn2

    def forward(self, input: Any) -> Any:
        """(N, in_channels, H, W) -> (N, channels, ceil(H / stride), ceil(W / stride))."""
        out = self.relu(self.bn1(self.conv1(input)))
        out = self.bn2(self.conv2(out))
        return self.relu(functional.add(out, self.downsample(input) if self.projects else input))


class Bottleneck(Module):
    """1x1, 3x3 and 1x1 convolutions, the last to 4 * channels; y = relu(F(x) + shortcut(x)).

    `stride_placement` "3x3" puts the stride into the 3x3 convolution (torchvision), "1x1" into the first (the paper).
    """

    expansion = 4

    def __init__(
        self, in_channels: int, channels: int, stride: int, downsample: Module | None, stride_placement: StridePlacement
    ) -> None:
        first, second = (1, stride) if stride_placement == "3x3" else (stride, 1)
        self.conv1 = _conv(in_channels, channels, 1, first)
        self.bn1 = BatchNorm2d(channels)
        self.conv2 = _conv(channels, channels, 3, second)
        self.bn2 = BatchNorm2d(channels)
        self.conv3 = _conv(channels, channels * self.expansion, 1)
        self.bn3 = BatchNorm2d(channels * self.expansion)
        self.relu = ReLU()
        if downsample is not None:
            self.downsample = downsample
        self.projects = downsample is not None

    @property
    def last_norm(self) -> BatchNorm2d:
        """The normalization whose output meets the shortcut."""
        return self.bn3

    def forward(self, input: Any) -> Any:
        """(N, in_channels, H, W) -> (N, 4 * channels, ceil(H / stride), ceil(W / stride))."""
        out = self.relu(self.bn1(self.conv1(input)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        return self.relu(functional.add(out, self.downsample(input) if self.projects else input))


class ResNet(Module):
    """7x7 convolution and 3x3 max pooling, four stages of residual blocks, global average pooling, a linear layer.

    Args:
        block: `BasicBlock` or `Bottleneck`.
        layers: blocks in each of the four stages.
        stride_placement: see `Bottleneck`.
        zero_init_residual: start every block as the identity (the last normalization's scale at zero).
    """

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        layers: Sequence[int],
        num_classes: int = 1000,
        in_channels: int = 3,
        stride_placement: StridePlacement = "3x3",
        zero_init_residual: bool = False,
    ) -> None:
        if len(layers) != 4:
            raise ValueError(f"ResNet: layers must hold four numbers, found {tuple(layers)}")
        if stride_placement not in ("3x3", "1x1"):
            raise ValueError(f'ResNet: stride_placement must be "3x3" or "1x1", found {stride_placement!r}')
        self.conv1 = Conv2d(in_channels, 64, 7, 2, 3, bias=False)
        self.conv1.weight = init.he(self.conv1.weight.shape, mode="fan_out")
        self.bn1 = BatchNorm2d(64)
        self.relu = ReLU()
        self.maxpool = MaxPool2d(3, 2, 1)
        width = 64
        for stage, depth in enumerate(layers):
            channels = 64 << stage
            stride = 1 if stage == 0 else 2
            self.register_module(f"layer{stage + 1}", _stage(block, width, channels, depth, stride, stride_placement))
            width = channels * block.expansion
        self.avgpool = AdaptiveAvgPool2d(1)
        self.flatten = Flatten()
        self.fc = Linear(width, num_classes)
        if zero_init_residual:
            for module in self.modules():
                if isinstance(module, BasicBlock | Bottleneck):
                    module.last_norm.weight = init.zeros(module.last_norm.weight.shape)

    def forward(self, input: Any) -> Any:
        """(N, in_channels, H, W) -> (N, num_classes)."""
        out = self.maxpool(self.relu(self.bn1(self.conv1(input))))
        out = self.layer4(self.layer3(self.layer2(self.layer1(out))))
        return self.fc(self.flatten(self.avgpool(out)))


def _stage(
    block: type[BasicBlock] | type[Bottleneck],
    in_channels: int,
    channels: int,
    depth: int,
    stride: int,
    stride_placement: StridePlacement,
) -> Sequential:
    out_channels = channels * block.expansion
    downsample = None
    if stride != 1 or in_channels != out_channels:
        downsample = Sequential(_conv(in_channels, out_channels, 1, stride), BatchNorm2d(out_channels))
    blocks = [block(in_channels, channels, stride, downsample, stride_placement)]
    blocks += [block(out_channels, channels, 1, None, stride_placement) for _ in range(depth - 1)]
    return Sequential(*blocks)


@register
def resnet18(
    num_classes: int = 1000,
    in_channels: int = 3,
    *,
    zero_init_residual: bool = False,
    weights: Weights = None,
    seed: init.Rng = None,
) -> ResNet:
    """ResNet-18: 11,689,512 parameters with 1000 classes."""
    return build(
        lambda: ResNet(BasicBlock, (2, 2, 2, 2), num_classes, in_channels, zero_init_residual=zero_init_residual),
        weights,
        seed,
    )


@register
def resnet50(
    num_classes: int = 1000,
    in_channels: int = 3,
    *,
    stride_placement: StridePlacement = "3x3",
    zero_init_residual: bool = False,
    weights: Weights = None,
    seed: init.Rng = None,
) -> ResNet:
    """ResNet-50: 25,557,032 parameters with 1000 classes.

    4,089,184,256 multiplications on 224x224 with torchvision's stride placement ("3x3"), 3,857,973,248 with the
    paper's ("1x1"). Weights trained with the one do not suit the other.
    """
    return build(
        lambda: ResNet(Bottleneck, (3, 4, 6, 3), num_classes, in_channels, stride_placement, zero_init_residual),
        weights,
        seed,
    )
