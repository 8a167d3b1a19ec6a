# SPDX-License-Identifier: BSD-3-Clause
"""Network in network (Lin, Chen and Yan, 2013): a small perceptron slides over the image, and classes are averages."""

from __future__ import annotations

from typing import Any

from cnnkern.models._network import Network
from cnnkern.models._registry import Weights, build, register
from cnnkern.nn import AdaptiveAvgPool2d, AvgPool2d, Conv2d, Dropout, Flatten, MaxPool2d, Module, ReLU, Sequential, init


def mlpconv(in_channels: int, widths: tuple[int, int, int], kernel: int) -> Sequential:
    """A convolution that keeps the size and two 1x1 convolutions, each with a ReLU: a perceptron at every pixel."""
    first, second, third = widths
    return Sequential(
        Conv2d(in_channels, first, kernel, padding=kernel // 2),
        ReLU(),
        Conv2d(first, second, 1),
        ReLU(),
        Conv2d(second, third, 1),
        ReLU(),
    )


class NiN(Network):
    """Three `mlpconv` blocks with pooling and dropout between them, one map per class, global average pooling.

    The network of the paper's section 4.2 (CIFAR-10): 192-160-96 channels on 5x5, 192-192-192 on 5x5, 192-192-classes
    on 3x3.
    """

    heads = ("classifier.0",)

    def __init__(self, num_classes: int = 10, in_channels: int = 3, dropout: float = 0.5) -> None:
        with init.skipped():
            self.features = Sequential(
                mlpconv(in_channels, (192, 160, 96), 5),
                MaxPool2d(3, 2, ceil_mode=True),
                Dropout(dropout),
                mlpconv(96, (192, 192, 192), 5),
                AvgPool2d(3, 2, ceil_mode=True),
                Dropout(dropout),
                Conv2d(192, 192, 3, padding=1),
                ReLU(),
                Conv2d(192, 192, 1),
                ReLU(),
            )
            self.classifier = Sequential(Conv2d(192, num_classes, 1), ReLU(), AdaptiveAvgPool2d(1), Flatten())
        self.initialize()

    def initial_values(self, name: str, layer: Module) -> None:
        """He et al. (2015), biases 0: the paper sets them by hand and gives no figures."""
        if isinstance(layer, Conv2d):
            layer.weight = init.he(layer.weight.shape)
            layer.bias[...] = 0.0

    def forward(self, input: Any) -> Any:
        """(N, in_channels, H, W) -> (N, num_classes); `features` gives (N, 192, H / 4, W / 4)."""
        return self.classifier(self.features(input))


@register(
    year=2013,
    paper="Lin, Chen and Yan, Network in network",
    input_shape=(3, 32, 32),
    resize_size=32,
    mean=(0.4914, 0.4822, 0.4465),
    std=(0.2470, 0.2435, 0.2616),
)
def nin(
    num_classes: int = 10,
    in_channels: int = 3,
    *,
    dropout: float = 0.5,
    weights: Weights = None,
    seed: init.Rng = None,
) -> NiN:
    """Network in network for 32x32 images (Lin, Chen and Yan, 2013): 966,986 parameters with ten classes."""
    return build(lambda: NiN(num_classes, in_channels, dropout), weights, seed)
