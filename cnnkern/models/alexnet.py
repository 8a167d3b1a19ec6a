# SPDX-License-Identifier: BSD-3-Clause
"""AlexNet: the one of 2012 (Krizhevsky, Sutskever and Hinton, "ImageNet classification with deep convolutional neural
networks") and torchvision's, which is that of Krizhevsky, "One weird trick for parallelizing convolutional neural
networks", 2014, on one device.
"""

from __future__ import annotations

from typing import Any

from cnnkern.models._network import Network
from cnnkern.models._registry import Weights, build, register
from cnnkern.nn import (
    AdaptiveAvgPool2d,
    Conv2d,
    Dropout,
    Flatten,
    Linear,
    LocalResponseNorm,
    MaxPool2d,
    Module,
    ReLU,
    Sequential,
    init,
)


class AlexNet(Network):
    """Five convolutions with three max poolings, average pooling to 6x6, two hidden layers of 4096 and the classes.

    State-dict names are torchvision's.
    """

    heads = ("classifier.6",)

    def __init__(self, num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5) -> None:
        self.features = Sequential(
            Conv2d(in_channels, 64, 11, 4, 2),
            ReLU(),
            MaxPool2d(3, 2),
            Conv2d(64, 192, 5, padding=2),
            ReLU(),
            MaxPool2d(3, 2),
            Conv2d(192, 384, 3, padding=1),
            ReLU(),
            Conv2d(384, 256, 3, padding=1),
            ReLU(),
            Conv2d(256, 256, 3, padding=1),
            ReLU(),
            MaxPool2d(3, 2),
        )
        self.avgpool = AdaptiveAvgPool2d(6)
        self.flatten = Flatten()
        self.classifier = Sequential(
            Dropout(dropout),
            Linear(256 * 6 * 6, 4096),
            ReLU(),
            Dropout(dropout),
            Linear(4096, 4096),
            ReLU(),
            Linear(4096, num_classes),
        )

    def forward(self, input: Any) -> Any:
        """(N, in_channels, H, W) -> (N, num_classes); `features` gives (N, 256, about H / 32, about W / 32)."""
        return self.classifier(self.flatten(self.avgpool(self.features(input))))


class AlexNet2012(Network):
    """The network of 2012: 227x227 images, overlapping pooling, local response normalization, two groups.

    The groups are the halves that lay on two devices; the third convolution and the linear layers see both. The paper's
    alpha of 1e-4 is 5e-4 here, where it is divided by the size 5.
    """

    heads = ("classifier.6",)

    def __init__(self, num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5) -> None:
        with init.skipped():
            self.features = Sequential(
                Conv2d(in_channels, 96, 11, 4),
                ReLU(),
                LocalResponseNorm(5, 5e-4, 0.75, 2.0),
                MaxPool2d(3, 2),
                Conv2d(96, 256, 5, padding=2, groups=2),
                ReLU(),
                LocalResponseNorm(5, 5e-4, 0.75, 2.0),
                MaxPool2d(3, 2),
                Conv2d(256, 384, 3, padding=1),
                ReLU(),
                Conv2d(384, 384, 3, padding=1, groups=2),
                ReLU(),
                Conv2d(384, 256, 3, padding=1, groups=2),
                ReLU(),
                MaxPool2d(3, 2),
            )
            self.flatten = Flatten()
            self.classifier = Sequential(
                Linear(256 * 6 * 6, 4096),
                ReLU(),
                Dropout(dropout),
                Linear(4096, 4096),
                ReLU(),
                Dropout(dropout),
                Linear(4096, num_classes),
            )
        self.initialize()

    def initial_values(self, name: str, layer: Module) -> None:
        """Deviation 0.01; biases 1 in the second, fourth and fifth convolution and the hidden layers, else 0."""
        if isinstance(layer, Conv2d | Linear):
            layer.weight = init.normal(layer.weight.shape, 0.01)
            ones = ("features.4", "features.10", "features.12", "classifier.0", "classifier.3")
            layer.bias[...] = 1.0 if name in ones else 0.0

    def forward(self, input: Any) -> Any:
        """(N, in_channels, 227, 227) -> (N, num_classes); `features` gives (N, 256, 6, 6)."""
        return self.classifier(self.flatten(self.features(input)))


@register(year=2014, paper="Krizhevsky, One weird trick for parallelizing convolutional neural networks")
def alexnet(
    num_classes: int = 1000,
    in_channels: int = 3,
    *,
    dropout: float = 0.5,
    weights: Weights = None,
    seed: init.Rng = None,
) -> AlexNet:
    """AlexNet as torchvision has it (Krizhevsky, 2014): 61,100,840 parameters with 1000 classes."""
    return build(lambda: AlexNet(num_classes, in_channels, dropout), weights, seed)


@register(
    year=2012,
    paper="Krizhevsky et al., ImageNet classification with deep convolutional neural networks",
    input_shape=(3, 227, 227),
)
def alexnet2012(
    num_classes: int = 1000,
    in_channels: int = 3,
    *,
    dropout: float = 0.5,
    weights: Weights = None,
    seed: init.Rng = None,
) -> AlexNet2012:
    """AlexNet of 2012 for 227x227 images (Krizhevsky et al.): 60,965,224 parameters with 1000 classes."""
    return build(lambda: AlexNet2012(num_classes, in_channels, dropout), weights, seed)
