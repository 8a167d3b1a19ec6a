# SPDX-License-Identifier: BSD-3-Clause
"""Densely connected networks (Huang, Liu, van der Maaten and Weinberger, 2017).

State-dict names are torchvision's, today's and those of its older checkpoints.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from cnnkern import functional
from cnnkern.functional import _check as check
from cnnkern.models._network import Network
from cnnkern.models._registry import Weights, build, register
from cnnkern.nn import (
    AdaptiveAvgPool2d,
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Flatten,
    Linear,
    MaxPool2d,
    Module,
    ReLU,
    Sequential,
    init,
)

PAPER = "Huang et al., Densely connected convolutional networks"
_BOTTLENECK = 4  # a 1x1 convolution makes 4 * growth channels before the 3x3 one
_OLD_NAME = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.(\d)\.")


class DenseLayer(Module):
    """H = BN, ReLU, 1x1 convolution, BN, ReLU, 3x3 convolution: `growth` new maps from all maps before."""

    def __init__(self, in_channels: int, growth: int, drop_rate: float) -> None:
        self.norm1 = BatchNorm2d(in_channels)
        self.relu1 = ReLU()
        self.conv1 = Conv2d(in_channels, _BOTTLENECK * growth, 1, bias=False)
        self.norm2 = BatchNorm2d(_BOTTLENECK * growth)
        self.relu2 = ReLU()
        self.conv2 = Conv2d(_BOTTLENECK * growth, growth, 3, padding=1, bias=False)
        self.dropout = Dropout(drop_rate)

    def forward(self, input: Any) -> Any:
        """(N, in_channels, H, W) -> (N, growth, H, W)."""
        out = self.conv1(self.relu1(self.norm1(input)))
        return self.dropout(self.conv2(self.relu2(self.norm2(out))))


class DenseBlock(Module):
    """Layers "denselayer1", ..., each of which reads X = [X_0, ..., X_{l-1}], all maps before it."""

    def __init__(self, depth: int, in_channels: int, growth: int, drop_rate: float) -> None:
        for index in range(depth):
            self.register_module(f"denselayer{index + 1}", DenseLayer(in_channels + index * growth, growth, drop_rate))

    def forward(self, input: Any) -> Any:
        """(N, in_channels, H, W) -> (N, in_channels + depth * growth, H, W)."""
        maps = [input]
        for layer in self.children():
            maps.append(layer(functional.concat(maps, 1)))
        return functional.concat(maps, 1)


def _transition(in_channels: int, out_channels: int) -> Sequential:
    """Between blocks: fewer channels, then half the height and width."""
    return Sequential(
        {
            "norm": BatchNorm2d(in_channels),
            "relu": ReLU(),
            "conv": Conv2d(in_channels, out_channels, 1, bias=False),
            "pool": AvgPool2d(2, 2),
        }
    )


class DenseNet(Network):
    """DenseNet-BC: 7x7 convolution and 3x3 max pooling, dense blocks with transitions that halve channels and sizes.

    Args:
        blocks: layers in each dense block.
        growth: maps that a layer adds.
        stem: channels of the first convolution.
        drop_rate: dropout after each layer (the paper: 0.2 where data are not augmented).
    """

    heads = ("classifier",)

    def __init__(
        self,
        blocks: Sequence[int],
        growth: int = 32,
        stem: int = 64,
        num_classes: int = 1000,
        in_channels: int = 3,
        drop_rate: float = 0.0,
    ) -> None:
        check.finite("DenseNet", "drop_rate", drop_rate, 0.0, 1.0)
        layers: dict[str, Module] = {
            "conv0": Conv2d(in_channels, stem, 7, 2, 3, bias=False),
            "norm0": BatchNorm2d(stem),
            "relu0": ReLU(),
            "pool0": MaxPool2d(3, 2, 1),
        }
        width = stem
        for index, depth in enumerate(blocks, 1):
            layers[f"denseblock{index}"] = DenseBlock(depth, width, growth, drop_rate)
            width += depth * growth
            if index < len(blocks):
                layers[f"transition{index}"] = _transition(width, width // 2)
                width //= 2
        layers["norm5"] = BatchNorm2d(width)
        self.features = Sequential(layers)
        self.relu = ReLU()
        self.avgpool = AdaptiveAvgPool2d(1)
        self.flatten = Flatten()
        self.classifier = Linear(width, num_classes)
        self.initialize()

    def initial_values(self, name: str, layer: Module) -> None:
        """He et al. (2015), by fan-in, for convolutions; no bias in the classifier."""
        if isinstance(layer, Conv2d):
            layer.weight = init.he(layer.weight.shape)
        elif isinstance(layer, Linear):
            layer.bias[...] = 0.0

    def forward(self, input: Any) -> Any:
        """(N, in_channels, H, W) -> (N, num_classes)."""
        return self.classifier(self.flatten(self.avgpool(self.relu(self.features(input)))))


def _present_names(weights: Mapping[str, Any], model: Module) -> dict[str, Any]:
    """Weights by today's names: older checkpoints write "denselayer1.norm.1.weight" for "denselayer1.norm1.weight"."""
    return {_OLD_NAME.sub(r"\1\2.", name): array for name, array in weights.items()}


@register(year=2016, paper=PAPER)
def densenet121(
    num_classes: int = 1000,
    in_channels: int = 3,
    *,
    drop_rate: float = 0.0,
    weights: Weights = None,
    seed: init.Rng = None,
) -> DenseNet:
    """DenseNet-121 (Huang et al., 2017): growth 32, 7,978,856 parameters with 1000 classes."""
    return build(
        lambda: DenseNet((6, 12, 24, 16), 32, 64, num_classes, in_channels, drop_rate), weights, seed, _present_names
    )


@register(year=2016, paper=PAPER)
def densenet161(
    num_classes: int = 1000,
    in_channels: int = 3,
    *,
    drop_rate: float = 0.0,
    weights: Weights = None,
    seed: init.Rng = None,
) -> DenseNet:
    """DenseNet-161 (Huang et al., 2017): growth 48, 28,681,000 parameters with 1000 classes."""
    return build(
        lambda: DenseNet((6, 12, 36, 24), 48, 96, num_classes, in_channels, drop_rate), weights, seed, _present_names
    )


@register(year=2016, paper=PAPER)
def densenet169(
    num_classes: int = 1000,
    in_channels: int = 3,
    *,
    drop_rate: float = 0.0,
    weights: Weights = None,
    seed: init.Rng = None,
) -> DenseNet:
    """DenseNet-169 (Huang et al., 2017): growth 32, 14,149,480 parameters with 1000 classes."""
    return build(
        lambda: DenseNet((6, 12, 32, 32), 32, 64, num_classes, in_channels, drop_rate), weights, seed, _present_names
    )


@register(year=2016, paper=PAPER)
def densenet201(
    num_classes: int = 1000,
    in_channels: int = 3,
    *,
    drop_rate: float = 0.0,
    weights: Weights = None,
    seed: init.Rng = None,
) -> DenseNet:
    """DenseNet-201 (Huang et al., 2017): growth 32, 20,013,928 parameters with 1000 classes."""
    return build(
        lambda: DenseNet((6, 12, 48, 32), 32, 64, num_classes, in_channels, drop_rate), weights, seed, _present_names
    )
