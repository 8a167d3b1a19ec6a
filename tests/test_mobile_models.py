# SPDX-License-Identifier: BSD-3-Clause
"""DenseNet and the mobile networks: figures of their papers, widths, initial values, the names of other libraries."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import cnnkern
from cnnkern import models, nn
from cnnkern.models.efficientnet import SCALINGS
from cnnkern.nn import init

# Parameters and multiply-adds of the papers' tables ("4.2 million, 569 million") to the last digit.
COUNTS = {
    ("densenet121", ()): (7_978_856, 2_834_161_664),
    ("densenet161", ()): (28_681_000, 7_727_907_072),
    ("densenet169", ()): (14_149_480, 3_359_843_328),
    ("densenet201", ()): (20_013_928, 4_291_365_888),
    ("mobilenet_v1", ()): (4_231_976, 568_740_352),
    ("mobilenet_v1", (("width_mult", 0.75),)): (2_585_560, 325_400_448),
    ("mobilenet_v1", (("width_mult", 0.5),)): (1_331_592, 149_497_088),
    ("mobilenet_v1", (("width_mult", 0.25),)): (470_072, 41_030_272),
    ("shufflenet_v2_x1_0", ()): (2_278_604, 144_907_992),
    ("mobilenet_v2", ()): (3_504_872, 300_774_272),
    ("mobilenet_v2", (("width_mult", 1.4),)): (6_108_776, 582_195_824),
    ("mobilenet_v3_small", ()): (2_542_856, 56_510_400),
    ("mobilenet_v3_small", (("width_mult", 0.75),)): (1_653_920, 39_115_576),
    ("mobilenet_v3_large", ()): (5_483_032, 216_589_760),
    ("mobilenet_v3_large", (("width_mult", 0.75),)): (3_377_576, 140_033_816),
    ("efficientnet_b0", ()): (5_288_548, 385_814_752),
    ("efficientnet_b1", ()): (7_794_184, 686_802_832),
    ("efficientnet_b2", ()): (9_109_994, 1_087_529_456),
    ("efficientnet_b3", ()): (12_233_232, 1_827_141_392),
    ("efficientnet_b4", ()): (19_341_616, 4_393_771_024),
    ("efficientnet_b5", ()): (30_389_784, 10_266_384_752),
    ("efficientnet_b6", ()): (43_040_704, 19_067_593_536),
    ("efficientnet_b7", ()): (66_347_960, 37_745_884_192),
}


def parameters(model: nn.Module) -> int:
    return sum(array.size for array in model.parameters())


@pytest.mark.parametrize(("model", "expected"), COUNTS.items(), ids=lambda value: value[0])
def test_counts_are_the_papers(model: Any, expected: tuple[int, int]) -> None:
    name, options = model
    with init.skipped():
        network = models.get(name)(**dict(options))
    assert (parameters(network), cnnkern.count_macs(network, models.info(name).batch())) == expected


@pytest.mark.parametrize(
    ("name", "channels"),
    [
        ("densenet121", 1024),
        ("densenet161", 2208),
        ("mobilenet_v1", 1024),
        ("mobilenet_v2", 1280),
        ("mobilenet_v3_small", 576),
        ("mobilenet_v3_large", 960),
        ("efficientnet_b0", 1280),
        ("efficientnet_b2", 1408),
        ("shufflenet_v2_x1_0", 1024),
    ],
)
def test_maps_and_heads(name: str, channels: int) -> None:
    model = models.get(name)(7, 1, seed=0).eval()
    x = np.random.default_rng(0).standard_normal((2, 1, 64, 64), dtype=np.float32)
    assert model.features(x).shape == (2, channels, 2, 2)
    assert model(x).shape == (2, 7) and model.replace_head(3, seed=0)(x).shape == (2, 3)


def test_transitions_of_densenet_halve_channels_and_sizes() -> None:
    rows = {row.name: row.output_shape for row in models.densenet121(weights=None).summary((1, 3, 224, 224)).rows}
    shapes = [rows[f"features.transition{index}.pool"] for index in (1, 2, 3)]
    assert shapes == [(1, 128, 28, 28), (1, 256, 14, 14), (1, 512, 7, 7)]


def test_older_checkpoints_of_densenet() -> None:
    """Their names have a dot more, and PyTorch did not count batches yet."""
    state = models.densenet121(10, seed=1).state_dict()
    old = {
        re.sub(r"(denselayer\d+\.(?:norm|conv))(\d)", r"\1.\2", name): array
        for name, array in state.items()
        if not name.endswith("num_batches_tracked")
    }
    assert "features.denseblock1.denselayer1.norm.1.weight" in old and len(old) == 606
    for name, array in models.densenet121(10, weights=old).state_dict().items():
        np.testing.assert_array_equal(array, state[name])
    del old["features.denseblock4.denselayer16.conv.2.weight"]
    with pytest.raises(ValueError, match=r"missing: features\.denseblock4\.denselayer16\.conv2\.weight$"):
        models.densenet121(10, weights=old)


# Multiply-adds of the paper's table 2, in thousand millions, at the paper's resolutions.
@pytest.mark.parametrize(
    ("name", "expected"),
    [("b0", 0.39), ("b1", 0.70), ("b2", 1.0), ("b3", 1.8), ("b4", 4.2), ("b5", 9.9), ("b6", 19.0), ("b7", 37.0)],
)
def test_compound_scaling(name: str, expected: float) -> None:
    scaling = SCALINGS[name]
    with init.skipped():
        model = models.get(f"efficientnet_{name}")()
    found = cnnkern.count_macs(model, (1, 3, scaling.resolution, scaling.resolution))
    assert found / 1e9 == pytest.approx(expected, rel=0.06)
    blocks = [len(stage) for stage in model.features][1:-1]
    assert blocks == [scaling.layers(count) for count in (1, 2, 2, 3, 3, 4, 1)]


def test_stochastic_depth_grows_with_the_block() -> None:
    with init.skipped():
        model = models.efficientnet_b0(stochastic_depth=0.32)
    rates = [module.p for module in model.modules() if isinstance(module, nn.StochasticDepth)]
    assert rates == pytest.approx([0.02 * number for number in range(16)])
    model = models.efficientnet_b0(10, seed=0, stochastic_depth=0.0, dropout=0.0)
    assert not any(getattr(module, "p", 0.0) for module in model.modules())


@pytest.mark.parametrize(
    ("name", "eps", "expected"),
    [
        ("efficientnet_b4", None, 1e-5),
        ("efficientnet_b5", None, 1e-3),
        ("efficientnet_b5", 1e-4, 1e-4),
        ("mobilenet_v3_small", None, 1e-3),
        ("mobilenet_v3_small", 1e-4, 1e-4),
    ],
)
def test_eps_of_the_normalizations(name: str, eps: float | None, expected: float) -> None:
    with init.skipped():
        model = models.get(name)(eps=eps)
    assert {module.eps for module in model.modules() if isinstance(module, nn.BatchNorm2d)} == {expected}


def test_initial_values() -> None:
    model = models.mobilenet_v2(seed=0)
    last = dict(model.named_parameters())["features.18.0.weight"]
    assert last.std() == pytest.approx((2 / 1280) ** 0.5, rel=0.02)
    assert model.classifier[1].weight.std() == pytest.approx(0.01, rel=0.02) and not model.classifier[1].bias.any()
    dense = models.densenet121(seed=0)
    assert dense.features.conv0.weight.std() == pytest.approx((2 / (3 * 49)) ** 0.5, rel=0.03)
    assert not dense.classifier.bias.any()
    head = models.efficientnet_b0(seed=0).classifier[1].weight
    assert 0.9 * 1000**-0.5 < np.abs(head).max() < 1000**-0.5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: models.mobilenet_v1(width_mult=0.0), "mobilenet_v1: width_mult must be positive, found 0.0"),
        (lambda: models.mobilenet_v2(width_mult=-1.0), "mobilenet_v2: width_mult must"),
        (lambda: models.mobilenet_v3_large(width_mult=0), "mobilenet_v3: width_mult must be positive"),
        (lambda: models.efficientnet_b0(stochastic_depth=2.0), "StochasticDepth: p must"),
        (lambda: models.densenet121(drop_rate=1.5), "DenseNet: drop_rate must"),
        (lambda: models.mobilenet_v2(dropout=2.0), "Dropout: p must"),
    ],
)
def test_builders_refuse(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
