# SPDX-License-Identifier: BSD-3-Clause
"""Gradients of gradients of the functions of one element, as PyTorch's in float64 (for gradient penalties)."""

from typing import Any

import numpy as np
import pytest
from case import DEFAULTS
from oracle import torch_or_skip
from torch_ops import FORWARD

from cnnkern.functional.shape import sum_axes
from cnnkern.graph import OPS, Spec, apply, current_trace, gradients, run_numpy, trace

NAMES = [
    *("relu", "leaky_relu", "clamp", "sigmoid", "tanh", "exp", "log", "sqrt", "square", "scale", "negative"),
    *("elu", "silu", "hardswish", "hardsigmoid", "gelu", "gelu_tanh", "mish", "logsigmoid", "softsign", "softplus"),
    *("hardshrink", "softshrink", "threshold", "abs", "power"),
]


@pytest.mark.parametrize("name", NAMES)
def test_second_derivative(name: str) -> None:
    torch = torch_or_skip()
    rng = np.random.default_rng(2)
    x, dy, g = rng.uniform(-4, 4, (3, 50))
    if name in ("log", "sqrt", "power"):
        x = np.abs(x) + 0.1
    attrs: dict[str, Any] = {**DEFAULTS.get(name, {}), **{"power": {"alpha": 1.7}, "elu": {"gamma": 2.0}}.get(name, {})}

    def twice(symbol: Any, weight: Any) -> Any:
        record = current_trace()
        assert record is not None
        y = apply(OPS[name], (symbol,), attrs)[0]
        (slope,) = gradients(record, sum_axes(y * weight, (1,)), [symbol])
        return gradients(record, sum_axes(slope * g, (1,)), [symbol, weight])

    found = run_numpy(trace(twice, [Spec(x.shape, np.float64)] * 2), [x, dy])
    tx, tdy = (torch.tensor(value, requires_grad=True) for value in (x, dy))
    (slope,) = torch.autograd.grad((FORWARD[name](torch, tx, attrs) * tdy).sum(), tx, create_graph=True)
    want = torch.autograd.grad((slope * torch.from_numpy(g)).sum(), [tx, tdy], allow_unused=True)
    for ours, theirs in zip(found, want, strict=True):
        expected = np.zeros(50) if theirs is None else theirs.numpy(force=True)
        np.testing.assert_allclose(np.zeros(50) if ours is None else ours, expected, rtol=1e-9, atol=1e-9)
