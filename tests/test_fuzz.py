# SPDX-License-Identifier: BSD-3-Clause
"""Invalid calls of all public entries: TypeError or ValueError, never anything else, and never a result.

Two sources. `spoiled`: a valid call with one argument replaced by something that is invalid whatever the others are.
`random geometry`: sizes drawn at random, judged by rules that are written here a second time; what they find valid must
work and is not counted.
"""

import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from conftest import Tally
from fuzz_activation import ACTIVATIONS
from fuzz_entries import FUNCTIONAL, Anything, Arg, Ruin
from fuzz_loss import LOSSES
from fuzz_moves import MOVES

import cnnkern
from cnnkern import functional as F
from cnnkern import nn

FUNCTIONAL.update(ACTIVATIONS)
FUNCTIONAL.update(LOSSES)
FUNCTIONAL.update(MOVES)

Array = np.ndarray[Any, Any]
CALLS = 10_000
SHARES = {"spoiled": 0.6, "geometry": 0.25, "layers": 0.1, "engine": 0.05}


def refused(
    function: Callable[..., Any], args: tuple[Any, ...], keywords: dict[str, Any], what: str, prefix: str
) -> None:
    """The call raises TypeError or ValueError itself (no subclass), with a message of its own."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            function(*args, **keywords)
    except (TypeError, ValueError) as error:
        assert type(error) in (TypeError, ValueError), f"{what}: {error!r}"
        assert str(error).startswith(prefix), f"{what}: the message does not begin with {prefix!r}: {error}"
        return
    except BaseException as error:
        pytest.fail(f"{what}: {type(error).__name__}: {error}")
    pytest.fail(f"{what}: the call succeeded")


def count(share: str, full: bool) -> int:
    return int(CALLS * SHARES[share]) // (1 if full else 20)


@pytest.fixture
def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng([seed, 1])


def valid_arguments(entry: dict[str, Arg], rng: np.random.Generator) -> dict[str, Any]:
    return {name: arg.valid(rng) for name, arg in entry.items()}


def test_every_entry_is_known_and_its_call_is_valid(rng: np.random.Generator) -> None:
    assert set(FUNCTIONAL) == set(F.__all__)
    for name, entry in FUNCTIONAL.items():
        getattr(F, name)(**valid_arguments(entry, rng))


def test_spoiled_arguments(rng: np.random.Generator, full: bool, tally: Tally) -> None:
    total = count("spoiled", full)
    names = list(FUNCTIONAL)
    kinds: Counter[str] = Counter()
    for i in range(total):
        name = names[i % len(names)]
        entry = FUNCTIONAL[name]
        arguments = valid_arguments(entry, rng)
        draw = rng.uniform()
        if draw < 0.02:
            missing = next(iter(entry))
            del arguments[missing]
            refused(getattr(F, name), (), arguments, f"{name} without {missing}", "")
            kinds["missing"] += 1
        elif draw < 0.04:
            refused(getattr(F, name), (), {**arguments, "colour": 1}, f"{name} with an unknown keyword", "")
            kinds["unknown"] += 1
        else:
            argument = list(entry)[int(rng.integers(len(entry)))]
            ruins = entry[argument].ruins(rng)
            ruin = ruins[int(rng.integers(len(ruins)))]
            arguments[argument] = ruin.value
            refused(getattr(F, name), (), arguments, f"{name}, {argument}: {ruin.fault}", f"{name}: ")
            kinds["argument"] += 1
    tally.notes.append(
        f"fuzz: {total} calls of {len(names)} functions with a spoiled argument ({dict(kinds)}), all refused"
    )


# --- Random geometry ------------------------------------------------------------------------------------------------


def windows(size: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    """How many windows begin inside the padded input and end inside it, counted one by one; -1 for nonsense."""
    if min(kernel, stride, dilation) < 1 or padding < 0 or size < 1:
        return -1
    reach = 1 + (kernel - 1) * dilation
    return sum(start + reach <= size + 2 * padding for start in range(0, size + 2 * padding, stride))


def draw_convolution(
    rng: np.random.Generator,
) -> tuple[bool, dict[str, Any], tuple[int, ...], tuple[int, ...], list[int]]:
    """Whether it is valid, its geometry, the input's and the weight's shape, and the output's spatial sizes."""
    groups = int(rng.choice([1, 1, 1, 2, 3, 0, -1]))
    n, c, o = (int(rng.integers(low, 7)) for low in (0, 0, 1))
    cg = c // groups if groups > 0 and rng.uniform() < 0.8 else int(rng.integers(0, 4))
    kernel, size = rng.integers(0, 5, 2), rng.integers(0, 8, 2)
    stride, padding, dilation = (tuple(map(int, rng.integers(low, 4, 2))) for low in (0, -1, 0))
    if rng.uniform() < 0.5:
        stride, padding, dilation, kernel = (1, 1), (0, 1), (1, 1), kernel + 1
    x = (n, c, int(size[0]), int(size[1]))
    w = (o, cg, int(kernel[0]), int(kernel[1]))
    out = [windows(x[2 + i], w[2 + i], stride[i], padding[i], dilation[i]) for i in (0, 1)]
    valid = groups >= 1 and cg >= 1 and c == cg * groups and o % groups == 0 and min(out) >= 1
    return valid, {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}, x, w, out


def geometry_convolution(rng: np.random.Generator) -> tuple[bool, str, tuple[Any, ...], dict[str, Any]]:
    valid, geometry, x, w, out = draw_convolution(rng)
    y = (x[0], w[0], max(out[0], 1), max(out[1], 1))
    if rng.uniform() < 0.2:
        y = (y[0], y[1], y[2] + int(rng.integers(0, 2)), y[3])
    right = valid and list(y[2:]) == out
    kind = int(rng.integers(3))
    if kind == 0:
        return valid, "conv2d", (zeros(x), zeros(w)), geometry
    if kind == 1:
        return right, "conv2d_grad_input", (x, zeros(w), zeros(y)), geometry
    return right, "conv2d_grad_weight", (zeros(x), w, zeros(y)), geometry


def geometry_pool(rng: np.random.Generator) -> tuple[bool, str, tuple[Any, ...], dict[str, Any]]:
    x = tuple(int(v) for v in (rng.integers(0, 3), rng.integers(0, 3), *rng.integers(0, 8, 2)))
    kernel, stride, padding = (tuple(map(int, rng.integers(low, 4, 2))) for low in (0, 0, -1))
    dilation = (1, 1) if rng.uniform() < 0.5 else tuple(map(int, rng.integers(0, 3, 2)))
    maximum = bool(rng.integers(2))
    if not maximum:
        dilation = (1, 1)
    out = [windows(x[2 + i], kernel[i], stride[i], padding[i], dilation[i]) for i in (0, 1)]
    half = all(2 * padding[i] <= kernel[i] for i in (0, 1))
    valid = x[1] >= 1 and min(out) >= 1 and half
    keywords: dict[str, Any] = {"kernel_size": kernel, "stride": stride, "padding": padding}
    if maximum:
        keywords["dilation"] = dilation
    name = "max_pool2d" if maximum else "avg_pool2d"
    if rng.uniform() < 0.5:
        return valid, name, (zeros(x),), keywords
    y = (x[0], x[1], max(out[0], 0), max(out[1], 0))
    if rng.uniform() < 0.2:
        y = (y[0], y[1], y[2], y[3] + 1)
    right = valid and list(y[2:]) == out
    saved = (np.zeros(y, np.int64),) if maximum else ()
    return right, f"{name}_grad", (zeros(y), *saved, x), keywords


def geometry_matrices(rng: np.random.Generator) -> tuple[bool, str, tuple[Any, ...], dict[str, Any]]:
    a = tuple(map(int, rng.integers(0, 4, rng.integers(1, 4))))
    b = tuple(map(int, rng.integers(0, 4, rng.integers(1, 4))))
    if rng.integers(2):
        return len(a) == len(b) == 2 and a[1] == b[0], "matmul", (zeros(a), zeros(b)), {}
    return len(b) == 2 and min(b) > 0 and a[-1] == b[1], "linear", (zeros(a), zeros(b)), {}


def geometry_broadcast(rng: np.random.Generator) -> tuple[bool, str, tuple[Any, ...], dict[str, Any]]:
    a, b = (tuple(map(int, rng.integers(1, 4, rng.integers(0, 5)))) for _ in (0, 1))
    pairs = list(zip(a[::-1], b[::-1], strict=False))
    name = str(rng.choice(["add", "subtract", "multiply", "divide"]))
    return all(m == n or 1 in (m, n) for m, n in pairs), name, (zeros(a), zeros(b) + 1), {}


def geometry_moves(rng: np.random.Generator) -> tuple[bool, str, tuple[Any, ...], dict[str, Any]]:
    x = tuple(map(int, rng.integers(0, 4, rng.integers(1, 5))))
    kind = int(rng.integers(4))
    if kind == 0:
        shape = tuple(map(int, rng.integers(0, 5, rng.integers(1, 4))))
        return int(np.prod(x)) == int(np.prod(shape)), "reshape", (zeros(x), shape), {}
    if kind == 1:
        amounts = tuple(map(int, rng.integers(-3, 3, rng.integers(1, 2 * len(x) + 3))))
        fits = len(amounts) % 2 == 0 and len(amounts) <= 2 * len(x)
        if fits:
            for i in range(len(amounts) // 2):
                cropped = max(-amounts[2 * i], 0) + max(-amounts[2 * i + 1], 0)
                fits = fits and cropped <= x[-1 - i]
        return fits, "pad", (zeros(x), amounts), {}
    if kind == 2:
        y = list(x)
        y[int(rng.integers(len(x)))] = int(rng.integers(0, 4))
        dim = int(rng.integers(-5, 5))
        inside = -len(x) <= dim < len(x)
        fits = inside and all(m == n for i, (m, n) in enumerate(zip(x, y, strict=True)) if i != dim % len(x))
        return fits, "concat", ([zeros(x), zeros(tuple(y))], dim), {}
    start, end = int(rng.integers(-5, 5)), int(rng.integers(-5, 5))
    inside = all(-len(x) <= v < len(x) for v in (start, end))
    return inside and start % len(x) <= end % len(x), "flatten", (zeros(x), start, end), {}


def zeros(shape: tuple[int, ...]) -> Array:
    return np.zeros([max(n, 0) for n in shape], np.float32)


GEOMETRIES = (
    geometry_convolution,
    geometry_convolution,
    geometry_pool,
    geometry_matrices,
    geometry_broadcast,
    geometry_moves,
)


def test_random_geometry(rng: np.random.Generator, full: bool, tally: Tally) -> None:
    total = count("geometry", full)
    invalid, worked = Counter[str](), 0
    while invalid.total() < total:
        valid, name, args, keywords = GEOMETRIES[int(rng.integers(len(GEOMETRIES)))](rng)
        shown = [a.shape if isinstance(a, np.ndarray) else a for a in args]
        if valid:
            getattr(F, name)(*args, **keywords)
            worked += 1
        else:
            refused(getattr(F, name), args, keywords, f"{name} of {shown}, {keywords}", f"{name}: ")
            invalid[name] += 1
    tally.notes.append(f"fuzz: {total} calls with random geometry refused; {worked} valid ones worked")


# --- Layers and engines ---------------------------------------------------------------------------------------------

BAD_SIZES = [0, -1, -(2**40), 1.5, "3", None, [], Anything(), 1j, b"2"]
BAD_PAIRS = [*BAD_SIZES, (1, 2, 3), (1, None), (0, -1), ("a", 1)]


def layers() -> Iterator[tuple[str, Callable[[Any], Any], list[Any]]]:
    """A layer with one parameter left open, and values that cannot be it."""
    yield "Conv2d in_channels", lambda v: nn.Conv2d(v, 4, 3), BAD_SIZES
    yield "Conv2d out_channels", lambda v: nn.Conv2d(3, v, 3), BAD_SIZES
    yield "Conv2d kernel_size", lambda v: nn.Conv2d(3, 4, v), BAD_PAIRS
    yield "Conv2d stride", lambda v: nn.Conv2d(3, 4, 3, v), BAD_PAIRS
    yield (
        "Conv2d padding",
        lambda v: nn.Conv2d(3, 4, 3, padding=v),
        [-1, 1.5, None, "wide", (1, 2, 3), Anything(), (1, -1)],
    )
    yield "Conv2d dilation", lambda v: nn.Conv2d(3, 4, 3, dilation=v), BAD_PAIRS
    yield "Conv2d groups", lambda v: nn.Conv2d(3, 4, 3, groups=v), [*BAD_SIZES, 2, 3, 7]
    yield "Linear in_features", lambda v: nn.Linear(v, 4), BAD_SIZES
    yield "Linear out_features", lambda v: nn.Linear(4, v), BAD_SIZES
    yield "BatchNorm2d num_features", lambda v: nn.BatchNorm2d(v), BAD_SIZES
    yield "MaxPool2d kernel_size", lambda v: nn.MaxPool2d(v), BAD_PAIRS
    yield "MaxPool2d stride", lambda v: nn.MaxPool2d(2, v), [v for v in BAD_PAIRS if v is not None]
    yield "AvgPool2d kernel_size", lambda v: nn.AvgPool2d(v), BAD_PAIRS
    yield (
        "AdaptiveAvgPool2d output_size",
        lambda v: nn.AdaptiveAvgPool2d(v),
        [0, -1, 1.5, "3", [], Anything(), (1, 2, 3), (0, 1)],
    )
    yield "Sequential", lambda v: nn.Sequential(nn.ReLU(), v), [1, "ReLU", None, nn.ReLU, Anything(), []]


def inputs(rng: np.random.Generator, channels: int) -> list[Ruin]:
    """What no network that begins with a convolution of `channels` channels can take."""
    good = (2, channels, 8, 8)
    found = [Ruin(f"dtype {d}", np.zeros(good, d)) for d in ("f2", "i4", "i8", "u1", "?", "c8", "O", "U1")]
    found += [Ruin(type(v).__name__, v) for v in (None, 1, 1.5, "x", [[1.0]], Anything(), {})]
    found += [Ruin(f"rank {r}", np.zeros((2,) * r, np.float32)) for r in (0, 1, 2, 5, 6)]
    wrong = channels + int(rng.integers(1, 5))
    found += [Ruin(f"{wrong} channels", np.zeros((2, wrong, 8, 8), np.float32))]
    found += [Ruin("an empty map", np.zeros((2, channels, 0, 8), np.float32))]
    found += [Ruin("a map smaller than the kernel", np.zeros((2, channels, 2, 2), np.float32))]
    return found


def test_layers(rng: np.random.Generator, full: bool, tally: Tally) -> None:
    total = count("layers", full)
    open_layers = [(name, make, value) for name, make, values in layers() for value in values]
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 5)
    )
    model.eval()
    model(zeros((2, 3, 8, 8)))
    state = model.state_dict()
    for i in range(total):
        kind = i % 3
        if kind == 0:
            name, make, value = open_layers[int(rng.integers(len(open_layers)))]
            refused(make, (value,), {}, f"{name}={value!r}", "")
        elif kind == 1:
            ruins = [*inputs(rng, 3), Ruin("float64 weights are float32", np.zeros((2, 3, 8, 8)))]
            ruin = ruins[int(rng.integers(len(ruins)))]
            refused(model, (ruin.value,), {}, f"model of {ruin.fault}", "")
        else:
            spoiled = dict(state)
            key = list(state)[int(rng.integers(len(state)))]
            # Checkpoints from before PyTorch 0.4.1 count no batches, and load.
            fault = int(rng.integers(1 if key.endswith("num_batches_tracked") else 0, 4))
            if fault == 0:
                del spoiled[key]
            elif fault == 1:
                spoiled[key] = np.zeros((7, 7, 7), np.float32)
            elif fault == 2:
                spoiled[key + "_"] = state[key]
            else:
                spoiled[key] = "not an array"
            refused(model.load_state_dict, (spoiled,), {}, f"load_state_dict, {key}, fault {fault}", "")
    tally.notes.append(f"fuzz: {total} invalid calls of layers, all refused")


def test_engine(rng: np.random.Generator, full: bool, tally: Tally) -> None:
    total = count("engine", full)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5))
    engine = cnnkern.compile(model, (2, 3, 8, 8))
    assert engine(zeros((2, 3, 8, 8))).shape == (2, 5)
    shapes: list[Any] = [
        None,
        1,
        "shape",
        (2, 3, 8),
        (2, 4, 8, 8),
        (2, 3, 7, 8),
        (2, 3, -8, 8),
        (2, 3, 8.0, 8),
        Anything(),
        (),
    ]
    shapes += [(2, 3, 2**40, 8), ((2, 3, 8, 8), (2, 3, 8, 8)), (2, 3, "8", 8), (2, 3, 0, 8)]
    for i in range(total):
        if i % 3 == 0:
            value = shapes[int(rng.integers(len(shapes)))]
            refused(cnnkern.compile, (model, value), {}, f"compile for {value!r}", "")
        elif i % 3 == 1:
            keyword, values = [
                ("precision", ["fp64", "int8", None, 1, "FP32", Anything()]),
                ("threads", [0, -1, 1.5, "2", [], Anything(), 2**40, True]),
            ][int(rng.integers(2))]
            value = values[int(rng.integers(len(values)))]
            refused(cnnkern.compile, (model, (2, 3, 8, 8)), {keyword: value}, f"compile, {keyword}={value!r}", "")
        else:
            ruins = [*inputs(rng, 3), Ruin("float64", np.zeros((2, 3, 8, 8))), Ruin("9x9", zeros((2, 3, 9, 9)))]
            ruin = ruins[int(rng.integers(len(ruins)))]
            refused(engine, (ruin.value,), {}, f"engine of {ruin.fault}", "")
    tally.notes.append(f"fuzz: {total} invalid calls of compile and engines, all refused")
