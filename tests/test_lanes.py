# SPDX-License-Identifier: BSD-3-Clause
"""Images in lanes: where plans of few channels take them, and that nothing but speed changes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import cnnkern
from cnnkern import functional as F
from cnnkern import models, nn, train
from cnnkern.engine import layout

RNG = np.random.default_rng(23)


def normal(*shape: int) -> Any:
    return RNG.standard_normal(shape, dtype=np.float32) * np.float32(0.3)


FIRST, SECOND, THIRD, BIAS = normal(6, 1, 5, 5), normal(9, 6, 3, 3), normal(5, 15, 3, 3), normal(6)


def network(x: Any) -> Any:
    """Maps of 6, 9, 15 and 5 channels, one of them read twice, one joined from two."""
    x = F.max_pool2d(F.sigmoid(F.conv2d(x, FIRST, BIAS, padding=2)), 2)
    y = F.relu(F.conv2d(x, SECOND, padding=1))
    return F.avg_pool2d(F.conv2d(F.concat([x, y], 1), THIRD, padding=1), 2)


def layouts(engine: Any) -> set[str]:
    """Of the maps that convolutions write."""
    return {step.layouts[4] for step in engine.steps if step.op == "conv2d"}


class Small(nn.Module):
    """Everything that may stand between convolutions of few channels, with and without a kernel for lanes."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.stem = nn.Conv2d(1, 6, 5, padding=2, rng=rng)
        self.norm = nn.BatchNorm2d(6)
        self.same = nn.Conv2d(6, 6, 3, padding=1, rng=rng)
        self.wide = nn.Conv2d(12, 10, 3, stride=2, rng=rng)
        self.depthwise = nn.Conv2d(10, 10, 3, padding=1, groups=10, rng=rng)
        self.drop = nn.Dropout(0.25)
        self.head = nn.Linear(10, 4, rng=rng)

    def forward(self, x: Any) -> Any:
        x = F.relu(self.norm(self.stem(x)))
        x = F.max_pool2d(x, 3, 2, 1)
        x = F.concat([F.add(F.relu(self.same(x)), x), F.tanh(x)], 1)
        x = self.drop(F.relu(self.depthwise(self.wide(x))))
        return self.head(F.flatten(F.adaptive_avg_pool2d(x, 1), 1))


def steps_of(model: nn.Module, x: Any, labels: Any, threads: int = 2) -> tuple[list[float], dict[str, Any], set[str]]:
    """Losses, weights and layouts of two steps of training."""
    cnnkern.set_num_threads(threads)
    trainer = train.Trainer(model, optimizer=train.SGD(lr=0.1, momentum=0.9), winograd=False)
    losses = [trainer.step(x, labels) for _ in range(2)]
    (plan,) = trainer._step._plans._plans.values()
    used = {name for step in plan._execute._frozen.steps for name in step.layouts}
    return losses, model.state_dict(), used


@pytest.mark.parametrize("batch", [16, 48, 256])
def test_networks_of_few_channels_take_lanes(batch: int, isa: str) -> None:
    x = normal(batch, 1, 14, 13)
    engine = cnnkern.compile(network, x.shape)
    assert layouts(engine) == {"lanes"}
    expected = network(x)
    assert np.linalg.norm(engine(x) - expected) <= 3e-6 * np.linalg.norm(expected)


def test_other_networks_and_batches_do_not() -> None:
    for images in (1, 8, 17):
        assert "lanes" not in layouts(cnnkern.compile(network, (images, 1, 14, 13)))
    assert layouts(cnnkern.compile(models.resnet18(seed=0), (16, 3, 64, 64))) == {"blocked"}


def test_lenet_has_reorders_at_its_edges_alone() -> None:
    engine = cnnkern.compile(models.lenet5(seed=0), (32, 1, 32, 32))
    assert [step.layouts for step in engine.steps if step.op == "copy"] == [("plain", "lanes"), ("lanes", "plain")]
    assert [step.algorithm for step in engine.steps if step.op == "conv2d"] == ["lanes", "lanes"]


def test_every_image_has_the_same_bits_in_any_batch(isa: str) -> None:
    x = normal(64, 1, 14, 13)
    whole = cnnkern.compile(network, x.shape)
    order = np.random.default_rng(0).permutation(64)
    np.testing.assert_array_equal(whole(x[order]), whole(x)[order])
    np.testing.assert_array_equal(whole(x[16:32]), whole(x)[16:32])


def test_rounds_of_images_in_lanes(monkeypatch: pytest.MonkeyPatch) -> None:
    x = normal(1024, 1, 14, 13)
    engine = cnnkern.compile(network, x.shape, threads=2)
    assert layouts(engine) == {"lanes"} and any(1 < step.times < 1024 for step in engine.steps)
    np.testing.assert_array_equal(engine(x)[:64], cnnkern.compile(network, (64, *x.shape[1:]))(x[:64]))


def test_what_is_not_finite_stays_in_its_image() -> None:
    x = normal(32, 1, 14, 13)
    engine = cnnkern.compile(network, x.shape)
    expected = engine(x)
    x[5], x[20] = np.nan, np.inf
    found = engine(x)
    others = np.delete(np.arange(32), [5, 20])
    np.testing.assert_array_equal(found[others], expected[others])
    assert np.isnan(found[5]).all()


def test_lanes_may_be_asked_for() -> None:
    model, shape = nn.Sequential(nn.Conv2d(3, 32, 3), nn.ReLU(), nn.Conv2d(32, 32, 3)), (16, 3, 9, 9)
    x = normal(*shape)
    assert layouts(cnnkern.compile(model, shape)) == {"blocked"}
    engine = cnnkern.compile(model, shape, algorithms={"2": "lanes"})
    assert engine.steps[-2].algorithm == "lanes"
    np.testing.assert_allclose(engine(x), model(x), rtol=0, atol=1e-5)
    told = cnnkern.compile(network, (16, 1, 14, 13), algorithms={"conv2d": "first"})
    assert [step.algorithm for step in told.steps if step.layer == "conv2d" and step.op == "conv2d"] == ["first"]
    many = normal(64, *shape[1:])  # alone or a few at a time they could not be served so
    engine = cnnkern.compile(model, many.shape, algorithms={"2": "lanes"})
    np.testing.assert_allclose(engine(many), model(many), rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match="algorithms gives '2' 'lanes', which cannot serve it"):
        cnnkern.compile(model, (8, 3, 9, 9), algorithms={"2": "lanes"})


def test_training_in_lanes(isa: str, monkeypatch: pytest.MonkeyPatch) -> None:
    x, labels = normal(32, 1, 18, 17), np.random.default_rng(1).integers(0, 4, 32)
    losses, state, used = steps_of(Small(), x, labels)
    assert used == {"plain", "blocked", "lanes"}
    for threads in (1, 3, 4):
        again = steps_of(Small(), x, labels, threads)
        assert again[0] == losses
        for name, value in state.items():
            np.testing.assert_array_equal(again[1][name], value, name)
    monkeypatch.setattr(layout, "_few_channels", lambda layout: False)
    plain_losses, plain, used = steps_of(Small(), x, labels)
    assert "lanes" not in used
    np.testing.assert_allclose(losses, plain_losses, rtol=1e-5)
    for name, value in plain.items():
        np.testing.assert_allclose(state[name], value, rtol=0, atol=3e-5, err_msg=name)
