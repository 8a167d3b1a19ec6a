# SPDX-License-Identifier: BSD-3-Clause
"""Weights by timm's names: samples of its state dicts, with the names that they have here."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cnnkern import models, nn
from cnnkern.models import _timm

# timm's name, its shape, the name here.
SAMPLES: dict[str, list[tuple[str, tuple[int, ...], str]]] = {
    "resnet50": [
        ("conv1.weight", (64, 3, 7, 7), "conv1.weight"),
        ("layer1.0.downsample.0.weight", (256, 64, 1, 1), "layer1.0.downsample.0.weight"),
        ("layer4.2.bn3.running_var", (2048,), "layer4.2.bn3.running_var"),
        ("fc.bias", (1000,), "fc.bias"),
    ],
    "mobilenet_v1": [
        ("conv_stem.weight", (32, 3, 3, 3), "features.0.0.weight"),
        ("bn1.running_mean", (32,), "features.0.1.running_mean"),
        ("blocks.0.0.conv_dw.weight", (32, 1, 3, 3), "features.1.0.0.weight"),
        ("blocks.0.0.bn1.bias", (32,), "features.1.0.1.bias"),
        ("blocks.0.0.conv_pw.weight", (64, 32, 1, 1), "features.1.1.0.weight"),
        ("blocks.3.5.bn2.weight", (512,), "features.11.1.1.weight"),
        ("blocks.4.1.conv_pw.weight", (1024, 1024, 1, 1), "features.13.1.0.weight"),
        ("classifier.weight", (1000, 1024), "classifier.1.weight"),
    ],
    "mobilenet_v2": [
        ("conv_stem.weight", (32, 3, 3, 3), "features.0.0.weight"),
        ("blocks.0.0.conv_dw.weight", (32, 1, 3, 3), "features.1.conv.0.0.weight"),
        ("blocks.0.0.conv_pw.weight", (16, 32, 1, 1), "features.1.conv.1.weight"),
        ("blocks.0.0.bn2.num_batches_tracked", (), "features.1.conv.2.num_batches_tracked"),
        ("blocks.1.1.conv_pw.weight", (144, 24, 1, 1), "features.3.conv.0.0.weight"),
        ("blocks.1.1.bn2.running_var", (144,), "features.3.conv.1.1.running_var"),
        ("blocks.6.0.conv_pwl.weight", (320, 960, 1, 1), "features.17.conv.2.weight"),
        ("blocks.6.0.bn3.weight", (320,), "features.17.conv.3.weight"),
        ("conv_head.weight", (1280, 320, 1, 1), "features.18.0.weight"),
        ("bn2.bias", (1280,), "features.18.1.bias"),
        ("classifier.bias", (1000,), "classifier.1.bias"),
    ],
    "mobilenet_v3_small": [
        ("blocks.0.0.conv_dw.weight", (16, 1, 3, 3), "features.1.block.0.0.weight"),
        ("blocks.0.0.se.conv_reduce.weight", (8, 16, 1, 1), "features.1.block.1.fc1.weight"),
        ("blocks.0.0.conv_pw.weight", (16, 16, 1, 1), "features.1.block.2.0.weight"),
        ("blocks.1.0.conv_pwl.weight", (24, 72, 1, 1), "features.2.block.2.0.weight"),
        ("blocks.4.2.se.conv_expand.bias", (576,), "features.11.block.2.fc2.bias"),
        ("blocks.4.2.bn3.bias", (96,), "features.11.block.3.1.bias"),
        ("blocks.5.0.conv.weight", (576, 96, 1, 1), "features.12.0.weight"),
        ("blocks.5.0.bn1.weight", (576,), "features.12.1.weight"),
        ("conv_head.weight", (1024, 576, 1, 1), "classifier.0.weight"),
        ("conv_head.bias", (1024,), "classifier.0.bias"),
        ("classifier.weight", (1000, 1024), "classifier.3.weight"),
    ],
    "mobilenet_v3_large": [
        ("blocks.0.0.conv_pw.weight", (16, 16, 1, 1), "features.1.block.1.0.weight"),
        ("blocks.1.1.conv_pw.weight", (72, 24, 1, 1), "features.3.block.0.0.weight"),
        ("blocks.5.2.se.conv_reduce.weight", (240, 960, 1, 1), "features.15.block.2.fc1.weight"),
        ("blocks.6.0.conv.weight", (960, 160, 1, 1), "features.16.0.weight"),
        ("conv_head.weight", (1280, 960, 1, 1), "classifier.0.weight"),
    ],
    "efficientnet_b0": [
        ("conv_stem.weight", (32, 3, 3, 3), "features.0.0.weight"),
        ("blocks.0.0.se.conv_reduce.weight", (8, 32, 1, 1), "features.1.0.block.1.fc1.weight"),
        ("blocks.0.0.conv_pw.weight", (16, 32, 1, 1), "features.1.0.block.2.0.weight"),
        ("blocks.1.0.se.conv_reduce.weight", (4, 96, 1, 1), "features.2.0.block.2.fc1.weight"),
        ("blocks.6.0.bn2.weight", (1152,), "features.7.0.block.1.1.weight"),
        ("blocks.6.0.conv_pwl.weight", (320, 1152, 1, 1), "features.7.0.block.3.0.weight"),
        ("conv_head.weight", (1280, 320, 1, 1), "features.8.0.weight"),
        ("bn2.weight", (1280,), "features.8.1.weight"),
        ("classifier.weight", (1000, 1280), "classifier.1.weight"),
    ],
}
NAMES = {
    "mobilenet_v1": _timm.mobilenet_v1_names,
    "mobilenet_v2": _timm.mobilenet_v2_names,
    "mobilenet_v3_small": _timm.mobilenet_v3_names,
    "mobilenet_v3_large": _timm.mobilenet_v3_names,
    "efficientnet_b0": _timm.efficientnet_names,
}


def timm_state(name: str, state: dict[str, Any]) -> dict[str, Any]:
    """The same weights by timm's names."""
    if name not in NAMES:
        return state
    back = {own: theirs for theirs, own in NAMES[name](models.get(name)(weights=state)).items()}
    assert len(back) == len(set(back.values()))
    layers = {key: key.rpartition(".") for key in state}
    return {f"{back[layer]}.{leaf}": state[key] for key, (layer, _, leaf) in layers.items()}


@pytest.mark.parametrize("name", SAMPLES)
def test_timm_names_load(name: str) -> None:
    state = models.get(name)(seed=3).state_dict()
    theirs = timm_state(name, state)
    assert len(theirs) == len(state)
    for timm_name, shape, own in SAMPLES[name]:
        array = theirs[timm_name]
        assert array.size == np.prod(shape, dtype=int)
        np.testing.assert_array_equal(array, state[own])
        theirs[timm_name] = array.reshape(shape)
    model = models.get(name)(weights=theirs)
    for key, array in model.state_dict().items():
        np.testing.assert_array_equal(array, state[key])


def test_timm_trained_with_its_own_eps() -> None:
    theirs = timm_state("mobilenet_v3_small", models.mobilenet_v3_small(seed=0).state_dict())
    for eps, expected in ((None, 1e-5), (1e-3, 1e-3)):
        model = models.mobilenet_v3_small(weights=theirs, eps=eps)
        assert {module.eps for module in model.modules() if isinstance(module, nn.BatchNorm2d)} == {expected}


def test_a_missing_layer_is_named() -> None:
    theirs = timm_state("mobilenet_v2", models.mobilenet_v2(seed=0).state_dict())
    del theirs["blocks.2.1.conv_dw.weight"]
    with pytest.raises(ValueError, match=r"missing: features\.5\.conv\.1\.0\.weight"):
        models.mobilenet_v2(weights=theirs)
