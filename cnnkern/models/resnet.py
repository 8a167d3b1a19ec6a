# SPDX-License-Identifier: BSD-3-Clause
"""Residual networks (He, Zhang, Ren and Sun, "Deep residual learning for image recognition", 2015) and their relatives.

Wide ones: Zagoruyko and Komodakis, "Wide residual networks", 2016. With groups: Xie, Girshick, Dollar, Tu and He,
"Aggregated residual transformations for deep neural networks" (ResNeXt), 2016. State-dict names are torchvision's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

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

StridePlacement = Literal["3x3", "1x1"]
RESNET = "He et al., Deep residual learning for image recognition"
WIDE = "Zagoruyko and Komodakis, Wide residual networks"
RESNEXT = "Xie et al., Aggregated residual transformations for deep neural networks"


@dataclass(frozen=True)
class Form:
    """What tells the variants of `Bottleneck` apart.

    stride_placement: "3x3" puts the stride into the 3x3 convolution (torchvision), "1x1" into the first (the paper).
    groups, base_width: the 3x3 convolution has channels * base_width / 64 channels in each group.
    """

    stride_placement: StridePlacement = "3x3"
    groups: int = 1
    base_width: int = 64


_PLAIN = Form()


def _conv(in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1) -> Conv2d:
    return Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False)


class BasicBlock(Module):
    """Two 3x3 convolutions; y = relu(F(x) + shortcut(x))."""

    expansion = 1

    def __init__(self, in_channels: int, channels: int, stride: int, downsample: Module | None, form: Form) -> None:
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
    """1x1, 3x3 and 1x1 convolutions, the last to 4 * channels; y = relu(F(x) + shortcut(x))."""

    expansion = 4

    def __init__(self, in_channels: int, channels: int, stride: int, downsample: Module | None, form: Form) -> None:
        first, second = (1, stride) if form.stride_placement == "3x3" else (stride, 1)
        width = channels * form.base_width // 64 * form.groups
        self.conv1 = _conv(in_channels, width, 1, first)
        self.bn1 = BatchNorm2d(width)
        self.conv2 = _conv(width, width, 3, second, form.groups)
        self.bn2 = BatchNorm2d(width)
        self.conv3 = _conv(width, channels * self.expansion, 1)
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


class ResNet(Network):
    """7x7 convolution and 3x3 max pooling, four stages of residual blocks, global average pooling, a linear layer.

    Args:
        block: `BasicBlock` or `Bottleneck`.
        layers: blocks in each of the four stages.
        zero_init_residual: start every block as the identity (the last normalization's scale at zero).
        form: variant of the bottlenecks.
    """

    heads = ("fc",)

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        layers: Sequence[int],
        num_classes: int = 1000,
        in_channels: int = 3,
        zero_init_residual: bool = False,
        form: Form = _PLAIN,
    ) -> None:
        if len(layers) != 4:
            raise ValueError(f"ResNet: layers must hold four numbers, found {tuple(layers)}")
        if form.stride_placement not in ("3x3", "1x1"):
            raise ValueError(f'ResNet: stride_placement must be "3x3" or "1x1", found {form.stride_placement!r}')
        self.zero_init_residual = zero_init_residual
        self.conv1 = Conv2d(in_channels, 64, 7, 2, 3, bias=False)
        self.bn1 = BatchNorm2d(64)
        self.relu = ReLU()
        self.maxpool = MaxPool2d(3, 2, 1)
        width = 64
        for stage, depth in enumerate(layers):
            channels, stride = 64 << stage, 1 if stage == 0 else 2
            self.register_module(f"layer{stage + 1}", _stage(block, width, channels, depth, stride, form))
            width = channels * block.expansion
        self.avgpool = AdaptiveAvgPool2d(1)
        self.flatten = Flatten()
        self.fc = Linear(width, num_classes)
        self.initialize()

    def initial_values(self, name: str, layer: Module) -> None:
        """He et al. (2015), by fan-out, for convolutions."""
        if isinstance(layer, Conv2d):
            layer.weight = init.he(layer.weight.shape, mode="fan_out")
        elif isinstance(layer, BasicBlock | Bottleneck) and self.zero_init_residual:
            layer.last_norm.weight[...] = 0.0

    def features(self, input: Any) -> Any:
        """(N, in_channels, H, W) -> (N, 512 or 2048, H / 32, W / 32), the maps of the last stage."""
        out = self.maxpool(self.relu(self.bn1(self.conv1(input))))
        return self.layer4(self.layer3(self.layer2(self.layer1(out))))

    def forward(self, input: Any) -> Any:
        """(N, in_channels, H, W) -> (N, num_classes)."""
        return self.fc(self.flatten(self.avgpool(self.features(input))))


def _stage(
    block: type[BasicBlock] | type[Bottleneck], in_channels: int, channels: int, depth: int, stride: int, form: Form
) -> Sequential:
    out_channels = channels * block.expansion
    downsample = None
    if stride != 1 or in_channels != out_channels:
        downsample = Sequential(_conv(in_channels, out_channels, 1, stride), BatchNorm2d(out_channels))
    blocks = [block(in_channels, channels, stride, downsample, form)]
    blocks += [block(out_channels, channels, 1, None, form) for _ in range(depth - 1)]
    return Sequential(*blocks)


@register(year=2015, paper=RESNET)
def resnet18(
    num_classes: int = 1000,
    in_channels: int = 3,
    *,
    zero_init_residual: bool = False,
    weights: Weights = None,
    seed: init.Rng = None,
) -> ResNet:
    """ResNet-18 (He et al., 2015): 11,689,512 parameters with 1000 classes."""
    return build(lambda: ResNet(BasicBlock, (2, 2, 2, 2), num_classes, in_channels, zero_init_residual), weights, seed)


@register(year=2015, paper=RESNET)
def resnet34(
    num_classes: int = 1000,
    in_channels: int = 3,
    *,
    zero_init_residual: bool = False,
    weights: Weights = None,
    seed: init.Rng = None,
) -> ResNet:
    """ResNet-34 (He et al., 2015): 21,797,672 parameters with 1000 classes."""
    return build(lambda: ResNet(BasicBlock, (3, 4, 6, 3), num_classes, in_channels, zero_init_residual), weights, seed)


@register(year=2015, paper=RESNET, resize_size=232)
def resnet50(
    num_classes: int = 1000,
    in_channels: int = 3,
    *,
    stride_placement: StridePlacement = "3x3",
    zero_init_residual: bool = False,
    weights: Weights = None,
    seed: init.Rng = None,
) -> ResNet:
    """ResNet-50 (He et al., 2015): 25,557,032 parameters with 1000 classes.

    4,089,184,256 multiplications on 224x224 with torchvision's stride placement ("3x3"), 3,857,973,248 with the
    paper's ("1x1"). Weights trained with the one do not suit the other.
    """
    return build(
        lambda: ResNet(Bottleneck, (3, 4, 6, 3), num_classes, in_channels, zero_init_residual, Form(stride_placement)),
        weights,
        seed,
    )


@register(year=2015, paper=RESNET, resize_size=232)
def resnet101(
    num_classes: int = 1000,
    in_channels: int = 3,
    *,
    stride_placement: StridePlacement = "3x3",
    zero_init_residual: bool = False,
    weights: Weights = None,
    seed: init.Rng = None,
) -> ResNet:
    """ResNet-101 (He et al., 2015): 44,549,160 parameters with 1000 classes; `stride_placement` as of `resnet50`."""
    return build(
        lambda: ResNet(Bottleneck, (3, 4, 23, 3), num_classes, in_channels, zero_init_residual, Form(stride_placement)),
        weights,
        seed,
    )


@register(year=2015, paper=RESNET, resize_size=232)
def resnet152(
    num_classes: int = 1000,
    in_channels: int = 3,
    *,
    stride_placement: StridePlacement = "3x3",
    zero_init_residual: bool = False,
    weights: Weights = None,
    seed: init.Rng = None,
) -> ResNet:
    """ResNet-152 (He et al., 2015): 60,192,808 parameters with 1000 classes; `stride_placement` as of `resnet50`."""
    return build(
        lambda: ResNet(Bottleneck, (3, 8, 36, 3), num_classes, in_channels, zero_init_residual, Form(stride_placement)),
        weights,
        seed,
    )


@register(year=2016, paper=WIDE, resize_size=232)
def wide_resnet50_2(
    num_classes: int = 1000,
    in_channels: int = 3,
    *,
    zero_init_residual: bool = False,
    weights: Weights = None,
    seed: init.Rng = None,
) -> ResNet:
    """ResNet-50 with 3x3 convolutions twice as wide (Zagoruyko and Komodakis, 2016).

    68,883,240 parameters with 1000 classes.
    """
    return build(
        lambda: ResNet(Bottleneck, (3, 4, 6, 3), num_classes, in_channels, zero_init_residual, Form(base_width=128)),
        weights,
        seed,
    )


@register(year=2016, paper=WIDE, resize_size=232)
def wide_resnet101_2(
    num_classes: int = 1000,
    in_channels: int = 3,
    *,
    zero_init_residual: bool = False,
    weights: Weights = None,
    seed: init.Rng = None,
) -> ResNet:
    """ResNet-101 with 3x3 convolutions twice as wide (Zagoruyko and Komodakis, 2016).

    126,886,696 parameters with 1000 classes.
    """
    return build(
        lambda: ResNet(Bottleneck, (3, 4, 23, 3), num_classes, in_channels, zero_init_residual, Form(base_width=128)),
        weights,
        seed,
    )


@register(year=2016, paper=RESNEXT, resize_size=232)
def resnext50_32x4d(
    num_classes: int = 1000,
    in_channels: int = 3,
    *,
    zero_init_residual: bool = False,
    weights: Weights = None,
    seed: init.Rng = None,
) -> ResNet:
    """ResNeXt-50 with 32 groups of width 4 (Xie et al., 2016): 25,028,904 parameters with 1000 classes."""
    return build(
        lambda: ResNet(
            Bottleneck, (3, 4, 6, 3), num_classes, in_channels, zero_init_residual, Form(groups=32, base_width=4)
        ),
        weights,
        seed,
    )
