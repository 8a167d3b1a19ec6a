# SPDX-License-Identifier: BSD-3-Clause
"""Seeded generators of cases, one per operation: sizes around the vector width, all strides, paddings and groups."""

import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from case import Case, Shape, make
from draw import MOST_ELEMENTS, MOST_MACS, Draw, epilogue
from window_generators import adaptive_pool, conv, conv_scaled, fractional_pool, pool, unpool


# The reference computes integers at about one multiply-add per nanosecond: a limit keeps thousands of cases fast.
def _matmul(draw: Draw, op: str) -> Case:
    while True:
        m, n, k = (draw.among(63, 64, 65, 127, 128, 129, 300) if draw.chance(0.15) else draw.size() for _ in range(3))
        if m * n * k <= MOST_MACS:
            break
    if draw.chance(0.02):
        m, n, k = draw.among((0, n, k), (m, 0, k), (m, n, 0))
    ta, tb = draw.chance(0.4), draw.chance(0.4)
    shapes = ((k, m) if ta else (m, k), (n, k) if tb else (k, n), (n,) if draw.chance(0.5) else None)
    return make(op, shapes, transpose_a=ta, transpose_b=tb, **epilogue(draw))


def _batch_norm(draw: Draw, op: str) -> Case:
    while True:
        x = (draw.batch(), draw.channels(), *(draw.size() for _ in range(draw.among(0, 1, 2, 2, 2))))
        one = np.prod(x) == x[1]  # value per channel: its gradient is 0
        if np.prod(x) <= MOST_ELEMENTS and not (one and draw.chance(0.8)):
            break
    c = (x[1],)
    weight, bias = (c if draw.chance(0.7) else None), (c if draw.chance(0.7) else None)
    residual = x if draw.chance(0.2) else None
    eps = draw.among(1e-5, 1e-3)
    if op == "batch_norm":
        return make(op, (x, c, c, weight, bias), eps=eps, **epilogue(draw))
    if op == "batch_norm_grad":
        return make(op, (x, x, c, c, weight, bias, residual), training=draw.chance(0.8), **epilogue(draw, long=True))
    running = c if draw.chance(0.6) else None
    momentum = draw.among(0.1, 0.25)
    shapes = (x, weight, bias, running, running, residual)
    return make(op, shapes, eps=eps, momentum=momentum, **epilogue(draw, long=True))


_UNARY_ATTRS: dict[str, Callable[[Draw], dict[str, Any]]] = {
    "leaky_relu": lambda draw: {"slope": draw.among(0.25, 0.125, 0.0)},
    "clamp": lambda draw: {"low": draw.among(-3.0, -2.0), "high": draw.among(2.0, 3.0)},
    "elu": lambda draw: {
        "alpha": draw.among(1.0, 1.6732632423543772, 0.3),
        "beta": draw.among(1.0, 1.0507009873554805),
        "gamma": draw.among(1.0, 2.0, 0.4),
    },
    "softplus": lambda draw: {"alpha": draw.among(1.0, 2.0, 0.5), "beta": draw.among(20.0, 1.0)},
    "hardshrink": lambda draw: {"alpha": draw.among(0.5, 0.0, 1.0)},
    "softshrink": lambda draw: {"alpha": draw.among(0.5, 0.0, 1.0)},
    "threshold": lambda draw: {"alpha": draw.among(0.0, -1.0), "beta": draw.among(0.0, 20.0)},
    "power": lambda draw: {"alpha": draw.among(1.0, 2.0, 3.0, -1.0, 0.5, -0.5, 1.7, -3.3, 5.0, -6.0)},
    "scale": lambda draw: {"alpha": draw.among(2.0, -0.5, 1.0), "beta": draw.among(0.0, 3.0)},
}


def _unary(draw: Draw, op: str) -> Case:
    attrs = _UNARY_ATTRS.get(op.removesuffix("_grad"), lambda draw: {})(draw)
    shape = draw.shape(0, 5)
    return make(op, (shape, shape) if op.endswith("_grad") else (shape,), **attrs)


def _binary(draw: Draw, op: str) -> Case:
    full = draw.shape(0, 5)

    def part() -> Shape:
        shape = full[draw.between(0, len(full)) :] if draw.chance(0.2) else full
        return tuple(1 if draw.chance(0.3) else size for size in shape) if draw.chance(0.5) else shape

    return make(op, (part(), full) if op != "prelu" and draw.chance(0.5) else (full, part()))


def _sum_to(draw: Draw, op: str) -> Case:
    x = draw.shape(1, 5)
    kept = tuple(1 if draw.chance(0.5) else size for size in x)
    return make(op, (x,), shape=kept, scale=draw.among(1.0, 1.0, 0.5))


def _concat(draw: Draw, op: str) -> Case:
    shape = draw.shape(1, 5)
    axis = draw.between(0, len(shape) - 1)
    parts = [(*shape[:axis], draw.among(16, 32, draw.size()), *shape[axis + 1 :]) for _ in range(draw.between(1, 4))]
    return make(op, tuple(parts), axis=axis)


def _slice(draw: Draw, op: str) -> Case:
    shape = draw.shape(1, 5)
    axis = draw.between(0, len(shape) - 1)
    start = draw.between(0, shape[axis])
    return make(op, (shape,), axis=axis, start=start, stop=draw.between(start, shape[axis]))


def _pad(draw: Draw, op: str) -> Case:
    shape = draw.shape(1, 4)
    padding = []
    for size in shape:
        before = draw.between(-(size // 2), 0) if draw.chance(0.1) else draw.among(0, 0, 1, 2, 5)
        padding.append((before, draw.among(0, 0, 1, 3)))
    return make(op, (shape,), padding=tuple(padding), value=draw.among(0.0, 2.0))


def _permute(draw: Draw, op: str) -> Case:
    while True:
        shape = draw.shape(2, 5)
        axes = tuple(int(axis) for axis in draw.order(len(shape)))
        if len(_moving(shape, axes)) > 1:
            return make(op, (shape,), axes=axes)


def _moving(shape: Shape, axes: tuple[int, ...]) -> list[int]:
    """The axes of more than one element where the order is not the input's."""
    kept = [axis for axis in axes if shape[axis] != 1]
    return [] if kept == sorted(kept) else kept


def _resample(draw: Draw, op: str) -> Case:
    while True:
        shape = draw.shape(1, 5)
        axis = draw.between(0, len(shape) - 1)
        size = shape[axis]
        out = draw.among(1, size, 2 * size, draw.size(), draw.size()) or 1
        taps = draw.among(out, 2 * out, 3 * out, max(out, size)) if size else 0
        if np.prod(shape) // max(size, 1) * max(out, taps) <= MOST_ELEMENTS:
            break
    return make(op, (shape, (out + 1,), (taps,), (taps,), (size + 1,), (taps,), (taps,)), axis=axis)


def _grid_sample(draw: Draw, op: str) -> Case:
    while True:
        axes, low = draw.among(2, 2, 3), 3 if op.endswith("_grid") else 1  # pixels between which something changes
        x = (draw.batch(), draw.channels(), *(max(low, draw.small()) for _ in range(axes)))
        grid = (x[0], *(draw.small() for _ in range(axes)), axes)
        y = (*x[:2], *grid[1:-1])
        if 0 not in grid and max(np.prod(x), np.prod(y)) <= MOST_ELEMENTS:
            break
    modes = ["bilinear", *(("bicubic",) if axes == 2 else ()), *(() if op.endswith("_grid") else ("nearest",))]
    mode = draw.among(*modes)
    attrs = {
        "mode": mode,
        "padding_mode": draw.among("zeros", "border", "reflection"),
        "align_corners": draw.chance(0.4),
    }
    if op == "grid_sample":
        return make(op, (x, grid), **attrs)
    if op == "grid_sample_grad_input":
        return make(op, (y, grid), input_shape=x, **attrs)
    return make(op, (y, x, grid), **attrs)


def _group_norm(draw: Draw, op: str) -> Case:
    while True:
        groups, each = draw.among((1, draw.channels()), (draw.channels(), 1), (draw.between(2, 5), draw.between(1, 17)))
        x = (draw.batch(), groups * each, *(draw.size() for _ in range(draw.among(0, 1, 2, 2, 2, 3))))
        one = np.prod(x) == x[0] * groups  # value per group: its gradient is 0
        if np.prod(x) <= MOST_ELEMENTS and not (one and draw.chance(0.9)):
            break
    vectors = [(x[1],) if draw.chance(0.7) else None for _ in range(2)]
    if op == "group_norm":
        return make(op, (x, *vectors), groups=groups, eps=draw.among(1e-5, 1e-3))
    return make(op, (x, x, (x[0], groups), (x[0], groups), vectors[0]), groups=groups)


def _local_response_norm(draw: Draw, op: str) -> Case:
    while True:
        x = (draw.batch(), draw.channels(), *(draw.size() for _ in range(draw.among(1, 2, 2, 3))))
        if np.prod(x) <= MOST_ELEMENTS:
            break
    attrs = {"size": draw.among(1, 2, 3, 5, 5, 5, 9, 40), "alpha": draw.among(1e-4, 0.5, 2.0)}
    attrs |= {"beta": draw.among(0.75, 0.75, 0.5, 1.0), "k": draw.among(1.0, 2.0)}
    return make(op, (x, x) if op.endswith("_grad") else (x,), **attrs)


def _softmax(draw: Draw, op: str) -> Case:
    while True:
        shape = draw.shape(1, 4)
        axis = draw.between(0, len(shape) - 1)
        if shape[axis] != 1 or draw.chance(0.2):  # over one element its gradient is 0
            break
    return make(op, (shape, shape) if op.endswith("_grad") else (shape,), axis=axis)


def _cross_entropy(draw: Draw, op: str) -> Case:
    while True:
        logits = (
            draw.batch(),
            draw.among(2, 10, 100, draw.size(), draw.size()),
            *(draw.small() for _ in range(draw.between(0, 2))),
        )
        if np.prod(logits) <= MOST_ELEMENTS:
            break
    target = (logits[0], *logits[2:])
    weight = (logits[1],) if draw.chance(0.4) else None
    reduction = draw.among("mean", "sum", "none")
    attrs = {"reduction": reduction, "ignore_index": draw.among(-100, 0)}
    attrs |= draw.among({"label_smoothing": 0.1}, {"log_probabilities": True}, {}, {})
    if op == "cross_entropy":
        return make(op, (logits, target, weight), **attrs)
    return make(op, (target if reduction == "none" else (), logits, target, weight), **attrs)


def _dropout(draw: Draw, op: str) -> Case:
    return make(
        op, (draw.shape(0, 4), (1, 2)), p=draw.among(0.0, 0.1, 0.3, 0.5, 0.5, 0.75, 0.9), node=draw.between(0, 40)
    )


def _sgd(draw: Draw, op: str) -> Case:
    shape = draw.shape(1, 4)
    momentum = draw.among(0.0, 0.9)
    nesterov = momentum > 0 and draw.chance(0.4)
    attrs = {"momentum": momentum, "nesterov": nesterov, "weight_decay": draw.among(0.0, 1e-2)}
    attrs["dampening"] = 0.0 if nesterov else draw.among(0.0, 0.5)
    return make(op, (shape, shape, shape if momentum else None, (8,)), **attrs)


def _adam(draw: Draw, op: str) -> Case:
    shape = draw.shape(1, 4)
    attrs = {"weight_decay": draw.among(0.0, 1e-2), "decoupled": draw.chance(0.5), "beta1": draw.among(0.9, 0.5)}
    return make(op, (shape, shape, shape, shape, (8,)), **attrs)


def _adaptive(draw: Draw, op: str) -> Case:
    shape, momentum = draw.shape(1, 4), draw.among(0.0, 0.9)
    attrs = {"weight_decay": draw.among(0.0, 1e-2), "momentum": momentum, "eps": draw.among(1e-8, 1e-3)}
    return make(op, (shape, shape, shape, shape if momentum else None, (8,)), **attrs)


def _uniform(draw: Draw, op: str) -> Case:
    return make(op, ((1, 2),), shape=draw.shape(0, 4), dtype="float32", node=draw.between(0, 40))


_UNARY = ["relu", "leaky_relu", "sigmoid", "tanh", "clamp", "negative", "exp", "log", "sqrt", "square", "scale"]
_UNARY += ["elu", "silu", "hardswish", "hardsigmoid", "gelu", "gelu_tanh", "mish", "logsigmoid", "softsign", "softplus"]
_UNARY += ["hardshrink", "softshrink", "threshold", "abs", "power"]
_UNARY_GRAD = [f"{op}_grad" for op in _UNARY if op not in ("negative", "scale")]

# Operation -> how to draw a case, and how many cases --full runs.
GENERATORS: dict[str, tuple[Callable[[Draw, str], Case], int]] = {
    **dict.fromkeys(("conv2d", "conv2d_grad_input", "conv2d_grad_weight"), (conv, 2400)),
    "conv2d_scaled": (conv_scaled, 600),
    **dict.fromkeys(("conv1d", "conv1d_grad_input", "conv1d_grad_weight"), (conv, 800)),
    **dict.fromkeys(("conv3d", "conv3d_grad_input", "conv3d_grad_weight"), (conv, 800)),
    "matmul": (_matmul, 2200),
    **dict.fromkeys(("max_pool2d", "max_pool2d_grad", "avg_pool2d", "avg_pool2d_grad"), (pool, 2200)),
    **dict.fromkeys(
        ("adaptive_max_pool2d", "adaptive_max_pool2d_grad", "adaptive_avg_pool2d", "adaptive_avg_pool2d_grad"),
        (adaptive_pool, 2200),
    ),
    **{f"{kind}_pool{n}d{part}": (pool, 600) for kind in ("max", "avg") for n in (1, 3) for part in ("", "_grad")},
    **{
        f"adaptive_{kind}_pool{n}d{part}": (adaptive_pool, 400)
        for kind in ("max", "avg")
        for n in (1, 3)
        for part in ("", "_grad")
    },
    **dict.fromkeys(("max_unpool", "max_unpool_grad"), (unpool, 300)),
    **dict.fromkeys(("batch_norm", "batch_norm_training", "batch_norm_grad"), (_batch_norm, 1000)),
    **dict.fromkeys(_UNARY + _UNARY_GRAD, (_unary, 300)),
    **dict.fromkeys(("add", "subtract", "multiply", "divide", "maximum", "minimum", "prelu"), (_binary, 500)),
    "sum_to": (_sum_to, 1000),
    "concat": (_concat, 500),
    "slice": (_slice, 500),
    "pad": (_pad, 500),
    **dict.fromkeys(("group_norm", "group_norm_grad"), (_group_norm, 1000)),
    **dict.fromkeys(("grid_sample", "grid_sample_grad_input", "grid_sample_grad_grid"), (_grid_sample, 300)),
    **dict.fromkeys(("fractional_max_pool", "fractional_max_pool_grad"), (fractional_pool, 300)),
    "permute": (_permute, 500),
    "resample": (_resample, 1000),
    **dict.fromkeys(("local_response_norm", "local_response_norm_grad"), (_local_response_norm, 500)),
    **dict.fromkeys(("softmax", "log_softmax", "softmax_grad", "log_softmax_grad"), (_softmax, 500)),
    **dict.fromkeys(("cross_entropy", "cross_entropy_grad"), (_cross_entropy, 500)),
    "dropout": (_dropout, 300),
    "uniform": (_uniform, 300),
    "sgd_step": (_sgd, 300),
    "adam_step": (_adam, 300),
    "adaptive_step": (_adaptive, 300),
}


def generate(op: str, index: int, seed: int) -> Case:
    """Case number `index` of an operation; it depends on nothing else, so any share of the cases is the same cases."""
    draw, _ = GENERATORS[op]
    return draw(Draw(np.random.default_rng([zlib.crc32(op.encode()), index, seed])), op)


def generated(op: str, seed: int, share: int = 1) -> Iterator[Case]:
    """One case of every `share` of an operation's."""
    for index in range(seed % share, GENERATORS[op][1], share):
        yield generate(op, index, seed)
