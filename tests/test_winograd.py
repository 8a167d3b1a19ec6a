# SPDX-License-Identifier: BSD-3-Clause
"""Winograd's algorithm: chosen in compiled inference alone, off on request, as exact as documented."""

from __future__ import annotations

import numpy as np
import pytest
from bounds import error, plain_sums

import cnnkern
from cnnkern import functional as F
from cnnkern import nn, reference, train
from cnnkern.engine import executable, freeze

RNG = np.random.default_rng(3)


def layer(channels: int, outputs: int, taps: int = 3) -> np.ndarray:
    scale = np.float32(np.sqrt(2 / (taps * taps * channels)))
    return RNG.standard_normal((outputs, channels, taps, taps), dtype=np.float32) * scale


@pytest.mark.parametrize("shape", [(1, 64, 20, 20), (2, 128, 13, 15), (1, 200, 7, 9)])
def test_error_against_plain_sums(shape, isa):
    """The promise of precision="fp32": rms error at most three times that of plain sums; F(2x2) is below them."""
    x, weight = np.maximum(RNG.standard_normal(shape, dtype=np.float32), 0), layer(shape[1], 48)
    geometry = {"stride": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1), "groups": 1}
    exact = reference.conv2d(x.astype(np.float64), weight.astype(np.float64), None, None, **geometry)
    plain = plain_sums(x, weight, exact, {"stride": 1, "padding": 1, "groups": 1})
    small = error(F.conv2d(x, weight, padding=1, algorithm="winograd_2x2"), exact)
    large = error(F.conv2d(x, weight, padding=1, algorithm="winograd_4x4"), exact)
    print(f"rms error: plain sums {plain:.2e}, F(2x2) {small / plain:.2f} and F(4x4) {large / plain:.2f} times that")
    assert small < 1.2 * plain
    assert large < 3 * plain
    if isa == "avx512":
        rows = error(F.conv2d(x, weight, padding=1, algorithm="winograd_4x4_rows"), exact)
        print(f"by rows {rows / plain:.2f} times that")
        assert rows < 3 * plain


@pytest.mark.parametrize("shape", [(1, 64, 27, 27), (2, 130, 8, 9)])
@pytest.mark.parametrize(("algorithm", "taps", "stride", "most"), [("2x2_5x5", 5, 1, 3.0), ("2x2_stride2", 3, 2, 1.2)])
def test_error_of_other_windows(shape, algorithm, taps, stride, most, isa):
    x, weight = np.maximum(RNG.standard_normal(shape, dtype=np.float32), 0), layer(shape[1], 48, taps)
    same = taps // 2
    geometry = {"stride": (stride, stride), "padding": ((same, same), (same, same)), "dilation": (1, 1), "groups": 1}
    exact = reference.conv2d(x.astype(np.float64), weight.astype(np.float64), None, None, **geometry)
    plain = plain_sums(x, weight, exact, {"stride": stride, "padding": same, "groups": 1})
    found = error(F.conv2d(x, weight, stride=stride, padding=same, algorithm=f"winograd_{algorithm}"), exact)
    print(f"rms error: plain sums {plain:.2e}, {algorithm} {found / plain:.2f} times that")
    assert found < most * plain


@pytest.mark.parametrize("shape", [(2, 64, 20, 20), (5, 48, 13, 15)])
@pytest.mark.parametrize(("algorithm", "taps"), [("4x4", 3), ("2x2_5x5", 5)])
def test_error_of_gradients(shape, algorithm, taps, isa):
    """At most three times that of plain sums. Direct sums of weight gradients are in parts, so that they have less."""
    x, weight = np.maximum(RNG.standard_normal(shape, dtype=np.float32), 0), layer(shape[1], 40, taps)
    dy = RNG.standard_normal((shape[0], 40, *shape[2:]), dtype=np.float32)
    wide = [array.astype(np.float64) for array in (x, weight, dy)]
    geometry = {"stride": (1, 1), "padding": ((taps // 2,) * 2,) * 2, "dilation": (1, 1), "groups": 1}
    exact_dx = reference.conv2d_grad_input(wide[2], wide[1], input_shape=shape, **geometry)
    exact_dw = reference.conv2d_grad_weight(wide[0], wide[2], weight_shape=weight.shape, **geometry)
    for name, exact, call in (
        ("dx", exact_dx, lambda way: F.conv2d_grad_input(shape, weight, dy, padding=taps // 2, algorithm=way)),
        ("dw", exact_dw, lambda way: F.conv2d_grad_weight(x, weight.shape, dy, padding=taps // 2, algorithm=way)),
    ):
        plain, found = error(call("direct"), exact), error(call(f"winograd_{algorithm}"), exact)
        print(f"rms error of {name}: direct {plain:.2e}, {algorithm} {found / plain:.2f} times that")
        assert found < (3 if name == "dx" else 5) * plain
        assert found < 2e-6


def test_training_may_be_told_to_keep_to_plain_sums(monkeypatch):
    x, y = RNG.standard_normal((8, 3, 24, 24), dtype=np.float32), np.arange(8) % 4
    used: dict[bool, set[str]] = {}
    losses: dict[bool, list[float]] = {}
    real = freeze.Frozen
    for winograd in (True, False):
        names = used[winograd] = set()

        def record(*arguments, names=names, **options):
            frozen = real(*arguments, **options)
            names.update(f"{step.op}:{step.algorithm}" for step in frozen.steps)
            return frozen

        monkeypatch.setattr(executable, "Frozen", record)
        convolutions = (nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1), nn.ReLU())
        model = nn.Sequential(*convolutions, nn.Flatten(), nn.Linear(32 * 24 * 24, 4))
        rng = np.random.default_rng(1)
        for array in dict(model.named_parameters()).values():
            array[...] = rng.standard_normal(array.shape) * 0.05
        trainer = train.Trainer(model, optimizer=train.SGD(0.01), winograd=winograd)
        losses[winograd] = [trainer.step(x, y) for _ in range(3)]
    for op in ("conv2d", "conv2d_grad_input", "conv2d_grad_weight"):
        assert any(name.startswith(f"{op}:winograd") for name in used[True]), used
    assert not any("winograd" in name for name in used[False])
    assert np.allclose(losses[True], losses[False], rtol=1e-4)
    with pytest.raises(TypeError, match="winograd"):
        train.Trainer(model, winograd="no")


def test_only_where_it_is_allowed():
    weight, x = layer(64, 64), RNG.standard_normal((1, 64, 56, 56), dtype=np.float32)

    def model(x):
        return F.relu(F.conv2d(x, weight, padding=1))

    names = {step.algorithm for step in cnnkern.compile(model, x.shape).steps}
    assert any(name.startswith("winograd") for name in names), names
    plain = cnnkern.compile(model, x.shape, winograd=False)
    assert not any(step.algorithm.startswith("winograd") for step in plain.steps)
    whole = np.round(x * 8).astype(np.float32)
    eager = F.conv2d(whole, np.round(weight * 64), padding=1)  # sums of integers are exact if nothing is rearranged
    assert np.array_equal(eager, np.round(eager))
    with pytest.raises(TypeError, match="winograd must be True or False"):
        cnnkern.compile(model, x.shape, winograd="no")


@pytest.mark.parametrize("shape", [(1, 64, 56, 56), (3, 40, 14, 14), (2, 256, 14, 13)])
def test_same_bits_for_any_number_of_threads(shape, isa):
    weight, bias = layer(shape[1], 72), RNG.standard_normal(72, dtype=np.float32)
    x, residual = (
        RNG.standard_normal(shape, dtype=np.float32),
        RNG.standard_normal((shape[0], 72, *shape[2:]), dtype=np.float32),
    )

    def model(x, residual):
        return F.relu(F.add(F.conv2d(x, weight, bias, padding=1), residual))

    results = [cnnkern.compile(model, (x.shape, residual.shape), threads=n)(x, residual) for n in (1, 2, 3, 4, 7)]
    assert all(np.array_equal(results[0], other) for other in results[1:])
    plain = cnnkern.compile(model, (x.shape, residual.shape), winograd=False)(x, residual)
    assert error(results[0], plain) < 3e-6


def test_infinity_stays_in_its_tiles():
    """Documented: a value that is not finite may reach all pixels of the tiles that read it, and no others."""
    weight, x = layer(16, 16), RNG.standard_normal((1, 16, 24, 24), dtype=np.float32)
    x[0, 3, 9, 9] = np.inf
    y = F.conv2d(x, weight, padding=1, algorithm="winograd_4x4")
    finite = np.isfinite(y[0]).all(axis=0)
    assert not finite[8:11, 8:11].any()
    assert finite[:4].all() and finite[16:].all() and finite[:, :4].all() and finite[:, 16:].all()


def test_other_image_sizes_share_the_packed_filters():
    weight = layer(64, 64)
    engine = cnnkern.compile(
        lambda x: F.conv2d(x, weight, padding=1), (1, 64, 56, 56), algorithms={"conv2d": "winograd_4x4"}
    )
    packed = engine.memory().packed
    for size in (13, 28, 40, 57):
        x = RNG.standard_normal((2, 64, size, size), dtype=np.float32)
        assert error(engine(x), F.conv2d(x, weight, padding=1)) < 3e-6
    assert engine.memory().packed == packed
