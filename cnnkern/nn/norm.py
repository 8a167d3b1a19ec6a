# SPDX-License-Identifier: BSD-3-Clause
"""Normalization layers."""

from __future__ import annotations

from typing import Any

import numpy as np

from cnnkern import functional
from cnnkern.functional import _check as check
from cnnkern.nn.module import Module, statistics_kept


class _BatchNorm(Module):
    ranks: tuple[int, ...]

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
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

    @property
    def updates_statistics(self) -> bool:
        """Whether a forward pass now would move the running statistics."""
        return self.training and self.trainable and self.track_running_stats and not statistics_kept()

    def forward(self, input: Any) -> Any:
        """The shape is kept; axis 1 has num_features. Batch statistics in training, else the running ones."""
        check.floating(type(self).__name__, input=input)
        if input.ndim not in self.ranks:
            expected = " or ".join(str(rank) for rank in self.ranks)
            raise ValueError(
                f"{type(self).__name__}: expected an input of {expected} axes, found shape {tuple(input.shape)}"
            )
        batch = (self.training and self.trainable) or not self.track_running_stats
        keep = batch and not self.updates_statistics
        if isinstance(input, np.ndarray):
            self.after_training_step()
        return functional.batch_norm(
            input,
            None if keep else self.running_mean,
            None if keep else self.running_var,
            self.weight,
            self.bias,
            training=batch,
            momentum=self.momentum,
            eps=self.eps,
        )

    def after_training_step(self) -> None:
        """Counts the batch, if the running statistics have moved."""
        if self.updates_statistics:
            self.num_batches_tracked[...] += 1

    def extra_repr(self) -> str:
        return f"{self.num_features}, eps={self.eps:g}, momentum={self.momentum:g}"


class BatchNorm2d(_BatchNorm):
    """Batch normalization of (N, C, H, W) over N, H, W (Ioffe and Szegedy, 2015).

    y = weight (x - mean) / sqrt(var + eps) + bias, with the biased variance; `momentum` is the weight of the new value
    in the running statistics (PyTorch's meaning), which take the unbiased variance. A frozen layer
    (`trainable = False`) uses and keeps its running statistics.
    """

    ranks = (4,)


class BatchNorm1d(_BatchNorm):
    """Batch normalization of (N, C) over N, or of (N, C, L) over N, L; otherwise as `BatchNorm2d`."""

    ranks = (2, 3)


class BatchNorm3d(_BatchNorm):
    """Batch normalization of (N, C, D, H, W) over N, D, H, W; otherwise as `BatchNorm2d`."""

    ranks = (5,)


class LocalResponseNorm(Module):
    """x / (k + alpha / size * sum of x^2 over `size` neighbouring channels)^beta (Krizhevsky et al., 2012)."""

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        self.size = check.integer("LocalResponseNorm", "size", size, 1)
        self.alpha = check.number("LocalResponseNorm", "alpha", alpha)
        self.beta = check.number("LocalResponseNorm", "beta", beta)
        self.k = check.number("LocalResponseNorm", "k", k)

    def forward(self, input: Any) -> Any:
        """(N, C, ...) of three axes or more, the shape kept."""
        return functional.local_response_norm(input, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha:g}, beta={self.beta:g}, k={self.k:g}"
