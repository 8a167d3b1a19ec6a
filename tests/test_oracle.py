# SPDX-License-Identifier: BSD-3-Clause
"""The oracles themselves: a missing torch is never silent, and a wrong gradient is noticed."""

import sys

import numpy as np
import oracle
import pytest


def test_missing_torch_is_a_skip_or_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delenv("CNNKERN_REQUIRE_TORCH", raising=False)
    with pytest.raises(pytest.skip.Exception, match="not installed"):
        oracle.torch_or_skip()
    monkeypatch.setenv("CNNKERN_REQUIRE_TORCH", "1")
    with pytest.raises(pytest.fail.Exception, match="cannot be imported"):
        oracle.torch_or_skip()


def test_central_difference_of_a_cubic() -> None:
    x, dy = oracle.normal(2, 3), oracle.normal(2, 3, seed=1)
    np.testing.assert_allclose(oracle.central_difference(lambda x: x**3, x, dy), 3 * x**2 * dy, rtol=1e-7, atol=1e-8)
    np.testing.assert_allclose(oracle.central_difference(lambda x: x, x, dy), dy, rtol=1e-7)  # a view of x itself


def test_a_wrong_gradient_is_noticed() -> None:
    x, dy = oracle.normal(2, 3), oracle.normal(2, 3, seed=1)
    right = 2 * x * dy
    oracle.assert_gradient(np.square, x, dy, right)
    wrong = right.copy()
    wrong[1, 2] *= 1.01
    with pytest.raises(AssertionError):
        oracle.assert_gradient(np.square, x, dy, wrong)
    with pytest.raises(AssertionError):
        oracle.assert_gradient(np.square, x, dy, right[:1])
