# SPDX-License-Identifier: BSD-3-Clause
"""Input values of a case, and what the reference makes of them."""

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from case import Case, Shape

from cnnkern import reference
from cnnkern.functional.resample import table as resample_table

Array = npt.NDArray[Any]
Values = list[Array | None]

# Operations whose kernels only add, multiply by powers of two, compare or move: whole numbers come out exactly.
EXACT = {
    *(f"conv{axes}d{part}" for axes in (1, 2, 3) for part in ("", "_grad_input", "_grad_weight")),
    *("conv2d_scaled", "matmul"),
    *(f"{kind}_pool{n}d{part}" for kind in ("max", "adaptive_max") for n in (1, 2, 3) for part in ("", "_grad")),
    *("max_unpool", "max_unpool_grad", "fractional_max_pool_grad"),
    *("relu", "leaky_relu", "clamp", "relu_grad", "leaky_relu_grad", "clamp_grad"),
    *("negative", "square", "square_grad", "scale", "uniform"),
    *("hardshrink", "hardshrink_grad", "softshrink_grad", "threshold", "threshold_grad", "abs", "abs_grad"),
    *("add", "subtract", "multiply", "maximum", "minimum", "prelu"),
    *("sum_to", "concat", "slice", "pad", "permute", "resample"),
}
_INEXACT_ACTIVATIONS = {"silu", "hardswish", "sigmoid", "hardsigmoid"}
# Inputs that the operation updates.
MUTATED = {"batch_norm_training": (3, 4), "sgd_step": (0, 2), "adam_step": (0, 2, 3), "adaptive_step": (0, 2, 3)}


def exact(case: Case) -> bool:
    """Do whole numbers come out exactly?"""
    return case.op in EXACT and case.attrs.get("activation") not in _INEXACT_ACTIVATIONS


def whole_numbers(rng: np.random.Generator, shape: Shape) -> Array:
    """Small whole numbers other than 0, so that a result of 0 is rare and says something."""
    values = rng.integers(1, 4, shape)
    return np.asarray(values * rng.choice((-1, 1), shape), np.float32)


def real_numbers(rng: np.random.Generator, shape: Shape) -> Array:
    return np.asarray(rng.standard_normal(shape, np.float32))


def generator(case: Case, seed: int) -> np.random.Generator:
    return np.random.default_rng([zlib.crc32(str(case).encode()), seed])


def inputs(case: Case, seed: int, whole: bool) -> Values:
    """Inputs of a case as float32 and int32 arrays; whole: small whole numbers."""
    rng = generator(case, seed)
    draw = whole_numbers if whole else real_numbers
    values: Values = [None if shape is None else draw(rng, shape) for shape in case.shapes]
    special = _SPECIAL.get(case.op)
    if special is not None:
        special(case, rng, values)
    return values


def _positive(case: Case, rng: np.random.Generator, values: Values) -> None:
    values[-1] = np.asarray(np.abs(_array(values[-1])) + 0.1, np.float32)


def _away_from_zero(case: Case, rng: np.random.Generator, values: Values) -> None:
    b = _array(values[1])
    values[1] = np.asarray(np.copysign(np.abs(b) + 0.1, b), np.float32)


def _within_unit(case: Case, rng: np.random.Generator, values: Values) -> None:
    low = -0.99 if case.op == "tanh_grad" else 0.01
    values[-1] = np.asarray(rng.uniform(low, 0.99, _array(values[-1]).shape), np.float32)


def _wide(case: Case, rng: np.random.Generator, values: Values) -> None:
    lowest = -5 if case.op.startswith("gelu") else -80  # beyond it e^(-x^2) leaves the range of float32
    values[0] = np.asarray(np.clip(_array(values[0]) * rng.choice((1, 4, 20)), lowest, 80), np.float32)


def _probabilities(case: Case, rng: np.random.Generator, values: Values) -> None:
    function = reference.softmax if case.op == "softmax_grad" else reference.log_softmax
    values[1] = function(_array(values[1]), axis=case.attrs["axis"]).astype(np.float32)


def _argmax(case: Case, rng: np.random.Generator, values: Values) -> None:
    """The indices that the forward operation gives for some input."""
    forward = {key: value for key, value in case.attrs.items() if key != "input_shape"}
    shape = case.shapes[0]
    assert shape is not None
    x = rng.integers(-3, 4, case.attrs["input_shape"])
    function = getattr(reference, case.op.removesuffix("_grad"))
    values[1] = function(x, output_size=shape[2:], **forward)[1]


def _places(case: Case, rng: np.random.Generator, values: Values) -> None:
    """Different places in each map where there are enough of them."""
    x = _array(values[0])
    indices = _array(values[1])
    pixels = int(np.prod(case.attrs.get("output_size", x.shape[2:])))
    wanted = int(np.prod(indices.shape[2:]))
    rows = [rng.permutation(max(pixels, wanted))[:wanted] % pixels for _ in range(indices.shape[0] * indices.shape[1])]
    values[1] = np.array(rows, np.int32).reshape(indices.shape)


def _statistics(case: Case, rng: np.random.Generator, values: Values) -> None:
    """Channels with means and deviations of their own; positive variances."""
    at = 1 if case.op == "batch_norm_grad" else 0
    x = _array(values[at])
    column = (1, x.shape[1], *[1] * (x.ndim - 2))
    values[at] = (x * rng.uniform(0.5, 2, column) + rng.normal(0, 3, column)).astype(np.float32)
    x = _array(values[at])
    if case.op == "batch_norm":
        values[2] = rng.uniform(0.2, 3, x.shape[1]).astype(np.float32)
    elif case.op == "batch_norm_training" and values[4] is not None:
        values[4] = rng.uniform(0.2, 3, x.shape[1]).astype(np.float32)
    elif case.op == "batch_norm_grad" and x.size:
        axes = (0, *range(2, x.ndim))
        values[2] = x.mean(axes, np.float64).astype(np.float32)
        values[3] = (1 / np.sqrt(x.var(axes, np.float64) + 1e-3)).astype(np.float32)
        _away_from_kinks(case, values)


def _away_from_kinks(case: Case, values: Values) -> None:
    """Moves x where an activation after the normalization has a kink, so that rounding does not decide on its side."""
    x, mean, rstd, weight, bias = values[1:6]
    assert x is not None and mean is not None and rstd is not None
    column = (1, -1, *[1] * (x.ndim - 2))
    scale = (rstd if weight is None else rstd * weight).reshape(column)
    kinks = {"clamp": (case.attrs["low"], case.attrs["high"]), "hardswish": (-3, 3), "hardsigmoid": (-3, 3)}
    for kink in kinks.get(case.attrs["activation"], (0,)):
        y = (x - mean.reshape(column)) * scale + (0 if bias is None else bias.reshape(column))
        np.add(x, 2e-3 / np.maximum(np.abs(scale), 1e-3), out=x, where=np.abs(y - kink) < 1e-3)


def _group_statistics(case: Case, rng: np.random.Generator, values: Values) -> None:
    """Channels with means and deviations of their own, and for the gradient the statistics of their groups."""
    at = 1 if case.op == "group_norm_grad" else 0
    x = _array(values[at])
    column = (1, x.shape[1], *[1] * (x.ndim - 2))
    values[at] = (x * rng.uniform(0.5, 2, column) + rng.normal(0, 3, column)).astype(np.float32)
    if at:
        statistics = reference.group_norm(values[at], groups=case.attrs["groups"], eps=1e-3)[1:]
        values[2:4] = [value.astype(np.float32) for value in statistics]


def _targets(case: Case, rng: np.random.Generator, values: Values) -> None:
    at = 1 if case.op == "cross_entropy" else 2
    logits, weight = _array(values[at - 1]), values[at + 1]
    values[at - 1] = logits * np.float32(3)
    target = rng.integers(0, logits.shape[1], _array(values[at]).shape).astype(np.int32)
    target[rng.random(target.shape) < 0.1] = case.attrs["ignore_index"]
    if target.size and logits.shape[1] > 1:
        target.flat[0] = logits.shape[1] - 1  # the mean over no position at all is a case of its own
    values[at] = target
    if weight is not None:
        values[at + 1] = rng.uniform(0.1, 2, weight.shape).astype(np.float32)


def _tables(case: Case, rng: np.random.Generator, values: Values) -> None:
    """A table whose places have any number of taps, and its transpose."""
    size, out = case.shapes[0][case.attrs["axis"]], case.shapes[1][0] - 1  # type: ignore[index]
    weight = _array(values[3])
    counts = np.bincount(rng.integers(0, out, len(weight)), minlength=out)
    if len(weight) % out == 0 and rng.random() < 0.7:
        counts = np.full(out, len(weight) // out)
    index = rng.integers(0, size, len(weight)) if size else np.empty(0, int)
    if len(weight) == out == size and rng.random() < 0.5:
        index = rng.permutation(size)
    values[1:] = resample_table(counts, index, weight, size, weight.dtype)


def _grid(case: Case, rng: np.random.Generator, values: Values) -> None:
    """Places between pixels, one in six beyond the map, none near where a weight has a kink or the nearest changes."""
    at = 2 if case.op == "grid_sample_grad_grid" else 1
    size = (
        case.attrs["input_shape"][2:]
        if "input_shape" in case.attrs
        else _array(values[at - 1 if at == 2 else 0]).shape[2:]
    )
    grid = _array(values[at])
    for i, pixels in enumerate(reversed(size)):
        shape = grid.shape[:-1]
        whole = rng.integers(0, pixels, shape) + np.where(rng.random(shape) < 0.17, rng.choice((-2, 2), shape), 0)
        whole.reshape(len(whole), -1)[:, :1] = 0
        u = whole + rng.uniform(0.1, 0.4, shape) * rng.choice((-1, 1), shape)
        if case.attrs["align_corners"]:
            grid[..., i] = 2 * u / max(pixels - 1, 1) - 1
        else:
            grid[..., i] = (2 * u + 1) / pixels - 1


def _samples(case: Case, rng: np.random.Generator, values: Values) -> None:
    """Numbers of [0, 1) that no step of windows rounds."""
    values[1] = ((2 * rng.integers(0, 64, _array(values[1]).shape) + 1) / 128).astype(np.float32)


def _anywhere(case: Case, rng: np.random.Generator, values: Values) -> None:
    """Indices of any places, some of them equal."""
    pixels = int(np.prod(case.attrs["input_shape"][2:]))
    values[1] = rng.integers(0, pixels, _array(values[1]).shape).astype(np.int32)


def _seed_and_step(case: Case, rng: np.random.Generator, values: Values) -> None:
    values[-1] = rng.integers(-(2**31), 2**31, (1, 2)).astype(np.int32)


def _hyper(case: Case, rng: np.random.Generator, values: Values) -> None:
    hyper = np.zeros(8, np.float32)
    if case.op == "sgd_step":
        hyper[:2] = 0.1, rng.integers(2)
    elif case.op == "adaptive_step":
        hyper[:3] = (0.01, 1.0, 1.0) if rng.integers(2) else (0.01, 0.9, 0.1)
        values[2] = np.square(_array(values[2]))
    else:
        step = rng.integers(1, 100)
        hyper[:3] = 0.01, 1 - case.attrs["beta1"] ** step, 1 - case.attrs["beta2"] ** step
        values[3] = np.square(_array(values[3]))
    values[-1] = hyper


def _for_power(case: Case, rng: np.random.Generator, values: Values) -> None:
    """Away from 0, and positive where the power is not whole."""
    x = _array(values[-1])
    size = np.abs(x) + 0.1
    values[-1] = np.asarray(np.copysign(size, x) if case.attrs["alpha"].is_integer() else size, np.float32)


_WIDE = ("sigmoid", "tanh", "exp", "softmax", "log_softmax", "elu", "silu", "gelu", "gelu_tanh", "mish", "logsigmoid")

_SPECIAL = {
    "log": _positive,
    "sqrt": _positive,
    "log_grad": _positive,
    "sqrt_grad": _positive,
    "divide": _away_from_zero,
    "sigmoid_grad": _within_unit,
    "tanh_grad": _within_unit,
    **dict.fromkeys(_WIDE, _wide),
    **dict.fromkeys(("power", "power_grad"), _for_power),
    "softmax_grad": _probabilities,
    "log_softmax_grad": _probabilities,
    **{f"{kind}_pool{n}d_grad": _argmax for kind in ("max", "adaptive_max") for n in (1, 2, 3)},
    **dict.fromkeys(("max_unpool", "max_unpool_grad"), _places),
    "batch_norm": _statistics,
    "batch_norm_training": _statistics,
    "batch_norm_grad": _statistics,
    "group_norm": _group_statistics,
    "group_norm_grad": _group_statistics,
    "cross_entropy": _targets,
    "cross_entropy_grad": _targets,
    "resample": _tables,
    **dict.fromkeys(("grid_sample", "grid_sample_grad_input", "grid_sample_grad_grid"), _grid),
    "fractional_max_pool": _samples,
    "fractional_max_pool_grad": _anywhere,
    "dropout": _seed_and_step,
    "uniform": _seed_and_step,
    "sgd_step": _hyper,
    "adam_step": _hyper,
    "adaptive_step": _hyper,
}


def _array(value: Array | None) -> Array:
    assert value is not None
    return value


def expected(case: Case, values: Sequence[Array | None], whole: bool) -> list[Array]:
    """Outputs, then updated inputs, of the reference: computed in int64 from whole numbers, else in float64."""
    wide = [_widened(value, whole) for value in values]
    result = getattr(reference, case.op)(*wide, **case.attrs)
    outputs = [] if result is None else list(result) if isinstance(result, tuple) else [result]
    if "max_pool" in case.op and not case.op.endswith("_grad") and whole:
        outputs[0] = np.where(outputs[1] < 0, -np.inf, outputs[0])  # a window without elements
    return outputs + [value for i in MUTATED.get(case.op, ()) if (value := wide[i]) is not None]


def trusted(case: Case, values: Sequence[Array | None], outputs: Sequence[Array]) -> bool:
    """Whether enough of the result differs from 0 to prove anything: a kernel that writes zeros passes where not.

    At least 30% of the elements that the operation can reach, 5% where windows may share or ignore what they reach.
    """
    result = outputs[0]
    if case.op.startswith(("batch_norm", "group_norm")):  # dx is 0 where a channel has one value, dbias is not
        result = np.concatenate([output.ravel() for output in outputs])
    if not result.size:
        return True
    share, reachable = 0.3, result.size
    if case.op.startswith("grid_sample"):
        share, reachable = 0.1, min(result.size, _array(values[0]).size)
    elif "max_pool" in case.op and case.op.endswith("_grad"):
        share, reachable = 0.05, _array(values[0]).size
    elif case.op.endswith("_grad_input") or (case.op.startswith("avg_pool") and case.op.endswith("_grad")):
        kernel = _array(values[1]).shape[2:] if case.op.startswith("conv") else case.attrs["kernel"]
        dy = _array(values[0])
        reachable = min(result.size, result.shape[0] * result.shape[1] * dy[0, 0].size * int(np.prod(kernel)))
    elif case.op == "max_unpool":
        share, reachable = 0.2, min(result.size, _array(values[0]).size)
    elif case.op == "pad":
        reachable = min(result.size, _array(values[0]).size)
    elif case.op == "cross_entropy_grad" and case.attrs["log_probabilities"]:  # only the target's class has one
        reachable = _array(values[2]).size
    elif case.op == "dropout":
        share, reachable = 0.1, result.size
    return np.count_nonzero(result) >= max(1.0, share * reachable)


def _widened(value: Array | None, whole: bool) -> Array | None:
    if value is None or value.dtype == np.int32:
        return value
    return value.astype(np.int64 if whole else np.float64)
