# SPDX-License-Identifier: BSD-3-Clause
"""The small CNN of the course: two convolutional blocks and a classifier."""

from __future__ import annotations

from typing import Any

from cnnkern.models._network import Network
from cnnkern.models._registry import Weights, build, register
from cnnkern.nn import BatchNorm2d, Conv2d, Flatten, Linear, MaxPool2d, ReLU, Sequential, init


class CourseCNN(Network, Sequential):
    """Two blocks of convolution, batch normalization, ReLU and pooling, then a linear layer "fc"."""

    heads = ("fc",)

    def features(self, input: Any) -> Any:
        """(N, C, H, W) -> (N, 32, H / 4, W / 4), the maps before the linear layer."""
        return self[:-2](input)


@register(
    year=None,
    paper="the running example of a course on convolutional networks",
    input_shape=(1, 28, 28),
    resize_size=28,
    mean=(0.0,),
    std=(1.0,),
)
def course_cnn(
    num_classes: int = 10,
    in_channels: int = 1,
    image_size: int = 28,
    *,
    weights: Weights = None,
    seed: init.Rng = None,
) -> CourseCNN:
    """Two blocks of 5x5 convolution, batch normalization, ReLU and 2x2 max pooling, then a linear layer.

    16 and 32 filters; (N, in_channels, image_size, image_size) -> (N, num_classes). On 28x28 the maps are 28x28x16,
    14x14x16, 14x14x32 and 7x7x32.

    Raises:
        ValueError: image_size below 4: nothing would be left after two poolings.
    """
    if image_size < 4:
        raise ValueError(f"course_cnn: image_size must be at least 4, found {image_size}")
    side = image_size // 2 // 2

    def factory() -> CourseCNN:
        return CourseCNN(
            {
                "conv1": Conv2d(in_channels, 16, 5, padding=2),
                "bn1": BatchNorm2d(16),
                "relu1": ReLU(),
                "pool1": MaxPool2d(2),
                "conv2": Conv2d(16, 32, 5, padding=2),
                "bn2": BatchNorm2d(32),
                "relu2": ReLU(),
                "pool2": MaxPool2d(2),
                "flatten": Flatten(),
                "fc": Linear(32 * side * side, num_classes),
            }
        )

    return build(factory, weights, seed)
