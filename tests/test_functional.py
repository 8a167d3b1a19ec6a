# SPDX-License-Identifier: BSD-3-Clause
"""cnnkern.functional against PyTorch: signatures, results and gradients, in float64 and float32."""

import inspect
import re
import types
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import oracle
import pytest

from cnnkern import functional as F
from cnnkern import graph as G
from cnnkern.functional.shape import sum_axes

Array = np.ndarray[Any, Any]
Make = tuple[int, ...] | Callable[[np.random.Generator], Array]


class Case(NamedTuple):
    """function(library, *arrays): called with cnnkern.functional and with torch. arrays: shapes or makers."""

    function: Callable[..., Any]
    arrays: tuple[Make, ...]
    differentiable: tuple[int, ...] | None = None  # None: all of floating-point type


def positive(*shape: int) -> Make:
    return lambda rng: rng.uniform(0.1, 0.9, shape)


def classes(count: int, *shape: int) -> Make:
    return lambda rng: rng.integers(0, count, shape)


def with_ignored(count: int, *shape: int) -> Make:
    return lambda rng: np.where(rng.uniform(size=shape) < 0.3, -100, rng.integers(0, count, shape))


CASES = {
    "conv2d": Case(lambda L, *a: L.conv2d(*a), ((2, 3, 7, 6), (4, 3, 3, 2), (4,))),
    "conv2d-stride": Case(lambda L, *a: L.conv2d(*a, None, 2, (1, 0)), ((2, 3, 8, 7), (4, 3, 3, 3))),
    "conv2d-same": Case(lambda L, *a: L.conv2d(*a, padding="same"), ((1, 2, 5, 6), (3, 2, 3, 4))),
    "conv2d-same-dilated": Case(lambda L, *a: L.conv2d(*a, padding="same", dilation=2), ((1, 2, 9, 6), (3, 2, 2, 3))),
    "conv2d-valid": Case(lambda L, *a: L.conv2d(*a, padding="valid"), ((1, 2, 5, 6), (3, 2, 1, 1))),
    "conv2d-groups": Case(
        lambda L, *a: L.conv2d(*a, dilation=(2, 1), padding=(2, 1), groups=2), ((2, 4, 6, 5), (6, 2, 3, 3), (6,))
    ),
    "conv2d-depthwise": Case(lambda L, *a: L.conv2d(*a, padding=1, groups=5), ((1, 5, 6, 6), (5, 1, 3, 3), (5,))),
    "conv2d-unbatched": Case(lambda L, *a: L.conv2d(*a, stride=(2, 1)), ((3, 7, 6), (4, 3, 3, 3), (4,))),
    "conv2d-list": Case(lambda L, *a: L.conv2d(*a, stride=[2], padding=[1, 1]), ((1, 3, 7, 6), (4, 3, 3, 3))),
    "conv1d": Case(lambda L, *a: L.conv1d(*a, stride=2, padding=1), ((2, 3, 9), (4, 3, 3), (4,))),
    "conv1d-unbatched": Case(lambda L, *a: L.conv1d(*a, dilation=[2], padding="same"), ((4, 9), (6, 4, 4))),
    "conv1d-groups": Case(lambda L, *a: L.conv1d(*a, groups=4, padding=2), ((1, 4, 5), (8, 1, 3), (8,))),
    "conv3d": Case(lambda L, *a: L.conv3d(*a, stride=(1, 2, 1), padding=1), ((2, 3, 4, 5, 6), (4, 3, 2, 3, 3), (4,))),
    "conv3d-unbatched": Case(lambda L, *a: L.conv3d(*a, padding="same"), ((3, 3, 4, 5), (4, 3, 2, 3, 1), (4,))),
    "conv_transpose1d": Case(lambda L, *a: L.conv_transpose1d(*a, 2, 1, 1), ((2, 3, 5), (3, 4, 3), (4,))),
    "conv_transpose2d": Case(lambda L, *a: L.conv_transpose2d(*a, 2), ((2, 3, 4, 5), (3, 4, 2, 2), (4,))),
    "conv_transpose2d-unbatched": Case(
        lambda L, *a: L.conv_transpose2d(*a, stride=(2, 3), padding=(1, 0), output_padding=(0, 2), groups=2),
        ((4, 3, 5), (4, 3, 3, 2), (6,)),
    ),
    "conv_transpose2d-margin": Case(
        lambda L, *a: L.conv_transpose2d(*a, None, (1, 2), 1, (2, 1), 1, (3, 2)), ((1, 3, 4, 5), (3, 2, 3, 2))
    ),
    "conv_transpose3d": Case(
        lambda L, *a: L.conv_transpose3d(*a, (1, 2, 2), 1, (0, 1, 0)), ((1, 2, 3, 4, 3), (2, 4, 3, 3, 2), (4,))
    ),
    "linear": Case(lambda L, *a: L.linear(*a), ((3, 5), (4, 5), (4,))),
    "linear-rank-1": Case(lambda L, *a: L.linear(*a), ((5,), (4, 5))),
    "linear-rank-3": Case(lambda L, *a: L.linear(*a), ((2, 3, 5), (4, 5), (4,))),
    "matmul": Case(lambda L, *a: L.matmul(*a), ((3, 5), (5, 2))),
    "max_pool2d": Case(lambda L, x: L.max_pool2d(x, 2), ((2, 3, 6, 7),)),
    "max_pool2d-padding": Case(lambda L, x: L.max_pool2d(x, (3, 2), (2, 1), (1, 0)), ((2, 3, 6, 7),)),
    "max_pool2d-ceil": Case(lambda L, x: L.max_pool2d(x, 3, 2, 1, 1, True), ((1, 2, 8, 7),)),
    "max_pool2d-dilation": Case(lambda L, x: L.max_pool2d(x, 2, 1, dilation=(2, 3)), ((1, 2, 6, 7),)),
    "max_pool2d-unbatched": Case(lambda L, x: L.max_pool2d(x, 2), ((3, 6, 7),)),
    "avg_pool2d": Case(lambda L, x: L.avg_pool2d(x, 2), ((2, 3, 6, 7),)),
    "avg_pool2d-padding": Case(lambda L, x: L.avg_pool2d(x, 3, 2, 1), ((2, 3, 6, 7),)),
    "avg_pool2d-exclude": Case(lambda L, x: L.avg_pool2d(x, 3, 2, 1, count_include_pad=False), ((2, 3, 6, 7),)),
    "avg_pool2d-ceil": Case(lambda L, x: L.avg_pool2d(x, 3, 2, 1, ceil_mode=True), ((1, 3, 6, 8),)),
    "avg_pool2d-divisor": Case(lambda L, x: L.avg_pool2d(x, (2, 3), divisor_override=5), ((3, 6, 7),)),
    "adaptive_avg_pool2d": Case(lambda L, x: L.adaptive_avg_pool2d(x, (3, None)), ((2, 3, 7, 5),)),
    "adaptive_avg_pool2d-global": Case(lambda L, x: L.adaptive_avg_pool2d(x, 1), ((2, 3, 7, 5),)),
    "adaptive_avg_pool2d-larger": Case(lambda L, x: L.adaptive_avg_pool2d(x, (9, 4)), ((3, 7, 5),)),
    "adaptive_max_pool2d": Case(lambda L, x: L.adaptive_max_pool2d(x, (3, 2)), ((2, 3, 7, 5),)),
    "batch_norm": Case(
        lambda L, x, m, v, w, b: L.batch_norm(x, m, v, w, b), ((4, 3, 5, 2), (3,), positive(3), (3,), (3,)), (0, 3, 4)
    ),
    "batch_norm-plain": Case(lambda L, x, m, v: L.batch_norm(x, m, v, eps=0.0), ((4, 3), (3,), positive(3)), (0,)),
    "batch_norm-training": Case(
        lambda L, x, w, b: L.batch_norm(x, None, None, w, b, True), ((4, 3, 5, 2), (3,), (3,)), (0, 1, 2)
    ),
    "batch_norm-training-rank-2": Case(
        lambda L, x, w: L.batch_norm(x, None, None, w, training=True, eps=0.1), ((6, 3), (3,))
    ),
    "batch_norm-training-rank-5": Case(lambda L, x: L.batch_norm(x, None, None, training=True), ((2, 3, 2, 3, 2),)),
    "relu": Case(lambda L, x: L.relu(x), ((3, 4, 5),)),
    "relu-rank-0": Case(lambda L, x: L.relu(x), ((),)),
    "relu-rank-7": Case(lambda L, x: L.relu(x), ((2, 1, 2, 1, 2, 3, 2),)),
    "leaky_relu": Case(lambda L, x: L.leaky_relu(x, 0.2), ((3, 20),)),
    "sigmoid": Case(lambda L, x: L.sigmoid(x), ((3, 20),)),
    "tanh": Case(lambda L, x: L.tanh(x), ((3, 20),)),
    "hardtanh": Case(lambda L, x: L.hardtanh(x, -0.5, 0.25), ((3, 20),)),
    "hardtanh-ends": Case(lambda L, x: L.hardtanh(x, -0.5, 0.25), (lambda rng: np.array([-1, -0.5, 0, 0.25, 1.0]),)),
    "relu6": Case(lambda L, x: L.relu6(x), (lambda rng: rng.uniform(-3, 9, (4, 9)),)),
    "softmax": Case(lambda L, x: L.softmax(x, 1), ((3, 5, 4, 2),)),
    "softmax-last": Case(lambda L, x: L.softmax(x, dim=-1), ((3, 20),)),
    "log_softmax": Case(lambda L, x: L.log_softmax(x, 0), ((7, 3),)),
    "log_softmax-rank-0": Case(lambda L, x: L.log_softmax(x, 0), ((),)),
    "add": Case(lambda L, a, b: L.add(a, b), ((2, 3, 4), (3, 1))),
    "add-number": Case(lambda L, a: L.add(a, 2), ((2, 3),)),
    "subtract": Case(lambda L, a, b: L.subtract(a, b), ((4,), (2, 3, 4))),
    "subtract-number": Case(lambda L, a: L.subtract(a, 1.5), ((2, 3),)),
    "multiply": Case(lambda L, a, b: L.multiply(a, b), ((2, 1, 4), (2, 3, 1))),
    "multiply-rank-7": Case(lambda L, a, b: L.multiply(a, b), ((2, 2, 2, 1, 3, 1, 2), (2, 2, 2, 2, 3, 2, 2))),
    "multiply-number": Case(lambda L, a: L.multiply(a, -3), ((2, 3),)),
    "divide": Case(lambda L, a, b: L.divide(a, b), ((2, 3), positive(2, 3))),
    "negative": Case(lambda L, x: L.negative(x), ((2, 3),)),
    "exp": Case(lambda L, x: L.exp(x), ((2, 3),)),
    "log": Case(lambda L, x: L.log(x), (positive(2, 3),)),
    "sqrt": Case(lambda L, x: L.sqrt(x), (positive(2, 3),)),
    "square": Case(lambda L, x: L.square(x), ((2, 3),)),
    "concat": Case(lambda L, *a: L.concat(a, 1), ((2, 3, 4, 5), (2, 1, 4, 5), (2, 16, 4, 5))),
    "concat-last": Case(lambda L, *a: L.concat(a, dim=-1), ((2, 3), (2, 4))),
    "concat-rank-7": Case(lambda L, *a: L.concat(a, 3), ((2, 1, 2, 2, 1, 3, 2), (2, 1, 2, 1, 1, 3, 2))),
    "pad": Case(lambda L, x: L.pad(x, (1, 2, 3, 0), value=1.5), ((2, 3, 4, 5),)),
    "pad-crop": Case(lambda L, x: L.pad(x, (-1, 2, 1, -2)), ((2, 3, 4, 5),)),
    "pad-channels": Case(lambda L, x: L.pad(x, [0, 0, 0, 0, 2, 1]), ((2, 3, 4, 5),)),
    "pad-rank-7": Case(lambda L, x: L.pad(x, (1, 1, 0, 0, 2, 0)), ((2, 2, 1, 2, 3, 2, 2),)),
    "pad-replicate": Case(lambda L, x: L.pad(x, (3, 1, 0, 2), mode="replicate"), ((2, 3, 4, 5),)),
    "pad-reflect": Case(lambda L, x: L.pad(x, (4, 1, 0, 2), mode="reflect"), ((2, 3, 4, 5),)),
    "pad-circular": Case(lambda L, x: L.pad(x, (5, 1, 2, 0), mode="circular"), ((2, 3, 4, 5),)),
    "flatten": Case(lambda L, x: L.flatten(x, 1), ((2, 3, 4),)),
    "flatten-middle": Case(lambda L, x: L.flatten(x, 1, 2), ((2, 3, 4, 5),)),
    "flatten-rank-0": Case(lambda L, x: L.flatten(x), ((),)),
    "reshape": Case(lambda L, x: L.reshape(x, (4, -1)), ((2, 3, 4),)),
    "cross_entropy": Case(lambda L, x, t: L.cross_entropy(x, t), ((6, 5), classes(5, 6))),
    "cross_entropy-maps": Case(
        lambda L, x, t, w: L.cross_entropy(x, t, w, label_smoothing=0.1),
        ((2, 5, 3, 4), with_ignored(5, 2, 3, 4), positive(5)),
        (0,),
    ),
    "cross_entropy-none": Case(
        lambda L, x, t: L.cross_entropy(x, t, ignore_index=2, reduction="none"), ((6, 5), classes(5, 6))
    ),
    "cross_entropy-sum": Case(lambda L, x, t: L.cross_entropy(x, t, reduction="sum"), ((6, 5), classes(5, 6))),
    "cross_entropy-unbatched": Case(lambda L, x, t: L.cross_entropy(x, t), ((5,), classes(5))),
    "nll_loss": Case(lambda L, x, t, w: L.nll_loss(x, t, w), ((6, 5), with_ignored(5, 6), positive(5)), (0,)),
    "nll_loss-maps": Case(
        lambda L, x, t: L.nll_loss(L.log_softmax(x, 1), t, reduction="none"), ((2, 5, 3, 4), with_ignored(5, 2, 3, 4))
    ),
    "mse_loss": Case(lambda L, a, b: L.mse_loss(a, b), ((3, 4), (3, 4))),
    "mse_loss-weight": Case(lambda L, a, b, w: L.mse_loss(a, b, weight=w), ((3, 4), (3, 4), positive(3, 4)), (0, 1)),
    "mse_loss-none": Case(lambda L, a, b: L.mse_loss(a, b, reduction="none"), ((3, 4), (3, 4))),
    "l1_loss": Case(lambda L, a, b: L.l1_loss(a, b, reduction="sum"), ((3, 4), (3, 4))),
    "l1_loss-weight": Case(lambda L, a, b, w: L.l1_loss(a, b, weight=w), ((3, 4), (3, 4), positive(3, 4)), (0, 1)),
    "smooth_l1_loss": Case(lambda L, a, b: L.smooth_l1_loss(a, b, beta=0.7), ((5, 9), (5, 9))),
    "smooth_l1_loss-0": Case(lambda L, a, b: L.smooth_l1_loss(a, b, beta=0.0), ((5, 9), (5, 9))),
    "huber_loss": Case(lambda L, a, b: L.huber_loss(a, b, delta=0.7), ((5, 9), (5, 9))),
    "huber_loss-weight": Case(
        lambda L, a, b, w: L.huber_loss(a, b, weight=w), ((5, 9), (5, 9), positive(5, 9)), (0, 1)
    ),
    "pseudo_huber_loss": Case(lambda L, a, b: L.pseudo_huber_loss(a, b, delta=0.7), ((5, 9), (5, 9))),
    "hinge_loss": Case(lambda L, a, b: L.hinge_loss(a, b), ((5, 9), lambda rng: rng.choice([-1.0, 1.0], (5, 9))), (0,)),
    "binary_cross_entropy": Case(
        lambda L, x, t, w: L.binary_cross_entropy(x, t, w), (positive(3, 4), positive(3, 4), positive(4)), (0,)
    ),
    "binary_cross_entropy-ends": Case(
        lambda L, x, t: L.binary_cross_entropy(x, t, reduction="sum"),
        (lambda rng: np.array([0.0, 0.0, 1.0, 1.0]), lambda rng: np.array([0.0, 1.0, 0.0, 1.0])),
        (0,),
    ),
    "binary_cross_entropy_with_logits": Case(
        lambda L, x, t, w, p: L.binary_cross_entropy_with_logits(x, t, w, pos_weight=p),
        (lambda rng: rng.uniform(-80, 80, (3, 4)), positive(3, 4), positive(3, 1), positive(4)),
        (0,),
    ),
    "dropout-off": Case(lambda L, x: L.dropout(x, 0.5, False), ((3, 4),)),
    "dropout-all": Case(lambda L, x: L.dropout(x, 1.0), ((3, 4),)),
}
TOLERANCE = {"float64": 1e-10, "float32": 2e-5}


class Torch:
    """torch.nn.functional, and torch for what lives there."""

    def __init__(self, torch: Any) -> None:
        self.torch = torch

    def pseudo_huber_loss(self, input: Any, target: Any, delta: float) -> Any:
        return (delta**2 * ((1 + ((input - target) / delta) ** 2).sqrt() - 1)).mean()

    def hinge_loss(self, input: Any, target: Any) -> Any:
        return (1 - input * target).clamp(min=0).mean()

    def __getattr__(self, name: str) -> Any:
        home = self.torch if name in ("negative", "sigmoid", "tanh") else self.torch.nn.functional
        return getattr(home if hasattr(home, name) else self.torch, name)


def make(case: Case, dtype: str) -> list[Array]:
    rng = np.random.default_rng(7)
    arrays = [a(rng) if callable(a) else rng.standard_normal(a) for a in case.arrays]
    return [np.asarray(a).astype(dtype) if np.asarray(a).dtype.kind == "f" else a for a in arrays]


def assert_near(actual: Array, expected: Array, dtype: str) -> None:
    assert actual.dtype == expected.dtype
    assert actual.shape == expected.shape
    scale = 1 + float(np.abs(expected).max(initial=0, where=np.isfinite(expected)))
    np.testing.assert_allclose(actual, expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype] * scale)


@pytest.mark.filterwarnings("ignore:Using padding='same':UserWarning")
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", CASES)
def test_like_torch(name: str, dtype: str) -> None:
    torch = oracle.torch_or_skip()
    case = CASES[name]
    arrays = make(case, dtype)
    wrt = case.differentiable or [i for i, a in enumerate(arrays) if a.dtype.kind == "f"]
    tensors = [torch.tensor(a) for a in arrays]
    for i in wrt:
        tensors[i].requires_grad_()
    expected = case.function(Torch(torch), *tensors)
    before = [a.copy() for a in arrays]
    actual = case.function(F, *arrays)
    assert all(np.array_equal(a, b) for a, b in zip(arrays, before, strict=True))
    assert_near(actual, expected.detach().numpy(), dtype)

    dy = np.random.default_rng(8).standard_normal(actual.shape).astype(dtype)
    expected.backward(torch.tensor(dy))

    def differentiate(*symbols: Any) -> Any:
        full = list(arrays)
        for i, symbol in zip(wrt, symbols, strict=True):
            full[i] = symbol
        y = case.function(F, *full)
        loss = F.reshape(sum_axes(F.multiply(y, dy), (1,) * len(y.shape)), ())
        record = G.current_trace()
        assert record is not None
        return y, G.gradients(record, loss, list(symbols))

    graph = G.trace(differentiate, [G.Spec(arrays[i].shape, arrays[i].dtype) for i in wrt])
    traced, gradients = G.run_numpy(graph, [arrays[i] for i in wrt])
    assert np.array_equal(traced, actual, equal_nan=True)
    for i, gradient in zip(wrt, gradients, strict=True):
        assert_near(gradient, tensors[i].grad.numpy(), dtype)


# --- Signatures ---------------------------------------------------------------------------------------------------

NOT_TAKEN = {"_stacklevel", "dtype"}  # of softmax: private, and a conversion that .astype does


def parameters(function: Callable[..., Any]) -> list[tuple[str, Any]]:
    return [(p.name, p.default) for p in inspect.signature(function).parameters.values() if p.kind != p.KEYWORD_ONLY]


def documented(name: str, text: str) -> Callable[..., Any]:
    """A function with the signature that the documentation gives: that of one written in C++ is not to be had."""
    found = re.search(rf"{name}(\(.*?\)) ->", text, re.DOTALL)
    assert found is not None, f"no signature in the documentation of {name}"
    namespace: dict[str, Any] = {}
    exec(f"def function{found[1]}: ...", namespace)
    function: Callable[..., Any] = namespace["function"]
    return function


@pytest.mark.parametrize("name", F.__all__)
def test_signature(name: str) -> None:
    torch = oracle.torch_or_skip()
    ours = getattr(F, name)
    theirs = getattr(torch.nn.functional, f"_{name}", None) or getattr(torch.nn.functional, name, None)
    if theirs is None:
        return  # gradients and arithmetic are not in torch.nn.functional
    if isinstance(theirs, types.BuiltinFunctionType):
        theirs = documented(name, theirs.__doc__ or "")
    assert parameters(ours) == [each for each in parameters(theirs) if each[0] not in NOT_TAKEN]


def test_conv_gradients_are_called_as_in_torch() -> None:
    torch = oracle.torch_or_skip()
    for axes in (1, 2, 3):
        for part in ("input", "weight"):
            ours = getattr(F, f"conv{axes}d_grad_{part}")
            assert parameters(ours) == parameters(getattr(torch.nn.grad, f"conv{axes}d_{part}"))
