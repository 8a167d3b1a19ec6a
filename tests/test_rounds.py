# SPDX-License-Identifier: BSD-3-Clause
"""Batches that go through a part of the network a few images at a time: same results, wherever it is cut."""

from __future__ import annotations

import numpy as np
import pytest

import cnnkern
from cnnkern import functional as F
from cnnkern import models
from cnnkern.engine import rounds

RNG = np.random.default_rng(17)


def normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape, dtype=np.float32) * np.float32(0.3)


STEM, LEFT, RIGHT, LAST = normal(32, 3, 3, 3), normal(32, 32, 3, 3), normal(32, 32, 1, 1), normal(20, 64, 3, 3)
GROW, HEAD, DEPTH, BIAS = normal(16, 20, 3, 3), normal(7, 36), normal(36, 1, 3, 3), normal(7)


def network(x):
    """A residual block, branches that are joined, a map that grows, a depthwise convolution and a head."""
    x = F.max_pool2d(F.relu(F.conv2d(x, STEM, padding=1)), 2)
    x = F.relu(F.add(F.conv2d(x, LEFT, padding=1), x))
    x = F.concat([F.conv2d(x, RIGHT), F.avg_pool2d(x, 3, 1, 1)], 1)
    x = F.relu(F.conv2d(x, LAST, padding=1))
    x = F.concat([x, F.relu(F.conv2d(x, GROW, padding=1))], 1)
    x = F.relu(F.conv2d(x, DEPTH, padding=1, groups=36))
    return F.linear(F.flatten(F.adaptive_avg_pool2d(x, 1), 1), HEAD, BIAS)


def whole(monkeypatch) -> None:
    monkeypatch.setattr(rounds, "fastest", lambda cuts, *_: None)


def cut_at(monkeypatch, index: int) -> list[rounds.Cut]:
    """Plans are cut at the place `index`, one image at a time; the list receives the places that there are."""
    found: list[rounds.Cut] = []

    def choose(cuts, *_):
        found[:] = cuts
        return cuts[index]

    monkeypatch.setattr(rounds, "_STEP_NS", 0.0)
    monkeypatch.setattr(rounds, "fastest", choose)
    return found


@pytest.mark.parametrize("batch", [2, 3, 5])
def test_every_cut_gives_the_same_result(batch, isa, monkeypatch):
    x = normal(batch, 3, 18, 22)
    expected = network(x)
    index, places = 0, [None]
    while index < len(places):
        places = cut_at(monkeypatch, index)
        engine = cnnkern.compile(network, x.shape)
        assert engine.steps[0].times == batch and engine.steps[0].shapes[0] == (1, 3, 18, 22)
        found = engine(x)
        assert np.linalg.norm(found - expected) <= 3e-6 * np.linalg.norm(expected), f"cut {index} of {len(places)}"
        index += 1
    assert len(places) >= 6


def test_bits_are_those_of_one_image_alone_for_any_number_of_threads(monkeypatch):
    x = normal(7, 3, 30, 34)
    cut_at(monkeypatch, -1)  # behind the last step
    alone = cnnkern.compile(network, (1, 3, 30, 34))
    expected = np.concatenate([alone(x[i : i + 1]) for i in range(len(x))])
    for threads in (1, 2, 3, 4, 7, 9):
        engine = cnnkern.compile(network, x.shape, threads=threads)
        with cnnkern.threads(threads):
            assert np.array_equal(engine(x), expected), f"{threads} threads"


def test_a_map_of_its_own_for_the_rest_of_the_network(monkeypatch):
    """A cut in the middle hands over the whole batch, also where it becomes a piece of a concatenation."""
    x = normal(4, 3, 16, 16)
    expected = network(x)
    for index in range(3, 6):
        cut_at(monkeypatch, index)
        engine = cnnkern.compile(network, x.shape, threads=2)
        times = [step.times for step in engine.steps]
        assert set(times) == {4, 1} and times == sorted(times, reverse=True)
        for _ in range(2):  # what a run leaves in its arena must not show in the next one
            assert np.linalg.norm(engine(x) - expected) <= 3e-6 * np.linalg.norm(expected)


@pytest.mark.parametrize(
    "mixing",
    [
        lambda x: F.softmax(F.flatten(x, 1), 0),
        lambda x: F.linear(F.flatten(x, 1), F.flatten(x, 1)),
        lambda x: F.reshape(F.permute(x, (1, 0, 2, 3)), (3, -1)),
        lambda x: F.batch_norm(x, None, None, training=True),
        lambda x: F.concat([x, x], 0),
        lambda x: F.relu(F.reshape(x, (3, 108))),  # works for three images only
    ],
)
def test_models_that_mix_images_stay_whole(mixing, monkeypatch):
    def model(x):
        return mixing(F.relu(x))

    x = normal(3, 3, 6, 6)
    monkeypatch.setattr(rounds, "_STEP_NS", 0.0)
    monkeypatch.setattr(rounds, "fastest", lambda cuts, *_: pytest.fail("was cut"))
    engine = cnnkern.compile(model, x.shape)
    assert all(step.times == 1 for step in engine.steps)
    assert np.allclose(engine(x), model(x), atol=1e-6)


def test_several_inputs_and_a_plain_result(monkeypatch):
    def model(a, b):
        return F.conv2d(F.relu(F.add(F.conv2d(a, STEM, padding=1), F.conv2d(b, STEM, padding=1))), RIGHT)

    a, b = normal(3, 3, 9, 9), normal(3, 3, 9, 9)
    cut_at(monkeypatch, -1)
    engine = cnnkern.compile(model, (a.shape, b.shape))
    assert all(step.times == 3 for step in engine.steps[:-1])
    assert np.linalg.norm(engine(a, b) - model(a, b)) <= 3e-6 * np.linalg.norm(model(a, b))


def test_large_batches_of_a_network_take_less_memory(monkeypatch):
    model = models.resnet18(seed=0)
    shape = (8, 3, 224, 224)
    x = normal(*shape)
    engine = cnnkern.compile(model, shape, threads=2)
    told = engine.explain(repeats=1)
    assert any(row.times == 8 for row in told.rows) and "8 * 1x" in str(told)
    macs = sum(row.multiply_adds for row in told.rows)
    found, memory = engine(x), engine.memory().arena
    whole(monkeypatch)
    other = cnnkern.compile(model, shape, threads=2)
    assert memory < 0.7 * other.memory().arena
    assert np.linalg.norm(found - other(x)) <= 3e-6 * np.linalg.norm(found)
    assert sum(row.multiply_adds for row in other.explain(repeats=0).rows) == macs


def test_profile_counts_every_round(monkeypatch):
    cut_at(monkeypatch, -1)
    x = normal(6, 3, 40, 40)

    def quickest(batch):
        engine = cnnkern.compile(network, batch.shape, threads=1)
        runs = [[ns for _, ns in engine.profile(batch)] for _ in range(20)]
        assert all(ns > 0 for run in runs for ns in run)
        return min(map(sum, runs))

    # Six rounds take about six times as long as one image. The quickest of 20 runs is free of interruptions, and twice
    # leaves room for a machine that changes its speed between the two.
    assert quickest(x) > 2 * quickest(x[:1])
