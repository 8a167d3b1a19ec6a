# SPDX-License-Identifier: BSD-3-Clause
"""What the self-test computes: for every operation some shapes around and beyond whole vectors, blocks and tiles."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

import cnnkern.functional  # noqa: F401  (registers the operations)
from cnnkern import graph, reference
from cnnkern.functional.resample import table

Array = graph.Array
Attrs = graph.Attrs
Values = Callable[..., Array]  # shape -> float32 array


class Case(NamedTuple):
    """One application of an operation of the graph."""

    op: str
    inputs: tuple[Array | None, ...]
    attrs: Attrs


# (x, weight, stride, padding, dilation, groups)
_CONVOLUTIONS: tuple[tuple[Any, ...], ...] = (
    ((2, 16, 9, 11), (32, 16, 1, 1), (1, 1), ((0, 0), (0, 0)), (1, 1), 1),
    ((1, 40, 8, 8), (24, 40, 1, 1), (2, 2), ((0, 0), (0, 0)), (1, 1), 1),
    ((2, 16, 14, 14), (48, 16, 3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 1),
    ((1, 35, 13, 17), (19, 35, 3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 1),
    ((1, 32, 15, 14), (32, 32, 3, 3), (2, 2), ((1, 1), (1, 1)), (1, 1), 1),
    ((1, 3, 33, 31), (64, 3, 7, 7), (2, 2), ((3, 3), (3, 3)), (1, 1), 1),
    ((3, 1, 12, 12), (16, 1, 5, 5), (1, 1), ((2, 2), (2, 2)), (1, 1), 1),
    ((1, 8, 12, 11), (20, 8, 3, 2), (1, 2), ((2, 1), (0, 3)), (2, 3), 1),
    ((1, 18, 10, 9), (12, 6, 3, 3), (1, 1), ((0, 1), (1, 0)), (1, 1), 3),
    ((2, 32, 12, 13), (32, 1, 3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 32),
    ((1, 21, 11, 10), (21, 1, 5, 5), (2, 2), ((2, 2), (2, 2)), (1, 1), 21),
    ((1, 6, 9, 9), (12, 1, 3, 3), (1, 1), ((0, 0), (0, 0)), (1, 1), 6),
    ((1, 64, 7, 7), (64, 64, 3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 1),
    ((1, 96, 29, 28), (80, 96, 3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 1),  # more than one block of everything
    ((2, 530, 14, 15), (70, 530, 1, 1), (1, 1), ((0, 0), (0, 0)), (1, 1), 1),
    ((1, 64, 57, 56), (64, 1, 3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 64),
    ((2, 19, 37), (24, 19, 5), (2,), ((2, 2),), (1,), 1),
    ((1, 18, 6, 7, 9), (20, 18, 3, 3, 3), (1, 2, 1), ((1, 1), (1, 1), (0, 1)), (1, 1, 1), 1),
)
_EPILOGUES: tuple[Attrs, ...] = (
    {"activation": "relu"},
    {"activation": "leaky_relu", "slope": 0.25},
    {"activation": "clamp", "low": -4.0, "high": 16.0},
)


def _convolution(values: Values) -> Iterator[Case]:
    for i, (x_shape, w_shape, stride, padding, dilation, groups) in enumerate(_CONVOLUTIONS):
        x, w = values(*x_shape), values(*w_shape)
        geometry = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        name = f"conv{len(x_shape) - 2}d"
        (y,) = graph.OPS[name].infer((x, w, None, None), geometry)
        dy, bias = values(*y.shape), values(w_shape[0])
        yield Case(name, (x, w, None, None), geometry)
        yield Case(name, (x, w, bias, dy), {**geometry, **_EPILOGUES[i % 3]})
        yield Case(f"{name}_grad_input", (dy, w, None, None), {"input_shape": x_shape, **geometry})
        yield Case(f"{name}_grad_input", (dy, w, x, values(*x_shape)), {"input_shape": x_shape, **geometry})
        yield Case(f"{name}_grad_weight", (x, dy), {"weight_shape": w_shape, **geometry})


def _scaled_convolution(values: Values) -> Iterator[Case]:
    """1x1 kernels on one block of the caches and on more."""
    for n, c, o, size in ((2, 40, 35, 9), (1, 530, 70, 14)):
        geometry = {"stride": (1, 1), "padding": ((0, 0), (0, 0)), "dilation": (1, 1), "groups": 1}
        x, w, vector = values(n, c, size, size), values(o, c, 1, 1), values(c)
        normalized = (x, w, values(o), None, vector, values(c), values(c))
        yield Case("conv2d_scaled", normalized, {**geometry, "input_activation": "relu"})
        gated = (x, w, None, values(n, o, size, size), values(n, c, 1, 1), None, None)
        yield Case("conv2d_scaled", gated, {**geometry, "activation": "relu"})


def _matrix_product(values: Values) -> Iterator[Case]:
    for i, (m, n, k) in enumerate(
        ((1, 10, 1568), (5, 17, 33), (37, 64, 100), (16, 31, 1), (64, 100, 256), (130, 300, 700))
    ):
        bias = values(n)
        for a in (False, True):
            for b in (False, True):
                transposed = {"transpose_a": a, "transpose_b": b}
                matrices = values(*((k, m) if a else (m, k))), values(*((n, k) if b else (k, n)))
                yield Case("matmul", (*matrices, None), transposed)
                yield Case("matmul", (*matrices, bias), {**transposed, **_EPILOGUES[i % 3]})


# (x, kernel, stride, padding, dilation, output size)
_POOLS: tuple[tuple[Any, ...], ...] = (
    ((2, 16, 8, 8), (2, 2), (2, 2), ((0, 0), (0, 0)), (1, 1), (4, 4)),
    ((1, 35, 15, 14), (3, 3), (2, 2), ((1, 1), (1, 1)), (1, 1), (8, 7)),
    ((2, 5, 6, 7), (3, 2), (2, 3), ((0, 0), (1, 1)), (1, 1), (3, 3)),  # windows that hang over the edge
    ((1, 19, 9, 8), (3, 2), (2, 1), ((1, 1), (1, 1)), (2, 3), (4, 7)),
    ((2, 64, 57, 56), (3, 3), (2, 2), ((1, 1), (1, 1)), (1, 1), (29, 28)),
    ((2, 19, 33), (3,), (2,), ((1, 1),), (1,), (17,)),
    ((1, 35, 6, 7, 8), (3, 2, 3), (2, 2, 1), ((1, 1), (0, 0), (1, 1)), (1, 1, 1), (3, 3, 8)),
)


_ADAPTIVE_POOLS: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = (
    ((2, 35, 7, 7), (1, 1)),
    ((1, 16, 9, 7), (4, 3)),
    ((2, 3, 4, 5), (6, 5)),
    ((2, 19, 9), (4,)),
    ((1, 19, 4, 5, 6), (3, 1, 4)),
)


def _pooling(values: Values) -> Iterator[Case]:
    for shape, kernel, stride, padding, dilation, output_size in _POOLS:
        x, dy = values(*shape), values(*shape[:2], *output_size)
        window = {"kernel": kernel, "stride": stride, "padding": padding}
        maximum, average = (f"{kind}_pool{len(kernel)}d" for kind in ("max", "avg"))
        yield Case(maximum, (x,), {**window, "dilation": dilation, "output_size": output_size})
        _, indices = reference.max_pool2d(x, **window, dilation=dilation, output_size=output_size)
        yield Case(f"{maximum}_grad", (dy, indices), {**window, "dilation": dilation, "input_shape": shape})
        places = np.arange(dy.size, dtype=np.int32).reshape(dy.shape) % np.int32(np.prod(shape[2:]))
        yield Case("max_unpool", (dy, places), {"output_size": shape[2:]})
        yield Case("max_unpool_grad", (x, places), {})
        if max(dilation) == 1:
            for include, divisor in ((True, 0), (False, 0), (True, 3)):
                counted = {**window, "output_size": output_size, "count_include_pad": include, "divisor": divisor}
                yield Case(average, (x,), counted)
                yield Case(f"{average}_grad", (dy,), {**counted, "input_shape": shape})
    for shape, output_size in _ADAPTIVE_POOLS:
        x, dy = values(*shape), values(*shape[:2], *output_size)
        _, indices = reference.adaptive_max_pool2d(x, output_size=output_size)
        maximum, average = (f"adaptive_{kind}_pool{len(output_size)}d" for kind in ("max", "avg"))
        yield Case(maximum, (x,), {"output_size": output_size})
        yield Case(f"{maximum}_grad", (dy, indices), {"input_shape": shape})
        yield Case(average, (x,), {"output_size": output_size})
        yield Case(f"{average}_grad", (dy,), {"input_shape": shape})
    with_nan = values(1, 17, 6, 6)
    with_nan[:, :, 2, 3] = np.nan
    yield Case("max_pool2d", (with_nan,), {"kernel": (2, 2), "stride": (2, 2), "padding": ((0, 0), (0, 0)),
               "dilation": (1, 1), "output_size": (3, 3)})  # fmt: skip


def _normalization(values: Values) -> Iterator[Case]:
    for i, shape in enumerate(((16, 10), (4, 16, 6, 7), (2, 35, 5, 5), (3, 7, 40), (8, 40, 28, 27))):
        x, dy, c = values(*shape), values(*shape), shape[1]
        weight, bias, mean = values(c), values(c), values(c)
        var, rstd = 0.5 + abs(values(c)), 1 / (1 + abs(values(c)))
        epilogue = {"eps": 1e-5, **_EPILOGUES[i % 3]}
        yield Case("batch_norm", (x, mean, var, weight, bias), epilogue)
        yield Case("batch_norm", (x, mean, var, None, None), {"eps": 1e-3})
        yield Case("batch_norm_training", (x, weight, bias, mean, var, dy), {"momentum": 0.1, **epilogue})
        yield Case("batch_norm_training", (x, *[None] * 5), {"momentum": 0.0, "eps": 1e-3})
        for training in (True, False):
            yield Case("batch_norm_grad", (dy, x, mean, rstd, weight, None, None), {"training": training})
        yield Case("batch_norm_grad", (dy, x, mean, rstd, weight, bias, dy), {"activation": "silu"})


_UNARY: dict[str, Attrs] = {
    "relu": {},
    "leaky_relu": {"slope": 0.25},
    "clamp": {"low": -1.0, "high": 2.0},
    "sigmoid": {},
    "tanh": {},
    "negative": {},
    "exp": {},
    "log": {},
    "sqrt": {},
    "square": {},
    "scale": {"alpha": -2.0, "beta": 3.0},
    "elu": {"alpha": 0.75, "beta": 1.5, "gamma": 2.0},
    "silu": {},
    "hardswish": {},
    "hardsigmoid": {},
    "gelu": {},
    "gelu_tanh": {},
    "mish": {},
    "logsigmoid": {},
    "softsign": {},
    "softplus": {"alpha": 2.0, "beta": 5.0},
    "hardshrink": {"alpha": 0.5},
    "softshrink": {"alpha": 0.5},
    "threshold": {"alpha": 0.5, "beta": 2.0},
    "abs": {},
    "power": {"alpha": 2.5},
}
_TAKES_RESULT = ("sigmoid", "tanh", "exp", "sqrt")  # their gradients
_LENGTHS = ((1,), (37,), (3, 5, 7), (2, 19, 9, 10), (4, 33, 40, 41))  # around and beyond whole vectors
_BROADCASTS = (((2, 19, 9, 10), (2, 19, 9, 10)), ((2, 19, 5, 6), (1, 19, 1, 1)), ((7, 1), (1, 33)), ((33,), (1,)))


def _elementwise(values: Values) -> Iterator[Case]:
    for name, attrs in _UNARY.items():
        for shape in _LENGTHS:
            x = values(*shape)
            if name in ("log", "sqrt", "power"):
                x = abs(x) + np.float32(0.5)
            elif name not in _TAKES_RESULT or name == "tanh":
                x[..., 0] = np.nan
            yield Case(name, (x,), attrs)
            if f"{name}_grad" in graph.OPS:
                saved = getattr(reference, name)(x).astype(np.float32) if name in _TAKES_RESULT else x
                yield Case(f"{name}_grad", (values(*shape), saved), attrs)
    for name in ("add", "subtract", "multiply", "divide", "maximum", "minimum", "prelu"):
        for a, b in _BROADCASTS:
            divisor = values(*b)
            if name == "divide":
                divisor = np.where(abs(divisor) < 0.5, np.float32(2), divisor)
            yield Case(name, (values(*a), divisor), {})


def _moving(values: Values) -> Iterator[Case]:
    x4 = (4, 19, 5, 6)
    for shape, target in ((x4, (1, 19, 1, 1)), (x4, (4, 1, 5, 6)), ((33, 17), (1, 17)), ((7, 40), (1, 1))):
        yield Case("sum_to", (values(*shape),), {"shape": target, "scale": 1.0})
        yield Case("sum_to", (values(*shape),), {"shape": target, "scale": 0.25})
        factor = np.full((1,) * len(shape), 0.25, np.float32)
        yield Case("expand", (values(*target), factor), {"shape": shape})
    yield Case("concat", tuple(values(2, c, 5, 6) for c in (16, 5, 19)), {"axis": 1})
    yield Case("concat", (values(3, 4), values(5, 4)), {"axis": 0})
    yield Case("slice", (values(2, 40, 5, 6),), {"axis": 1, "start": 7, "stop": 30})
    yield Case("slice", (values(2, 5, 6),), {"axis": 2, "start": 0, "stop": 5})
    yield Case("pad", (values(2, 19, 5, 6),), {"padding": ((0, 0), (0, 0), (1, 2), (3, 0)), "value": 1.5})
    yield from _rearranging(values)
    yield Case("pad", (values(5, 7),), {"padding": ((0, 1), (2, 0)), "value": 0.0})


def _rearranging(values: Values) -> Iterator[Case]:
    yield Case("permute", (values(2, 19, 17, 20),), {"axes": (0, 2, 3, 1)})
    yield Case("permute", (values(2, 9, 7, 3),), {"axes": (0, 3, 1, 2)})
    yield Case("permute", (values(3, 4, 5, 6, 7),), {"axes": (0, 3, 1, 4, 2)})
    for shape, axis, out in (((2, 19, 9, 10), 1, 25), ((2, 19, 9, 10), 2, 18), ((2, 19, 9, 10), 3, 7), ((5, 33), 0, 9)):
        x, counts = values(*shape), np.arange(out) % 4
        index = np.arange(counts.sum()) * 7 % shape[axis]
        yield Case("resample", (x, *table(counts, index, values(len(index)), shape[axis], x.dtype)), {"axis": axis})


def _grids(values: Values) -> Iterator[Case]:
    for shape, size, mode in (((2, 19, 9, 8), (7, 11), "bilinear"), ((1, 3, 5, 6), (9, 9), "bicubic"),
                              ((2, 5, 4, 5, 6), (3, 4, 6), "bilinear"), ((2, 5, 7, 6), (5, 5), "nearest")):  # fmt: skip
        axes = len(size)
        count = int(np.prod(size)) * shape[0] * axes
        between = (np.arange(count) * 37 % 64 - 32 + 0.25) / 24  # no pixel's centre or edge
        grid = between.reshape(shape[0], *size, axes).astype(np.float32)
        dy = values(*shape[:2], *size)
        for padding in ("zeros", "border", "reflection"):
            attrs = {"mode": mode, "padding_mode": padding, "align_corners": False}
            yield Case("grid_sample", (values(*shape), grid), attrs)
            yield Case("grid_sample_grad_input", (dy, grid), {"input_shape": shape, **attrs})
            yield Case("grid_sample_grad_grid", (dy, values(*shape), grid), attrs)
    for shape, kernel, size in (((2, 19, 9, 8), (2, 3), (5, 4)), ((1, 5, 5, 6, 7), (2, 2, 2), (4, 2, 6))):
        samples = (np.arange(shape[0] * shape[1] * len(size)) * 37 % 64 / 64 + 1 / 128).astype(np.float32)
        x = values(*shape)
        inputs = x, samples.reshape(*shape[:2], len(size))
        _, indices = reference.fractional_max_pool(*inputs, kernel=kernel, output_size=size)
        yield Case("fractional_max_pool", inputs, {"kernel": kernel, "output_size": size})
        yield Case("fractional_max_pool_grad", (values(*indices.shape), indices), {"input_shape": shape})


def _groups(values: Values) -> Iterator[Case]:
    for shape, groups in (((2, 32, 9, 8), 4), ((2, 18, 5, 7), 3), ((1, 19, 30, 31), 19), ((70, 100), 1), ((3, 40), 5)):
        x, dy, weight, bias = values(*shape), values(*shape), values(shape[1]), values(shape[1])
        yield Case("group_norm", (x, weight, bias), {"groups": groups, "eps": 1e-5})
        yield Case("group_norm", (x, None, None), {"groups": groups, "eps": 1e-3})
        mean, rstd = values(shape[0], groups), 1 / (1 + abs(values(shape[0], groups)))
        yield Case("group_norm_grad", (dy, x, mean, rstd, weight), {"groups": groups})


def _responses(values: Values) -> Iterator[Case]:
    for shape, size in (((2, 35, 9, 8), 5), ((1, 16, 65), 3), ((2, 6, 5, 5), 40)):
        attrs = {"size": size, "alpha": 0.5, "beta": 0.75, "k": 2.0}
        yield Case("local_response_norm", (values(*shape),), attrs)
        yield Case("local_response_norm_grad", (values(*shape), values(*shape)), {**attrs, "beta": 0.5})


def _classification(values: Values) -> Iterator[Case]:
    for shape, axis in (((5, 10), 1), ((3, 1000), 1), ((2, 7, 4, 5), 1), ((4, 3, 17), 2)):
        x, dy = values(*shape), values(*shape)
        for name in ("softmax", "log_softmax"):
            y = getattr(reference, name)(x, axis=axis).astype(np.float32)
            yield Case(name, (x,), {"axis": axis})
            yield Case(f"{name}_grad", (dy, y), {"axis": axis})
    for shape in ((7, 10), (4, 3), (3, 5, 4, 4)):
        logits, weight = values(*shape), 0.5 + abs(values(shape[1]))
        target = abs(values(shape[0], *shape[2:]) * 7).astype(np.int32) % np.int32(shape[1])
        target[-1:] = 1
        for i, reduction in enumerate(("mean", "sum", "none")):
            attrs: Attrs = {"reduction": reduction, "ignore_index": -100 if i else 0, "label_smoothing": 0.125 * i}
            loss = reference.cross_entropy(logits, target, weight, **attrs)
            dloss = values(*loss.shape) if loss.ndim else np.float32(1.5) * np.ones((), np.float32)
            yield Case("cross_entropy", (logits, target, weight), attrs)
            yield Case("cross_entropy", (logits, target, None), attrs)
            yield Case("cross_entropy_grad", (dloss, logits, target, weight), attrs)


def _training(values: Values) -> Iterator[Case]:
    for node, shape in enumerate(((1,), (2, 19, 5, 6), (1037,))):
        for p in (0.0, 0.25, 0.5):
            yield Case("dropout", (values(*shape), np.array([[7, node]], np.int32)), {"p": p, "node": node})
        drawn = {"shape": shape, "dtype": "float32", "node": node}
        yield Case("uniform", (np.array([[7, node]], np.int32),), drawn)
    for shape in ((5,), (64, 33)):
        for first in (0.0, 1.0):
            hyper = np.array([[0.1, first, 0, 0, 0, 0, 0, 0]], np.float32)
            momentum = {"momentum": 0.875, "dampening": 0.25, "weight_decay": 0.01, "nesterov": False}
            yield Case("sgd_step", (values(*shape), values(*shape), values(*shape), hyper), momentum)
            nesterov = {**momentum, "dampening": 0.0, "nesterov": True}
            yield Case("sgd_step", (values(*shape), values(*shape), values(*shape), hyper), nesterov)
            plain = {"momentum": 0.0, "dampening": 0.0, "weight_decay": 0.0, "nesterov": False}
            yield Case("sgd_step", (values(*shape), values(*shape), None, hyper), plain)
        for decoupled in (False, True):
            hyper = np.array([[0.1, 0.25, 0.125, 0, 0, 0, 0, 0]], np.float32)
            state = values(*shape), values(*shape), values(*shape), abs(values(*shape)), hyper
            decay = {"weight_decay": 0.01, "decoupled": decoupled}
            yield Case("adam_step", state, {"beta1": 0.875, "beta2": 0.96875, "eps": 1e-6, **decay})
        for keep, take in ((1.0, 1.0), (0.875, 0.125)):
            hyper = np.array([[0.1, keep, take, 0, 0, 0, 0, 0]], np.float32)
            for buffer, factor in ((None, 0.0), (values(*shape), 0.875)):
                gathered = values(*shape), values(*shape), abs(values(*shape)), buffer, hyper
                yield Case("adaptive_step", gathered, {"eps": 1e-3, "momentum": factor, "weight_decay": 0.01})


PARTS: tuple[tuple[str, Callable[[Values], Iterator[Case]]], ...] = (
    ("Convolution", _convolution),
    ("Convolution of scaled pixels", _scaled_convolution),
    ("Matrix product", _matrix_product),
    ("Pooling", _pooling),
    ("Batch normalization", _normalization),
    ("Group normalization", _groups),
    ("Grids and random windows", _grids),
    ("Local response normalization", _responses),
    ("Activations and arithmetic", _elementwise),
    ("Sums and moving of elements", _moving),
    ("Classification", _classification),
    ("Dropout and optimizers", _training),
)
