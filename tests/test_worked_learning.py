# SPDX-License-Identifier: BSD-3-Clause
"""The figures of the course on learning: perceptron, initial values, networks of two layers, early stopping."""

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cnnkern import functional, models, nn, train

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

    @pytest.mark.parametrize("shape", [(20, 5, 3, 3), (300, 4, 3, 3), (7, 7)])
    def test_orthogonal(self, shape: tuple[int, ...]) -> None:
        w = nn.init.orthogonal(shape, 0, gain=2.0)
        matrix = w.reshape(shape[0], -1).astype(np.float64)
        product = matrix @ matrix.T if len(matrix) <= matrix.shape[1] else matrix.T @ matrix
        np.testing.assert_allclose(product, 4 * np.eye(len(product)), atol=1e-5)
        assert w.dtype == np.float32 and (w == nn.init.orthogonal(shape, 0, gain=2.0)).all()
        draws = [nn.init.orthogonal((1, 1), seed).item() for seed in range(40)]
        assert sorted(set(draws)) == [-1.0, 1.0]  # both signs: uniform among all such matrices

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


class TestOptimizers:
    """One weight w = 5, whose gradients are given."""

    @staticmethod
    def weights(optimizer: train.Optimizer, gradients: tuple[float, ...]) -> list[float]:
        model = nn.Linear(1, 1, bias=False)
        model.weight[...] = 5.0
        # The output is w x and the loss is the output, so that the gradient is x.
        trainer = train.Trainer(model, lambda output, _: functional.reshape(output, ()), optimizer)
        found = []
        for gradient in gradients:
            trainer.step(np.array([[gradient]], np.float32), np.zeros(1, np.float32))
            found.append(model.weight.item())
        return found

    def test_momentum_as_an_average(self) -> None:
        """m <- b m + (1 - b) g, w <- w - lr m: m is -10, then -8.5."""
        optimizer = train.Momentum(0.1, 0.5, averaged=True)
        assert self.weights(optimizer, (-20.0, -7.0)) == pytest.approx([6.0, 6.85], rel=1e-6)
        (state,) = optimizer.state_dict()["state"].values()
        assert state["buffer"].item() == pytest.approx(-8.5)

    def test_classical_momentum(self) -> None:
        assert self.weights(train.Momentum(0.05, 0.5), (-20.0, -7.0)) == pytest.approx([6.0, 6.85], rel=1e-6)
        assert self.weights(train.SGD(0.05, 0.5), (-20.0, -7.0)) == pytest.approx([6.0, 6.85], rel=1e-6)
        nesterov = self.weights(train.Nesterov(0.1, 0.5), (-2.0, 1.0))
        assert nesterov == pytest.approx([5 + 0.1 * 3.0, 5 + 0.1 * 3.0 - 0.1 * (1.0 + 0.5 * 0.0)], rel=1e-6)

    def test_gradient_descent(self) -> None:
        assert self.weights(train.GradientDescent(0.1), (-20.0, -7.0)) == pytest.approx([7.0, 7.7], rel=1e-6)

    GRADIENTS = (-20.0, -7.0, 3.0)

    def test_adagrad_and_rmsprop(self) -> None:
        adagrad, rmsprop = [], []
        w, total, v, mean = 5.0, 0.0, 5.0, 0.0
        for g in self.GRADIENTS:
            total += g * g
            w -= 0.1 * g / (math.sqrt(total) + 1e-10)
            mean = 0.9 * mean + 0.1 * g * g
            v -= 0.1 * g / (math.sqrt(mean) + 1e-8)
            adagrad.append(w)
            rmsprop.append(v)
        assert self.weights(train.AdaGrad(0.1), self.GRADIENTS) == pytest.approx(adagrad, rel=1e-6)
        assert self.weights(train.RMSProp(0.1, 0.9), self.GRADIENTS) == pytest.approx(rmsprop, rel=1e-6)

    def test_adam(self) -> None:
        expected, w, m, v = [], 5.0, 0.0, 0.0
        for t, g in enumerate(self.GRADIENTS, start=1):
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
            w -= 0.1 * (m / (1 - 0.9**t)) / (math.sqrt(v / (1 - 0.999**t)) + 1e-8)
            expected.append(w)
        assert self.weights(train.Adam(0.1), self.GRADIENTS) == pytest.approx(expected, rel=1e-6)

    def test_penalties(self) -> None:
        """lambda (alpha sum |w| + (1 - alpha) / 2 sum w^2)."""
        w = np.array([[1.0, -2.0], [0.5, 0.0]], np.float32)
        for penalty, expected in (
            (train.L1(0.1), 0.1 * 3.5),
            (train.L2(0.1), 0.1 * 5.25 / 2),
            (train.ElasticNet(0.1, 0.25), 0.1 * (0.25 * 3.5 + 0.375 * 5.25)),
        ):
            assert float(penalty([w, np.ones(2, np.float32)])) == pytest.approx(expected, rel=1e-6)
        assert train.L1(0.0)([w]) is None and train.L2(0.1)([]) is None
