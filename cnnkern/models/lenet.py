# SPDX-License-Identifier: BSD-3-Clause
"""LeNet-5 (LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document recognition", 1998)."""

from __future__ import annotations

from typing import Any, Literal

from cnnkern import functional
from cnnkern.models._network import Network
from cnnkern.models._registry import Weights, build, register
from cnnkern.models.perceptron import activation_layer
from cnnkern.nn import AvgPool2d, Conv2d, Flatten, Linear, MaxPool2d, Module, Sequential, init


class ScaledTanh(Module):
    """1.7159 tanh(2 x / 3), the activation of 1998: it maps 1 to 1 and -1 to -1."""

    def forward(self, input: Any) -> Any:
        """The shape is kept."""
        return functional.multiply(functional.tanh(functional.multiply(input, 2.0 / 3.0)), 1.7159)


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
        self.initialize()

    def initial_values(self, name: str, layer: Module) -> None:
        """With the activation of 1998 also its initial values, uniform within 2.4 / fan_in."""
        if isinstance(layer, Conv2d | Linear) and isinstance(self.features[1], ScaledTanh):
            bound = 2.4 / init.fans(layer.weight.shape)[0]
            layer.weight = init.uniform(layer.weight.shape, -bound, bound)
            layer.bias = init.uniform(layer.bias.shape, -bound, bound)

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
    activation: Literal["sigmoid", "tanh", "scaled_tanh", "relu", "leaky_relu"] = "sigmoid",
    pooling: Literal["average", "max"] = "average",
    weights: Weights = None,
    seed: init.Rng = None,
) -> LeNet5:
    """LeNet-5 for 32x32 images: 61,706 parameters with one input channel and ten classes.

    Every filter of the second convolution sees all six maps, and the last layer is linear, as in the versions taught
    today; `activation="relu", pooling="max"` is the modern variant, "scaled_tanh" the activation of 1998.
    """
    if pooling not in ("average", "max"):
        raise ValueError(f'pooling: expected "average" or "max", found {pooling!r}')
    pool: type[Module] = AvgPool2d if pooling == "average" else MaxPool2d
    nonlinearity = ScaledTanh if activation == "scaled_tanh" else activation_layer(activation)
    return build(lambda: LeNet5(num_classes, in_channels, nonlinearity, pool), weights, seed)
