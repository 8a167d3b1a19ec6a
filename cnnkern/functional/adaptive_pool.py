# SPDX-License-Identifier: BSD-3-Clause
"""Adaptive pooling of one, two and three axes: windows that give the wanted size. Size 1 is global pooling."""

from __future__ import annotations

from typing import Any

from cnnkern.functional._pooling import adaptive_pool, adaptive_pool_grad


def adaptive_avg_pool1d(input: Any, output_size: Any) -> Any:
    """Mean over windows [floor(i H / OH), ceil((i + 1) H / OH)) of (N, C, L) or (C, L).

    output_size: one integer, None in a place keeps the input's. Size 1 is global average pooling.
    """
    return adaptive_pool("adaptive_avg", 1, input, output_size)


def adaptive_avg_pool2d(input: Any, output_size: Any) -> Any:
    """Mean over windows [floor(i H / OH), ceil((i + 1) H / OH)) of (N, C, H, W) or (C, H, W).

    output_size: one integer or (OH, OW), None in a place keeps the input's. Size 1 is global average pooling.
    """
    return adaptive_pool("adaptive_avg", 2, input, output_size)


def adaptive_avg_pool3d(input: Any, output_size: Any) -> Any:
    """Mean over windows [floor(i H / OH), ceil((i + 1) H / OH)) of (N, C, D, H, W) or (C, D, H, W).

    output_size: one integer or (OD, OH, OW), None in a place keeps the input's. Size 1 is global average pooling.
    """
    return adaptive_pool("adaptive_avg", 3, input, output_size)


def adaptive_max_pool1d(input: Any, output_size: Any, return_indices: bool = False) -> Any:
    """Maximum over the windows of `adaptive_avg_pool1d`; indices as of `max_pool1d`. Size 1 is global max pooling."""
    return adaptive_pool("adaptive_max", 1, input, output_size, return_indices)


def adaptive_max_pool2d(input: Any, output_size: Any, return_indices: bool = False) -> Any:
    """Maximum over the windows of `adaptive_avg_pool2d`; indices as of `max_pool2d`. Size 1 is global max pooling."""
    return adaptive_pool("adaptive_max", 2, input, output_size, return_indices)


def adaptive_max_pool3d(input: Any, output_size: Any, return_indices: bool = False) -> Any:
    """Maximum over the windows of `adaptive_avg_pool3d`; indices as of `max_pool3d`. Size 1 is global max pooling."""
    return adaptive_pool("adaptive_max", 3, input, output_size, return_indices)


def adaptive_avg_pool1d_grad(grad_output: Any, input_size: Any) -> Any:
    """Gradient of `adaptive_avg_pool1d`: grad_output has its result's shape, input_size is its input's shape."""
    return adaptive_pool_grad("adaptive_avg", 1, grad_output, input_size)


def adaptive_avg_pool2d_grad(grad_output: Any, input_size: Any) -> Any:
    """Gradient of `adaptive_avg_pool2d`: grad_output has its result's shape, input_size is its input's shape."""
    return adaptive_pool_grad("adaptive_avg", 2, grad_output, input_size)


def adaptive_avg_pool3d_grad(grad_output: Any, input_size: Any) -> Any:
    """Gradient of `adaptive_avg_pool3d`: grad_output has its result's shape, input_size is its input's shape."""
    return adaptive_pool_grad("adaptive_avg", 3, grad_output, input_size)


def adaptive_max_pool1d_grad(grad_output: Any, indices: Any, input_size: Any) -> Any:
    """Gradient of `adaptive_max_pool1d`; arguments as of `max_pool1d_grad`."""
    return adaptive_pool_grad("adaptive_max", 1, grad_output, input_size, indices)


def adaptive_max_pool2d_grad(grad_output: Any, indices: Any, input_size: Any) -> Any:
    """Gradient of `adaptive_max_pool2d`; arguments as of `max_pool2d_grad`."""
    return adaptive_pool_grad("adaptive_max", 2, grad_output, input_size, indices)


def adaptive_max_pool3d_grad(grad_output: Any, indices: Any, input_size: Any) -> Any:
    """Gradient of `adaptive_max_pool3d`; arguments as of `max_pool3d_grad`."""
    return adaptive_pool_grad("adaptive_max", 3, grad_output, input_size, indices)
