# SPDX-License-Identifier: BSD-3-Clause
"""Activations and dropouts as layers: PyTorch's results, gradients and names, eager, compiled and trained."""

from typing import Any

import numpy as np
import pytest
from oracle import torch_or_skip

import cnnkern
from cnnkern import functional, graph, nn
from cnnkern.functional.shape import sum_axes

MAPS, ROWS = (2, 6, 5, 4), (3, 8)
LAYERS: list[tuple[str, tuple[Any, ...], dict[str, Any], tuple[int, ...]]] = [
    ("ReLU", (), {"inplace": False}, MAPS),
    ("ReLU6", (), {}, MAPS),
    ("LeakyReLU", (0.2,), {"inplace": False}, MAPS),
    ("PReLU", (), {}, MAPS),
    ("PReLU", (6,), {"init": 0.5}, MAPS),
    ("PReLU", (8,), {}, ROWS),
    ("Hardtanh", (-0.5,), {"max_val": 0.25}, MAPS),
    ("Hardsigmoid", (), {"inplace": False}, MAPS),
    ("Hardswish", (), {"inplace": False}, MAPS),
    ("Hardshrink", (0.25,), {}, MAPS),
    ("Softshrink", (0.25,), {}, MAPS),
    ("Threshold", (0.1, 20), {"inplace": False}, MAPS),
    ("Sigmoid", (), {}, MAPS),
    ("Tanh", (), {}, MAPS),
    ("SiLU", (), {"inplace": False}, MAPS),
    ("GELU", (), {}, MAPS),
    ("GELU", (), {"approximate": "tanh"}, MAPS),
    ("Mish", (), {"inplace": False}, MAPS),
    ("ELU", (0.5,), {"inplace": False}, MAPS),
    ("SELU", (), {"inplace": False}, MAPS),
    ("CELU", (0.5,), {}, MAPS),
    ("Softplus", (2.0,), {"threshold": 3.0}, MAPS),
    ("LogSigmoid", (), {}, MAPS),
    ("Softsign", (), {}, MAPS),
    ("Tanhshrink", (), {}, MAPS),
    ("GLU", (1,), {}, MAPS),
    ("GLU", (), {}, ROWS),
    ("Softmax", (1,), {}, MAPS),
    ("Softmin", (1,), {}, MAPS),
    ("LogSoftmax", (1,), {}, ROWS),
]
RANDOM: list[tuple[str, tuple[Any, ...], tuple[int, ...]]] = [
    ("Dropout", (0.3,), (40, 6, 5, 4)),
    ("Dropout1d", (0.3,), (200, 6, 5)),
    ("Dropout2d", (0.3,), (200, 6, 5, 4)),
    ("Dropout3d", (0.3,), (200, 6, 1, 5, 4)),
    ("StochasticDepth", (0.3, "row"), (900, 2, 3)),
    ("RReLU", (0.1, 0.5), (40, 6, 5, 4)),
    ("AlphaDropout", (0.3,), (40, 6, 5, 4)),
    ("FeatureAlphaDropout", (0.3,), (200, 6, 5)),
]


def numbers(*shape: int) -> np.ndarray[Any, Any]:
    """Every third is 0, where slopes differ from side to side."""
    x = np.random.default_rng(len(shape)).standard_normal(shape, np.float32)
    x.flat[::3] = 0
    return np.asarray(x)


class Weighted(nn.Module):
    """A learned factor before a layer: its gradient is that of the layer's input."""

    def __init__(self, layer: nn.Module, x: np.ndarray[Any, Any]) -> None:
        self.layer = layer
        self.register_parameter("x", x)

    def forward(self, factor: Any) -> Any:
        return self.layer(functional.multiply(factor, self.x))


@pytest.mark.parametrize(("name", "arguments", "options", "shape"), LAYERS)
def test_layer_is_pytorchs(
    name: str, arguments: tuple[Any, ...], options: dict[str, Any], shape: tuple[int, ...]
) -> None:
    torch = torch_or_skip()
    layer, theirs = getattr(nn, name)(*arguments, **options), getattr(torch.nn, name)(*arguments, **options)
    for key, value in theirs.state_dict().items():
        np.testing.assert_array_equal(layer.state_dict()[key], value.numpy())
    assert set(layer.state_dict()) == set(theirs.state_dict())
    x = numbers(*shape)
    inputs = torch.from_numpy(x.copy()).requires_grad_()
    outputs = theirs(inputs)
    want = outputs.detach().numpy()
    np.testing.assert_allclose(layer(x), want, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(cnnkern.compile(layer.eval(), shape)(x), want, rtol=1e-5, atol=1e-6)

    model, targets = Weighted(layer.train(), x), np.random.default_rng(1).standard_normal(want.shape, np.float32)
    value, gradients = cnnkern.value_and_grad(model, "mse")(np.ones(shape, np.float32), targets)
    loss = torch.nn.functional.mse_loss(outputs, torch.from_numpy(targets))
    loss.backward()
    assert value == pytest.approx(loss.item(), rel=1e-4)
    np.testing.assert_allclose(gradients["x"], inputs.grad.numpy(), rtol=1e-4, atol=1e-7)
    for key, parameter in theirs.named_parameters():
        np.testing.assert_allclose(gradients[f"layer.{key}"], parameter.grad.numpy(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("name", "arguments", "shape"), RANDOM)
def test_random_layer_acts_in_training_only(name: str, arguments: tuple[Any, ...], shape: tuple[int, ...]) -> None:
    layer, x = getattr(nn, name)(*arguments), -np.ones(shape, np.float32)
    cnnkern.manual_seed(3)
    first, second = layer(x), layer(x)
    assert first.shape == shape and first.dtype == np.float32 and (first != second).any()
    cnnkern.manual_seed(3)
    np.testing.assert_array_equal(layer(x), first)
    share = float(np.mean(first == first.max()))
    if name == "RReLU":
        assert first.min() >= -0.5 and first.max() <= -0.1 and abs(first.mean() + 0.3) < 0.01
    else:
        assert min(abs(share - 0.3), abs(share - 0.7)) < 0.05
    resting = layer.eval()(x)
    np.testing.assert_allclose(resting, -0.3 if name == "RReLU" else x, rtol=1e-6)


@pytest.mark.parametrize(("name", "arguments", "shape"), RANDOM)
def test_random_layer_trains(name: str, arguments: tuple[Any, ...], shape: tuple[int, ...]) -> None:
    """In a plan: the seed decides, and the gradient is not lost."""
    x = np.ones(shape, np.float32) if name != "RReLU" else -np.ones(shape, np.float32)
    model = Weighted(getattr(nn, name)(*arguments), np.ones(shape, np.float32))
    target = np.zeros(shape, np.float32)
    (_, first), (_, again), (_, other) = (cnnkern.value_and_grad(model, "mse", seed=s)(x, target) for s in (1, 1, 2))
    np.testing.assert_array_equal(first["x"], again["x"])
    assert (first["x"] != other["x"]).any()
    assert np.isfinite(first["x"]).all() and first["x"].any()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nn.ReLU(inplace=True), "ReLU: inplace=True is not possible"),
        (lambda: nn.SiLU(True), "SiLU: inplace=True is not possible"),
        (lambda: nn.Dropout2d(0.5, True), "Dropout2d: inplace=True is not possible"),
        (lambda: nn.Dropout1d(1.5), "Dropout1d: p must be in 0 .. 1, found 1.5"),
        (lambda: nn.StochasticDepth(0.5, "column"), "StochasticDepth: mode must be one of batch, row, found 'column'"),
        (lambda: nn.GELU("exact"), "GELU: approximate must be one of none, tanh, found 'exact'"),
        (lambda: nn.CELU(0.0), "CELU: alpha must not be 0"),
        (lambda: nn.Softshrink(-1.0), "Softshrink: lambd must be finite, at least 0, found -1.0"),
        (lambda: nn.RReLU(0.5, 0.1), "RReLU: lower must not be above upper"),
        (lambda: nn.Hardtanh(1.0, -1.0), "Hardtanh: min_val must not be above max_val"),
        (lambda: nn.PReLU(0), "PReLU: num_parameters must be positive, found 0"),
        (lambda: nn.PReLU(5)(np.zeros(MAPS, np.float32)), r"prelu: weight must have shape \(1,\) or \(6,\)"),
    ],
)
def test_layers_refuse(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_hard_gumbel_softmax_has_the_soft_gradient() -> None:
    logits, weight = np.random.default_rng(0).standard_normal((2, 4, 7))

    def differentiate(hard: bool) -> Any:
        def function(x: Any) -> Any:
            record = graph.current_trace()
            assert record is not None
            y = functional.gumbel_softmax(x, 0.7, hard, dim=0, seed=5)
            return y, *graph.gradients(record, sum_axes(functional.multiply(y, weight), (1, 1)), [x])

        return graph.run_numpy(graph.trace(function, [graph.Spec((4, 7), np.float64)]), [logits])

    (soft, want), (hard, got) = differentiate(False), differentiate(True)
    np.testing.assert_array_equal(hard, soft == soft.max(axis=0))
    np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-14)
