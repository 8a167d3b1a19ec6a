# SPDX-License-Identifier: BSD-3-Clause
"""Chains of convolutions through bands of rows: the bits of separate steps, chosen, forced and forbidden by name."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

import cnnkern
from cnnkern import functional as F
from cnnkern import models, reference


class Stage(NamedTuple):
    """outputs 0: depthwise; activation: a function of F, or ""."""

    outputs: int
    kernel: int
    stride: int = 1
    padding: int | None = None
    activation: str = "relu"


class Network:
    """A chain with weights; `residual`: its input is added before the last activation."""

    def __init__(
        self, shape: tuple[int, ...], stages: list[Stage], residual: bool = False, whole: bool = False
    ) -> None:
        rng = np.random.default_rng(5)
        draw = self._whole if whole else self._real
        self.shape, self.stages, self.residual, channels = shape, stages, residual, shape[1]
        self.x, self.layers = draw(rng, shape), []
        for stage in stages:
            outputs, inputs = (stage.outputs, channels) if stage.outputs else (channels, 1)
            self.layers.append((draw(rng, (outputs, inputs, stage.kernel, stage.kernel)), draw(rng, (outputs,))))
            channels = outputs
        self.label = "{conv2d," + ",".join(f"conv2d#{i + 2}" for i in range(len(stages) - 1)) + "}"

    @staticmethod
    def _whole(rng, shape):
        return rng.integers(-2, 3, shape).astype(np.float32)

    @staticmethod
    def _real(rng, shape):
        return rng.standard_normal(shape, dtype=np.float32)

    def __call__(self, x):
        y = x
        for i, (stage, (weight, bias)) in enumerate(zip(self.stages, self.layers, strict=True)):
            padding = stage.kernel // 2 if stage.padding is None else stage.padding
            groups = 1 if stage.outputs else len(weight)
            y = F.conv2d(y, weight, bias, stride=stage.stride, padding=padding, groups=groups)
            if self.residual and i == len(self.stages) - 1:
                y = F.add(y, x)
            if stage.activation:
                y = getattr(F, stage.activation)(y)
        return y

    def apart(self):
        """Separate steps, each by the kernel whose tiles a chain uses."""
        first = "first" if self.shape[1] <= 4 else "pointwise"
        kinds = [
            (first if stage.kernel > 1 or i == 0 else "pointwise") if stage.outputs else "depthwise_window"
            for i, stage in enumerate(self.stages)
        ]
        names = ["conv2d", *(f"conv2d#{i + 2}" for i in range(len(kinds) - 1))]
        return cnnkern.compile(self, self.shape, algorithms=dict(zip(names, kinds, strict=True)))

    def compiled(self, way: str, threads: int = 1):
        return cnnkern.compile(self, self.shape, algorithms={self.label: way}, threads=threads)


def expand(channels: int) -> Stage:
    return Stage(channels, 1, activation="relu6")


CHAINS = {
    "inverted residual": ((1, 24, 30, 29), [expand(72), Stage(0, 3), Stage(24, 1, activation="")], True),
    "stride 2, odd": ((2, 17, 33, 47), [expand(50), Stage(0, 3, 2), Stage(40, 1)], False),
    "5x5, wide": ((1, 16, 21, 64), [expand(33), Stage(0, 5), Stage(70, 1, activation="leaky_relu")], False),
    "5x5 of stride 2": ((3, 20, 19, 31), [expand(48), Stage(0, 5, 2), Stage(16, 1)], False),
    "no tail": ((2, 32, 15, 14), [expand(96), Stage(0, 3, activation="silu")], False),
    "no head": ((2, 40, 18, 22), [Stage(0, 3, activation="hardswish"), Stage(24, 1)], False),
    "no head, residual": ((1, 40, 9, 9), [Stage(0, 3, activation=""), Stage(40, 1)], True),
    "one row": ((2, 16, 1, 20), [expand(32), Stage(0, 3), Stage(16, 1)], True),
    "no padding": ((1, 16, 12, 20), [expand(32), Stage(0, 5, 1, 0), Stage(16, 1)], False),
    "more padding": ((1, 16, 12, 20), [expand(32), Stage(0, 3, 1, 2), Stage(16, 1)], False),
    "stem": ((2, 3, 57, 63), [Stage(32, 3, 2, activation="relu6"), Stage(0, 3), Stage(16, 1)], False),
    "stem alone": ((1, 3, 40, 36), [Stage(24, 3, 2, activation="silu"), Stage(0, 3, 2)], False),
    "grey stem, 7x7": ((1, 1, 64, 41), [Stage(20, 7, 2), Stage(0, 5, 2), Stage(33, 1)], False),
    "large": ((1, 16, 112, 112), [expand(96), Stage(0, 3, 2), Stage(24, 1, activation="")], False),
}


@pytest.mark.parametrize("name", CHAINS)
def test_same_bits_as_separate_steps(name, isa, divided):
    """For any number of threads: each convolution keeps its tiles and the order of its sums."""
    divided.set_isa(isa)
    network = Network(*CHAINS[name])
    way = "bands_first" if network.shape[1] <= 4 else "bands"
    separate = network.apart()
    assert [step.op for step in separate.steps].count("conv2d_chain") == 0
    want = separate(network.x)
    for threads in (1, 2, 3, 7):
        fused = network.compiled(way, threads)
        assert [step.algorithm for step in fused.steps if step.op == "conv2d_chain"] == [way]
        assert np.array_equal(fused(network.x), want), threads


@pytest.mark.parametrize("name", ["inverted residual", "stride 2, odd", "5x5 of stride 2", "no head", "stem"])
def test_whole_numbers_come_out_exactly(name, isa, divided):
    divided.set_isa(isa)
    shape, stages, residual = CHAINS[name]
    stages = [stage._replace(activation="relu") for stage in stages]
    network = Network(shape, stages, residual, whole=True)
    want = network.x.astype(np.int64)
    for i, (stage, (weight, bias)) in enumerate(zip(stages, network.layers, strict=True)):
        pads = ((stage.kernel // 2,) * 2,) * 2
        geometry = {"stride": (stage.stride,) * 2, "padding": pads, "groups": 1 if stage.outputs else len(weight)}
        added = network.x.astype(np.int64) if residual and i == len(stages) - 1 else None
        want = reference.conv2d(want, weight.astype(np.int64), bias.astype(np.int64), added, **geometry)
        want = np.maximum(want, 0)
    way = "bands_first" if shape[1] <= 4 else "bands"
    assert np.abs(want).max() < 2**24
    assert np.array_equal(network.compiled(way, 2)(network.x), want)


def test_other_sizes_share_the_weights():
    network = Network(*CHAINS["inverted residual"])
    engine, separate = network.compiled("bands"), network.apart()
    packed = engine.memory().packed
    for size in (14, 40):
        x = np.random.default_rng(size).standard_normal((2, 24, size, size + 3), dtype=np.float32)
        assert np.array_equal(engine(x), separate(x))
    assert engine.memory().packed == packed


def test_mobilenet_is_told_and_ruled_by_names():
    model = models.mobilenet_v2(num_classes=10, seed=0).eval()
    shape = (1, 3, 128, 128)
    label = "features.2.conv.{0.0,1.0,2}"
    given = {label: "bands", "features.3.conv.1.0": "depthwise"}
    engine = cnnkern.compile(model, shape, algorithms=given)
    layers = {step.layer: step for step in engine.steps}
    step = layers[label]
    assert step.op == "conv2d_chain" and [name for name, _ in step.alternatives] == ["bands", "separate"]
    assert layers["features.3.conv.1.0"].algorithm == "depthwise"
    assert label in str(engine.explain(repeats=1))
    assert sum(each.multiply_adds for each in engine.steps) == model.summary(shape).multiply_adds
    apart = cnnkern.compile(model, shape, algorithms={label: "separate"})
    assert {"features.2.conv.0.0", "features.2.conv.2"} <= {each.layer for each in apart.steps}
    x = np.random.default_rng(1).standard_normal(shape, dtype=np.float32)
    assert np.array_equal(engine(x), apart(x))
    with pytest.raises(
        ValueError, match=r"names 'features.2.conv.\{0.0,2\}'; chains are .*features.2.conv.\{0.0,1.0,2\}"
    ):
        cnnkern.compile(model, shape, algorithms={"features.2.conv.{0.0,2}": "separate"})
    with pytest.raises(ValueError, match="'bands_first', which cannot serve it"):
        cnnkern.compile(model, shape, algorithms={label: "bands_first"})


def test_a_map_with_another_reader_stays_whole():
    weight = np.ones((16, 16, 1, 1), np.float32)
    depth = np.ones((16, 1, 3, 3), np.float32)

    def model(x):
        y = F.conv2d(x, weight)
        return F.conv2d(y, depth, padding=1, groups=16), y

    x = np.random.default_rng(2).standard_normal((1, 16, 112, 112), dtype=np.float32)
    engine = cnnkern.compile(model, x.shape)
    assert not any(step.op == "conv2d_chain" for step in engine.steps)
    assert np.allclose(engine(x)[1], F.conv2d(x, weight), rtol=1e-5, atol=1e-5)
