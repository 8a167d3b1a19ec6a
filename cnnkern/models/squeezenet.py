# SPDX-License-Identifier: BSD-3-Clause
"""SqueezeNet 1.1 (Iandola et al., "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and <0.5MB model size",
2016). State-dict names are torchvision's.
"""

from __future__ import annotations

from typing import Any

from cnnkern import functional
from cnnkern.models._network import Network
from cnnkern.models._registry import Weights, build, register
from cnnkern.nn import AdaptiveAvgPool2d, Conv2d, Dropout, Flatten, MaxPool2d, Module, ReLU, Sequential, init


class Fire(Module):
    """A 1x1 convolution that squeezes the channels, then 1x1 and 3x3 convolutions side by side that expand them."""

    def __init__(self, in_channels: int, squeeze: int, expand: int) -> None:
        self.squeeze = Conv2d(in_channels, squeeze, 1)
        self.squeeze_activation = ReLU()
        self.expand1x1 = Conv2d(squeeze, expand, 1)
        self.expand1x1_activation = ReLU()
        self.expand3x3 = Conv2d(squeeze, expand, 3, padding=1)
        self.expand3x3_activation = ReLU()

    def forward(self, input: Any) -> Any:
        """(N, in_channels, H, W) -> (N, 2 * expand, H, W)."""
        squeezed = self.squeeze_activation(self.squeeze(input))
        narrow = self.expand1x1_activation(self.expand1x1(squeezed))
        wide = self.expand3x3_activation(self.expand3x3(squeezed))
        return functional.concat([narrow, wide], 1)


class SqueezeNet(Network):
    """A 3x3 convolution, eight `Fire` modules with three poolings between, a 1x1 convolution to the classes, the mean.

    The version 1.1 of the authors: the accuracy of 1.0 with 2.4 times fewer multiplications.
    """

    heads = ("classifier.1",)

    def __init__(self, num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5) -> None:
        with init.skipped():
            self.features = Sequential(
                Conv2d(in_channels, 64, 3, 2),
                ReLU(),
                MaxPool2d(3, 2, ceil_mode=True),
                Fire(64, 16, 64),
                Fire(128, 16, 64),
                MaxPool2d(3, 2, ceil_mode=True),
                Fire(128, 32, 128),
                Fire(256, 32, 128),
                MaxPool2d(3, 2, ceil_mode=True),
                Fire(256, 48, 192),
                Fire(384, 48, 192),
                Fire(384, 64, 256),
                Fire(512, 64, 256),
            )
            self.classifier = Sequential(
                Dropout(dropout), Conv2d(512, num_classes, 1), ReLU(), AdaptiveAvgPool2d(1), Flatten()
            )
        self.initialize()

    def initial_values(self, name: str, layer: Module) -> None:
        """Uniform as He et al. (2015) in all but the last convolution, which has a deviation of 0.01; biases 0."""
        if isinstance(layer, Conv2d):
            shape = layer.weight.shape
            layer.weight = init.normal(shape, 0.01) if name in self.heads else init.he(shape, distribution="uniform")
            layer.bias[...] = 0.0

    def forward(self, input: Any) -> Any:
        """(N, in_channels, H, W) -> (N, num_classes); `features` gives (N, 512, about H / 16, about W / 16)."""
        return self.classifier(self.features(input))


@register(year=2016, paper="Iandola et al., SqueezeNet: AlexNet-level accuracy with 50x fewer parameters")
def squeezenet1_1(
    num_classes: int = 1000,
    in_channels: int = 3,
    *,
    dropout: float = 0.5,
    weights: Weights = None,
    seed: init.Rng = None,
) -> SqueezeNet:
    """SqueezeNet 1.1 (Iandola et al., 2016): 1,235,496 parameters with 1000 classes."""
    return build(lambda: SqueezeNet(num_classes, in_channels, dropout), weights, seed)
