# SPDX-License-Identifier: BSD-3-Clause
"""Every function of cnnkern.functional against PyTorch, on random configurations of all its arguments.

Compared are values, indices, dtypes, shapes, gradients (where a generator asks for them), and that both refuse what one
refuses. A failure names its draw: `pytest "tests/test_torch_functions.py::test_like_torch[NAME]" --draw NUMBER`.
"""

from __future__ import annotations

import importlib
import pkgutil
import warnings
import zlib
from typing import Any

import numpy as np
import oracle
import pytest
import torch_functions
from torch_functions.draw import Call, Counterpart, Draw, Generator
from torch_functions.names import FUNCTIONS, LEFT_OUT

from cnnkern import functional as F
from cnnkern import graph as G
from cnnkern.functional.shape import sum_axes

DRAWS = 200
TOLERANCE = {"float64": 1e-10, "float32": 2e-5}
GRADIENTS_OF = 4  # one in so many float64 draws has its gradients compared


GENERATORS: dict[str, Generator] = {}
OWN: dict[str, Counterpart] = {}  # of functions that torch.nn.functional has not
for family in sorted(module.name for module in pkgutil.iter_modules(torch_functions.__path__)):
    if family not in ("draw", "names"):
        module = importlib.import_module(f"torch_functions.{family}")
        assert not set(GENERATORS) & set(module.FUNCTIONS), f"{family} repeats a function"
        GENERATORS.update(module.FUNCTIONS)
        OWN.update(getattr(module, "OWN", {}))


class Refused(Exception):
    """The function raised."""


def call(function: Any, args: Any, kwargs: Any, expected: type[Exception] | tuple[type[Exception], ...]) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return function(*args, **kwargs)
        except expected as error:
            raise Refused(f"{type(error).__name__}: {error}") from error


def tensors(torch: Any, value: Any) -> Any:
    """The arrays in a value as tensors that share no memory with them."""
    if isinstance(value, np.ndarray):
        return torch.from_numpy(np.array(value, order="C"))
    if isinstance(value, (tuple, list)):
        return type(value)(tensors(torch, item) for item in value)
    if isinstance(value, dict):
        return {key: tensors(torch, item) for key, item in value.items()}
    return value


def counterpart(torch: Any, name: str, made: Call) -> Any:
    if made.torch_function is not None:
        return made.torch_function(torch)
    if name in OWN:
        return OWN[name](torch)
    return getattr(torch.nn.functional, name, None) or getattr(torch, name)


def assert_equal(actual: Any, expected: Any, tolerance: float | None) -> None:
    if isinstance(expected, (tuple, list)):
        assert isinstance(actual, (tuple, list)) and len(actual) == len(expected)
        for one, other in zip(actual, expected, strict=True):
            assert_equal(one, other, tolerance)
        return
    want = expected.detach().numpy()
    assert isinstance(actual, np.ndarray), f"found {type(actual).__name__}"
    assert actual.shape == want.shape, f"shape {actual.shape} instead of {want.shape}"
    assert actual.dtype == want.dtype, f"{actual.dtype} instead of {want.dtype}"
    if want.dtype.kind in "iub":
        assert np.array_equal(actual, want), "indices differ"
        return
    limit = TOLERANCE[want.dtype.name] if tolerance is None else tolerance
    scale = 1 + float(np.abs(want).max(initial=0, where=np.isfinite(want)))
    np.testing.assert_allclose(actual, want, rtol=limit, atol=limit * scale)


def snapshot(value: Any) -> list[Any]:
    leaves: list[Any] = []
    G.flatten(value, leaves)
    return [leaf.copy() if isinstance(leaf, np.ndarray) else leaf for leaf in leaves]


def traced_gradients(function: Any, made: Call) -> tuple[Any, list[Any]]:
    """The first output from a graph, and the gradients of its sum weighted with `weights`."""

    def differentiate(*symbols: Any) -> Any:
        args = list(made.args)
        for position, symbol in zip(made.gradients, symbols, strict=True):
            args[position] = symbol
        y = function(*args, **made.kwargs)
        y = y[0] if isinstance(y, (tuple, list)) else y
        loss = F.reshape(sum_axes(F.multiply(y, weights(y.shape)), (1,) * len(y.shape)), ())
        record = G.current_trace()
        assert record is not None
        found = G.gradients(record, loss, list(symbols))
        zeros = [np.zeros(s.shape, s.dtype) if g is None else g for s, g in zip(symbols, found, strict=True)]
        return y, zeros

    arrays = [made.args[position] for position in made.gradients]
    graph = G.trace(differentiate, [G.Spec(array.shape, array.dtype) for array in arrays])
    y, found = G.run_numpy(graph, arrays)
    return y, found


def weights(shape: tuple[int, ...]) -> Any:
    return np.asarray(np.random.default_rng(5).standard_normal(shape))


def compare_gradients(torch: Any, function: Any, theirs: Any, made: Call) -> None:
    args = tensors(torch, list(made.args if made.torch_args is None else made.torch_args))
    for position in made.gradients:
        args[position].requires_grad_()
    y = call(theirs, args, tensors(torch, made.kwargs if made.torch_kwargs is None else made.torch_kwargs), ())
    y = y[0] if isinstance(y, (tuple, list)) else y
    try:
        (y * torch.from_numpy(weights(tuple(y.shape)))).sum().backward()
    except RuntimeError:
        return  # PyTorch's own gradients of some empty arrays
    actual, found = call(traced_gradients, (function, made), {}, ())
    assert_equal(actual, y, made.tolerance)
    for position, gradient in zip(made.gradients, found, strict=True):
        want = args[position].grad
        assert_equal(gradient, torch.zeros_like(args[position]) if want is None else want, made.tolerance)


def compare(torch: Any, name: str, made: Call, gradients: bool) -> bool:
    """Compare one call. Returns whether it was a good one."""
    ours, theirs = getattr(F, name), counterpart(torch, name, made)
    args = made.args if made.torch_args is None else made.torch_args
    kwargs = made.kwargs if made.torch_kwargs is None else made.torch_kwargs
    before = snapshot((made.args, made.kwargs))
    try:
        expected = call(theirs, tensors(torch, args), tensors(torch, kwargs), Exception)
    except Refused as refused:
        with pytest.raises((TypeError, ValueError)) as caught, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pytest.fail(f"PyTorch: {refused}; returned {ours(*made.args, **made.kwargs)!r:.200}")
        assert name in str(caught.value), f"the message does not name the function: {caught.value}"
        return False
    actual = call(ours, made.args, made.kwargs, (TypeError, ValueError))
    if name not in MUTATES:
        for one, other in zip(snapshot((made.args, made.kwargs)), before, strict=True):
            if isinstance(one, np.ndarray):
                assert np.array_equal(one, other, equal_nan=one.dtype.kind == "f"), "an input was changed"
    if made.statistical is not None:
        made.statistical(actual, expected)
    else:
        assert_equal(actual, expected, made.tolerance)
    if gradients and made.gradients and all(made.args[i].dtype == np.float64 for i in made.gradients):
        compare_gradients(torch, ours, theirs, made)
    return True


MUTATES = ("batch_norm", "batch_norm_training", "instance_norm", "sgd_step", "adam_step", "adaptive_step")


def shown(value: Any) -> str:
    """A value in few characters."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{list(value.shape)}" if value.size > 4 else f"{value.dtype}{value.tolist()}"
    if isinstance(value, (tuple, list)):
        return f"({', '.join(map(shown, value))})"
    return repr(value)


@pytest.mark.parametrize("name", GENERATORS)
def test_like_torch(name: str, seed: int, pytestconfig: pytest.Config) -> None:
    torch = oracle.torch_or_skip()
    only, good, failures = pytestconfig.getoption("--draw"), 0, []
    for number in range(DRAWS) if only is None else [only]:
        draw = Draw([zlib.crc32(name.encode()), seed, number])
        made = GENERATORS[name](draw)
        torch.manual_seed(number)
        try:
            good += compare(torch, name, made, only is not None or number % GRADIENTS_OF == 0)
        except (AssertionError, Refused, pytest.fail.Exception) as error:
            if only is not None:
                raise
            said = " ".join(str(error).split())
            kwargs = "".join(f", {key}={shown(value)}" for key, value in made.kwargs.items())
            failures.append(f"--draw {number}: {name}({', '.join(map(shown, made.args))}{kwargs}): {said:.300}")
    if failures:
        pytest.fail("\n".join([f"{len(failures)} of {DRAWS} differ", *failures[:12]]), pytrace=False)
    assert only is not None or good >= 0.4 * DRAWS, f"only {good} of {DRAWS} configurations were possible"


def test_every_public_function_is_compared() -> None:
    assert set(F.__all__) - set(GENERATORS) == set(), "functions without a generator"
    assert set(GENERATORS) == set(F.__all__) & ({*FUNCTIONS} | {*OWN}), "functions without a counterpart"
    assert not set(FUNCTIONS) & set(OWN)
    assert set(FUNCTIONS) - set(F.__all__) == set(), "listed functions that are missing"


def test_the_list_knows_all_that_pytorch_offers() -> None:
    torch = oracle.torch_or_skip()
    offered = {
        name
        for name, value in vars(torch.nn.functional).items()
        if callable(value) and name[0].islower() and not name.endswith("_")
    }
    assert offered - set(FUNCTIONS) - set(LEFT_OUT) == set()
    assert not set(FUNCTIONS) & set(LEFT_OUT)
