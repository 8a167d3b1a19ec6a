# SPDX-License-Identifier: BSD-3-Clause
"""The residual networks for CIFAR-10 (section 4.2 of He, Zhang, Ren and Sun, 2015): three stages on 32x32 images."""

from __future__ import annotations

from typing import Any, Literal

from cnnkern import functional
from cnnkern.models._network import Network
from cnnkern.models._registry import Weights, build, register
from cnnkern.models.resnet import RESNET
from cnnkern.nn import AdaptiveAvgPool2d, BatchNorm2d, Conv2d, Flatten, Linear, Module, ReLU, Sequential, init

Shortcut = Literal["identity", "projection"]
_WIDTHS = (16, 32, 64)


def _conv(in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> Conv2d:
    return Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, bias=False)


class Widen(Module):
    """The shortcut without parameters (option A): every second pixel, and zeros in the new channels."""

    def __init__(self, extra: int) -> None:
        self.extra = extra

    def forward(self, input: Any) -> Any:
        """(N, C, H, W) -> (N, C + extra, ceil(H / 2), ceil(W / 2))."""
        return functional.pad(functional.max_pool2d(input, 1, 2), (0, 0, 0, 0, 0, self.extra))

    def extra_repr(self) -> str:
        return f"extra={self.extra}"


class CIFARBlock(Module):
    """Two 3x3 convolutions; y = relu(F(x) + shortcut(x)); where the channels double, the first has stride 2."""

    def __init__(self, in_channels: int, channels: int, shortcut: Shortcut) -> None:
        stride = 1 if in_channels == channels else 2
        self.conv1 = _conv(in_channels, channels, 3, stride)
        self.bn1 = BatchNorm2d(channels)
        self.relu = ReLU()
        self.conv2 = _conv(channels, channels, 3)
        self.bn2 = BatchNorm2d(channels)
        self.widens = stride == 2
        if self.widens and shortcut == "identity":
            self.downsample: Module = Widen(channels - in_channels)
        elif self.widens:
            self.downsample = Sequential(_conv(in_channels, channels, 1, 2), BatchNorm2d(channels))

    def forward(self, input: Any) -> Any:
        """(N, in_channels, H, W) -> (N, channels, H, W), half as high and wide where the channels double."""
        out = self.relu(self.bn1(self.conv1(input)))
        out = self.bn2(self.conv2(out))
        return self.relu(functional.add(out, self.downsample(input) if self.widens else input))


class CIFARResNet(Network):
    """A 3x3 convolution, three stages of 16, 32 and 64 channels with `depth` blocks each, a linear layer."""

    heads = ("fc",)

    def __init__(self, depth: int, num_classes: int, in_channels: int, shortcut: Shortcut) -> None:
        if shortcut not in ("identity", "projection"):
            raise ValueError(f'CIFARResNet: shortcut must be "identity" or "projection", found {shortcut!r}')
        self.conv1 = _conv(in_channels, 16, 3)
        self.bn1 = BatchNorm2d(16)
        self.relu = ReLU()
        before = 16
        for stage, channels in enumerate(_WIDTHS):
            blocks = [CIFARBlock(before if i == 0 else channels, channels, shortcut) for i in range(depth)]
            self.register_module(f"layer{stage + 1}", Sequential(*blocks))
            before = channels
        self.avgpool = AdaptiveAvgPool2d(1)
        self.flatten = Flatten()
        self.fc = Linear(64, num_classes)
        self.initialize()

    def initial_values(self, name: str, layer: Module) -> None:
        """He et al. (2015), by fan-in, for convolutions."""
        if isinstance(layer, Conv2d):
            layer.weight = init.he(layer.weight.shape)

    def features(self, input: Any) -> Any:
        """(N, in_channels, H, W) -> (N, 64, H / 4, W / 4), the maps of the last stage."""
        return self.layer3(self.layer2(self.layer1(self.relu(self.bn1(self.conv1(input))))))

    def forward(self, input: Any) -> Any:
        """(N, in_channels, H, W) -> (N, num_classes)."""
        return self.fc(self.flatten(self.avgpool(self.features(input))))


# Mean and deviation of the images of CIFAR-10.
_MEAN, _STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
_register = register(year=2015, paper=RESNET, input_shape=(3, 32, 32), resize_size=32, mean=_MEAN, std=_STD)


@_register
def resnet20(
    num_classes: int = 10,
    in_channels: int = 3,
    *,
    shortcut: Shortcut = "identity",
    weights: Weights = None,
    seed: init.Rng = None,
) -> CIFARResNet:
    """ResNet-20 for 32x32 images (He et al., 2015): 269,722 parameters with ten classes.

    `shortcut`: where the channels double, "identity" pads them with zeros (the paper's option A, used there for
    CIFAR-10), "projection" is a 1x1 convolution (option B).
    """
    return build(lambda: CIFARResNet(3, num_classes, in_channels, shortcut), weights, seed)


@_register
def resnet56(
    num_classes: int = 10,
    in_channels: int = 3,
    *,
    shortcut: Shortcut = "identity",
    weights: Weights = None,
    seed: init.Rng = None,
) -> CIFARResNet:
    """ResNet-56 for 32x32 images (He et al., 2015): 853,018 parameters with ten classes. `shortcut`: see `resnet20`."""
    return build(lambda: CIFARResNet(9, num_classes, in_channels, shortcut), weights, seed)
