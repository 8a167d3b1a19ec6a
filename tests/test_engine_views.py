# SPDX-License-Identifier: BSD-3-Clause
"""Concatenation without copies: pieces are computed where they belong, in forward plans and in gradients."""

from __future__ import annotations

import numpy as np
import pytest

import cnnkern
from cnnkern import _core
from cnnkern import functional as F
from cnnkern.engine import Executable
from cnnkern.graph import Spec, Trace, current_trace, gradients, run_numpy, trace

RNG = np.random.default_rng(11)


def normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape, dtype=np.float32) * np.float32(0.2)


def close(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.shape == expected.shape
    assert np.linalg.norm(found - expected) <= 3e-6 * np.linalg.norm(expected)


def moved_inside(engine: cnnkern.Engine) -> list:
    """Copies between blocked maps (the scalar kernels may prefer plain ones: then pieces are copied)."""
    return [
        step
        for step in engine.steps
        if step.op == "copy" and step.layouts == ("blocked", "blocked") and _core.isa() != "scalar"
    ]


STEM, GROW, LAST = normal(32, 3, 3, 3), [normal(16, 32 + 16 * i, 3, 3) for i in range(4)], normal(40, 96, 1, 1)


def dense(x):
    """Every layer reads all maps before it: each concatenation is the beginning of the next."""
    maps = [F.relu(F.conv2d(x, STEM, padding=1))]
    for weight in GROW:
        maps.append(F.conv2d(F.relu(F.concat(maps, 1)), weight, padding=1))
    return F.conv2d(F.concat(maps, 1), LAST)


@pytest.mark.parametrize("shape", [(1, 3, 19, 23), (3, 3, 8, 8)])
def test_dense_block_copies_nothing(shape, isa):
    x = normal(*shape)
    engine = cnnkern.compile(dense, shape)
    close(engine(x), dense(x))
    assert not moved_inside(engine)


def test_branches_of_several_widths_and_a_pool_write_in_place(isa):
    one, three, five = normal(64, 48, 1, 1), normal(128, 48, 3, 3), normal(25, 48, 5, 5)
    first, after = normal(48, 3, 1, 1), normal(8, 265, 1, 1)

    def inception(x):
        x = F.conv2d(x, first)
        pieces = [
            F.relu(F.conv2d(x, one)),
            F.conv2d(x, three, padding=1),
            F.max_pool2d(x, 3, 1, 1),
            F.conv2d(x, five, padding=2),
        ]
        return F.conv2d(F.concat(pieces, 1), after)

    x = normal(2, 3, 13, 17)
    engine = cnnkern.compile(inception, x.shape)
    close(engine(x), inception(x))
    assert not moved_inside(engine)


def test_nested_repeated_and_returned_pieces(isa):
    """A piece twice, a piece of two concatenations, a concatenation inside another, a piece that is a result itself."""
    a_weight, b_weight = normal(32, 3, 3, 3), normal(16, 32, 3, 3)

    def model(x):
        a = F.conv2d(x, a_weight, padding=1)
        b = F.relu(F.conv2d(a, b_weight, padding=1))
        c = F.concat([a, b, a], 1)
        d = F.concat([c, b], 1)
        return F.concat([F.max_pool2d(d, 3, 1, 1), F.sigmoid(c)], 1), b

    x = normal(2, 3, 9, 11)
    engine = cnnkern.compile(model, x.shape)
    for found, expected in zip(engine(x), model(x), strict=True):
        close(found, expected)
    for threads in (1, 2, 3):
        again = cnnkern.compile(model, x.shape, threads=threads)(x)
        assert all(np.array_equal(p, q) for p, q in zip(again, engine(x), strict=True))


@pytest.mark.parametrize("axis", [0, 2, 3])
def test_along_other_axes_pieces_are_copied(axis, isa):
    weight = normal(16, 16, 3, 3)

    def model(x):
        y = F.conv2d(x, weight, padding=1)
        return F.conv2d(F.concat([y, F.relu(y)], axis), weight, padding=1)

    x = normal(2, 16, 9, 9)
    close(cnnkern.compile(model, x.shape)(x), model(x))


def test_gradients_of_a_dense_block(isa):
    def loss_and_gradients(x, stem, grow, last):
        maps = [F.relu(F.conv2d(x, stem, padding=1))]
        maps.append(F.conv2d(F.relu(F.concat(maps, 1)), grow, padding=1))
        y = F.conv2d(F.concat(maps, 1), last)
        loss = F.mse_loss(y, F.multiply(y, 0.5))
        trace_now: Trace | None = current_trace()
        assert trace_now is not None
        return (loss, *gradients(trace_now, loss, [stem, grow, last]))

    arrays = [normal(2, 3, 10, 9), STEM, GROW[0], normal(40, 48, 1, 1)]
    found = Executable(trace(loss_and_gradients, [array.shape for array in arrays]))(*arrays)
    exact_arrays = [array.astype(np.float64) for array in arrays]
    exact_graph = trace(loss_and_gradients, [Spec(array.shape, array.dtype) for array in exact_arrays])
    expected = run_numpy(exact_graph, exact_arrays)
    for value, exact in zip(found, expected, strict=True):
        assert np.linalg.norm(value - exact) <= 5e-6 * np.linalg.norm(exact)


def test_a_view_must_be_whole_blocks_of_a_blocked_tensor():
    plan = _core.Plan()
    whole, plain = plan.tensor((2, 40, 5, 5), "blocked"), plan.tensor((2, 40, 5, 5))
    plan.view(whole, (2, 16, 5, 5), 16)
    plan.view(whole, (2, 8, 5, 5), 32)
    wrong = [
        (plain, (2, 16, 5, 5), 16),
        (whole, (2, 16, 5, 5), 8),
        (whole, (2, 16, 5, 5), 32),
        (whole, (2, 8, 5, 5), 16),
        (whole, (1, 16, 5, 5), 16),
        (whole, (2, 16, 5, 4), 16),
        (whole, (2, 16, 5, 5), -16),
        (plan.view(whole, (2, 16, 5, 5), 0), (2, 16, 5, 5), 0),
    ]
    for arguments in wrong:
        with pytest.raises(ValueError, match="view"):
            plan.view(*arguments)
