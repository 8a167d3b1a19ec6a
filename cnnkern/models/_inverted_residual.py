# SPDX-License-Identifier: BSD-3-Clause
"""The block of MobileNetV3 and EfficientNet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cnnkern.models._mobile import ConvNormActivation, Norm, Residual
from cnnkern.nn import Module, Sequential, StochasticDepth


class InvertedResidual(Residual):
    """Convolutions: 1x1 to `width` channels (if that is more), depthwise, 1x1 without activation.

    `squeeze` stands before the last one. Used by MobileNetV3 and EfficientNet.
    """

    def __init__(
        self,
        in_channels: int,
        width: int,
        out_channels: int,
        kernel_size: int,
        stride: int,
        activation: Callable[[], Module],
        squeeze: Module | None,
        norm: Norm,
        drop: float = 0.0,
    ) -> None:
        layers: list[Module] = []
        if width != in_channels:
            layers.append(ConvNormActivation(in_channels, width, 1, activation=activation, norm=norm))
        layers.append(ConvNormActivation(width, width, kernel_size, stride, width, activation, norm))
        if squeeze is not None:
            layers.append(squeeze)
        layers.append(ConvNormActivation(width, out_channels, 1, norm=norm))
        super().__init__(Sequential(*layers), stride == 1 and in_channels == out_channels)
        self.stochastic_depth = StochasticDepth(drop, "row")

    def dropped(self, result: Any) -> Any:
        """Leaves the branch out for a share of the examples, in training."""
        return self.stochastic_depth(result)
