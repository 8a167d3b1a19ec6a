# SPDX-License-Identifier: BSD-3-Clause
"""The figures of the course on learning: perceptron, initial values, networks of two layers, early stopping."""

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cnnkern import models, nn, train

AND = [0, 0, 0, 1]
XOR = [0, 1, 1, 0]
GATE = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)


class TestPerceptron:
    def test_and_gate(self) -> None:
        unit = models.perceptron(2, threshold=1.0)
        unit.weight[...] = [[1.2, 0.6]]
        assert unit(np.array([[1, 0]], np.float32)).item() == pytest.approx(0.2)  # 1.2 - 1: it fires, and must not
        assert [unit.update(x, target, lr=0.5) for x, target in zip(GATE, AND, strict=True)] == [0, 0, 1, 1]
        np.testing.assert_allclose(unit.weight, [[0.7, 0.6]], rtol=1e-6)
        assert unit.predict(GATE).tolist() == AND

    def test_and_gate_is_learned_in_one_more_pass(self) -> None:
        unit = models.perceptron(2, threshold=1.0)
        unit.weight[...] = [[1.2, 0.6]]
        assert unit.learn(GATE, AND, lr=0.5, epochs=2) == 0

    def test_one_neuron_cannot_learn_xor(self) -> None:
        unit = models.perceptron(2)
        assert unit.learn(GATE, XOR, lr=0.5, epochs=200, learn_threshold=True) > 0
        assert unit.learn(GATE, AND, lr=0.5, epochs=200, learn_threshold=True) == 0  # but what can be separated


class TestInitialValues:
    SHAPE = (300, 40, 3, 3)  # fan_in 360, fan_out 2700

    @pytest.mark.parametrize("distribution", ["normal", "uniform"])
    @pytest.mark.parametrize(
        ("method", "arguments", "variance"),
        [
            ("xavier", {"normalized": False}, 1 / 360),
            ("xavier", {}, 2 / (360 + 2700)),
            ("he", {}, 2 / 360),
        ],
    )
    def test_variance(self, method: str, arguments: dict[str, Any], variance: float, distribution: str) -> None:
        w = getattr(nn.init, method)(self.SHAPE, 0, distribution=distribution, **arguments)
        assert w.dtype == np.float32 and w.shape == self.SHAPE
        assert abs(w.mean()) < 5 * math.sqrt(variance / w.size)
        assert w.astype(np.float64).var() == pytest.approx(variance, rel=0.03)
        if distribution == "uniform":
            assert abs(w).max() <= math.sqrt(3 * variance) * (1 + 1e-6)
        else:
            assert abs(w).max() > 3.5 * math.sqrt(variance)

    def test_zero_and_random_normal(self) -> None:
        assert (nn.init.zeros((4, 5)) == 0).all()
        w = nn.init.normal((500, 400), std=0.02, rng=0)
        assert w.std() == pytest.approx(0.02, rel=0.02)
        assert (w == nn.init.normal((500, 400), std=0.02, rng=0)).all()


def fitted(model: nn.Module, labels: list[int], epochs: int) -> nn.Module:
    train.fit(
        model,
        (GATE, np.array(labels)),
        epochs=epochs,
        batch_size=4,
        optimizer=train.Adam(0.05),
        seed=0,
        progress=False,
    )
    return model


def test_two_layers_learn_xor() -> None:
    model = fitted(models.mlp(2, (8,), 2, activation="tanh", seed=0), XOR, 200)
    assert train.predict(model, GATE).argmax(axis=1).tolist() == XOR


def test_zero_leaves_units_symmetrical() -> None:
    """Hidden units that start alike get the same gradient, so they stay alike: no more than one unit."""

    def hidden_weights(model: nn.Module) -> Any:
        return next(array for array in fitted(model, AND, 30).parameters() if array.shape == (4, 2))

    model = models.mlp(2, (4,), 2, activation="sigmoid", seed=0)
    nn.init.initialize(model, nn.init.zeros)
    weights = hidden_weights(model)
    assert abs(weights).max() > 0.01
    assert (weights == weights[0]).all()
    weights = hidden_weights(models.mlp(2, (4,), 2, activation="sigmoid", seed=0))
    assert not (weights == weights[0]).any(axis=1)[1:].any()


def test_early_stopping() -> None:
    """min_delta 0.05, patience 2: from 0.80 on, nothing better by 0.05 comes for two epochs."""
    stopping = train.EarlyStopping(monitor="val_loss", min_delta=0.05, patience=2)
    training: Any = SimpleNamespace(stop=False, model=models.perceptron(2))
    stopping.set_training(training)
    stopping.on_train_begin({})
    stopped = []
    for epoch, loss in enumerate((1.0, 0.9, 0.80, 0.79, 0.76)):
        stopping.on_epoch_end(epoch, {"val_loss": loss})
        stopped.append(training.stop)
    assert stopped == [False, False, False, False, True]
    assert (stopping.best, stopping.best_epoch, stopping.stopped_epoch) == (0.80, 2, 4)
