# SPDX-License-Identifier: BSD-3-Clause
"""What functional says to arguments that it cannot use, by text, and that unusual but valid arrays work."""

import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import oracle
import pytest

from cnnkern import functional as F
from cnnkern import graph as G
from cnnkern.functional import _eager

Array = np.ndarray[Any, Any]
DTYPES = ["float32", "float64"]


def zeros(*shape: int, dtype: str = "float32") -> Array:
    return np.zeros(shape, dtype)


X, W, B = zeros(1, 3, 8, 8), zeros(4, 3, 3, 3), zeros(4)
Y = zeros(1, 4, 6, 6)
INTS = np.zeros((1, 3, 8, 8), np.int64)

# (error, part of the message, call)
ERRORS: list[tuple[type[Exception], str, Callable[[], Any]]] = [
    # Types
    (TypeError, "conv2d: input must be float32 (or float64), found float16; use input.astype(np.float32)",
     lambda: F.conv2d(X.astype(np.float16), W)),
    (TypeError, "conv2d: input must be float32 (or float64), found >f4", lambda: F.conv2d(X.astype(">f4"), W)),
    (TypeError, "conv2d: input must be float32 (or float64), found int64", lambda: F.conv2d(INTS, W)),
    (TypeError, "conv2d: input is float32 but weight is float64; use weight.astype(np.float32)",
     lambda: F.conv2d(X, W.astype(np.float64))),
    (TypeError, "conv2d: input is float64 but weight is float32; use input.astype(np.float32)",
     lambda: F.conv2d(X.astype(np.float64), W)),
    (TypeError, "conv2d: input must be a NumPy array, found list; use np.asarray(input, dtype=np.float32)",
     lambda: F.conv2d([[1.0]], W)),
    (TypeError, "conv2d: weight must be a NumPy array, found NoneType", lambda: F.conv2d(X, None)),
    (TypeError, "relu: input must be a NumPy array, found float", lambda: F.relu(1.0)),
    (TypeError, "conv2d: stride must be an integer, found 1.0", lambda: F.conv2d(X, W, stride=1.0)),
    (TypeError, "conv2d: stride must be an integer, found True", lambda: F.conv2d(X, W, stride=True)),
    (TypeError, "conv2d: stride must be an integer, found '2'", lambda: F.conv2d(X, W, stride="2")),
    (TypeError, "max_pool2d: ceil_mode must be True or False, found 1", lambda: F.max_pool2d(X, 2, ceil_mode=1)),
    (TypeError, "leaky_relu: negative_slope must be a number, found '0.1'", lambda: F.leaky_relu(X, "0.1")),
    (TypeError, "reshape: shape must be a tuple of integers", lambda: F.reshape(X, 2.0)),
    (TypeError, "concat: tensors must be a tuple or list of arrays, found ndarray", lambda: F.concat(X)),
    (TypeError, "concat: tensors[1] must be a NumPy array, found NoneType", lambda: F.concat([X, None])),
    (ValueError, "cross_entropy: target must have shape (2, 3), found (2,)",
     lambda: F.cross_entropy(zeros(2, 3), zeros(2))),
    (TypeError, "nll_loss: target must hold class indices, found float32", lambda: F.nll_loss(zeros(2, 3), zeros(2))),
    (TypeError, "cross_entropy: target must hold integers, found bool",
     lambda: F.cross_entropy(zeros(2, 3), np.zeros(2, bool))),
    (TypeError, "cross_entropy: target must be a NumPy array of integers, found list",
     lambda: F.cross_entropy(zeros(2, 3), [0, 1])),
    (TypeError, "add: one argument must be an array, found two numbers", lambda: F.divide(1.0, 2)),
    # Ranks and channels
    (ValueError, "conv2d: input must have shape (N, C, H, W) or (C, H, W), found (8, 8)",
     lambda: F.conv2d(zeros(8, 8), W)),
    (ValueError, "conv2d: weight must have shape (O, C / groups, R, S), found (4, 3, 3)",
     lambda: F.conv2d(X, zeros(4, 3, 3))),
    (ValueError, "conv2d: weight expects 64 input channels, input has 3 (input: (1, 3, 224, 224), "
     "weight: (64, 64, 3, 3))", lambda: F.conv2d(zeros(1, 3, 224, 224), zeros(64, 64, 3, 3))),
    (ValueError, "weight expects 3 input channels, input has 8 (input: (8, 8, 3), weight: (4, 3, 3, 3)); "
     "this looks like HWC, use x.transpose(2, 0, 1)", lambda: F.conv2d(zeros(8, 8, 3), W)),
    (ValueError, "this looks like NHWC, use x.transpose(0, 3, 1, 2)", lambda: F.conv2d(zeros(1, 8, 8, 3), W)),
    (ValueError, "weight expects 6 input channels, input has 3 (input: (1, 3, 8, 8), weight: (4, 3, 3, 3), groups: 2)",
     lambda: F.conv2d(X, W, groups=2)),
    (ValueError, "conv2d: groups=3 does not divide the 4 output channels",
     lambda: F.conv2d(X, zeros(4, 1, 3, 3), groups=3)),
    (ValueError, "conv2d: bias must have shape (4,), found (3,)", lambda: F.conv2d(X, W, zeros(3))),
    (ValueError, "conv2d: weight must not be empty, found (4, 3, 0, 3)", lambda: F.conv2d(X, zeros(4, 3, 0, 3))),
    (ValueError, "conv2d: input must not be empty except for the batch, found (1, 3, 0, 8)",
     lambda: F.conv2d(zeros(1, 3, 0, 8), W)),
    (ValueError, "linear: weight expects 5 features, input has 4 (input: (2, 4), weight: (3, 5))",
     lambda: F.linear(zeros(2, 4), zeros(3, 5))),
    (ValueError, "matmul: input has 4 columns, other has 5 rows", lambda: F.matmul(zeros(2, 4), zeros(5, 3))),
    (ValueError, "matmul: other must be a matrix, found shape (5,)", lambda: F.matmul(zeros(2, 5), zeros(5))),
    (ValueError, "max_pool2d: input must have shape (N, C, H, W) or (C, H, W), found (8,)",
     lambda: F.max_pool2d(zeros(8), 2)),
    (ValueError, "batch_norm: input must have shape (N, C, ...), found (3,)",
     lambda: F.batch_norm(zeros(3), zeros(3), zeros(3))),
    (ValueError, "batch_norm: running_var must have shape (3,), found (4,)",
     lambda: F.batch_norm(X, zeros(3), zeros(4))),
    (ValueError, "batch_norm: running_mean and running_var must be given when training is False",
     lambda: F.batch_norm(X, None, None)),
    (ValueError, "batch_norm: training needs more than one value per channel, input has shape (1, 3, 1, 1)",
     lambda: F.batch_norm(zeros(1, 3, 1, 1), None, None, training=True)),
    (ValueError, "batch_norm: eps must be positive in training",
     lambda: F.batch_norm(X, None, None, training=True, eps=0)),
    (ValueError, "add: shapes (2, 3) and (2, 4) cannot be broadcast together", lambda: F.add(zeros(2, 3), zeros(2, 4))),
    (ValueError, "concat: all sizes but that of axis 1 must agree, found (1, 3, 8, 8) and (1, 3, 8, 7) (tensors[1])",
     lambda: F.concat([X, zeros(1, 3, 8, 7)], 1)),
    (ValueError, "concat: there must be at least one array", lambda: F.concat([])),
    (ValueError, "reshape: shape (1, 3, 8, 8) has 192 elements, (7, 3) has 21", lambda: F.reshape(X, (7, 3))),
    (ValueError, "softmax: dim must be in -2 .. 1, found 2", lambda: F.softmax(zeros(2, 3), 2)),
    (ValueError, "flatten: start_dim 2 comes after end_dim 1", lambda: F.flatten(X, 2, 1)),
    # Geometry
    (ValueError, "conv2d: stride must be positive, found 0", lambda: F.conv2d(X, W, stride=0)),
    (ValueError, "conv2d: stride must be positive, found -1", lambda: F.conv2d(X, W, stride=(1, -1))),
    (ValueError, "conv2d: stride must be one integer or two (height, width), found (1, 1, 1)",
     lambda: F.conv2d(X, W, stride=(1, 1, 1))),
    (ValueError, "conv2d: padding must be at least 0, found -1", lambda: F.conv2d(X, W, padding=-1)),
    (ValueError, "conv2d: dilation must be positive, found 0", lambda: F.conv2d(X, W, dilation=0)),
    (ValueError, "conv2d: groups must be positive, found 0", lambda: F.conv2d(X, W, groups=0)),
    (ValueError, "conv2d: padding must be one of same, valid, found 'full'", lambda: F.conv2d(X, W, padding="full")),
    (ValueError, "conv2d: padding='same' needs stride 1, found (2, 2)",
     lambda: F.conv2d(X, W, stride=2, padding="same")),
    (ValueError, "conv2d: the kernel's height 9 is larger than the padded input's 8 ",
     lambda: F.conv2d(X, zeros(4, 3, 9, 3))),
    (ValueError, "conv2d: the kernel's width 9 is larger than the padded input's 8 ",
     lambda: F.conv2d(X, W, dilation=(1, 4))),
    (ValueError, "max_pool2d: padding must be at most half of the kernel's height 2, found 2",
     lambda: F.max_pool2d(X, 2, padding=2)),
    (ValueError, "avg_pool2d: the kernel's height 9 is larger than the padded input's 8 ",
     lambda: F.avg_pool2d(X, (9, 2))),
    (ValueError, "max_pool2d: stride must be positive, found 0", lambda: F.max_pool2d(X, 2, 0)),
    (ValueError, "avg_pool2d: divisor_override must be positive, found 0",
     lambda: F.avg_pool2d(X, 2, divisor_override=0)),
    (ValueError, "adaptive_avg_pool2d: output_size must be positive, found 0", lambda: F.adaptive_avg_pool2d(X, 0)),
    (ValueError, "pad: axis 3 of size 8 cannot be cropped by (-5, -4)", lambda: F.pad(X, (-5, -4))),
    (ValueError, "pad: pad must hold two amounts for each of at most 4 axes, found 3", lambda: F.pad(X, (1, 2, 3))),
    (
        ValueError,
        "pad: mode must be one of constant, replicate, reflect, circular, found 'mirror'",
        lambda: F.pad(X, (1, 1), "mirror"),
    ),
    (ValueError, 'pad: value belongs to mode="constant"', lambda: F.pad(X, (1, 1, 1, 1), "reflect", 2.0)),
    (ValueError, "pad: mode='circular' takes at most 8 on axis 3", lambda: F.pad(X, (99, 1, 0, 0), "circular")),
    (ValueError, "pad: mode='replicate' continues the last one to three axes",
     lambda: F.pad(X, (1, 1), "replicate")),
    (ValueError, "pad: nothing is left of axis 3 of size 8", lambda: F.pad(X, (-4, -4, 0, 0), "reflect")),
    (ValueError, "group_norm: num_groups=2 must divide the 3 channels", lambda: F.group_norm(X, 2)),
    (ValueError, "layer_norm: input must have shape (*, 4), found (1, 3, 8, 8)", lambda: F.layer_norm(X, (4,))),
    (ValueError, "interpolate: mode='linear' takes inputs of 3 axes", lambda: F.interpolate(X, 4, mode="linear")),
    (ValueError, "interpolate: either size or scale_factor must be given, found both", lambda: F.interpolate(X, 4, 2)),
    (ValueError, "pixel_shuffle: input must have shape (*, C, H, W) with C divisible", lambda: F.pixel_shuffle(X, 2)),
    (ValueError, "channel_shuffle: groups=2 must divide the 3 channels", lambda: F.channel_shuffle(X, 2)),
    (ValueError, "permute: dims must hold each of 4 axes once, found (0, 1)", lambda: F.permute(X, (0, 1))),
    (ValueError, "unfold: a window of 9 does not fit into 8 pixels", lambda: F.unfold(X, 9)),
    (ValueError, "split: split_size_or_sections must add up to the 3 places of axis 1", lambda: F.split(X, (1, 1), 1)),
    # Sizes that overflow
    (ValueError, "conv2d: padding must be in 0 .. 16777216, found 2147483648", lambda: F.conv2d(X, W, padding=2**31)),
    (ValueError, "conv2d: the output of shape (1, 4, 16777222, 16777222) is too large",
     lambda: F.conv2d(np.broadcast_to(X, (1, 3, 8, 8)), W, padding=2**23)),
    (ValueError, "adaptive_avg_pool2d: the result of shape (1, 3, 2147483647, 2147483647) is too large",
     lambda: F.adaptive_avg_pool2d(X, 2**31 - 1)),
    (ValueError, "conv2d_grad_input: input_size of shape (2147483647, 2147483647, 9, 9) is too large",
     lambda: F.conv2d_grad_input((2**31 - 1, 2**31 - 1, 9, 9), W, Y)),
    (ValueError, "pad: the result of shape (1, 3, 8, 4294967302) is too large",
     lambda: F.pad(X, (2**31 - 1, 2**31 - 1))),
    # Losses
    (ValueError, "cross_entropy: target must lie in 0 .. 2, found 3",
     lambda: F.cross_entropy(zeros(2, 3), np.array([0, 3]))),
    (ValueError, "cross_entropy: target must lie in 0 .. 2, found -1",
     lambda: F.cross_entropy(zeros(2, 3), np.array([0, -1]))),
    (ValueError, "cross_entropy: target must have shape (2,), found (3,)",
     lambda: F.cross_entropy(zeros(2, 3), np.array([0, 1, 2]))),
    (ValueError, "cross_entropy: reduction must be one of none, mean, sum, found 'median'",
     lambda: F.cross_entropy(zeros(2, 3), np.array([0, 1]), reduction="median")),
    (ValueError, "cross_entropy: label_smoothing must be in 0 .. 1, found 1.5",
     lambda: F.cross_entropy(zeros(2, 3), np.array([0, 1]), label_smoothing=1.5)),
    (
        ValueError,
        "mse_loss: the shapes cannot be broadcast together (input: (2, 3), target: (2,))",
        lambda: F.mse_loss(zeros(2, 3), zeros(2)),
    ),
    (ValueError, "binary_cross_entropy: all elements of input must be in 0 .. 1",
     lambda: F.binary_cross_entropy(np.float32([1.5]), zeros(1))),
    (ValueError, "dropout: p must be in 0 .. 1, found -0.1", lambda: F.dropout(X, -0.1)),
    (ValueError, "dropout: p must be in 0 .. 1, found nan", lambda: F.dropout(X, float("nan"))),
    (ValueError, "relu: inplace=True is not possible", lambda: F.relu(X, True)),
    # Backward entries
    (ValueError, "conv2d_grad_input: grad_output must have shape (1, 4, 6, 6), found (1, 4, 6, 5)",
     lambda: F.conv2d_grad_input((1, 3, 8, 8), W, zeros(1, 4, 6, 5))),
    (ValueError, "conv2d_grad_weight: grad_output must have shape (1, 4, 6, 6), found (1, 5, 6, 6)",
     lambda: F.conv2d_grad_weight(X, (4, 3, 3, 3), zeros(1, 5, 6, 6))),
    (ValueError, "conv2d_grad_weight: weight_size must have 4 sizes, found (4, 3, 3)",
     lambda: F.conv2d_grad_weight(X, (4, 3, 3), Y)),
    (ValueError, "conv2d_grad_input: weight expects 3 input channels, input has 2",
     lambda: F.conv2d_grad_input((1, 2, 8, 8), W, Y)),
    (TypeError, "conv2d_grad_input: weight is float32 but grad_output is float64",
     lambda: F.conv2d_grad_input((1, 3, 8, 8), W, Y.astype(np.float64))),
    (ValueError, "max_pool2d_grad: indices must lie in 0 .. 63, found 64",
     lambda: F.max_pool2d_grad(zeros(1, 3, 4, 4), np.full((1, 3, 4, 4), 64), (1, 3, 8, 8), 2)),
    (ValueError, "max_pool2d_grad: indices must have shape (1, 3, 4, 4), found (1, 3, 4, 3)",
     lambda: F.max_pool2d_grad(zeros(1, 3, 4, 4), np.zeros((1, 3, 4, 3), int), (1, 3, 8, 8), 2)),
    (ValueError, "avg_pool2d_grad: grad_output must have shape (1, 3, 4, 4), found (1, 3, 5, 4)",
     lambda: F.avg_pool2d_grad(zeros(1, 3, 5, 4), (1, 3, 8, 8), 2)),
    (ValueError, "adaptive_max_pool2d_grad: indices must have shape (1, 3, 2, 2), found (1, 3, 2, 1)",
     lambda: F.adaptive_max_pool2d_grad(zeros(1, 3, 2, 2), np.zeros((1, 3, 2, 1), int), (1, 3, 8, 8))),
    (ValueError, "batch_norm_grad: save_rstd must have shape (3,), found (2,)",
     lambda: F.batch_norm_grad(X, X, zeros(3), zeros(2))),
    (ValueError, "relu_grad: grad_output must have shape (1, 3, 8, 8), found (1, 4, 6, 6)", lambda: F.relu_grad(Y, X)),
    (ValueError, "linear_grad_weight: input (2, 5) and grad_output (3, 4) must agree in all axes but the last",
     lambda: F.linear_grad_weight(zeros(2, 5), zeros(3, 4))),
    (ValueError, "cross_entropy_grad: grad_output must have shape (), found (2,)",
     lambda: F.cross_entropy_grad(zeros(2), zeros(2, 3), np.array([0, 1]))),
    (ValueError, "sgd_step: hyper must have 8 elements, found shape (2,)",
     lambda: F.sgd_step(zeros(3), zeros(3), None, zeros(2))),
]  # fmt: skip


@pytest.mark.parametrize("i", range(len(ERRORS)))
def test_message(i: int) -> None:
    error, text, call = ERRORS[i]
    with pytest.raises(error) as caught:
        call()
    assert type(caught.value) is error
    assert text.replace("add: one", "divide: one") in str(caught.value)


def test_torch_tensors_are_refused_with_a_hint() -> None:
    torch = oracle.torch_or_skip()
    with pytest.raises(TypeError, match=r"relu: input must be a NumPy array, found Tensor; use input.numpy\(\)"):
        F.relu(torch.zeros(3))


class TestOut:
    def test_receives_the_result(self) -> None:
        x, w = oracle.normal(2, 3, 6, 6), oracle.normal(4, 3, 3, 3)
        expected = F.conv2d(x, w)
        for out in (np.full((2, 4, 4, 4), np.nan), np.full((2, 4, 4, 9), np.nan)[..., 1::2]):
            assert F.conv2d(x, w, out=out) is out
            np.testing.assert_array_equal(out, expected)
        single = np.full((4, 4, 4), np.nan)
        assert F.conv2d(x[0], w, out=single) is single
        np.testing.assert_array_equal(single, expected[0])
        dw = np.full(w.shape, np.nan)
        assert F.conv2d_grad_weight(x, w.shape, expected, out=dw) is dw
        np.testing.assert_array_equal(dw, F.conv2d_grad_weight(x, w.shape, expected))

    def test_is_checked(self) -> None:
        memory = zeros(1000)
        x = memory[:192].reshape(1, 3, 8, 8)
        overlapping = memory[100:244].reshape(1, 4, 6, 6)
        read_only = zeros(1, 4, 6, 6)
        read_only.flags.writeable = False
        for error, text, out in (
            (TypeError, "out must be a NumPy array, found list", [1.0]),
            (TypeError, "out must be float32 like the input, found float64", zeros(1, 4, 6, 6, dtype="float64")),
            (ValueError, r"out must have shape \(1, 4, 6, 6\), found \(4, 6, 6\)", zeros(4, 6, 6)),
            (ValueError, "out is read-only", read_only),
            (ValueError, "out overlaps an input", overlapping),
            (ValueError, "out overlaps itself", np.lib.stride_tricks.as_strided(zeros(1), (1, 4, 6, 6), (0, 0, 0, 0))),
        ):
            with pytest.raises(error, match=text):
                F.conv2d(x, W, out=out)
        with pytest.raises(ValueError, match="conv2d_grad_input: out overlaps an input"):
            F.conv2d_grad_input((1, 4, 6, 6), zeros(3, 4, 1, 1), x[:, :, :6, :6], out=overlapping)

    def test_not_while_tracing(self) -> None:
        for keywords in ({"out": Y}, {"algorithm": "im2col"}):
            with pytest.raises(TypeError, match="conv2d: algorithm and out cannot be given while tracing"):
                G.trace(lambda x, k=keywords: F.conv2d(x, W, **k), [X.shape])


class TestUnusualArrays:
    """Whatever the memory looks like, the result is that of a plain copy."""

    @staticmethod
    def layouts(x: Array) -> dict[str, Array]:
        unaligned = np.empty(x.nbytes + 1, np.uint8)[1:].view(x.dtype).reshape(x.shape)
        unaligned[...] = x
        assert not unaligned.flags.aligned
        read_only = x.copy()
        read_only.flags.writeable = False
        wide = np.zeros((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)
        wide[..., ::2] = x
        return {
            "negative strides": np.ascontiguousarray(x[..., ::-1, ::-1])[..., ::-1, ::-1],
            "transposed": np.ascontiguousarray(x.swapaxes(0, -1)).swapaxes(0, -1),
            "Fortran": np.asfortranarray(x),
            "every second": wide[..., ::2],
            "read-only": read_only,
            "unaligned": unaligned,
            "zero stride": np.broadcast_to(x[:1], x.shape),
        }

    @pytest.mark.parametrize("dtype", DTYPES)
    def test_layouts(self, dtype: str) -> None:
        rng = np.random.default_rng(3)
        x, w, dy = (rng.standard_normal(s).astype(dtype) for s in ((2, 3, 6, 6), (4, 3, 3, 3), (2, 4, 4, 4)))
        calls: list[Callable[[Array], Any]] = [
            lambda x: F.conv2d(x, w),
            lambda x: F.conv2d_grad_weight(x, w.shape, dy),
            lambda x: F.max_pool2d(x, 2),
            lambda x: F.avg_pool2d(x, 2),
            lambda x: F.relu(x),
            lambda x: F.softmax(x, 1),
            lambda x: F.add(x, x),
            lambda x: F.batch_norm(x, None, None, training=True),
            lambda x: F.concat([x, x], 1),
            lambda x: F.flatten(x, 1),
            lambda x: F.linear(x, np.ones((2, 6), dtype)),
        ]
        for name, strange in self.layouts(x).items():
            plain = np.array(strange, order="C")
            for call in calls:
                np.testing.assert_array_equal(call(strange), call(plain), err_msg=name)
        for name, strange in self.layouts(w).items():
            np.testing.assert_array_equal(F.conv2d(x, strange), F.conv2d(x, np.array(strange, order="C")), err_msg=name)

    @pytest.mark.parametrize("dtype", DTYPES)
    def test_running_statistics_of_any_layout_are_updated(self, dtype: str) -> None:
        x = np.random.default_rng(3).standard_normal((4, 3, 2, 2)).astype(dtype)
        mean, var = np.zeros(6, dtype), np.ones(6, dtype)
        F.batch_norm(x, mean[::2], var[::-2], training=True, momentum=0.5)
        np.testing.assert_allclose(mean[::2], x.mean((0, 2, 3)) / 2, rtol=1e-5)
        np.testing.assert_allclose(var[::-2], 0.5 + x.var((0, 2, 3), ddof=1) / 2, rtol=1e-5)
        assert mean[1::2].tolist() == [0, 0, 0]

    @pytest.mark.parametrize("dtype", DTYPES)
    def test_empty_batch(self, dtype: str) -> None:
        x, w, b = (zeros(*s, dtype=dtype) for s in ((0, 3, 8, 8), (4, 3, 3, 3), (4,)))
        assert F.conv2d(x, w, b).shape == (0, 4, 6, 6)
        dy = zeros(0, 4, 6, 6, dtype=dtype)
        assert F.conv2d_grad_input(x.shape, w, dy).shape == x.shape
        np.testing.assert_array_equal(F.conv2d_grad_weight(x, w.shape, dy), w)
        np.testing.assert_array_equal(F.conv2d_grad_bias(dy), b)
        assert F.max_pool2d(x, 2).shape == F.avg_pool2d(x, 2).shape == (0, 3, 4, 4)
        assert F.adaptive_avg_pool2d(x, 1).shape == (0, 3, 1, 1)
        assert F.batch_norm(x, b[:3], b[:3]).shape == x.shape
        running = np.ones(3, dtype)
        assert F.batch_norm(x, running, running.copy(), training=True).shape == x.shape
        assert running.tolist() == [1, 1, 1]
        assert F.linear(x.reshape(0, 192), zeros(5, 192, dtype=dtype)).shape == (0, 5)
        assert F.relu(x).shape == F.softmax(x, 1).shape == F.add(x, x).shape == F.dropout(x).shape == x.shape
        assert F.concat([x, x], 1).shape == (0, 6, 8, 8)
        assert F.pad(x, (1, 1)).shape == (0, 3, 8, 10)
        assert np.isnan(F.cross_entropy(zeros(0, 3, dtype=dtype), np.zeros(0, int)))
        assert np.isnan(F.mse_loss(x, x))
        assert F.mse_loss(x, x, reduction="sum") == 0

    def test_results_do_not_alias_inputs(self) -> None:
        x = zeros(2, 3, 4, 4)
        for y in (F.relu(x), F.concat([x]), F.pad(x, (0, 0)), F.adaptive_avg_pool2d(x, 4), F.add(x, 0), F.dropout(x)):
            assert not np.shares_memory(x, y)


@pytest.mark.parametrize("dtype", DTYPES)
class TestSpecialValues:
    def test_nan_and_infinity_as_in_torch(self, dtype: str) -> None:
        torch = oracle.torch_or_skip()
        T = torch.nn.functional
        x = np.random.default_rng(5).standard_normal((2, 3, 6, 6)).astype(dtype)
        x[0, 0, 1, 1], x[0, 1, 2, 2], x[1, 2, 3, 3], x[1, 0, 5, 5] = np.nan, np.inf, -np.inf, 3e38
        w = np.random.default_rng(6).standard_normal((4, 3, 3, 3)).astype(dtype)
        t, tw = torch.tensor(x), torch.tensor(w)
        pairs = [
            (F.conv2d(x, w, padding=1), T.conv2d(t, tw, padding=1)),
            (F.max_pool2d(x, 3, 2, 1), T.max_pool2d(t, 3, 2, 1)),
            (F.avg_pool2d(x, 2), T.avg_pool2d(t, 2)),
            (F.adaptive_max_pool2d(x, 2), T.adaptive_max_pool2d(t, 2)),
            (F.relu(x), T.relu(t)),
            (F.leaky_relu(x), T.leaky_relu(t)),
            (F.relu6(x), T.relu6(t)),
            (F.sigmoid(x), torch.sigmoid(t)),
            (F.tanh(x), torch.tanh(t)),
            (F.softmax(x, 1), T.softmax(t, 1)),
            (F.log_softmax(x, 3), T.log_softmax(t, 3)),
            (F.exp(x), torch.exp(t)),
            (F.log(x), torch.log(t)),
            (F.sqrt(x), torch.sqrt(t)),
            (F.divide(x, np.zeros_like(x)), t / torch.zeros_like(t)),
            (F.relu_grad(np.ones_like(x), x), torch.where(t <= 0, 0.0, 1.0).to(t.dtype)),
        ]
        for i, (ours, theirs) in enumerate(pairs):
            np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-4, atol=1e-5, err_msg=f"pair {i}")

    def test_maximum_of_nan_is_where_torch_has_it(self, dtype: str) -> None:
        torch = oracle.torch_or_skip()
        x = np.zeros((1, 1, 4, 4), dtype)
        x[0, 0, 1, 1] = x[0, 0, 1, 0] = np.nan
        x[0, 0, 2:, 2:] = -np.inf
        indices = F.max_pool2d(x, 2, return_indices=True)[1]
        assert indices.dtype == np.int64
        expected = torch.nn.functional.max_pool2d(torch.tensor(x), 2, return_indices=True)[1].numpy()
        np.testing.assert_array_equal(indices[0, 0, :, 1], expected[0, 0, :, 1])
        assert np.isnan(x.ravel()[indices[0, 0, 0, 0]])

    def test_denormals_are_zero_or_kept(self, dtype: str) -> None:
        tiny = np.full((1, 1, 4, 4), np.finfo(dtype).smallest_subnormal, dtype)
        for y in (F.conv2d(tiny, np.ones((1, 1, 3, 3), dtype)), F.relu(tiny), F.multiply(tiny, 0.5)):
            assert ((y >= 0) & (y <= np.finfo(dtype).tiny)).all()


def test_denormals_are_not_slow() -> None:
    rng = np.random.default_rng(0)
    w = rng.standard_normal((16, 16, 3, 3)).astype(np.float32)
    normal = rng.standard_normal((1, 16, 32, 32)).astype(np.float32)

    def seconds(x: Array) -> float:
        times = []
        for _ in range(30):
            start = time.perf_counter()
            F.conv2d(x, w, padding=1)
            F.multiply(x, x)
            times.append(time.perf_counter() - start)
        return min(times)

    assert seconds(normal * np.float32(1e-40)) < 4 * seconds(normal)


def test_float64_warns_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_eager, "_warned", False)
    x, w = zeros(1, 16, 70, 70, dtype="float64"), zeros(16, 16, 3, 3, dtype="float64")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        F.conv2d(x[:, :, :40, :40], w)  # 3.3 million
    with pytest.warns(UserWarning, match=r"conv2d: float64 arrays.*\.astype\(np\.float32\)") as caught:
        F.conv2d(x, w)  # 10.7 million
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        F.conv2d(x, w)


def test_an_unknown_algorithm_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"conv2d.*'fastest'.*im2col"):
        F.conv2d(X, W, algorithm="fastest")
    with pytest.raises(ValueError, match="algorithm='im2col' needs float32"):
        F.conv2d(X.astype(np.float64), W.astype(np.float64), algorithm="im2col")
