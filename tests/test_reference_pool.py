# SPDX-License-Identifier: BSD-3-Clause
"""The reference of pooling: central differences, PyTorch, NaN and edges."""

from typing import Any

import numpy as np
import oracle
import pytest
from oracle import assert_close, distinct, normal

from cnnkern import reference

# (x, kernel, stride, padding, dilation, ceil mode)
POOLS: dict[str, tuple[Any, ...]] = {
    "2x2": ((2, 3, 4, 6), (2, 2), (2, 2), (0, 0), (1, 1), False),
    "3x3 overlapping": ((1, 2, 7, 8), (3, 3), (2, 2), (1, 1), (1, 1), False),
    "ceil mode hangs over": ((1, 2, 6, 8), (3, 3), (2, 3), (0, 1), (1, 1), True),
    "ceil mode, last window would begin in the padding": ((2, 1, 5, 5), (2, 2), (3, 3), (1, 1), (1, 1), True),
    "not square": ((2, 2, 5, 9), (1, 4), (2, 3), (0, 2), (1, 1), False),
    "dilation": ((1, 2, 9, 8), (3, 2), (2, 1), (1, 1), (2, 3), False),
    "dilation, ceil mode": ((1, 2, 8, 9), (2, 3), (3, 2), (1, 0), (3, 2), True),
    "global": ((2, 3, 5, 4), (5, 4), (5, 4), (0, 0), (1, 1), False),
    "windows with gaps": ((1, 2, 9, 9), (2, 2), (4, 3), (0, 0), (1, 1), False),
}

# (input size, output size)
ADAPTIVE: dict[str, tuple[tuple[int, int], tuple[int, int]]] = {
    "global": ((5, 4), (1, 1)),
    "divides": ((6, 4), (3, 2)),
    "overlapping windows": ((7, 5), (3, 4)),
    "same size": ((3, 4), (3, 4)),
    "more outputs than inputs": ((3, 2), (5, 7)),
}


def pool_output(size: int, kernel: int, stride: int, padding: int, dilation: int, ceil_mode: bool) -> int:
    """PyTorch's rule; a window that would begin beyond the input and its left padding is dropped."""
    room = size + 2 * padding - dilation * (kernel - 1) - 1
    output = room // stride + 1
    if ceil_mode and room % stride and output * stride < size + padding:
        output += 1
    return output


def pool_attributes(name: str) -> tuple[tuple[int, ...], dict[str, Any]]:
    shape, kernel, stride, padding, dilation, ceil_mode = POOLS[name]
    sizes = zip(shape[2:], kernel, stride, padding, dilation, strict=True)
    output_size = tuple(pool_output(*axis, ceil_mode) for axis in sizes)
    pairs = tuple((p, p) for p in padding)
    return shape, {
        "kernel": kernel,
        "stride": stride,
        "padding": pairs,
        "dilation": dilation,
        "output_size": output_size,
    }


def without(attributes: dict[str, Any], *names: str) -> dict[str, Any]:
    return {key: value for key, value in attributes.items() if key not in names}


class TestMaxPool:
    @pytest.mark.parametrize("name", POOLS)
    def test_gradient(self, name: str) -> None:
        shape, attributes = pool_attributes(name)
        x = distinct(*shape)
        y, indices = reference.max_pool2d(x, **attributes)
        assert (x.reshape(*shape[:2], -1)[np.indices(y.shape)[0], np.indices(y.shape)[1], indices] == y).all()
        dy = normal(*y.shape)
        dx = reference.max_pool2d_grad(dy, indices, input_shape=shape, **without(attributes, "output_size"))
        oracle.assert_gradient(lambda x: reference.max_pool2d(x, **attributes)[0], x, dy, dx)

    @pytest.mark.parametrize("name", POOLS)
    @pytest.mark.parametrize("values", ["distinct", "many ties", "infinities"])
    def test_torch(self, name: str, values: str) -> None:
        torch = oracle.torch_or_skip()
        shape, kernel, stride, padding, dilation, ceil_mode = POOLS[name]
        _, attributes = pool_attributes(name)
        x = distinct(*shape)
        if values == "many ties":
            x = np.random.default_rng(0).integers(-1, 1, shape).astype(np.float64)
        elif values == "infinities":
            x = np.random.default_rng(0).choice([-np.inf, -np.inf, 1.0, np.inf], shape)
        tx = torch.tensor(x, requires_grad=True)
        expected = torch.nn.functional.max_pool2d(
            tx, kernel, stride, padding, dilation, ceil_mode=ceil_mode, return_indices=True
        )
        y, indices = reference.max_pool2d(x, **attributes)
        assert indices.dtype == np.int32
        assert y.shape == tuple(expected[0].shape)
        assert (y == expected[0].detach().numpy()).all()
        assert (indices == expected[1].numpy()).all()
        dy = normal(*y.shape)
        expected[0].backward(torch.tensor(dy))
        dx = reference.max_pool2d_grad(dy, indices, input_shape=shape, **without(attributes, "output_size"))
        assert_close(dx, tx.grad)

    def test_nan_wins_and_the_last_of_several(self) -> None:
        x = np.array([[1.0, np.nan, 5.0], [np.inf, np.nan, 2.0], [3.0, 4.0, 0.0]])[None, None]
        attributes: dict[str, Any] = {"kernel": (2, 2), "stride": (1, 1), "padding": ((0, 0), (0, 0))}
        y, indices = reference.max_pool2d(x, output_size=(2, 2), **attributes)
        assert np.isnan(y).all()
        assert indices.tolist() == [[[[4, 4], [4, 4]]]]  # as in PyTorch
        y, indices = reference.max_pool2d(x[..., 2:, :], output_size=(1, 2), **{**attributes, "kernel": (1, 2)})
        assert (y.tolist(), indices.tolist()) == ([[[[4.0, 4.0]]]], [[[[1, 1]]]])

    def test_padding_never_wins(self) -> None:
        x = np.full((1, 1, 2, 2), -7)
        y, indices = reference.max_pool2d(
            x, kernel=(3, 3), stride=(1, 1), padding=((1, 1), (1, 1)), dilation=(1, 1), output_size=(2, 2)
        )
        assert y.dtype == np.int64
        assert (y == -7).all() and (indices == 0).all()

    def test_window_without_a_position(self) -> None:
        attributes: dict[str, Any] = {"kernel": (2, 1), "stride": (1, 1), "padding": ((1, 1), (0, 0))}
        y, indices = reference.max_pool2d(np.ones((1, 1, 4, 1)), dilation=(5, 1), output_size=(1, 1), **attributes)
        assert (y.item(), indices.item()) == (-np.inf, -1)
        dx = reference.max_pool2d_grad(np.ones((1, 1, 1, 1)), indices, input_shape=(1, 1, 4, 1), **attributes)
        assert (dx == 0).all()

    @pytest.mark.parametrize("name", ADAPTIVE)
    def test_adaptive(self, name: str) -> None:
        input_size, output_size = ADAPTIVE[name]
        x = distinct(2, 3, *input_size)
        y, indices = reference.adaptive_max_pool2d(x, output_size=output_size)
        dy = normal(*y.shape)
        dx = reference.adaptive_max_pool2d_grad(dy, indices, input_shape=x.shape)
        oracle.assert_gradient(lambda x: reference.adaptive_max_pool2d(x, output_size=output_size)[0], x, dy, dx)
        torch = oracle.torch_or_skip()
        tx = torch.tensor(x, requires_grad=True)
        expected = torch.nn.functional.adaptive_max_pool2d(tx, output_size, return_indices=True)
        assert_close(y, expected[0])
        assert (indices == expected[1].numpy()).all()
        expected[0].backward(torch.tensor(dy))
        assert_close(dx, tx.grad)


class TestAvgPool:
    @pytest.mark.parametrize("count_include_pad", [False, True])
    @pytest.mark.parametrize("divisor", [0, 3])
    @pytest.mark.parametrize("name", [name for name in POOLS if "dilation" not in name])
    def test_gradient_and_torch(self, name: str, divisor: int, count_include_pad: bool) -> None:
        shape, attributes = pool_attributes(name)
        attributes = without(attributes, "dilation")
        attributes |= {"count_include_pad": count_include_pad, "divisor": divisor}
        x = normal(*shape)
        y = reference.avg_pool2d(x, **attributes)
        dy = normal(*y.shape, seed=1)
        dx = reference.avg_pool2d_grad(dy, input_shape=shape, **attributes)
        assert (dx == reference.avg_pool2d_grad(dy, input_shape=shape, **without(attributes, "output_size"))).all()
        oracle.assert_gradient(lambda x: reference.avg_pool2d(x, **attributes), x, dy, dx)
        torch = oracle.torch_or_skip()
        _, kernel, stride, padding, _, ceil_mode = POOLS[name]
        tx = torch.tensor(x, requires_grad=True)
        expected = torch.nn.functional.avg_pool2d(
            tx, kernel, stride, padding, ceil_mode, count_include_pad, divisor or None
        )
        assert_close(y, expected)
        expected.backward(torch.tensor(dy))
        assert_close(dx, tx.grad)

    def test_asymmetric_padding(self) -> None:
        x = normal(1, 2, 4, 3)
        attributes: dict[str, Any] = {"kernel": (2, 3), "stride": (2, 1), "padding": ((1, 2), (0, 1))}
        y = reference.avg_pool2d(x, output_size=(3, 2), **attributes)
        padded = np.pad(x, ((0, 0), (0, 0), (1, 2), (0, 1)))
        expected = [[padded[0, 0, 2 * i : 2 * i + 2, j : j + 3].mean() for j in range(2)] for i in range(3)]
        assert_close(y[0, 0], np.array(expected))
        dy = normal(*y.shape)
        dx = reference.avg_pool2d_grad(dy, input_shape=x.shape, **attributes)
        oracle.assert_gradient(lambda x: reference.avg_pool2d(x, output_size=(3, 2), **attributes), x, dy, dx)

    def test_infinity_stays_in_its_window(self) -> None:
        x = np.zeros((1, 1, 2, 4))
        x[0, 0, 0, 0] = np.inf
        y = reference.avg_pool2d(x, kernel=(2, 2), stride=(2, 2), padding=((0, 0), (0, 0)), output_size=(1, 2))
        assert y.tolist() == [[[[np.inf, 0.0]]]]

    @pytest.mark.parametrize("name", ADAPTIVE)
    def test_adaptive(self, name: str) -> None:
        input_size, output_size = ADAPTIVE[name]
        x = normal(2, 3, *input_size)
        y = reference.adaptive_avg_pool2d(x, output_size=output_size)
        dy = normal(*y.shape, seed=1)
        dx = reference.adaptive_avg_pool2d_grad(dy, input_shape=x.shape)
        oracle.assert_gradient(lambda x: reference.adaptive_avg_pool2d(x, output_size=output_size), x, dy, dx)
        torch = oracle.torch_or_skip()
        tx = torch.tensor(x, requires_grad=True)
        expected = torch.nn.functional.adaptive_avg_pool2d(tx, output_size)
        assert_close(y, expected)
        expected.backward(torch.tensor(dy))
        assert_close(dx, tx.grad)
