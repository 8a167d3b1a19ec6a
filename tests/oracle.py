# SPDX-License-Identifier: BSD-3-Clause
"""Ways to know the right answer without cnnkern: PyTorch, and central differences."""

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

Array = npt.NDArray[Any]


def torch_or_skip() -> Any:
    """Returns the torch module; without it skips the test, or fails it where CNNKERN_REQUIRE_TORCH=1."""
    try:
        import torch
    except ImportError:
        if os.environ.get("CNNKERN_REQUIRE_TORCH") == "1":
            pytest.fail("CNNKERN_REQUIRE_TORCH=1, but torch cannot be imported")
        pytest.skip("torch is not installed", allow_module_level=True)
    return torch


def central_difference(function: Callable[[Array], Array], x: Array, dy: Array, eps: float = 1e-6) -> Array:
    """Gradient of sum(dy * function(x)) with respect to float64 x, element by element."""
    x = x.copy()
    gradient = np.empty_like(x)
    for i in np.ndindex(x.shape):
        value = x[i]
        x[i] = value + eps
        above = np.array(function(x))  # a copy: the result may be a view of x
        x[i] = value - eps
        below = np.array(function(x))
        x[i] = value
        gradient[i] = ((above - below) * dy).sum() / (2 * eps)
    return gradient


def assert_gradient(function: Callable[[Array], Array], x: Array, dy: Array, gradient: Array) -> None:
    """Compares `gradient` with central differences of sum(dy * function(x))."""
    assert gradient.shape == x.shape
    np.testing.assert_allclose(gradient, central_difference(function, x, dy), atol=1e-5, rtol=1e-3)


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng([*shape, seed]).standard_normal(shape)


def distinct(*shape: int) -> Array:
    """Values at least 0.01 apart, so that no maximum changes under a small step."""
    size = int(np.prod(shape))
    return np.random.default_rng(size).permutation(size).reshape(shape) * 0.01 - size * 0.005


def assert_close(actual: Array, expected: Any) -> None:
    """Equal but for rounding in float64."""
    expected = expected.detach().numpy() if hasattr(expected, "detach") else expected
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, rtol=1e-10, atol=1e-11)
