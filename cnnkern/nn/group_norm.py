# SPDX-License-Identifier: BSD-3-Clause
"""Layers that normalize each example by itself: by groups of channels, by channels, by its last axes."""

from __future__ import annotations

from typing import Any

import numpy as np

from cnnkern import functional
from cnnkern.functional import _check as check
from cnnkern.nn.module import Module, statistics_kept


class GroupNorm(Module):
    """Normalization of groups of channels (Wu and He, 2018): weight (x - mean) / sqrt(var + eps) + bias.

    num_groups divides num_channels; weight and bias: (num_channels,), unless affine is False.
    """

    def __init__(self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True) -> None:
        self.num_groups = check.integer("GroupNorm", "num_groups", num_groups, 1)
        self.num_channels = check.integer("GroupNorm", "num_channels", num_channels, 1)
        if num_channels % num_groups:
            raise ValueError(f"GroupNorm: num_groups={num_groups} must divide num_channels={num_channels}")
        self.eps = check.finite("GroupNorm", "eps", eps, 0.0)
        self.affine = check.boolean("GroupNorm", "affine", affine)
        self.register_parameter("weight", np.ones(num_channels, np.float32) if affine else None)
        self.register_parameter("bias", np.zeros(num_channels, np.float32) if affine else None)

    def forward(self, input: Any) -> Any:
        """(N, num_channels, ...), the shape kept."""
        return functional.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps:g}"


class _OverLastAxes(Module):
    def _prepare(self, normalized_shape: Any, affine: Any, bias: bool) -> None:
        name = type(self).__name__
        shape = normalized_shape if isinstance(normalized_shape, (tuple, list)) else (normalized_shape,)
        self.normalized_shape = tuple(check.integer(name, "normalized_shape", size, 1) for size in shape)
        self.elementwise_affine = check.boolean(name, "elementwise_affine", affine)
        self.register_parameter("weight", np.ones(self.normalized_shape, np.float32) if affine else None)
        if isinstance(self, LayerNorm):
            self.register_parameter("bias", np.zeros(self.normalized_shape, np.float32) if affine and bias else None)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}"


class LayerNorm(_OverLastAxes):
    """Normalization over the last axes (Ba, Kiros and Hinton, 2016); weight and bias: normalized_shape."""

    def __init__(
        self, normalized_shape: Any, eps: float = 1e-5, elementwise_affine: bool = True, bias: bool = True
    ) -> None:
        self.eps = check.finite("LayerNorm", "eps", eps, 0.0)
        self._prepare(normalized_shape, elementwise_affine, check.boolean("LayerNorm", "bias", bias))

    def forward(self, input: Any) -> Any:
        """(*, *normalized_shape), the shape kept."""
        return functional.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)


class RMSNorm(_OverLastAxes):
    """weight x / sqrt(mean of x^2 + eps) over the last axes (Zhang and Sennrich, 2019); weight: normalized_shape."""

    def __init__(self, normalized_shape: Any, eps: float | None = None, elementwise_affine: bool = True) -> None:
        self.eps = None if eps is None else check.finite("RMSNorm", "eps", eps, 0.0)
        self._prepare(normalized_shape, elementwise_affine, False)

    def forward(self, input: Any) -> Any:
        """(*, *normalized_shape), the shape kept."""
        return functional.rms_norm(input, self.normalized_shape, self.weight, self.eps)


class _InstanceNorm(Module):
    _axes: int

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
    ) -> None:
        name = type(self).__name__
        self.num_features = num_features = check.integer(name, "num_features", num_features, 1)
        self.eps = check.finite(name, "eps", eps, 0.0)
        self.momentum = check.finite(name, "momentum", momentum, 0.0, 1.0)
        self.affine = check.boolean(name, "affine", affine)
        self.track_running_stats = check.boolean(name, "track_running_stats", track_running_stats)
        self.register_parameter("weight", np.ones(num_features, np.float32) if affine else None)
        self.register_parameter("bias", np.zeros(num_features, np.float32) if affine else None)
        self.register_buffer("running_mean", np.zeros(num_features, np.float32) if track_running_stats else None)
        self.register_buffer("running_var", np.ones(num_features, np.float32) if track_running_stats else None)
        self.register_buffer("num_batches_tracked", np.zeros((), np.int64) if track_running_stats else None)

    def forward(self, input: Any) -> Any:
        """(N, num_features, ...) or without N, the shape kept."""
        name = type(self).__name__
        check.floating(name, input=input)
        if input.ndim not in (self._axes + 1, self._axes + 2):
            raise ValueError(
                f"{name}: expected an input of {self._axes + 1} or {self._axes + 2} axes, found {tuple(input.shape)}"
            )
        batched = input.ndim == self._axes + 2
        x = input if batched else functional.reshape(input, (1, *input.shape))
        own = (self.training and self.trainable) or not self.track_running_stats
        keep = own and (not self.track_running_stats or statistics_kept())
        y = functional.instance_norm(
            x,
            None if keep else self.running_mean,
            None if keep else self.running_var,
            self.weight,
            self.bias,
            own,
            self.momentum,
            self.eps,
        )
        return y if batched else functional.reshape(y, input.shape)

    def extra_repr(self) -> str:
        return f"{self.num_features}, eps={self.eps:g}, momentum={self.momentum:g}"


class InstanceNorm1d(_InstanceNorm):
    """Normalization of each channel of each signal, (N, C, L) or (C, L) (Ulyanov et al., 2016). As `InstanceNorm2d`."""

    _axes = 1


class InstanceNorm2d(_InstanceNorm):
    """Normalization of each channel of each image, (N, C, H, W) or (C, H, W) (Ulyanov et al., 2016).

    weight (x - mean) / sqrt(var + eps) + bias; weight and bias, (C,), only if affine. With track_running_stats the
    statistics of training (the mean over the batch, weighted by momentum) are used in evaluation.
    """

    _axes = 2


class InstanceNorm3d(_InstanceNorm):
    """Normalization of each channel of each volume, (N, C, D, H, W) or (C, D, H, W). As `InstanceNorm2d`."""

    _axes = 3
