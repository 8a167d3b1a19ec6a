# SPDX-License-Identifier: BSD-3-Clause
"""The reference of elementwise operations, of moving elements, of optimizers and dropout."""

import numpy as np
import oracle
import pytest
from oracle import assert_close, normal
from torch_ops import FORWARD

from cnnkern import reference

# name -> (attributes, whether the gradient takes y instead of x, domain)
UNARY: dict[str, tuple[dict[str, float], bool, tuple[float, float]]] = {
    "relu": ({}, False, (-2, 2)),
    "leaky_relu": ({"slope": 0.3}, False, (-2, 2)),
    "clamp": ({"low": -0.75, "high": 1.25}, False, (-2, 2)),
    "sigmoid": ({}, True, (-6, 6)),
    "tanh": ({}, True, (-3, 3)),
    "exp": ({}, True, (-3, 3)),
    "log": ({}, False, (0.1, 4)),
    "sqrt": ({}, True, (0.1, 4)),
    "square": ({}, False, (-2, 2)),
    "elu": ({"alpha": 1.5, "beta": 0.75, "gamma": 2.0}, False, (-3, 3)),
    "silu": ({}, False, (-6, 6)),
    "hardswish": ({}, False, (-4, 4)),
    "hardsigmoid": ({}, False, (-4, 4)),
    "gelu": ({}, False, (-5, 5)),
    "gelu_tanh": ({}, False, (-5, 5)),
    "mish": ({}, False, (-6, 6)),
    "logsigmoid": ({}, False, (-6, 6)),
    "softsign": ({}, False, (-3, 3)),
    "softplus": ({"alpha": 2.0, "beta": 20.0}, False, (-6, 6)),
    "hardshrink": ({"alpha": 0.5}, False, (-2, 2)),
    "softshrink": ({"alpha": 0.5}, False, (-2, 2)),
    "threshold": ({"alpha": -0.75, "beta": 3.0}, False, (-2, 2)),
    "abs": ({}, False, (-2, 2)),
    "power": ({"alpha": 1.7}, False, (0.1, 4)),
}


class TestElementwise:
    @pytest.mark.parametrize("name", UNARY)
    def test_gradient(self, name: str) -> None:
        attributes, takes_y, (low, high) = UNARY[name]
        x = np.random.default_rng(1).uniform(low, high, (3, 1, 5, 7))
        function, gradient = getattr(reference, name), getattr(reference, name + "_grad")
        y = function(x, **attributes)
        dy = normal(*x.shape)
        dx = gradient(dy, y if takes_y else x, **attributes)
        oracle.assert_gradient(lambda x: function(x, **attributes), x, dy, dx)

    @pytest.mark.parametrize("name", UNARY)
    def test_torch_at_special_values(self, name: str) -> None:
        torch = oracle.torch_or_skip()
        attributes, takes_y, _ = UNARY[name]
        x = np.array([-np.inf, -800.0, -1.0, -0.75, -0.0, 0.0, 1.25, 2.0, 800.0, np.inf, np.nan])
        tx = torch.tensor(x, requires_grad=True)
        if name == "clamp":
            expected = torch.nn.functional.hardtanh(tx, attributes["low"], attributes["high"])
        elif name == "elu":
            expected = torch.ops.aten.elu(tx, *attributes.values())
        else:
            expected = FORWARD[name](torch, tx, attributes)
        y = getattr(reference, name)(x, **attributes)
        assert_close(y, expected)
        expected.backward(torch.full_like(tx, 3.0))
        saved = y if takes_y else x
        dx = getattr(reference, name + "_grad")(np.full_like(x, 3.0), saved, **attributes)
        some = np.isfinite(x) | (name != "softsign")  # where PyTorch divides infinities, the limit is 0
        assert_close(dx[some], tx.grad.numpy()[some])

    def test_kinks_and_nan(self) -> None:
        x, one = np.array([0.0, np.nan]), np.ones(2)
        assert np.isnan(reference.relu(x)).tolist() == [False, True]
        assert np.isnan(reference.clamp(x, low=-1, high=1)).tolist() == [False, True]
        assert reference.relu_grad(one, x).tolist() == [0.0, 1.0]
        assert reference.leaky_relu_grad(one, x, slope=0.25).tolist() == [0.25, 0.25]

    def test_scale_and_negative(self) -> None:
        x = normal(3, 4)
        assert_close(reference.scale(x, alpha=-2.5, beta=0.5), -2.5 * x + 0.5)
        assert (reference.negative(x) == -x).all()

    @pytest.mark.parametrize(
        "shapes", [((2, 3), (2, 3)), ((2, 3, 4), (1, 3, 1)), ((1, 5), (4, 1)), ((3,), ()), ((4, 3), (3,))]
    )
    def test_binary(self, shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
        a, b = (np.random.default_rng(len(shape)).integers(-9, 9, shape) for shape in shapes)
        b = np.where(b == 0, 1, b)
        for name, operator in (("add", np.add), ("subtract", np.subtract), ("multiply", np.multiply)):
            y = getattr(reference, name)(a, b)
            assert y.dtype == np.int64
            assert (y == operator(a, b)).all()
            assert (getattr(reference, name)(a.astype(np.float32), b) == operator(a, b)).all()
        assert (reference.divide(a, b) == a / b).all()

    def test_division_by_zero_is_silent(self) -> None:
        y = reference.divide(np.array([1.0, -1.0, 0.0]), np.zeros(3))
        assert y[:2].tolist() == [np.inf, -np.inf] and np.isnan(y[2])

    @pytest.mark.parametrize("target", [(2, 3, 4), (1, 3, 1), (2, 1, 4), (1, 1, 1)])
    def test_sum_to_is_the_gradient_of_broadcasting(self, target: tuple[int, ...]) -> None:
        x, dy = normal(*target), normal(2, 3, 4)
        oracle.assert_gradient(lambda x: np.broadcast_to(x, (2, 3, 4)), x, dy, reference.sum_to(dy, shape=target))

    @pytest.mark.parametrize("target", [(2, 3, 4), (1, 3, 1), (2, 1, 4), (1, 1, 1)])
    def test_expand_is_the_gradient_of_sum_to(self, target: tuple[int, ...]) -> None:
        x, dy, factor = normal(2, 3, 4), normal(*target), np.full((1, 1, 1), 0.3)
        dx = reference.expand(dy, factor, shape=(2, 3, 4))
        oracle.assert_gradient(lambda x: reference.sum_to(x, shape=target, scale=0.3), x, dy, dx)
        assert reference.expand(np.ones((1, 2), np.int64), np.array([[3]]), shape=(2, 2)).tolist() == [[3, 3], [3, 3]]

    def test_sum_to_scale_and_errors(self) -> None:
        x = np.arange(6).reshape(2, 3)
        assert reference.sum_to(x, shape=(1, 3)).dtype == np.int64
        assert reference.sum_to(x, shape=(1, 1), scale=1 / 6).tolist() == [[2.5]]
        for shape in ((2,), (1, 2), (2, 3, 1)):
            with pytest.raises(ValueError, match="sum"):
                reference.sum_to(x, shape=shape)


class TestShape:
    def test_reshape_and_concat(self) -> None:
        x = np.arange(24).reshape(2, 3, 4)
        assert (reference.reshape(x, shape=(4, 6)) == np.arange(24).reshape(4, 6)).all()
        parts = [normal(2, c, 3) for c in (1, 4, 2)]
        assert (reference.concat(*parts, axis=1) == np.concatenate(parts, 1)).all()
        assert reference.concat(x, x, axis=-1).dtype == np.int64

    def test_slice_undoes_concat(self) -> None:
        parts = [normal(2, c, 3) for c in (1, 4, 2)]
        whole = reference.concat(*parts, axis=1)
        assert (reference.slice(whole, axis=1, start=1, stop=5) == parts[1]).all()
        assert (reference.slice(whole, axis=-2, start=5, stop=7) == parts[2]).all()

    def test_pad(self) -> None:
        x = np.arange(1, 7).reshape(2, 3)
        assert reference.pad(x, padding=((1, 0), (0, 2)), value=-1).tolist() == [
            [-1, -1, -1, -1, -1],
            [1, 2, 3, -1, -1],
            [4, 5, 6, -1, -1],
        ]
        assert reference.pad(x, padding=((-1, 1), (1, -2)), value=0).tolist() == [[0, 4], [0, 0]]

    def test_results_are_new_arrays(self) -> None:
        x = normal(2, 3)
        for y in (
            reference.reshape(x, shape=(6,)),
            reference.slice(x, axis=0, start=0, stop=2),
            reference.pad(x, padding=((0, 0), (0, 0))),
            reference.concat(x, axis=0),
        ):
            assert not np.shares_memory(x, y)
            assert y.flags.c_contiguous


class TestOptimizers:
    @pytest.mark.parametrize("weight_decay", [0.0, 0.1])
    @pytest.mark.parametrize(
        ("momentum", "dampening", "nesterov"),
        [(0.0, 0.0, False), (0.9, 0.0, False), (0.9, 0.5, False), (0.8, 0.0, True)],
    )
    def test_sgd(self, momentum: float, dampening: float, nesterov: bool, weight_decay: float) -> None:
        torch = oracle.torch_or_skip()
        p = normal(3, 5)
        tp = torch.tensor(p, requires_grad=True)
        kwargs = {"momentum": momentum, "dampening": dampening, "nesterov": nesterov, "weight_decay": weight_decay}
        optimizer = torch.optim.SGD([tp], lr=0.1, **kwargs)
        buffer = np.full(p.shape, 7.0) if momentum else None  # 7: the first step must not read it
        for step in range(4):
            gradient = normal(3, 5, seed=step)
            tp.grad = torch.tensor(gradient)
            optimizer.step()
            hyper = np.array([[0.1, step == 0, 0, 0, 0, 0, 0, 0]])
            assert reference.sgd_step(p, gradient, buffer, hyper, **kwargs) is None
            assert_close(p, tp)

    @pytest.mark.parametrize("weight_decay", [0.0, 0.1])
    @pytest.mark.parametrize("decoupled", [False, True])
    def test_adam(self, decoupled: bool, weight_decay: float) -> None:
        torch = oracle.torch_or_skip()
        p = normal(3, 5)
        tp = torch.tensor(p, requires_grad=True)
        kind = torch.optim.AdamW if decoupled else torch.optim.Adam
        optimizer = kind([tp], lr=0.05, betas=(0.8, 0.95), eps=1e-4, weight_decay=weight_decay)
        m, v = np.zeros(p.shape), np.zeros(p.shape)
        for step in range(1, 5):
            gradient = normal(3, 5, seed=step)
            tp.grad = torch.tensor(gradient)
            optimizer.step()
            hyper = np.array([0.05, 1 - 0.8**step, 1 - 0.95**step, 0, 0, 0, 0, 0])
            reference.adam_step(
                p,
                gradient,
                m,
                v,
                hyper,
                beta1=0.8,
                beta2=0.95,
                eps=1e-4,
                weight_decay=weight_decay,
                decoupled=decoupled,
            )
            assert_close(p, tp)

    def test_arrays_keep_their_type(self) -> None:
        p, m, v = (np.zeros(2, np.float32) for _ in range(3))
        reference.adam_step(p, np.ones(2), m, v, np.array([0.5, 0.1, 0.001]))
        assert p.dtype == m.dtype == v.dtype == np.float32
        assert p.tolist() == [-0.5, -0.5]


class TestDropout:
    # From the known-answer file of Random123, the authors' own implementation: counter, key, result.
    @pytest.mark.parametrize(
        ("counter", "key", "result"),
        [
            ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
            ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
            ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
        ],
    )
    def test_philox_known_answers(self, counter: str, key: str, result: str) -> None:
        def words(text: str) -> list[int]:
            return [int(word, 16) for word in text.split()]

        k0, k1 = words(key)
        assert reference.philox(np.array(words(counter), np.uint64), (k0, k1)).tolist() == words(result)

    def test_element_uses_its_word(self) -> None:
        rng = np.array([[-5, 9]], np.int32)  # a negative seed is its two's complement
        words = [reference.philox(np.array([i, 0, 9, 0], np.uint64), (2**32 - 5, 3)) for i in range(3)]
        uniform = (np.concatenate(words)[:11] >> np.uint64(8)) / 2.0**24
        for p in (0.0, 0.25, 0.9):
            assert (reference.dropout_mask(11, rng, p=p, node=3) == (uniform >= p)).all()

    def test_rate_and_independence(self) -> None:
        count, p = 100_000, 0.3
        masks = [
            reference.dropout_mask(count, np.array([[seed, step]], np.int32), p=p, node=node)
            for seed, step, node in ((1, 1, 1), (2, 1, 1), (1, 2, 1), (1, 1, 2))
        ]
        spread = (p * (1 - p) / count) ** 0.5
        for mask in masks:
            assert abs(mask.mean() - (1 - p)) < 5 * spread
        for i, mask in enumerate(masks):
            for other in masks[:i]:
                assert abs((mask & other).mean() - (1 - p) ** 2) < 5 * (0.49 * 0.51 / count) ** 0.5

    def test_scale_gradient_and_extremes(self) -> None:
        x, rng = normal(3, 5), np.array([[1, 2]], np.int32)
        y = reference.dropout(x, rng, p=0.5, node=4)
        assert set((y / x).ravel().tolist()) == {0.0, 2.0}
        dy = normal(3, 5, seed=1)
        dx = reference.dropout(dy, rng, p=0.5, node=4)
        oracle.assert_gradient(lambda x: reference.dropout(x, rng, p=0.5, node=4), x, dy, dx)
        assert (reference.dropout(x, rng, p=0.0) == x).all()
        assert (reference.dropout(x, rng, p=1.0) == 0).all()
        assert np.isnan(reference.dropout(np.full(8, np.nan), rng, p=0.5)).all()
