# SPDX-License-Identifier: BSD-3-Clause
"""LeNet-5 (LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document recognition", 1998)."""

from __future__ import annotations

from typing import Any, Literal

from cnnkern.models._network import Network
from cnnkern.models._registry import Weights, build, register
from cnnkern.models.perceptron import activation_layer
from cnnkern.nn import AvgPool2d, Conv2d, Flatten, Linear, MaxPool2d, Module, Sequential, init


class LeNet5(Network):
    """Two 5x5 convolutions (6 and 16 filters), each with an activation and 2x2 pooling, then 120-84-classes."""

    heads = ("classifier.5",)

    def __init__(self, num_classes: int, in_channels: int, nonlinearity: type[Module], pool: type[Module]) -> None:
        self.features = Sequential(
            Conv2d(in_channels, 6, 5),
            nonlinearity(),
            pool(2),
            Conv2d(6, 16, 5),
            nonlinearity(),
            pool(2),
        )
        self.classifier = Sequential(
            Flatten(),
            Linear(16 * 5 * 5, 120),
            nonlinearity(),
            Linear(120, 84),
            nonlinearity(),
            Linear(84, num_classes),
        )

    def forward(self, input: Any) -> Any:
        """(N, in_channels, 32, 32) -> (N, num_classes)."""
        return self.classifier(self.features(input))


@register(
    year=1998,
    paper="LeCun et al., Gradient-based learning applied to document recognition",
    input_shape=(1, 32, 32),
    resize_size=32,
    mean=(0.0,),
    std=(1.0,),
)
def lenet5(
    num_classes: int = 10,
    in_channels: int = 1,
    *,
    activation: Literal["sigmoid", "tanh", "relu", "leaky_relu"] = "sigmoid",
    pooling: Literal["average", "max"] = "average",
    weights: Weights = None,
    seed: init.Rng = None,
) -> LeNet5:
    """LeNet-5 for 32x32 images: 61,706 parameters with one input channel and ten classes.

    Every filter of the second convolution sees all six maps, and the last layer is linear, as in the versions taught
    today; `activation="relu", pooling="max"` is the modern variant.
    """
    if pooling not in ("average", "max"):
        raise ValueError(f'pooling: expected "average" or "max", found {pooling!r}')
    pool: type[Module] = AvgPool2d if pooling == "average" else MaxPool2d
    nonlinearity = activation_layer(activation)
    return build(lambda: LeNet5(num_classes, in_channels, nonlinearity, pool), weights, seed)
