# SPDX-License-Identifier: BSD-3-Clause
"""Convolution (cross-correlation, as in every CNN library) over one, two and three axes, and its gradients."""

from __future__ import annotations

from typing import Any

from cnnkern.functional import _check as check
from cnnkern.functional._convolution import bias_gradient, convolve, input_gradient, weight_gradient


def conv1d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    algorithm: str | None = None,
    out: Any = None,
) -> Any:
    """One-dimensional convolution (cross-correlation).

    y[n, o, i] = bias[o] + sum over c, s of weight[o, c, s] * x[n, c, i*stride + s*dilation - padding]

    input: (N, C, L) or (C, L); weight: (O, C / groups, S); bias: (O,).
    stride, padding, dilation: an integer or (width,); everything else, and errors, as for `conv2d`.
    Returns (N, O, OL), without N if the input has none.
    """
    return convolve(1, input, weight, bias, stride, padding, dilation, groups, algorithm, out)


def conv2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    algorithm: str | None = None,
    out: Any = None,
) -> Any:
    """Two-dimensional convolution (cross-correlation).

    y[n, o, i, j] = bias[o] + sum over c, r, s of weight[o, c, r, s] * x[n, c, i*stride + r*dilation - padding, ...]

    input: (N, C, H, W) or (C, H, W); weight: (O, C / groups, R, S); bias: (O,); all float32 or all float64.
    stride, padding, dilation: an integer or (height, width); padding also "valid" or "same" (needs stride 1; of an odd
    total the larger half goes after, as in PyTorch). algorithm: force a kernel; out: array that receives the result.
    Returns (N, O, OH, OW), without N if the input has none.
    Raises TypeError for wrong types; ValueError for shapes that do not fit or an algorithm that cannot serve them (it
    names those that can).
    """
    return convolve(2, input, weight, bias, stride, padding, dilation, groups, algorithm, out)


def conv3d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    algorithm: str | None = None,
    out: Any = None,
) -> Any:
    """Three-dimensional convolution (cross-correlation).

    y[n, o, i, ...] = bias[o] + sum over c, t, .. of weight[o, c, t, ...] * x[n, c, i*stride + t*dilation - padding, ..]

    input: (N, C, D, H, W) or (C, D, H, W); weight: (O, C / groups, T, R, S); bias: (O,).
    stride, padding, dilation: an integer or (depth, height, width); everything else, and errors, as for `conv2d`.
    Returns (N, O, OD, OH, OW), without N if the input has none.
    """
    return convolve(3, input, weight, bias, stride, padding, dilation, groups, algorithm, out)


def conv1d_grad_input(
    input_size: Any,
    weight: Any,
    grad_output: Any,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    algorithm: str | None = None,
    out: Any = None,
) -> Any:
    """Gradient of `conv1d` with respect to its input (arguments as in torch.nn.grad.conv1d_input).

    input_size: shape of the input, (N, C, L) or (C, L); weight: (O, C / groups, S); grad_output: the shape of
    conv1d's result. Returns an array of shape input_size. Errors as for conv1d.
    """
    return input_gradient(1, input_size, weight, grad_output, (stride, padding, dilation, groups), algorithm, out)


def conv2d_grad_input(
    input_size: Any,
    weight: Any,
    grad_output: Any,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    algorithm: str | None = None,
    out: Any = None,
) -> Any:
    """Gradient of `conv2d` with respect to its input (arguments as in torch.nn.grad.conv2d_input).

    input_size: shape of the input, (N, C, H, W) or (C, H, W); weight: (O, C / groups, R, S); grad_output: the shape of
    conv2d's result. Returns an array of shape input_size. Errors as for conv2d.
    """
    return input_gradient(2, input_size, weight, grad_output, (stride, padding, dilation, groups), algorithm, out)


def conv3d_grad_input(
    input_size: Any,
    weight: Any,
    grad_output: Any,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    algorithm: str | None = None,
    out: Any = None,
) -> Any:
    """Gradient of `conv3d` with respect to its input (arguments as in torch.nn.grad.conv3d_input).

    input_size: shape of the input, (N, C, D, H, W) or (C, D, H, W); weight: (O, C / groups, T, R, S); grad_output: the
    shape of conv3d's result. Returns an array of shape input_size. Errors as for conv3d.
    """
    return input_gradient(3, input_size, weight, grad_output, (stride, padding, dilation, groups), algorithm, out)


def conv1d_grad_weight(
    input: Any,
    weight_size: Any,
    grad_output: Any,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    algorithm: str | None = None,
    out: Any = None,
) -> Any:
    """Gradient of `conv1d` with respect to its weight (arguments as in torch.nn.grad.conv1d_weight).

    input: (N, C, L) or (C, L); weight_size: (O, C / groups, S); grad_output: the shape of conv1d's result.
    Returns an array of shape weight_size. Errors as for conv1d.
    """
    return weight_gradient(1, input, weight_size, grad_output, (stride, padding, dilation, groups), algorithm, out)


def conv2d_grad_weight(
    input: Any,
    weight_size: Any,
    grad_output: Any,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    algorithm: str | None = None,
    out: Any = None,
) -> Any:
    """Gradient of `conv2d` with respect to its weight (arguments as in torch.nn.grad.conv2d_weight).

    input: (N, C, H, W) or (C, H, W); weight_size: (O, C / groups, R, S); grad_output: the shape of conv2d's result.
    Returns an array of shape weight_size. Errors as for conv2d.
    """
    return weight_gradient(2, input, weight_size, grad_output, (stride, padding, dilation, groups), algorithm, out)


def conv3d_grad_weight(
    input: Any,
    weight_size: Any,
    grad_output: Any,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    algorithm: str | None = None,
    out: Any = None,
) -> Any:
    """Gradient of `conv3d` with respect to its weight (arguments as in torch.nn.grad.conv3d_weight).

    input: (N, C, D, H, W) or (C, D, H, W); weight_size: (O, C / groups, T, R, S); grad_output: the shape of
    conv3d's result. Returns an array of shape weight_size. Errors as for conv3d.
    """
    return weight_gradient(3, input, weight_size, grad_output, (stride, padding, dilation, groups), algorithm, out)


def conv1d_grad_bias(grad_output: Any) -> Any:
    """Gradient of `conv1d` with respect to its bias: grad_output (N, O, OL) or (O, OL) summed to (O,)."""
    check.floating("conv1d_grad_bias", grad_output=grad_output)
    check.map_shape("conv1d_grad_bias", "grad_output", grad_output.shape, 1)
    return bias_gradient(grad_output, 1)


def conv2d_grad_bias(grad_output: Any) -> Any:
    """Gradient of `conv2d` with respect to its bias: grad_output (N, O, OH, OW) or (O, OH, OW) summed to (O,)."""
    check.floating("conv2d_grad_bias", grad_output=grad_output)
    check.map_shape("conv2d_grad_bias", "grad_output", grad_output.shape, 2)
    return bias_gradient(grad_output, 2)


def conv3d_grad_bias(grad_output: Any) -> Any:
    """Gradient of `conv3d` with respect to its bias: grad_output (N, O, OD, OH, OW), N optional, summed to (O,)."""
    check.floating("conv3d_grad_bias", grad_output=grad_output)
    check.map_shape("conv3d_grad_bias", "grad_output", grad_output.shape, 3)
    return bias_gradient(grad_output, 3)
