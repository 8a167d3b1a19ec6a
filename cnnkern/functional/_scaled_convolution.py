# SPDX-License-Identifier: BSD-3-Clause
"""The 1x1 convolution of pixels that are scaled as they are loaded: an operation that only compiled graphs have."""

from __future__ import annotations

from cnnkern.functional._convolution import core_attrs, infer, macs
from cnnkern.graph import KernelCall, Node, define


def _lower(node: Node) -> list[KernelCall]:
    values = (*node.inputs[:4], *node.outputs, *node.inputs[4:])
    args = [(value, None if value is None else value.shape) for value in values]
    return [KernelCall("conv2d_scaled", core_attrs(node), args)]


# Inputs: those of conv2d (x, weight, bias, residual), then scale (C,), (N, C) or (N, C, 1, 1), shift and centre (C,).
# Attributes: those of conv2d and input_activation, "none" or "relu".
CONV2D_SCALED = define(
    "conv2d_scaled",
    infer,
    lower=_lower,
    macs=lambda node: macs(node.outputs[0].shape, node.inputs[1].shape),
)
