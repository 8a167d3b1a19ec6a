# SPDX-License-Identifier: BSD-3-Clause
"""The reference of batch normalization, softmax and cross-entropy: central differences and PyTorch."""

from typing import Any

import numpy as np
import oracle
import pytest
from oracle import assert_close, normal

from cnnkern import reference

NORM_SHAPES = [(5, 3), (4, 2, 3), (2, 3, 4, 5), (3, 1, 1, 2), (1, 2, 3, 1)]


class TestBatchNorm:
    @pytest.mark.parametrize("affine", [True, False])
    @pytest.mark.parametrize("shape", NORM_SHAPES, ids=str)
    def test_training(self, shape: tuple[int, ...], affine: bool) -> None:
        x, c = 3 * normal(*shape) + 2, shape[1]
        weight, bias = (normal(c), normal(c, seed=1)) if affine else (None, None)
        running_mean, running_var = normal(c, seed=2), normal(c, seed=3) ** 2
        start = running_mean.copy(), running_var.copy()
        y, mean, rstd = reference.batch_norm_training(x, weight, bias, running_mean, running_var, momentum=0.3)
        dy = normal(*shape, seed=4)
        dx, dweight, dbias = reference.batch_norm_grad(dy, x, mean, rstd, weight)
        oracle.assert_gradient(lambda x: reference.batch_norm_training(x, weight, bias)[0], x, dy, dx)
        ones, zeros = np.ones(c), np.zeros(c)
        oracle.assert_gradient(lambda w: reference.batch_norm_training(x, w, zeros)[0], ones, dy, dweight)
        oracle.assert_gradient(lambda b: reference.batch_norm_training(x, ones, b)[0], zeros, dy, dbias)

        torch = oracle.torch_or_skip()
        tx = torch.tensor(x, requires_grad=True)
        tensors = [None if a is None else torch.tensor(a, requires_grad=True) for a in (weight, bias)]
        torch_running = [torch.tensor(a) for a in start]
        expected = torch.nn.functional.batch_norm(tx, *torch_running, *tensors, training=True, momentum=0.3)
        expected.backward(torch.tensor(dy))
        assert_close(y, expected)
        assert_close(dx, tx.grad)
        assert_close(running_mean, torch_running[0])
        assert_close(running_var, torch_running[1])
        if affine:
            assert_close(dweight, tensors[0].grad)
            assert_close(dbias, tensors[1].grad)

    @pytest.mark.parametrize("shape", NORM_SHAPES, ids=str)
    def test_inference(self, shape: tuple[int, ...]) -> None:
        x, c = normal(*shape), shape[1]
        mean, var, weight, bias = normal(c), normal(c, seed=1) ** 2, normal(c, seed=2), normal(c, seed=3)
        y = reference.batch_norm(x, mean, var, weight, bias, eps=1e-3)
        dy = normal(*shape, seed=4)
        gradients = reference.batch_norm_grad(dy, x, mean, 1 / np.sqrt(var + 1e-3), weight, training=False)
        oracle.assert_gradient(
            lambda x: reference.batch_norm(x, mean, var, weight, bias, eps=1e-3), x, dy, gradients[0]
        )
        torch = oracle.torch_or_skip()
        tensors = [torch.tensor(a, requires_grad=i != 1 and i != 2) for i, a in enumerate((x, mean, var, weight, bias))]
        expected = torch.nn.functional.batch_norm(*tensors, eps=1e-3)
        assert_close(y, expected)
        expected.backward(torch.tensor(dy))
        for gradient, tensor in zip(gradients, (tensors[0], *tensors[3:]), strict=True):
            assert_close(gradient, tensor.grad)

    def test_activation(self) -> None:
        x = normal(4, 3, 2)
        plain = reference.batch_norm_training(x)[0]
        assert (reference.batch_norm_training(x, activation="relu")[0] == np.maximum(plain, 0)).all()
        zeros, ones = np.zeros(3), np.ones(3)
        clamped = reference.batch_norm(x, zeros, ones, eps=0.0, activation="clamp", low=-0.25, high=0.5)
        assert_close(clamped, np.clip(x, -0.25, 0.5))

    def test_running_arrays_keep_their_type(self) -> None:
        running = np.zeros(2, np.float32)
        reference.batch_norm_training(np.full((3, 2), 5.0), running_mean=running)
        assert running.dtype == np.float32
        assert running.tolist() == [0.5, 0.5]

    def test_empty_batch(self) -> None:
        running_mean, running_var = np.zeros(3), np.ones(3)
        x = np.zeros((0, 3, 4, 4))
        y, mean, rstd = reference.batch_norm_training(x, None, None, running_mean, running_var)
        assert y.shape == x.shape
        assert (running_mean == 0).all() and (running_var == 1).all()
        assert [a.shape for a in reference.batch_norm_grad(y, x, mean, rstd)] == [x.shape, (3,), (3,)]


class TestSoftmax:
    @pytest.mark.parametrize("name", ["softmax", "log_softmax"])
    @pytest.mark.parametrize(
        ("shape", "axis"), [((3, 5), 1), ((2, 4, 3), 1), ((2, 3, 2, 4), -1), ((4, 1), 1), ((5, 2), 0)]
    )
    def test_gradient_and_torch(self, name: str, shape: tuple[int, ...], axis: int) -> None:
        function, gradient = getattr(reference, name), getattr(reference, name + "_grad")
        x, dy = 3 * normal(*shape), normal(*shape, seed=1)
        y = function(x, axis=axis)
        dx = gradient(dy, y, axis=axis)
        oracle.assert_gradient(lambda x: function(x, axis=axis), x, dy, dx)
        torch = oracle.torch_or_skip()
        tx = torch.tensor(x, requires_grad=True)
        expected = getattr(torch.nn.functional, name)(tx, dim=axis)
        assert_close(y, expected)
        expected.backward(torch.tensor(dy))
        assert_close(dx, tx.grad)

    @pytest.mark.parametrize("name", ["softmax", "log_softmax"])
    def test_special_values(self, name: str) -> None:
        torch = oracle.torch_or_skip()
        inf, nan = np.inf, np.nan
        x = np.array([[1e4, 0, -1e4], [-inf, 0, 1], [-inf, -inf, -inf], [inf, 0, 0], [nan, 0, 1], [1e308, -1e308, 0]])
        with np.errstate(over="ignore"):
            assert_close(
                getattr(reference, name)(x, axis=1), getattr(torch.nn.functional, name)(torch.tensor(x), dim=1)
            )

    def test_empty(self) -> None:
        assert reference.softmax(np.zeros((0, 3)), axis=1).shape == (0, 3)
        assert reference.log_softmax(np.zeros((0, 3)), axis=1).shape == (0, 3)


class TestCrossEntropy:
    @pytest.mark.parametrize("label_smoothing", [0.0, 0.2, None], ids=["plain", "smoothed", "log-probabilities"])
    @pytest.mark.parametrize("weighted", [False, True])
    @pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
    @pytest.mark.parametrize("shape", [(5, 4), (1, 1), (3, 4, 2), (2, 3, 2, 3)], ids=str)
    def test_gradient_and_torch(
        self, shape: tuple[int, ...], reduction: str, weighted: bool, label_smoothing: float | None
    ) -> None:
        logits, classes = 2 * normal(*shape), shape[1]
        target = np.random.default_rng(0).integers(0, classes, (shape[0], *shape[2:])).astype(np.int32)
        if target.size > 2:
            target.flat[1] = -7
        weight = np.random.default_rng(1).uniform(0.1, 2, classes) if weighted else None
        common: dict[str, Any] = {"reduction": reduction, "ignore_index": -7}
        smoothing = {} if label_smoothing is None else {"label_smoothing": label_smoothing}
        attributes = {**common, **(smoothing or {"log_probabilities": True})}
        loss = reference.cross_entropy(logits, target, weight, **attributes)
        dloss = np.asarray(normal(*loss.shape, seed=2))
        dx = reference.cross_entropy_grad(dloss, logits, target, weight, **attributes)
        oracle.assert_gradient(lambda x: reference.cross_entropy(x, target, weight, **attributes), logits, dloss, dx)
        torch = oracle.torch_or_skip()
        tx = torch.tensor(logits, requires_grad=True)
        function = torch.nn.functional.cross_entropy if smoothing else torch.nn.functional.nll_loss
        weights = None if weight is None else torch.tensor(weight)
        expected = function(tx, torch.tensor(target, dtype=torch.long), weights, **common, **smoothing)
        assert_close(loss, expected)
        expected.backward(torch.tensor(dloss))
        assert_close(dx, tx.grad)

    def test_nothing_counts(self) -> None:
        logits, target = normal(2, 3), np.full(2, -100, np.int32)
        assert np.isnan(reference.cross_entropy(logits, target))
        assert (reference.cross_entropy_grad(np.array(1.0), logits, target) == 0).all()
        assert reference.cross_entropy(logits, target, reduction="sum") == 0

    def test_empty_batch(self) -> None:
        logits, target = np.zeros((0, 3)), np.zeros(0, np.int32)
        assert np.isnan(reference.cross_entropy(logits, target))
        assert reference.cross_entropy(logits, target, reduction="none").shape == (0,)
        assert reference.cross_entropy_grad(np.array(1.0), logits, target).shape == (0, 3)

    @pytest.mark.parametrize("bad", [3, -1])
    def test_target_out_of_range(self, bad: int) -> None:
        with pytest.raises(IndexError, match=r"0 \.\. 2"):
            reference.cross_entropy(np.zeros((1, 3)), np.array([bad], np.int32))
