# SPDX-License-Identifier: BSD-3-Clause
"""The interpreter that is the oracle of whole networks."""

from __future__ import annotations

import io
import warnings
from typing import Any

import numpy as np
import oracle
import pytest
from torch_graph import as_module, gradients, traced
from torch_ops import FORWARD

from cnnkern import functional as F
from cnnkern import graph, models, nn, train


def test_every_forward_operation_has_a_counterpart() -> None:
    steps = {name for name, op in graph.OPS.items() if name.endswith("_step")}
    backward = {
        name for name in graph.OPS if "_grad" in name and not (name[:4] == "conv" and name.endswith("_grad_input"))
    }
    assert set(graph.OPS) - steps - backward == set(FORWARD)


def test_names_are_those_of_the_state_dict() -> None:
    torch = oracle.torch_or_skip()
    model = models.resnet18(num_classes=10, seed=0).eval()
    module = as_module(torch, model, traced(model, [(1, 3, 32, 32)]))
    ours, theirs = model.state_dict(), module.state_dict()
    assert set(ours) == set(theirs)
    assert all(np.array_equal(ours[name], theirs[name].numpy()) for name in ours)


class Branches(nn.Module):
    """Two outputs, one of them of a view; a constant that is no parameter."""

    def __init__(self) -> None:
        self.conv = nn.Conv2d(3, 5, 3, stride=2, padding="valid", rng=0)
        self.norm = nn.BatchNorm2d(5)
        self.drop = nn.Dropout(0.4)
        self.linear = nn.Linear(5 * 3 * 3, 4, rng=1)

    def forward(self, x: Any) -> Any:
        maps = F.relu(self.norm(self.conv(x)))
        flat = F.flatten(F.multiply(maps, np.full((5, 1, 1), 0.5, x.dtype)), 1)
        return {"maps": F.max_pool2d(maps, 2, ceil_mode=True), "classes": self.linear(self.drop(flat))}


def test_structure_and_training() -> None:
    torch = oracle.torch_or_skip()
    model = Branches().astype(np.float64)
    x = oracle.normal(2, 3, 7, 7)
    target = np.array([1, 3], np.int32)
    rng = np.array([[3, 0]], np.int32)

    def loss(outputs: Any, y: Any) -> Any:
        return F.cross_entropy(outputs["classes"], y) + F.mse_loss(outputs["maps"], F.multiply(outputs["maps"], 0.0))

    specs = [graph.Spec(x.shape, x.dtype), graph.Spec(target.shape, target.dtype)]
    recorded = traced(model, specs, lambda image, y: (loss(model(image), y), model(image)))
    module = as_module(torch, model, recorded, rng).double()
    value, outputs = module(torch.from_numpy(x), torch.from_numpy(target))
    assert set(outputs) == {"maps", "classes"}
    want, found = train.value_and_grad(model, loss, seed=3)(x, target)
    np.testing.assert_allclose(value.item(), want, rtol=1e-12)
    for name, gradient in gradients(module, value).items():
        np.testing.assert_allclose(gradient, found[name], rtol=1e-9, atol=1e-12, err_msg=name)


def test_what_is_missing_is_named() -> None:
    torch = oracle.torch_or_skip()
    model = nn.Linear(3, 2, rng=0)
    recorded = train.gradient_graph(model, np.zeros((2, 3), np.float32), np.zeros(2, int))
    with pytest.raises(NotImplementedError, match="cross_entropy_grad"):
        as_module(torch, model, recorded)


def test_the_module_can_be_traced_by_pytorch() -> None:
    torch = oracle.torch_or_skip()
    model = models.resnet18(num_classes=10, seed=0).eval()
    module = as_module(torch, model, traced(model, [(1, 3, 32, 32)])).eval()
    x = torch.from_numpy(oracle.normal(1, 3, 32, 32).astype(np.float32))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracing is deprecated, and what the exporters still take
        script = torch.jit.trace(module, x)
        file = io.BytesIO()
        torch.jit.save(script, file)
    with torch.inference_mode():
        assert torch.equal(script(x), module(x))
    np.testing.assert_allclose(model(x.numpy()), module(x).detach().numpy(), rtol=1e-4, atol=1e-4)
