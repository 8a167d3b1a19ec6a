# SPDX-License-Identifier: BSD-3-Clause
"""What the compiled training step fuses, and that its gradients stay those of the reference."""

from __future__ import annotations

import numpy as np
import pytest

from cnnkern import nn, train
from cnnkern.engine.training import optimize_training
from cnnkern.train.step import gradient_graph

ACTIVATIONS = [nn.ReLU, nn.LeakyReLU, nn.ReLU6, nn.SiLU, nn.Hardswish, nn.Sigmoid, nn.Hardsigmoid]


def network(activation: type[nn.Module]) -> nn.Module:
    parts = [nn.Conv2d(3, 17, 3, padding=1, bias=False), nn.BatchNorm2d(17), activation(), nn.Conv2d(17, 5, 3)]
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def batch() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((4, 3, 9, 11)), rng.integers(0, 5, 4)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_an_activation_after_batch_norm_leaves_nothing_behind(activation: type[nn.Module]) -> None:
    x, y = batch()
    model = network(activation)
    nodes = optimize_training(gradient_graph(model, x.astype(np.float32), y)).nodes
    names = [node.op.name for node in nodes]
    assert names.count("conv2d") == 2 and "batch_norm_training" in names
    (gradient,) = (node for node in nodes if node.op.name == "batch_norm_grad")
    (forward,) = (node for node in nodes if node.op.name == "batch_norm_training")
    assert gradient.attrs["activation"] == forward.attrs["activation"] != "none"
    elementwise = {"relu", "leaky_relu", "clamp", "silu", "hardswish", "sigmoid", "hardsigmoid"}
    assert not elementwise & {name.removesuffix("_grad") for name in names}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradients_are_those_of_the_reference(activation: type[nn.Module], training: bool) -> None:
    x, y = batch()
    model = network(activation)
    model.train(training)
    gradient = train.value_and_grad(model)
    loss, exact = gradient(x, y)
    found_loss, found = gradient(x.astype(np.float32), y)
    assert found_loss == pytest.approx(loss, rel=1e-6)
    for name, value in exact.items():
        assert np.abs(found[name] - value).max() <= 1e-5 * max(np.abs(value).max(), 1e-3), name


def test_a_result_that_is_read_elsewhere_stays() -> None:
    """The sum of two readers' gradients is not the gradient of an activation alone."""

    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.act, self.conv = nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 5, 1)

        def forward(self, x: object) -> object:
            normal = self.norm(x)
            return nn.Flatten()(nn.AdaptiveAvgPool2d(1)(self.conv(self.act(normal)) + self.conv(normal)))

    x, y = batch()
    gradient = train.value_and_grad(Both())
    exact, found = gradient(x, y)[1], gradient(x.astype(np.float32), y)[1]
    for name, value in exact.items():
        assert np.abs(found[name] - value).max() <= 1e-5 * max(np.abs(value).max(), 1e-3), name
