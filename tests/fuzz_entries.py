# SPDX-License-Identifier: BSD-3-Clause
"""What the fuzzer knows of every public entry: one valid call, and for each argument how to spoil it for certain.

An argument is a kind, a valid value and the limits that make another value invalid. `Ruin` is one way of spoiling an
argument: the name of the fault and the value, made so that no valid call can come of it whatever the other arguments.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, Any]


class Ruin(NamedTuple):
    fault: str
    value: Any


class Arg(NamedTuple):
    valid: Callable[[np.random.Generator], Any]  # makes a valid value
    ruins: Callable[[np.random.Generator], list[Ruin]]  # values that are certainly invalid


class Anything:
    """An object that is no number, array or sequence."""

    def __repr__(self) -> str:
        return "Anything()"


def _wrong_types(rng: np.random.Generator) -> list[Ruin]:
    values = ["text", b"bytes", 1j, {"a": 1}, {1, 2}, Anything(), lambda: None, type, range(3), slice(1), np.ones]
    return [Ruin(f"a {type(value).__name__}", value) for value in values]


def _wrong_arrays(shape: tuple[int, ...]) -> list[Ruin]:
    dtypes = ["f2", ">f4", "i1", "i4", "i8", "u4", "c8", "c16", "?", "O", "U3", "S3", "M8[s]", "i4,f4", "g"]
    return [Ruin(f"dtype {dtype}", np.zeros(shape, dtype)) for dtype in dtypes]


def array(*shape: int, ranks: tuple[int, ...] = (), exact: tuple[int, ...] = (), optional: bool = False,
          alone: bool = False, positive: bool = False, numbers: bool = False) -> Arg:  # fmt: skip
    """A floating-point array. ranks: the only valid ones (none: any); exact: axes whose size is fixed by the others.

    alone: the call's only floating-point array, so that float64 is no mixture. numbers: a number is valid too.
    """

    def valid(rng: np.random.Generator) -> Any:
        return rng.uniform(0.1 if positive else -1.0, 0.9, shape).astype(np.float32)

    def ruins(rng: np.random.Generator) -> list[Ruin]:
        found = [*_wrong_types(rng), Ruin("a list", [1.5])]
        found += [] if numbers else [Ruin("a float", 1.5), Ruin("an integer", 2)]
        found += [Ruin("nested lists", valid(rng).tolist())] if shape else []
        found += _wrong_arrays(shape)
        if not optional:
            found.append(Ruin("None", None))
        if not alone:
            found.append(Ruin("float64 among float32", valid(rng).astype(np.float64)))
        for rank in range(8):
            if ranks and rank not in ranks:
                sizes = tuple(int(n) for n in rng.integers(1, 5, rank))
                found.append(Ruin(f"rank {rank}", np.zeros(sizes, np.float32)))
        for axis in exact:
            sizes = list(shape)
            sizes[axis] += int(rng.integers(1, 4))
            found.append(Ruin(f"axis {axis} of size {sizes[axis]}", np.zeros(sizes, np.float32)))
            sizes[axis] = 0
            found.append(Ruin(f"axis {axis} of size 0", np.zeros(sizes, np.float32)))
        return found

    return Arg(valid, ruins)


def indices(count: int, *shape: int, low: int = 0) -> Arg:
    """An integer array of fixed shape with values low .. count - 1."""

    def valid(rng: np.random.Generator) -> Any:
        return rng.integers(low, count, shape)

    def ruins(rng: np.random.Generator) -> list[Ruin]:
        found = [*_wrong_types(rng), Ruin("None", None), Ruin("a float", 1.0), Ruin("a list", valid(rng).tolist())]
        for dtype in ("f4", "f8", "?", "c8", "O", "U3", "M8[s]"):
            found.append(Ruin(f"dtype {dtype}", np.zeros(shape, dtype)))
        for number in (count, count + 7, -1, -(2**31), 2**31, 2**62, -(2**63)):
            spoiled = valid(rng)
            spoiled.flat[int(rng.integers(spoiled.size))] = number
            found.append(Ruin(f"the index {number}", spoiled))
        for sizes in ((*shape, 1), shape[1:], (*shape[:-1], shape[-1] + 1)):
            found.append(Ruin(f"shape {sizes}", np.zeros(sizes, np.int64)))
        return found

    return Arg(valid, ruins)


def _pieces(value: Any, good: int, axes: int) -> Iterator[Any]:
    yield value
    yield (value, *(good,) * (axes - 1))
    yield [*(good,) * (axes - 1), value]


def pair(good: int, low: int, none: bool = False, keeps: bool = False, axes: int = 2) -> Arg:
    """An integer not below `low`, or two (`axes` of them). none: None is valid too; keeps: None in a place is."""

    def ruins(rng: np.random.Generator) -> list[Ruin]:
        found = [Ruin("None", None)] if not none else []
        found += [Ruin("a dict", {}), Ruin("an object", Anything()), Ruin("the word", "wide"), Ruin("bytes", b"1")]
        found += [
            Ruin("one too many", (good,) * (axes + 1)),
            Ruin("five", [good] * 5),
            Ruin("nothing", ()),
            Ruin("nested", ((good, good), *(good,) * (axes - 1))),
        ]
        found += [Ruin("floats", np.array([1.0, 2.0])), Ruin("an array", np.array([good, good]))]
        bad: list[Any] = [low - 1, low - int(rng.integers(1, 1000)), -(2**31), -(2**63), -(2**70)]
        bad += [2**31, 2**63, 2**64 + 1, 10**30, 0.5, float(good), float("nan"), True, 1j, "1", b"1", [good]]
        bad += [np.float32(1), np.bool_(True), np.array(1.0)]
        if not keeps:
            bad += [(None,) * axes]
        for value in bad:
            for piece in _pieces(value, good, axes):
                if piece != [good] or not isinstance(piece, list):  # one element counts for both axes
                    found.append(Ruin(f"{piece!r}", piece))
        return found

    return Arg(lambda rng: good, ruins)


def integer(good: int, low: int, high: int, none: bool = False) -> Arg:
    def ruins(rng: np.random.Generator) -> list[Ruin]:
        bad: list[Any] = [low - 1, high + 1, low - int(rng.integers(1, 99)), high + int(rng.integers(1, 99)), 2**63]
        bad += [
            -(2**63) - 1,
            10**30,
            0.5,
            float(good),
            "1",
            b"1",
            [good],
            (good,),
            {},
            1j,
            True,
            Anything(),
            np.float64(1),
        ]
        bad += [] if none else [None]
        return [Ruin(f"{value!r}", value) for value in bad]

    return Arg(lambda rng: good, ruins)


def number(good: float, *bad: float, none: bool = False) -> Arg:
    """A number; `bad` are numbers that are invalid."""

    def ruins(rng: np.random.Generator) -> list[Ruin]:
        wrong = [*bad, "0.5", b"1", [0.5], (good,), {}, 1j, True, Anything(), np.array([0.5, 0.5]), 10**400]
        wrong += [] if none else [None]
        return [Ruin(f"{str(value)[:40]}", value) for value in wrong]

    return Arg(lambda rng: good, ruins)


def boolean(good: bool) -> Arg:
    wrong = [0, 1, None, "True", "", 1.0, [], [True], (), Anything(), np.array([True]), 1j]
    return Arg(lambda rng: good, lambda rng: [Ruin(f"{value!r}", value) for value in wrong])


DEPRECATED = Arg(lambda rng: None, lambda rng: [ruin for ruin in boolean(True).ruins(rng) if ruin.value is not None])


def choice(good: str, none: bool = False) -> Arg:
    wrong: list[Any] = ["", "Mean", "average", "none ", 0, 1, True, b"mean", ["mean"], Anything(), 0.5]
    wrong += [] if none else [None]
    return Arg(lambda rng: good, lambda rng: [Ruin(f"{value!r}", value) for value in wrong])


def sizes(*good: int, exact: tuple[int, ...] = ()) -> Arg:
    """A shape given as argument; exact: axes whose size is fixed by the other arguments."""

    def ruins(rng: np.random.Generator) -> list[Ruin]:
        found: list[Any] = [None, 5, 5.0, "text", b"1234", {}, Anything(), np.array(good), good[:2], (*good, 1, 1), ()]
        for axis in range(len(good)):
            bad: list[Any] = [-1, -(2**63), 2**31, 2**64, 1.0, "3", None, True, (1,), float("nan"), 1j]
            bad += [good[axis] + int(rng.integers(1, 5)), 0] if axis in exact else []
            found += [(*good[:axis], value, *good[axis + 1 :]) for value in bad]
        return [Ruin(f"{value!r}", value) for value in found]

    return Arg(lambda rng: good, ruins)


def sequence(*good: int, low: int = -(2**31) + 1) -> Arg:
    """A flat sequence of integers, its length fixed."""

    def ruins(rng: np.random.Generator) -> list[Ruin]:
        found: list[Any] = [None, 1, 1.5, "text", {}, Anything(), good[1:], (*good, *good, *good, 1, 1), np.array(good)]
        for axis in range(len(good)):
            for value in (low - 1, 2**31, 2**64, 1.0, "3", None, True, (1,), 1j):
                found.append((*good[:axis], value, *good[axis + 1 :]))
        return [Ruin(f"{value!r}", value) for value in found]

    return Arg(lambda rng: good, ruins)


def output(*shape: int) -> Arg:
    """out=: None, or an array of exactly this shape."""

    def ruins(rng: np.random.Generator) -> list[Ruin]:
        locked = np.zeros(shape, np.float32)
        locked.flags.writeable = False
        values = [
            Ruin("read-only", locked),
            Ruin("one element", np.broadcast_to(np.zeros(1, np.float32), shape)),
            Ruin("another shape", np.zeros((*shape, 1), np.float32)),
            Ruin("transposed", np.zeros(shape[::-1], np.float32)),
            *_wrong_types(rng),
            *_wrong_arrays(shape),
            Ruin("float64", np.zeros(shape, np.float64)),
        ]
        return values

    return Arg(lambda rng: None, ruins)


def algorithm() -> Arg:
    wrong: list[Any] = ["fastest", "IM2COL", "im2col ", 1, True, 0.5, ["im2col"], b"im2col", Anything()]
    return Arg(lambda rng: None, lambda rng: [Ruin(f"{value!r}", value) for value in wrong])


_ONE = {"alone": True}
_MAP = {"ranks": (3, 4)}
_FIXED = {"ranks": (4,), "exact": (0, 1, 2, 3)}
_NORM = {"eps": number(1e-5, -1e-9, -1.0, float("nan"), float("inf"))}
_VECTOR = {"ranks": (1,), "exact": (0,)}


def _unary(**more: Arg) -> dict[str, Arg]:
    return {"input": array(2, 3, 4, **_ONE), **more}


def _backward(saved: str, **more: Arg) -> dict[str, Arg]:
    return {"grad_output": array(2, 3, 4, exact=(0, 1, 2)), saved: array(2, 3, 4, exact=(0, 1, 2)), **more}


def _convolutions(axes: int) -> dict[str, dict[str, Arg]]:
    """All functions of a convolution over so many axes."""
    size, kernel = (6, 8, 7)[-axes:], (2, 3, 2)[-axes:]
    x, w, y = (2, 3, *size), (4, 3, *kernel), (2, 4, *(n - k + 1 for n, k in zip(size, kernel, strict=True)))
    larger = (2, 3, *(n + k - 1 for n, k in zip(size, kernel, strict=True)))
    maps, fixed = {"ranks": (axes + 1, axes + 2)}, {"ranks": (axes + 2,), "exact": tuple(range(axes + 2))}
    rank = {"ranks": (axes + 2,)}
    kinds = {"stride": pair(1, 1, axes=axes), "padding": pair(0, 0, axes=axes), "dilation": pair(1, 1, axes=axes)}
    kinds["groups"] = integer(1, 1, 1)
    name, every = f"conv{axes}d", tuple(range(axes + 2))
    return {
        name: {
            "input": array(*x, **maps, exact=(1,)), "weight": array(*w, **rank, exact=(1,)),
            "bias": array(4, **_VECTOR, optional=True), **kinds, "algorithm": algorithm(), "out": output(*y),
        },
        f"{name}_grad_input": {
            "input_size": sizes(*x, exact=every), "weight": array(*w, **fixed), "grad_output": array(*y, **fixed),
            **kinds, "algorithm": algorithm(), "out": output(*x),
        },
        f"{name}_grad_weight": {
            "input": array(*x, **fixed), "weight_size": sizes(*w, exact=every), "grad_output": array(*y, **fixed),
            **kinds, "algorithm": algorithm(), "out": output(*w),
        },
        f"{name}_grad_bias": {"grad_output": array(*y, **maps, **_ONE)},
        f"conv_transpose{axes}d": {
            "input": array(2, 4, *size, **maps, exact=(1,)), "weight": array(*w, **rank, exact=(0,)),
            "bias": array(3, **_VECTOR, optional=True), **kinds, "output_padding": pair(0, 0, axes=axes),
            "algorithm": algorithm(), "out": output(*larger),
        },
    }  # fmt: skip


def _pools(axes: int) -> dict[str, dict[str, Arg]]:
    """All pooling functions over so many axes."""
    size, half, own = (4, 8, 6)[-axes:], (2, 4, 3)[-axes:], (2, 3, 3)[-axes:]
    maps, fixed = {"ranks": (axes + 1, axes + 2)}, {"ranks": (axes + 2,), "exact": tuple(range(axes + 2))}
    one, free = {"ranks": (axes + 2,), "exact": (0, 1), **_ONE}, tuple(range(2))
    pixels = int(np.prod(size))
    window = {
        "kernel_size": pair(2, 1, axes=axes), "stride": pair(2, 1, none=True, axes=axes),
        "padding": pair(0, 0, axes=axes),
    }  # fmt: skip
    dilated = {**window, "dilation": pair(1, 1, axes=axes), "ceil_mode": boolean(False)}
    counted = {**window, "ceil_mode": boolean(False), "count_include_pad": boolean(True)}
    if axes > 1:
        counted["divisor_override"] = integer(3, 1, 2**31 - 1, none=True)
    x, dy = array(2, 3, *size, **maps, **_ONE), array(2, 3, *half, **fixed, **_ONE)
    places, shape = indices(pixels, 2, 3, *half), sizes(2, 3, *size, exact=free)
    target = {"output_size": pair(3, 1, keeps=True, axes=axes)}
    return {
        f"max_pool{axes}d": {"input": x, **dilated, "return_indices": boolean(True)},
        f"min_pool{axes}d": {"input": x, **dilated, "return_indices": boolean(True)},
        f"lp_pool{axes}d": {
            "input": x, "norm_type": number(2.0, 0.0), "kernel_size": window["kernel_size"],
            "stride": window["stride"], "ceil_mode": boolean(True),
        },
        f"max_pool{axes}d_grad": {"grad_output": dy, "indices": places, "input_size": shape, **dilated},
        f"avg_pool{axes}d": {"input": x, **counted},
        f"avg_pool{axes}d_grad": {"grad_output": dy, "input_size": shape, **counted},
        f"adaptive_avg_pool{axes}d": {"input": x, **target},
        f"adaptive_max_pool{axes}d": {"input": x, **target, "return_indices": boolean(False)},
        f"adaptive_avg_pool{axes}d_grad": {"grad_output": array(2, 3, *own, **one), "input_size": shape},
        f"adaptive_max_pool{axes}d_grad": {"grad_output": dy, "indices": places, "input_size": shape},
        f"max_unpool{axes}d": {
            "input": array(2, 3, *half, **fixed, **_ONE), "indices": places, **window,
            "output_size": Arg(lambda rng: None, lambda rng: [
                Ruin(f"{value!r}", value) for value in
                [5, 2.5, "text", {}, (), (1,) * 7, (-1,) * axes, (10**6,) * axes, (None,) * axes, Anything()]
            ]),
        },
    }  # fmt: skip


_TERM = array(2, 3, 4, exact=(0, 1, 2), numbers=True)
_INPLACE = {"inplace": Arg(lambda rng: False, lambda rng: [*boolean(False).ruins(rng), Ruin("True", True)])}

# Entry of cnnkern.functional -> its arguments in a valid call.
FUNCTIONAL: dict[str, dict[str, Arg]] = {
    **_convolutions(1),
    **_convolutions(2),
    **_convolutions(3),
    "linear": {
        "input": array(3, 5, exact=(1,)), "weight": array(4, 5, ranks=(2,), exact=(0, 1)),
        "bias": array(4, **_VECTOR, optional=True),
    },
    "linear_grad_input": {
        "weight": array(4, 5, ranks=(2,), exact=(0,)), "grad_output": array(3, 4, exact=(1,)),
    },
    "linear_grad_weight": {"input": array(3, 5, exact=(0,)), "grad_output": array(3, 4, exact=(0,))},
    "linear_grad_bias": {"grad_output": array(3, 4, ranks=(1, 2, 3, 4, 5, 6, 7), **_ONE)},
    "matmul": {"input": array(3, 5, ranks=(2,), exact=(1,)), "other": array(5, 4, ranks=(2,), exact=(0,))},
    **_pools(1),
    **_pools(2),
    **_pools(3),
    "batch_norm": {
        "input": array(4, 3, 2, 2, ranks=(2, 3, 4, 5, 6, 7), exact=(1,)), "running_mean": array(3, **_VECTOR),
        "running_var": array(3, **_VECTOR, positive=True), "weight": array(3, **_VECTOR, optional=True),
        "bias": array(3, **_VECTOR, optional=True), "training": boolean(False),
        "momentum": number(0.1, none=True), **_NORM,
    },
    "batch_norm_training": {
        "input": array(4, 3, 2, 2, ranks=(2, 3, 4, 5, 6, 7), exact=(1,)), "weight": array(3, **_VECTOR, optional=True),
        "bias": array(3, **_VECTOR, optional=True), "running_mean": array(3, **_VECTOR),
        "running_var": array(3, **_VECTOR),
        "momentum": number(0.1, -0.1, 1.1, float("nan")), "eps": number(1e-5, 0.0, -1.0, float("nan"), float("inf")),
    },
    "batch_norm_grad": {
        "grad_output": array(4, 3, 2, 2, exact=(0, 1, 2, 3)), "input": array(4, 3, 2, 2, exact=(0, 1, 2, 3)),
        "save_mean": array(3, **_VECTOR), "save_rstd": array(3, **_VECTOR),
        "weight": array(3, **_VECTOR, optional=True), "training": boolean(True),
    },
    "relu": _unary(**_INPLACE),
    "leaky_relu": _unary(negative_slope=number(0.1), **_INPLACE),
    "relu6": _unary(**_INPLACE),
    "hardtanh": _unary(min_val=number(-1.0, 2.0, float("nan")), max_val=number(1.0, -2.0, float("nan")), **_INPLACE),
    "sigmoid": _unary(), "tanh": _unary(), "exp": _unary(), "log": _unary(), "sqrt": _unary(), "square": _unary(),
    "negative": _unary(),
    "softmax": _unary(dim=integer(1, -3, 2, none=True)),
    "log_softmax": _unary(dim=integer(1, -3, 2, none=True)),
    "dropout": _unary(
        p=number(0.5, -0.1, 1.5, float("nan"), float("inf")), training=boolean(True), **_INPLACE,
        seed=integer(3, 0, 2**32 - 1, none=True),
    ),
    "relu_grad": _backward("input"),
    "leaky_relu_grad": _backward("input", negative_slope=number(0.1)),
    "hardtanh_grad": _backward("input", min_val=number(-1.0, 2.0, float("nan")), max_val=number(1.0, -2.0)),
    "sigmoid_grad": _backward("output"),
    "tanh_grad": _backward("output"),
    "softmax_grad": _backward("output", dim=integer(1, -3, 2)),
    "log_softmax_grad": _backward("output", dim=integer(1, -3, 2)),
    "add": {"input": _TERM, "other": _TERM},
    "subtract": {"input": _TERM, "other": _TERM},
    "multiply": {"input": _TERM, "other": _TERM},
    "divide": {"input": _TERM, "other": _TERM},
    "flatten": _unary(start_dim=integer(1, -3, 2), end_dim=integer(2, -2, 2)),
    "reshape": _unary(shape=Arg(lambda rng: (4, 6), lambda rng: [
        Ruin(f"{value!r}", value) for value in
        [None, 5, 24.0, "24", (), (5, 5), (-1, -1), (-1, 5), (-2, 12), (24, 0), (2**40, 2**40), (4, 6.0), ("4", 6),
         (True, 24), (None, 24), {24}, Anything(), (-1, 0), (2**63,), (1.5,), ((4, 6),)]
    ])),
    "pad": _unary(
        pad=sequence(1, 1, 0, 2), mode=choice("constant"), value=number(0.5, none=True),
    ),
    "concat": {
        "tensors": Arg(
            lambda rng: [np.zeros((2, 3), np.float32), np.zeros((2, 1), np.float32)],
            lambda rng: [Ruin(f"{str(value)[:50]!r}", value) for value in [
                None, [], (), 5, "ab", np.zeros((2, 2, 2), np.float32), [1.0], [None], [np.zeros((2, 3)), None],
                [np.zeros((2, 3), np.float32), np.zeros((2, 3))],
                [np.zeros((2, 3), np.float32), np.zeros((3, 3), np.float32)],
                [np.zeros((2, 3), np.float32), np.zeros((2, 3, 1), np.float32)], [np.zeros((), np.float32)] * 2,
                [np.zeros((2, 3), np.int32)] * 2, {"a": np.zeros((2, 3), np.float32)}, [[1.0], [2.0]], Anything(),
            ]],
        ),
        "dim": integer(1, -2, 1),
    },
    "sgd_step": {
        "parameter": array(6, **_VECTOR), "gradient": array(6, **_VECTOR), "buffer": array(6, **_VECTOR),
        "hyper": array(8, exact=(0,)), "momentum": number(0.9, -1.0, float("nan"), float("inf")),
        "dampening": number(0.0, float("nan")), "weight_decay": number(0.0, float("nan"), float("inf")),
        "nesterov": boolean(False),
    },
    "adam_step": {
        "parameter": array(6, **_VECTOR), "gradient": array(6, **_VECTOR), "m": array(6, **_VECTOR),
        "v": array(6, **_VECTOR, positive=True), "hyper": array(8, exact=(0,), positive=True),
        "beta1": number(0.9, -0.1, 1.1, float("nan")), "beta2": number(0.9, -0.1, 1.1, float("nan")),
        "eps": number(1e-8, -1.0, float("nan"), float("inf")), "weight_decay": number(0.0, float("nan")),
        "decoupled": boolean(False),
    },
    "adaptive_step": {
        "parameter": array(6, **_VECTOR), "gradient": array(6, **_VECTOR),
        "square": array(6, **_VECTOR, positive=True), "buffer": array(6, **_VECTOR),
        "hyper": array(8, exact=(0,), positive=True), "eps": number(1e-8, -1.0, float("nan"), float("inf")),
        "momentum": number(0.9, -1.0, float("nan")), "weight_decay": number(0.0, float("nan")),
    },
}  # fmt: skip
