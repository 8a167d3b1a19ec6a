# SPDX-License-Identifier: BSD-3-Clause
"""VGG (Simonyan and Zisserman, "Very deep convolutional networks for large-scale image recognition", 2014).

Stages of 3x3 convolutions with max pooling after each. Batch normalization is torchvision's addition; state-dict names
are torchvision's.
"""

from __future__ import annotations

from typing import Any

from cnnkern.models._network import Network
from cnnkern.models._registry import Weights, build, register
from cnnkern.nn import (
    AdaptiveAvgPool2d,
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

# Convolutions in each of the five stages, which have 64, 128, 256, 512 and 512 channels.
_DEPTHS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
_CHANNELS = (64, 128, 256, 512, 512)


class VGG(Network):
    """Convolutions in five stages, average pooling to 7x7, two hidden layers of 4096 and the classes.

    Args:
        depth: 11, 13, 16 or 19 layers with weights.
        batch_norm: normalize after each convolution.
    """

    heads = ("classifier.6",)

    def __init__(
        self, depth: int, batch_norm: bool = False, num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5
    ) -> None:
        if depth not in _DEPTHS:
            raise ValueError(f"VGG: depth must be one of {', '.join(map(str, _DEPTHS))}, found {depth!r}")
        with init.skipped():
            self.features = _stages(depth, batch_norm, in_channels)
            self.avgpool = AdaptiveAvgPool2d(7)
            self.flatten = Flatten()
            self.classifier = Sequential(
                Linear(512 * 7 * 7, 4096),
                ReLU(),
                Dropout(dropout),
                Linear(4096, 4096),
                ReLU(),
                Dropout(dropout),
                Linear(4096, num_classes),
            )
        self.initialize()

    def initial_values(self, name: str, layer: Module) -> None:
        """He et al. (2015), by fan-out, for convolutions; deviation 0.01 in the linear layers; biases 0.

        As torchvision: the paper's 0.01 everywhere does not train the deeper networks from scratch.
        """
        if isinstance(layer, Conv2d):
            layer.weight = init.he(layer.weight.shape, mode="fan_out")
            layer.bias[...] = 0.0
        elif isinstance(layer, Linear):
            layer.weight = init.normal(layer.weight.shape, 0.01)
            layer.bias[...] = 0.0

    def forward(self, input: Any) -> Any:
        """(N, in_channels, H, W) -> (N, num_classes); `features` gives (N, 512, H / 32, W / 32)."""
        return self.classifier(self.flatten(self.avgpool(self.features(input))))


def _stages(depth: int, batch_norm: bool, in_channels: int) -> Sequential:
    layers: list[Module] = []
    for channels, count in zip(_CHANNELS, _DEPTHS[depth], strict=True):
        for _ in range(count):
            layers.append(Conv2d(in_channels, channels, 3, padding=1))
            layers += [BatchNorm2d(channels), ReLU()] if batch_norm else [ReLU()]
            in_channels = channels
        layers.append(MaxPool2d(2))
    return Sequential(*layers)


_register = register(
    year=2014,
    paper="Simonyan and Zisserman, Very deep convolutional networks for large-scale image recognition",
)


@_register
def vgg11(
    num_classes: int = 1000,
    in_channels: int = 3,
    *,
    dropout: float = 0.5,
    weights: Weights = None,
    seed: init.Rng = None,
) -> VGG:
    """VGG-11 (Simonyan and Zisserman, 2014): 132,863,336 parameters with 1000 classes."""
    return build(lambda: VGG(11, False, num_classes, in_channels, dropout), weights, seed)


@_register
def vgg11_bn(
    num_classes: int = 1000,
    in_channels: int = 3,
    *,
    dropout: float = 0.5,
    weights: Weights = None,
    seed: init.Rng = None,
) -> VGG:
    """VGG-11 with batch normalization (Simonyan and Zisserman, 2014): 132,868,840 parameters with 1000 classes."""
    return build(lambda: VGG(11, True, num_classes, in_channels, dropout), weights, seed)


@_register
def vgg13(
    num_classes: int = 1000,
    in_channels: int = 3,
    *,
    dropout: float = 0.5,
    weights: Weights = None,
    seed: init.Rng = None,
) -> VGG:
    """VGG-13 (Simonyan and Zisserman, 2014): 133,047,848 parameters with 1000 classes."""
    return build(lambda: VGG(13, False, num_classes, in_channels, dropout), weights, seed)


@_register
def vgg13_bn(
    num_classes: int = 1000,
    in_channels: int = 3,
    *,
    dropout: float = 0.5,
    weights: Weights = None,
    seed: init.Rng = None,
) -> VGG:
    """VGG-13 with batch normalization (Simonyan and Zisserman, 2014): 133,053,736 parameters with 1000 classes."""
    return build(lambda: VGG(13, True, num_classes, in_channels, dropout), weights, seed)


@_register
def vgg16(
    num_classes: int = 1000,
    in_channels: int = 3,
    *,
    dropout: float = 0.5,
    weights: Weights = None,
    seed: init.Rng = None,
) -> VGG:
    """VGG-16 (Simonyan and Zisserman, 2014): 138,357,544 parameters with 1000 classes."""
    return build(lambda: VGG(16, False, num_classes, in_channels, dropout), weights, seed)


@_register
def vgg16_bn(
    num_classes: int = 1000,
    in_channels: int = 3,
    *,
    dropout: float = 0.5,
    weights: Weights = None,
    seed: init.Rng = None,
) -> VGG:
    """VGG-16 with batch normalization (Simonyan and Zisserman, 2014): 138,365,992 parameters with 1000 classes."""
    return build(lambda: VGG(16, True, num_classes, in_channels, dropout), weights, seed)


@_register
def vgg19(
    num_classes: int = 1000,
    in_channels: int = 3,
    *,
    dropout: float = 0.5,
    weights: Weights = None,
    seed: init.Rng = None,
) -> VGG:
    """VGG-19 (Simonyan and Zisserman, 2014): 143,667,240 parameters with 1000 classes."""
    return build(lambda: VGG(19, False, num_classes, in_channels, dropout), weights, seed)


@_register
def vgg19_bn(
    num_classes: int = 1000,
    in_channels: int = 3,
    *,
    dropout: float = 0.5,
    weights: Weights = None,
    seed: init.Rng = None,
) -> VGG:
    """VGG-19 with batch normalization (Simonyan and Zisserman, 2014): 143,678,248 parameters with 1000 classes."""
    return build(lambda: VGG(19, True, num_classes, in_channels, dropout), weights, seed)
