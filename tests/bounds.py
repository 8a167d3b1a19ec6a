# SPDX-License-Identifier: BSD-3-Clause
"""How far float32 kernels may be from float64: the rms error that rounding explains, for each operation.

A sum of K terms of either sign, rounded K times, has an error of about u sqrt(K / 6) times the rms of its terms times
sqrt(K), u = 2^-24. So the bound is

    rms(y - reference) <= u * (8 + sqrt(K)) * (1 + 4 / sqrt(number of elements)) * rms(S)

where S, one per element, is what the rounded quantities measure before they cancel (for a sum: the root of the sum of
their squares) and the factor in the middle lets few elements be unlucky. Half precision anywhere is wrong by a factor
of hundreds, and so is a variance taken as a difference of large squares.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from case import Case

from cnnkern import reference
from cnnkern.reference.response import window_sum

Array = npt.NDArray[Any]
Term = tuple[Array, float]  # S, K

ROUNDOFF = 2.0**-24


def rms(x: Array) -> float:
    return float(np.sqrt(np.mean(np.square(x, dtype=np.float64)))) if x.size else 0.0


def excess(got: Array, want: Array, term: Term) -> tuple[float, float]:
    """rms error and its bound."""
    scale, length = term
    bound = (
        ROUNDOFF
        * (8 + np.sqrt(length))
        * (1 + 4 / np.sqrt(max(want.size, 1)))
        * rms(np.broadcast_to(scale, want.shape))
    )
    return rms(got.astype(np.float64) - want), bound


def terms(case: Case, values: Sequence[Array | None], outputs: Sequence[Array]) -> list[Term]:
    """S and K of every output (and updated input) of a case whose inputs are real numbers."""
    wide = [None if v is None else v if v.dtype == np.int32 else v.astype(np.float64) for v in values]
    return _RULES.get(case.op, _elementwise)(case, wide, outputs)


def _elementwise(case: Case, values: Any, outputs: Sequence[Array]) -> list[Term]:
    return [(output, 1) for output in outputs]


def _gelu_tanh(case: Case, values: Any, outputs: Sequence[Array]) -> list[Term]:
    """x sigmoid(a): a rounding of a counts |a| (1 - sigmoid(a)) times, which is much far below 0."""
    (x,) = values
    a = 1.5957691216 * x * (1 + 0.044715 * x * x)
    return [(outputs[0] * (1 + np.abs(a) * reference.sigmoid(-a)), 1)]


def _sum_of_squares(case: Case, values: Any, **attrs: Any) -> Array:
    squares = [None if value is None else np.square(value) for value in values]
    return np.asarray(np.sqrt(getattr(reference, case.op)(*squares, **{**case.attrs, **attrs})))


def _conv(case: Case, values: Any, outputs: Sequence[Array]) -> list[Term]:
    if "grad" not in case.op:
        return [(_sum_of_squares(case, values, activation="none"), values[1][0].size)]
    if case.op.endswith("_grad_input"):
        weight = values[1]
        return [(_sum_of_squares(case, values), weight.size / (weight.shape[1] * case.attrs["groups"]))]
    dy = values[1]
    return [(_sum_of_squares(case, values), dy.size / max(dy.shape[1], 1))]


def _conv_scaled(case: Case, values: Any, outputs: Sequence[Array]) -> list[Term]:
    """Scaled pixels may cancel: what counts is how large their parts are."""
    x, weight, bias, residual, scale, shift, centre = values
    column = scale.reshape(scale.shape[0] if scale.ndim > 1 else 1, -1, 1, 1)
    size = (np.abs(x) + np.abs(_column(centre, x.ndim, 0))) * np.abs(column) + np.abs(_column(shift, x.ndim, 0))
    squares = [None if value is None else np.square(value) for value in (size, weight, bias, residual)]
    attrs = {key: value for key, value in case.attrs.items() if key != "input_activation"}
    found = reference.conv2d(*squares, **{**attrs, "activation": "none"})
    return [(np.sqrt(found), weight[0].size)]


def _matmul(case: Case, values: Any, outputs: Sequence[Array]) -> list[Term]:
    length = values[0].shape[0 if case.attrs["transpose_a"] else 1]
    return [(_sum_of_squares(case, values, activation="none"), length)]


def _average(case: Case, values: Any, outputs: Sequence[Array]) -> list[Term]:
    length = np.prod(case.attrs.get("kernel", (4,) * (values[0].ndim - 2)))
    return [(getattr(reference, case.op)(np.abs(values[0]), **case.attrs), float(length))]


def _sum_to(case: Case, values: Any, outputs: Sequence[Array]) -> list[Term]:
    return [(_sum_of_squares(case, values, scale=1.0) * case.attrs["scale"], values[0].size / max(outputs[0].size, 1))]


def _column(vector: Array | None, ndim: int, otherwise: float) -> Array:
    return np.full((1,) * (ndim - 1), otherwise) if vector is None else vector.reshape(-1, *[1] * (ndim - 2))


def _batch_norm(case: Case, values: Any, outputs: Sequence[Array]) -> list[Term]:
    x, mean, var, weight, bias = values
    rstd = 1 / np.sqrt(var + case.attrs["eps"])
    return [(_normalized_scale(x, mean, rstd, weight, bias), 1)]


def _normalized_scale(x: Array, mean: Array, rstd: Array, weight: Array | None, bias: Array | None) -> Array:
    """x - mean may cancel: what counts is how large they are."""
    ndim = x.ndim
    size = (np.abs(x) + np.abs(_column(mean, ndim, 0))) * _column(rstd, ndim, 1)
    return np.asarray(size * np.abs(_column(weight, ndim, 1)) + np.abs(_column(bias, ndim, 0)))


def _batch_norm_training(case: Case, values: Any, outputs: Sequence[Array]) -> list[Term]:
    x, weight, bias, _, _, residual = values
    _, mean, rstd, *running = outputs
    count = x.size / max(x.shape[1], 1)
    size = np.sqrt(np.mean(np.square(x), (0, *range(2, x.ndim))))
    y = _normalized_scale(x, mean, rstd, weight, bias) + (0 if residual is None else np.abs(residual))
    found = [(y, count), (size, count), (rstd, count)]
    if running:
        found += [(np.abs(running[0]) + size, count), (running[1], count)]
    return found


def _batch_norm_grad(case: Case, values: Any, outputs: Sequence[Array]) -> list[Term]:
    dy, x, mean, rstd, weight, _, residual = values
    _, dweight, dbias = outputs
    axes, count = (0, *range(2, x.ndim)), x.size / max(x.shape[1], 1)
    normalized = _normalized_scale(x, mean, rstd, None, None)
    through = np.abs(_column(dbias, x.ndim, 0)) + normalized * np.abs(_column(dweight, x.ndim, 0))
    size = np.abs(dy) + (through / count if case.attrs["training"] else 0)
    dx = size * _column(rstd, x.ndim, 1) * np.abs(_column(weight, x.ndim, 1))
    dx = dx + (0 if residual is None else np.abs(residual))
    squares = np.sqrt(np.square(dy * normalized).sum(axes)), np.sqrt(np.square(dy).sum(axes))
    return [(dx, count), (squares[0], count), (squares[1], count)]


def _spread(statistic: Array, x: Array) -> Array:
    """(N, groups) -> (N, C, 1, ...)."""
    per_group = x.shape[1] // max(statistic.shape[1], 1)
    return np.asarray(np.repeat(statistic, per_group, 1).reshape(*x.shape[:2], *[1] * (x.ndim - 2)))


def _group_norm(case: Case, values: Any, outputs: Sequence[Array]) -> list[Term]:
    x, weight, bias = values
    _, mean, rstd = outputs
    count = x.size / max(mean.size, 1)
    size = (np.abs(x) + np.abs(_spread(mean, x))) * _spread(rstd, x)
    scale = size * np.abs(_column(weight, x.ndim, 1)) + np.abs(_column(bias, x.ndim, 0))
    rms_of_group = np.sqrt(np.square(x).reshape(*mean.shape, -1).mean(2)) if x.size else mean
    return [(scale, count), (rms_of_group, count), (rstd, count)]


def _group_norm_grad(case: Case, values: Any, outputs: Sequence[Array]) -> list[Term]:
    dy, x, mean, rstd, weight = values
    count, axes = x.size / max(mean.size, 1), (0, *range(2, x.ndim))
    spread = _spread(rstd, x)
    normalized = (np.abs(x) + np.abs(_spread(mean, x))) * spread
    weighted = np.abs(dy) * np.abs(_column(weight, x.ndim, 1))
    means = [_spread(value.reshape(*mean.shape, -1).mean(2), x) for value in (weighted, weighted * normalized)]
    dx = (weighted + means[0] + normalized * means[1]) * spread
    squares = np.sqrt(np.square(dy * normalized).sum(axes)), np.sqrt(np.square(dy).sum(axes))
    length = x.size / max(x.shape[1], 1)
    return [(dx, count), (squares[0], length), (squares[1], length)]


def _softmax(case: Case, values: Any, outputs: Sequence[Array]) -> list[Term]:
    return [(outputs[0], values[0].shape[case.attrs["axis"]])]


def _log_softmax(case: Case, values: Any, outputs: Sequence[Array]) -> list[Term]:
    return [(1 + np.abs(outputs[0]), values[0].shape[case.attrs["axis"]])]


def _softmax_grad(case: Case, values: Any, outputs: Sequence[Array]) -> list[Term]:
    axis = case.attrs["axis"]
    dy, y = np.abs(values[0]), values[1]
    if case.op == "softmax_grad":
        scale = y * (dy + (dy * y).sum(axis, keepdims=True))
    else:
        scale = dy + np.exp(y) * (1 + np.abs(y)) * dy.sum(axis, keepdims=True)
    return [(scale, y.shape[axis])]


def _cross_entropy(case: Case, values: Any, outputs: Sequence[Array]) -> list[Term]:
    logits, target, weight = values[-3:]
    classes = logits.shape[1]
    top = np.abs(logits).max(axis=1) * 2 + np.log(classes)
    counts = target != case.attrs["ignore_index"]
    of_target = np.where(counts, 1.0 if weight is None else weight[np.where(counts, target, 0)], 0)
    loss = (of_target + case.attrs["label_smoothing"] * (1.0 if weight is None else weight.mean())) * top
    mean = case.attrs["reduction"] == "mean"
    total = np.maximum(of_target.sum(), 1e-30)
    if case.op == "cross_entropy":
        if case.attrs["reduction"] == "none":
            return [(loss, classes)]
        return [(np.asarray(loss.sum() / (total if mean else 1)), classes + target.size)]
    p = np.exp(reference.log_softmax(logits, axis=1))
    dloss = values[0] / (total if mean else 1)
    factor = np.abs(dloss[:, None] if case.attrs["reduction"] == "none" else dloss)
    size = factor * (of_target + case.attrs["label_smoothing"])[:, None] * (p * (1 + top[:, None]) + 1)
    return [(size, classes + (target.size if mean else 0))]


def _resample(case: Case, values: Any, outputs: Sequence[Array]) -> list[Term]:
    x, start, index, weight = values[:4]
    size = reference.resample(np.abs(x), start, index, np.abs(weight), axis=case.attrs["axis"])
    return [(size, len(weight) / max(len(start) - 1, 1))]


def _grid_sample(case: Case, values: Any, outputs: Sequence[Array]) -> list[Term]:
    """Only the rms of the sizes counts: that of a bicubic read is at most twice that of a bilinear one."""
    attrs = {**case.attrs, "mode": case.attrs["mode"].replace("bicubic", "bilinear")}
    if case.op == "grid_sample_grad_input":
        dy, grid = values
        places, pixels = dy[:1, :1].size, np.prod(case.attrs["input_shape"][2:])
        return [(2 * reference.grid_sample_grad_input(np.abs(dy), grid, **attrs), 16.0 + 16 * places / pixels)]
    x = values[-2]
    largest = np.abs(x).max(tuple(range(2, x.ndim)), keepdims=True)
    if case.op == "grid_sample":
        return [(2 * largest, 16.0)]
    through = (np.abs(values[0]) * largest).sum(1)[..., None]
    return [(2 * through * np.array(x.shape[:1:-1]), 16.0 * x.shape[1])]


def _local_response_norm(case: Case, values: Any, outputs: Sequence[Array]) -> list[Term]:
    x, attrs = values[-1], case.attrs
    length = min(attrs["size"], 2 * x.shape[1])
    if case.op == "local_response_norm":
        return [(outputs[0], length)]
    before, after = attrs["size"] // 2, (attrs["size"] - 1) // 2
    s = attrs["k"] + attrs["alpha"] / attrs["size"] * window_sum(np.square(x), before, after)
    direct = np.abs(values[0]) * s ** -attrs["beta"]
    shared = window_sum(direct * np.abs(x) / s, after, before)
    return [(direct + 2 * attrs["alpha"] * attrs["beta"] / attrs["size"] * np.abs(x) * shared, length)]


def _scale(case: Case, values: Any, outputs: Sequence[Array]) -> list[Term]:
    return [(np.abs(case.attrs["alpha"] * values[0]) + abs(case.attrs["beta"]), 1)]


def _sgd(case: Case, values: Any, outputs: Sequence[Array]) -> list[Term]:
    p, g, buffer, hyper = values
    gradient = np.abs(g) + case.attrs["weight_decay"] * np.abs(p)
    state = gradient if buffer is None else np.abs(buffer) + gradient
    found = [(np.abs(p) + hyper[0] * (gradient + state), 1.0), (state, 1.0)]
    return found[: len(outputs)]


def _adam(case: Case, values: Any, outputs: Sequence[Array]) -> list[Term]:
    p, g, m, v, hyper = values
    gradient = np.abs(g) + case.attrs["weight_decay"] * np.abs(p)
    new_m, new_v = np.abs(m) + gradient, v + np.square(gradient)
    step = hyper[0] * (new_m / hyper[1]) / (np.sqrt(outputs[2] / hyper[2]) + case.attrs["eps"])
    return [(np.abs(p) + step, 1), (new_m, 1), (new_v, 1)]


def _adaptive(case: Case, values: Any, outputs: Sequence[Array]) -> list[Term]:
    p, g, square, buffer, hyper = values
    gradient = np.abs(g) + case.attrs["weight_decay"] * np.abs(p)
    total = square + np.square(gradient)
    direction = gradient / (np.sqrt(outputs[1]) + case.attrs["eps"])
    state = direction if buffer is None else np.abs(buffer) + direction
    return [(np.abs(p) + hyper[0] * state, 1.0), (total, 1.0), (state, 1.0)][: len(outputs)]


_PARTS = ("", "_grad")
_RULES: dict[str, Callable[[Case, Any, Sequence[Array]], list[Term]]] = {
    **{f"conv{axes}d{part}": _conv for axes in (1, 2, 3) for part in ("", "_grad_input", "_grad_weight")},
    "conv2d_scaled": _conv_scaled,
    "matmul": _matmul,
    **{f"{kind}_pool{n}d{part}": _average for kind in ("avg", "adaptive_avg") for n in (1, 2, 3) for part in _PARTS},
    "sum_to": _sum_to,
    "group_norm": _group_norm,
    "group_norm_grad": _group_norm_grad,
    "resample": _resample,
    **dict.fromkeys(("grid_sample", "grid_sample_grad_input", "grid_sample_grad_grid"), _grid_sample),
    **dict.fromkeys(("local_response_norm", "local_response_norm_grad"), _local_response_norm),
    "batch_norm": _batch_norm,
    "batch_norm_training": _batch_norm_training,
    "batch_norm_grad": _batch_norm_grad,
    "softmax": _softmax,
    "log_softmax": _log_softmax,
    "softmax_grad": _softmax_grad,
    "log_softmax_grad": _softmax_grad,
    "cross_entropy": _cross_entropy,
    "cross_entropy_grad": _cross_entropy,
    "scale": _scale,
    "gelu_tanh": _gelu_tanh,
    "sgd_step": _sgd,
    "adam_step": _adam,
    "adaptive_step": _adaptive,
}


def error(found: Any, exact: Any) -> float:
    """rms, relative."""
    return float(np.sqrt(np.mean((found - exact) ** 2) / np.mean(exact**2)))


def plain_sums(x: Any, w: Any, exact: Any, geometry: dict[str, Any]) -> float:
    """The error of a convolution by float32 sums in the order of the definition, each multiply-add rounded once.

    geometry: stride, padding and groups, the same for both axes.
    """
    shape, (outputs, _, rows, columns) = exact.shape, w.shape
    pad, stride, groups = geometry["padding"], geometry["stride"], geometry["groups"]
    wide = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    total = np.zeros(shape, np.float32)
    per = w.shape[1]
    for c in range(per):
        for r in range(rows):
            for s in range(columns):
                pixels = wide[:, :, r : r + stride * shape[2] : stride, s : s + stride * shape[3] : stride]
                channels = np.repeat(pixels[:, c::per], outputs // groups, axis=1)
                # In float64 the product of two float32 is exact: one rounding for the multiply-add.
                total = (total + channels.astype(np.float64) * w[None, :, c, r, s, None, None]).astype(np.float32)
    return error(total[:, :, : shape[2], : shape[3]], exact)
