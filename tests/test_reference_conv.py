# SPDX-License-Identifier: BSD-3-Clause
"""The reference of convolution and matrix product: central differences, PyTorch, exact integers."""

from typing import Any

import numpy as np
import oracle
import pytest
from oracle import Array, assert_close, normal

from cnnkern import reference

# (x, weight, stride, padding, dilation, groups)
CONVOLUTIONS: dict[str, tuple[Any, ...]] = {
    "1x1": ((2, 3, 4, 5), (4, 3, 1, 1), (1, 1), ((0, 0), (0, 0)), (1, 1), 1),
    "3x3": ((1, 3, 5, 6), (2, 3, 3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 1),
    "even kernel, asymmetric padding": ((2, 2, 5, 4), (3, 2, 2, 4), (1, 1), ((0, 1), (1, 2)), (1, 1), 1),
    "stride leaves a rest": ((1, 2, 8, 7), (3, 2, 3, 2), (3, 2), ((1, 0), (0, 1)), (1, 1), 1),
    "stride beyond kernel": ((1, 2, 7, 9), (2, 2, 1, 2), (3, 4), ((0, 0), (0, 0)), (1, 1), 1),
    "dilation": ((2, 2, 7, 8), (2, 2, 3, 2), (1, 2), ((2, 1), (0, 3)), (2, 3), 1),
    "two groups": ((2, 4, 5, 4), (6, 2, 3, 3), (2, 1), ((1, 2), (1, 0)), (1, 1), 2),
    "depthwise": ((1, 5, 6, 5), (5, 1, 3, 3), (2, 2), ((1, 1), (1, 1)), (1, 1), 5),
    "depthwise, two filters each": ((2, 3, 4, 5), (6, 1, 2, 3), (1, 1), ((0, 0), (1, 1)), (1, 2), 3),
    "kernel is the input": ((2, 3, 3, 4), (5, 3, 3, 4), (1, 1), ((0, 0), (0, 0)), (1, 1), 1),
    "padding as wide as the kernel": ((1, 2, 2, 3), (2, 2, 2, 2), (1, 1), ((2, 2), (2, 2)), (1, 1), 1),
}


class TestConvolution:
    @pytest.fixture(params=CONVOLUTIONS, ids=str)
    def case(self, request: pytest.FixtureRequest) -> tuple[Array, Array, dict[str, Any]]:
        x, w, stride, padding, dilation, groups = CONVOLUTIONS[request.param]
        attributes = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        return normal(*x), normal(*w), attributes

    def test_gradients(self, case: tuple[Array, Array, dict[str, Any]]) -> None:
        x, w, attributes = case
        dy = normal(*reference.conv2d(x, w, **attributes).shape, seed=1)
        dx = reference.conv2d_grad_input(dy, w, input_shape=x.shape, **attributes)
        dw = reference.conv2d_grad_weight(x, dy, weight_shape=w.shape, **attributes)
        oracle.assert_gradient(lambda x: reference.conv2d(x, w, **attributes), x, dy, dx)
        oracle.assert_gradient(lambda w: reference.conv2d(x, w, **attributes), w, dy, dw)

    def test_torch(self, case: tuple[Array, Array, dict[str, Any]]) -> None:
        torch = oracle.torch_or_skip()
        x, w, attributes = case
        bias = normal(len(w))
        tx, tw = (torch.tensor(a, requires_grad=True) for a in (x, w))
        (top, bottom), (left, right) = attributes["padding"]
        padded = torch.nn.functional.pad(tx, (left, right, top, bottom))
        rest = {key: value for key, value in attributes.items() if key != "padding"}
        expected = torch.nn.functional.conv2d(padded, tw, torch.tensor(bias), **rest)
        y = reference.conv2d(x, w, bias, **attributes)
        assert_close(y, expected)
        dy = normal(*y.shape, seed=1)
        expected.backward(torch.tensor(dy))
        assert_close(reference.conv2d_grad_input(dy, w, input_shape=x.shape, **attributes), tx.grad)
        assert_close(reference.conv2d_grad_weight(x, dy, weight_shape=w.shape, **attributes), tw.grad)

    def test_integers_stay_exact(self, case: tuple[Array, Array, dict[str, Any]]) -> None:
        x, w, attributes = case
        rng = np.random.default_rng(3)
        large = 2**26  # products beyond 2^53: float64 would round them
        xi, wi = rng.integers(-large, large, x.shape), rng.integers(-large, large, w.shape)
        y = reference.conv2d(xi, wi, **attributes)
        assert y.dtype == np.int64
        # Split so that every partial sum is exact in float64.
        high, low = reference.conv2d(xi >> 13, wi, **attributes), reference.conv2d(xi & 0x1FFF, wi, **attributes)
        as_float = reference.conv2d((xi & 0x1FFF).astype(np.float64), wi.astype(np.float64), **attributes)
        assert (as_float == low).all()
        assert (y == high * 8192 + low).all()
        dy = rng.integers(-9, 10, y.shape)
        dx = reference.conv2d_grad_input(dy, wi, input_shape=x.shape, **attributes)
        dw = reference.conv2d_grad_weight(xi, dy, weight_shape=w.shape, **attributes)
        assert dx.dtype == dw.dtype == np.int64
        # The transpose of a linear map: <dy, conv(x, w)> = <dx, x> = <dw, w>, exactly.
        assert (dy * y).sum() == (dx * xi).sum() == (dw * wi).sum()

    def test_epilogue(self) -> None:
        x, w, bias, residual = normal(2, 3, 4, 5), normal(4, 3, 3, 3), normal(4), normal(2, 4, 2, 3)
        plain = reference.conv2d(x, w) + bias[:, None, None] + residual
        assert_close(reference.conv2d(x, w, bias, residual, activation="relu"), np.maximum(plain, 0))
        leaky = reference.conv2d(x, w, bias, residual, activation="leaky_relu", slope=0.2)
        assert_close(leaky, np.where(plain > 0, plain, 0.2 * plain))
        clamped = reference.conv2d(x, w, bias, residual, activation="clamp", low=-0.5, high=0.25)
        assert_close(clamped, np.clip(plain, -0.5, 0.25))
        with pytest.raises(ValueError, match="gelu"):
            reference.conv2d(x, w, activation="gelu")

    def test_empty_batch(self) -> None:
        x, w = np.zeros((0, 3, 5, 5)), normal(4, 3, 3, 3)
        y = reference.conv2d(x, w)
        assert y.shape == (0, 4, 3, 3)
        assert reference.conv2d_grad_input(y, w, input_shape=x.shape).shape == x.shape
        assert (reference.conv2d_grad_weight(x, y, weight_shape=w.shape) == np.zeros(w.shape)).all()


class TestMatmul:
    @pytest.mark.parametrize("transpose_a", [False, True])
    @pytest.mark.parametrize("transpose_b", [False, True])
    @pytest.mark.parametrize("size", [(1, 1, 1), (3, 5, 2), (4, 1, 7), (1, 6, 3)])
    def test_is_the_product(self, size: tuple[int, int, int], transpose_a: bool, transpose_b: bool) -> None:
        m, n, k = size
        a, b, bias = normal(m, k), normal(k, n), normal(n)
        expected = np.array([[sum(a[i, q] * b[q, j] for q in range(k)) + bias[j] for j in range(n)] for i in range(m)])
        given_a, given_b = (a.T.copy() if transpose_a else a), (b.T.copy() if transpose_b else b)
        y = reference.matmul(given_a, given_b, bias, transpose_a=transpose_a, transpose_b=transpose_b)
        assert_close(y, expected)

    def test_integers(self) -> None:
        big = np.array([[2**31, 1]])
        assert reference.matmul(big, big.T).tolist() == [[2**62 + 1]]

    def test_gradient_is_two_products(self) -> None:
        a, b, dy = normal(3, 4), normal(4, 5), normal(3, 5, seed=1)
        oracle.assert_gradient(lambda a: reference.matmul(a, b), a, dy, reference.matmul(dy, b, transpose_b=True))
        oracle.assert_gradient(lambda b: reference.matmul(a, b), b, dy, reference.matmul(a, dy, transpose_a=True))
