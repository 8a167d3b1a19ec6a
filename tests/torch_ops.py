# SPDX-License-Identifier: BSD-3-Clause
"""Every forward operation of the graph in PyTorch: FORWARD[name](torch, *inputs, attrs) gives its outputs.

Written with PyTorch's public functions, differentiable by autograd; absent inputs are None. An operation of several
outputs gives a tuple. Networks need nothing else: what is missing here are gradient operations and optimizers' steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cnnkern import reference

Attrs = dict[str, Any]


def _flat(padding: Any) -> list[int]:
    """((before, after), ...) of the last axes in the order of torch.nn.functional.pad."""
    return [amount for pair in reversed(padding) for amount in pair]


def _even(padding: Any) -> bool:
    return all(before == after for before, after in padding)


def _conv(t: Any, x: Any, w: Any, b: Any, residual: Any, a: Attrs) -> Any:
    """Without the activation that only compiled graphs have."""
    function, padding = getattr(t.nn.functional, f"conv{x.ndim - 2}d"), tuple(before for before, _ in a["padding"])
    if not _even(a["padding"]):
        x, padding = t.nn.functional.pad(x, _flat(a["padding"])), 0
    y = function(x, w, b, a["stride"], padding, a["dilation"], a["groups"])
    return y if residual is None else y + residual


def _conv_scaled(t: Any, x: Any, w: Any, b: Any, residual: Any, scale: Any, shift: Any, centre: Any, a: Attrs) -> Any:
    """Without the activation of the result."""

    def column(value: Any) -> Any:
        return value.reshape(value.shape[0] if value.ndim > 1 else 1, -1, 1, 1)

    x = (x if centre is None else x - column(centre)) * column(scale)
    x = x if shift is None else x + column(shift)
    return _conv(t, t.relu(x) if a["input_activation"] == "relu" else x, w, b, residual, a)


def _conv_grad_input(t: Any, dy: Any, w: Any, residual: Any, gate: Any, a: Attrs) -> Any:
    """A transposed convolution to the padded size, cropped where the borders differ."""
    axes = dy.ndim - 2
    function = getattr(t.nn.functional, f"conv_transpose{axes}d")
    even = _even(a["padding"])
    extra, crop = [], []
    for i in range(axes):
        before, after = a["padding"][i]
        reached = (dy.shape[2 + i] - 1) * a["stride"][i] + a["dilation"][i] * (w.shape[2 + i] - 1) + 1
        extra.append(a["input_shape"][2 + i] + before + after - reached)
        crop.append((-before, -after))
    padding = tuple(before for before, _ in a["padding"]) if even else 0
    dx = function(dy, w, None, a["stride"], padding, tuple(extra), a["groups"], a["dilation"])
    dx = dx if even else t.nn.functional.pad(dx, _flat(crop))
    dx = dx if residual is None else dx + residual
    return dx if gate is None else dx * (gate > 0)


def _matmul(t: Any, x: Any, y: Any, b: Any, a: Attrs) -> Any:
    left = x.T if a["transpose_a"] else x
    if b is not None:
        return t.nn.functional.linear(left, y if a["transpose_b"] else y.T, b)
    return left @ (y.T if a["transpose_b"] else y)


def _ceil_mode(x: Any, a: Attrs) -> bool | None:
    """The ceil_mode under which PyTorch makes windows of this output size; None: there is none."""
    if not _even(a["padding"]) or any(2 * pair[0] > k for pair, k in zip(a["padding"], a["kernel"], strict=True)):
        return None
    for ceil in (False, True):
        sizes = []
        for i, (kernel, stride, (padding, _)) in enumerate(zip(a["kernel"], a["stride"], a["padding"], strict=True)):
            dilation = a["dilation"][i] if "dilation" in a else 1
            room = x.shape[2 + i] + 2 * padding - dilation * (kernel - 1) - 1
            size = (-(-room // stride) if ceil else room // stride) + 1
            sizes.append(size - 1 if ceil and (size - 1) * stride >= x.shape[2 + i] + padding else size)
        if tuple(sizes) == tuple(a["output_size"]):
            return ceil
    return None


def _max_pool(t: Any, x: Any, a: Attrs) -> tuple[Any, Any]:
    """Where PyTorch has no such windows: minus infinity outside, only the windows that are asked for, no indices."""
    function = getattr(t.nn.functional, f"max_pool{x.ndim - 2}d")
    ceil = _ceil_mode(x, a)
    if ceil is not None:
        padding = tuple(before for before, _ in a["padding"])
        y, indices = function(x, a["kernel"], a["stride"], padding, a["dilation"], ceil, True)
        return y, indices.int()
    borders = []
    rows = zip(x.shape[2:], a["output_size"], a["kernel"], a["stride"], a["dilation"], a["padding"], strict=True)
    for size, windows, kernel, stride, dilation, (before, _) in rows:
        borders.append((before, (windows - 1) * stride + dilation * (kernel - 1) + 1 - size - before))
    padded = t.nn.functional.pad(x, _flat(borders), value=-np.inf)
    return function(padded, a["kernel"], a["stride"], 0, a["dilation"]), None


def _avg_pool(t: Any, x: Any, a: Attrs) -> Any:
    """Borders that differ: windows over what is padded, divided by what PyTorch would count."""
    function = getattr(t.nn.functional, f"avg_pool{x.ndim - 2}d")
    ceil = _ceil_mode(x, a)
    if ceil is not None:
        padding = tuple(before for before, _ in a["padding"])
        options = {"divisor_override": a["divisor"] or None} if x.ndim > 3 or a["divisor"] else {}
        return function(x, a["kernel"], a["stride"], padding, ceil, a["count_include_pad"], **options)
    inside, counted = [], []
    rows = zip(x.shape[2:], a["output_size"], a["kernel"], a["stride"], a["padding"], strict=True)
    for size, windows, kernel, stride, (before, after) in rows:
        last = (windows - 1) * stride + kernel - size - before
        inside.append((before, last))
        counted.append((min(after, last), last - min(after, last)))
    total = function(t.nn.functional.pad(x, _flat(inside)), a["kernel"], a["stride"])
    if a["divisor"]:
        return total * (np.prod(a["kernel"]) / a["divisor"])
    ones = t.ones((1, 1, *x.shape[2:]), dtype=x.dtype)
    if a["count_include_pad"]:
        ones = t.nn.functional.pad(
            ones, _flat([(before, near) for (before, _), (near, _) in zip(inside, counted, strict=True)]), value=1.0
        )
        ones = t.nn.functional.pad(ones, _flat([(0, far) for _, far in counted]))
    else:
        ones = t.nn.functional.pad(ones, _flat(inside))
    return total / function(ones, a["kernel"], a["stride"])


def _adaptive(name: str) -> Callable[..., Any]:
    def pool(t: Any, x: Any, a: Attrs) -> Any:
        function = getattr(t.nn.functional, f"adaptive_{name}_pool{x.ndim - 2}d")
        if name == "avg":
            return function(x, a["output_size"])
        y, indices = function(x, a["output_size"], True)
        return y, indices.int()

    return pool


def _max_unpool(t: Any, x: Any, indices: Any, a: Attrs) -> Any:
    y = x.new_zeros((*x.shape[:2], int(np.prod(a["output_size"]))))
    return y.scatter(2, indices.long().flatten(2), x.flatten(2)).reshape(*x.shape[:2], *a["output_size"])


def _batch_norm_training(
    t: Any, x: Any, w: Any, b: Any, mean: Any, var: Any, residual: Any, a: Attrs
) -> tuple[Any, ...]:
    """y, mean and 1 / sqrt(var + eps); PyTorch's own refuses one value per channel."""
    axes = [0, *range(2, x.ndim)]
    if x.numel() > x.shape[1]:
        y = t.nn.functional.batch_norm(x, mean, var, w, b, True, a.get("momentum", 0.1), a["eps"])
    else:
        column = (1, -1, *[1] * (x.ndim - 2))
        y = (x - x) if w is None else (x - x) * w.reshape(column)
        y = y if b is None else y + b.reshape(column)
    y = y if residual is None else y + residual
    return y, x.mean(axes), (x.var(axes, correction=0) + a["eps"]).rsqrt()


def _cross_entropy(t: Any, logits: Any, target: Any, weight: Any, a: Attrs) -> Any:
    common = {"ignore_index": a["ignore_index"], "reduction": a["reduction"]}
    if a.get("log_probabilities"):
        return t.nn.functional.nll_loss(logits, target.long(), weight, **common)
    return t.nn.functional.cross_entropy(logits, target.long(), weight, label_smoothing=a["label_smoothing"], **common)


def _dropout(t: Any, x: Any, rng: Any, a: Attrs) -> Any:
    """The mask is cnnkern's own, so that a step can be compared."""
    mask = reference.dropout(np.ones(tuple(x.shape)), rng.numpy(), p=a["p"], node=a["node"])
    return x * t.from_numpy(np.asarray(mask)).to(x.dtype)


def _uniform(t: Any, rng: Any, a: Attrs) -> Any:
    values = reference.uniform(rng.numpy(), **a)
    return t.from_numpy(np.asarray(values, a["dtype"]))


def _concat(t: Any, *inputs: Any) -> Any:
    return t.concat(inputs[:-1], inputs[-1]["axis"])


def _grid_sample(t: Any, x: Any, grid: Any, a: Attrs) -> Any:
    return t.nn.functional.grid_sample(x, grid, a["mode"], a["padding_mode"], a["align_corners"])


def _fractional_max_pool(t: Any, x: Any, samples: Any, a: Attrs) -> Any:
    pool = getattr(t.nn.functional, f"fractional_max_pool{len(a['kernel'])}d")
    return pool(x, a["kernel"], a["output_size"], return_indices=True, _random_samples=samples.detach())


def _resample(t: Any, x: Any, start: Any, index: Any, weight: Any, *rest: Any) -> Any:
    """By a matrix (places, size) that holds the table."""
    axis = rest[-1]["axis"]
    places = t.repeat_interleave(t.arange(len(start) - 1), start.diff())
    matrix = t.zeros((len(start) - 1, x.shape[axis]), dtype=x.dtype)
    matrix = matrix.index_put((places, index.long()), weight.detach().to(x.dtype), accumulate=True)
    return t.tensordot(x, matrix, ([axis], [1])).movedim(-1, axis)


def _group_norm(t: Any, x: Any, w: Any, b: Any, a: Attrs) -> tuple[Any, ...]:
    w = t.ones_like(b) if w is None and b is not None else w  # PyTorch's gradient fails without a weight
    y = t.group_norm(x, a["groups"], w, b, a["eps"])
    rows = x.reshape(x.shape[0], a["groups"], -1)
    return y, rows.mean(2), (rows.var(2, correction=0) + a["eps"]).rsqrt()


def _local_response_norm(t: Any, x: Any, a: Attrs) -> Any:
    """PyTorch's own wants three axes."""
    shape = x.shape if x.ndim > 2 else (*x.shape, 1)
    return t.nn.functional.local_response_norm(x.reshape(shape), **a).reshape(x.shape)


def _elu(t: Any, x: Any, a: Attrs) -> Any:
    return t.where(x > 0, a["beta"] * x, a["beta"] * a["alpha"] * t.expm1(a["gamma"] * x.clamp(max=0)))


def _unary(name: str) -> Callable[..., Any]:
    """A function of one argument by its name, in torch.nn.functional or torch."""

    def function(t: Any, x: Any, a: Attrs) -> Any:
        home = t.nn.functional if hasattr(t.nn.functional, name) else t
        return getattr(home, name)(x)

    return function


_PLAIN: Sequence[str] = (
    *("relu", "sigmoid", "tanh", "negative", "exp", "log", "sqrt", "square", "abs"),
    *("silu", "hardswish", "gelu", "mish", "logsigmoid", "softsign"),
)

FORWARD: dict[str, Callable[..., Any]] = {
    **{f"conv{axes}d": _conv for axes in (1, 2, 3)},
    **{f"conv{axes}d_grad_input": _conv_grad_input for axes in (1, 2, 3)},
    "conv2d_scaled": _conv_scaled,
    "matmul": _matmul,
    **{f"max_pool{axes}d": _max_pool for axes in (1, 2, 3)},
    **{f"avg_pool{axes}d": _avg_pool for axes in (1, 2, 3)},
    **{f"adaptive_{name}_pool{axes}d": _adaptive(name) for axes in (1, 2, 3) for name in ("avg", "max")},
    "max_unpool": _max_unpool,
    "fractional_max_pool": _fractional_max_pool,
    "grid_sample": _grid_sample,
    "batch_norm": lambda t, x, m, v, w, b, a: t.nn.functional.batch_norm(x, m, v, w, b, False, 0.1, a["eps"]),
    "batch_norm_training": _batch_norm_training,
    "group_norm": _group_norm,
    "local_response_norm": _local_response_norm,
    **{name: _unary(name) for name in _PLAIN},
    "leaky_relu": lambda t, x, a: t.nn.functional.leaky_relu(x, a["slope"]),
    "clamp": lambda t, x, a: t.clamp(x, a["low"], a["high"]),
    "hardsigmoid": lambda t, x, a: t.clamp(x + 3, 0, 6) / 6,  # its own slope is 1 / 6 in float32
    "scale": lambda t, x, a: a["alpha"] * x + a["beta"],
    "elu": _elu,
    "gelu_tanh": lambda t, x, a: t.nn.functional.gelu(x, approximate="tanh"),
    "softplus": lambda t, x, a: t.nn.functional.softplus(x, a["alpha"], a["beta"]),
    "hardshrink": lambda t, x, a: t.nn.functional.hardshrink(x, a["alpha"]),
    "softshrink": lambda t, x, a: t.nn.functional.softshrink(x, a["alpha"]),
    "threshold": lambda t, x, a: t.nn.functional.threshold(x, a["alpha"], a["beta"]),
    "power": lambda t, x, a: x ** a["alpha"],
    "add": lambda t, x, y, a: x + y,
    "subtract": lambda t, x, y, a: x - y,
    "multiply": lambda t, x, y, a: x * y,
    "divide": lambda t, x, y, a: x / y,
    "maximum": lambda t, x, y, a: t.maximum(x, y),
    "minimum": lambda t, x, y, a: t.minimum(x, y),
    "prelu": lambda t, x, w, a: t.where(x > 0, x, w * x),
    "sum_to": lambda t, x, a: x.sum_to_size(a["shape"]) * a["scale"],
    "expand": lambda t, x, factor, a: (x * factor).expand(a["shape"]),
    "reshape": lambda t, x, a: x.reshape(a["shape"]),
    "permute": lambda t, x, a: x.permute(a["axes"]),
    "concat": _concat,
    "slice": lambda t, x, a: x.narrow(a["axis"], a["start"], a["stop"] - a["start"]),
    "pad": lambda t, x, a: t.nn.functional.pad(x, _flat(a["padding"]), value=a["value"]),
    "resample": _resample,
    "softmax": lambda t, x, a: t.softmax(x, a["axis"]),
    "log_softmax": lambda t, x, a: t.log_softmax(x, a["axis"]),
    "cross_entropy": _cross_entropy,
    "dropout": _dropout,
    "uniform": _uniform,
}
