# SPDX-License-Identifier: BSD-3-Clause
"""What an engine tells about itself, algorithms by name, and tuning."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest

import cnnkern
from cnnkern import functional as F
from cnnkern import models
from cnnkern.engine.explain import explain_steps, products
from cnnkern.engine.freeze import StepInfo
from cnnkern.engine.limits import Level, Limits, measure_limits

SHAPE = (1, 3, 64, 64)
RNG = np.random.default_rng(8)


@pytest.fixture(scope="module")
def model():
    return models.resnet18(num_classes=10, seed=0).eval()


def test_rows_name_layers_and_add_up(model):
    engine = cnnkern.compile(model, SHAPE)
    told = engine.explain(repeats=3)
    assert [row.layer for row in told.rows if row.op == "conv2d"][:3] == ["conv1", "layer1.0.conv1", "layer1.0.conv2"]
    assert sum(row.multiply_adds for row in told.rows) == model.summary(SHAPE).multiply_adds
    assert {row.op for row in told.rows} >= {"conv2d", "max_pool2d", "matmul"}
    for row in told.rows:
        assert row.measured_ns > 0 and row.limit_ns > 0 and row.bound in ("compute", "L2", "L3", "memory")
        assert row.alternatives[0] == (row.algorithm, row.predicted_ns)
        assert row.predicted_ns <= min(ns for _, ns in row.alternatives)
        assert row.share == pytest.approx(row.limit_ns / row.measured_ns)
        assert 0 <= row.weight_bytes <= row.bytes
    first = told.rows[0]
    assert first.multiply_adds == 64 * 147 * 32 * 32
    assert first.bytes - first.weight_bytes == 4 * (3 * 64 * 64 + 64 * 32 * 32)
    assert first.weight_bytes == pytest.approx(4 * (64 * 3 * 49 + 64), rel=0.1)  # as they are packed
    assert told.measured_ns == pytest.approx(sum(row.measured_ns for row in told.rows))


def test_table_reads_well(model):
    text = str(cnnkern.compile(model, SHAPE, threads=1).explain(repeats=2))
    lines = text.splitlines()
    assert lines[0].startswith("ResNet on 1x3x64x64: ") and lines[0].endswith(", 1 thread")
    assert "GFLOP/s" in lines[1] and "layer2.0.downsample.0" in text and lines[-1].startswith("total")
    assert max(map(len, lines)) <= 150


def test_nothing_is_run_without_repeats(model):
    told = cnnkern.compile(model, SHAPE).explain(repeats=0)
    assert told.limits is None and told.measured_ns is None
    assert all(row.measured_ns is None and row.share is None for row in told.rows)
    assert "us (predicted)" in str(told)


def test_explains_the_input_that_it_is_given(model):
    engine = cnnkern.compile(model, SHAPE)
    told = engine.explain(RNG.standard_normal((2, 3, 32, 32), dtype=np.float32), repeats=1)
    assert told.input_shapes == ((2, 3, 32, 32),)
    with pytest.raises(TypeError, match="must be float32"):
        engine.explain(np.zeros(SHAPE), repeats=1)


LIMITS = Limits(200.0, (Level("L2", 1000, 100.0), Level("L3", 10000, 50.0), Level("memory", 1 << 62, 10.0)))


def test_limits():
    assert LIMITS.compute_ns(1e6) == 1e4
    assert LIMITS.maps_ns(1000) == (10.0, "L2")
    assert LIMITS.maps_ns(3000) == (10 + 40, "L3")
    assert LIMITS.maps_ns(111000) == (10 + 200 + 10000, "memory")
    assert LIMITS.weights_ns(1000, 9000) == (20.0, "L3") and LIMITS.weights_ns(1000, 11000) == (100.0, "memory")


def step(algorithm, macs, bytes, weight_bytes, shapes):
    return StepInfo("a", "conv2d", algorithm, shapes, (), 1.0, ((algorithm, 1.0),), macs, bytes, weight_bytes)


def test_what_bounds_a_step():
    shapes = ((1, 16, 7, 7), (32, 16, 3, 3), None, None, (1, 32, 7, 7))
    macs = 9 * 16 * 32 * 49
    plain, small, large = (step(name, macs, 900, 500, shapes) for name in ("direct", "winograd_2x2", "winograd_4x4"))
    assert products(plain) == macs
    assert products(small) == 16 * 32 * 16 * 16  # 4 x 4 tiles of 16 products
    assert products(large) == 16 * 32 * 4 * 36
    assert products(step("winograd_2x2_stride2", macs, 900, 500, shapes)) == 16 * 32 * 16 * 25
    wide = step("winograd_4x4", 7 * macs, 900, 500, (*shapes[:4], (1, 32, 7, 7)))
    assert products(wide) == products(large)  # of the algorithm, not of the definition
    rows = explain_steps([plain, large], np.array([1e5, 1e5]), LIMITS, 0)
    assert [(row.limit_ns, row.bound) for row in rows] == [
        (2 * macs / 200, "compute"),
        (2 * products(large) / 200, "compute"),
    ]
    (row,) = explain_steps([step("direct", 100, 9000, 8000, shapes)], np.array([1e4]), LIMITS, 3000)
    assert (row.limit_ns, row.bound, row.share) == (10 + 8000 / 10, "memory", pytest.approx(0.081))


def test_limits_of_this_machine(core):
    limits = measure_limits(1)
    near, far, memory = limits.levels
    assert [level.name for level in limits.levels] == ["L2", "L3", "memory"]
    assert near.size < far.size < memory.size
    assert all(0.5 < level.rate < 5000 for level in limits.levels)
    array = np.ones(1 << 16, np.float32)
    core.launch("peak", {"steps": 2}, [array], "read")
    assert np.isfinite(array).all() and (array == 1).sum() == array.size - 4  # one written in each unit


def test_algorithms_by_layer(model, isa):
    x = RNG.standard_normal(SHAPE, dtype=np.float32)
    given = {"layer1.0.conv1": "direct", "layer1.0.conv2": "winograd_2x2", "layer2.0.downsample.0": "im2col"}
    engine = cnnkern.compile(model, SHAPE, winograd=False, algorithms=given)
    used = {step.layer: step.algorithm for step in engine.steps if step.multiply_adds}
    assert {layer: used[layer] for layer in given} == given
    assert sum(name.startswith("winograd") for name in used.values()) == 1
    expected = cnnkern.compile(model, SHAPE, winograd=False)(x)
    np.testing.assert_allclose(engine(x), expected, rtol=0, atol=1e-4 * np.abs(expected).max())
    assert copy.deepcopy(engine).algorithms == engine.algorithms == given


def test_functions_are_named_by_their_operations():
    first, second = RNG.standard_normal((2, 16, 16, 3, 3), dtype=np.float32)
    engine = cnnkern.compile(
        lambda x: F.conv2d(F.conv2d(x, first), second), (1, 16, 9, 9), algorithms={"conv2d#2": "winograd_2x2"}
    )
    assert [(s.layer, s.algorithm) for s in engine.steps if s.op == "conv2d"][1] == ("conv2d#2", "winograd_2x2")


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        (
            {"layer9.conv": "direct"},
            ValueError,
            r"algorithms names 'layer9.conv'; layers with a choice are conv1, layer1",
        ),
        (
            {"conv1": "winograd_4x4"},
            ValueError,
            r"algorithms gives 'conv1' 'winograd_4x4', which cannot serve it; .*im2col",
        ),
        ({"conv1": "fastest"}, ValueError, "which cannot serve it"),
        ({"conv1": 3}, TypeError, "algorithms must map names"),
        (["conv1"], TypeError, "algorithms must map names"),
    ],
)
def test_wrong_algorithms_are_refused(model, given, error, text):
    with pytest.raises(error, match=text):
        cnnkern.compile(model, SHAPE, algorithms=given)


def test_tuned_choices_can_be_saved(model):
    x = RNG.standard_normal(SHAPE, dtype=np.float32)
    tuned = cnnkern.compile(model, SHAPE, tune=True)
    saved = json.loads(json.dumps(tuned.algorithms))
    again = cnnkern.compile(model, SHAPE, algorithms=saved)
    assert [step.algorithm for step in again.steps] == [step.algorithm for step in tuned.steps]
    assert np.array_equal(tuned(x), again(x))
    kept = cnnkern.compile(model, SHAPE, tune=True, algorithms={"layer1.0.conv1": "direct"})
    assert kept.algorithms["layer1.0.conv1"] == "direct"
    with pytest.raises(TypeError, match="tune must be True or False"):
        cnnkern.compile(model, SHAPE, tune="yes")
