# SPDX-License-Identifier: BSD-3-Clause
"""What every model offers: its entry in the registry, head and maps before it, preprocessing, weights by name.

Models are built without drawing weights and traced, not computed, so that all of them are tested in seconds.
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnnkern import graph, models, nn
from cnnkern.data.preprocess import Preprocess
from cnnkern.models.resnet import BasicBlock
from cnnkern.nn import init

NAMES = models.list_models()
HEADLESS = ("perceptron",)
PAIRS = ("siamese",)
VECTORS = ("perceptron", "mlp")
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# Resize, crop and interpolation of the default weights in torchvision 0.28; the others are 256, 224, bilinear.
PUBLISHED: dict[str, tuple[int, int, str]] = {
    **dict.fromkeys(
        [
            *("resnet50", "resnet101", "resnet152", "resnext50_32x4d", "wide_resnet50_2", "wide_resnet101_2"),
            *("mobilenet_v2", "mobilenet_v3_large"),
        ],
        (232, 224, "bilinear"),
    ),
    "inception_v3": (342, 299, "bilinear"),
    "efficientnet_b0": (256, 224, "bicubic"),
    "efficientnet_b1": (255, 240, "bilinear"),
    "efficientnet_b2": (288, 288, "bicubic"),
    "efficientnet_b3": (320, 300, "bicubic"),
    "efficientnet_b4": (384, 380, "bicubic"),
    "efficientnet_b5": (456, 456, "bicubic"),
    "efficientnet_b6": (528, 528, "bicubic"),
    "efficientnet_b7": (600, 600, "bicubic"),
}
TORCHVISION = re.compile(
    r"(alexnet|vgg\d+(_bn)?|googlenet|inception_v3|resnet(18|34|50|101|152)|wide_\w+|resnext\w+|densenet\d+"
    r"|mobilenet_v[23]\w*|efficientnet_b\d|squeezenet1_1|shufflenet_v2_x1_0)"
)


def outline(name: str, *arguments: Any, **options: Any) -> models.Network:
    """A model whose weights are zeros."""
    with init.skipped():
        return models.get(name)(*arguments, **options).eval()


def traced(function: Any, name: str, size: int = 2) -> Any:
    """The shapes that a function returns for a batch of the model's inputs."""
    shapes = models.info(name).batch(size)
    several = isinstance(shapes[0], tuple)
    found = graph.trace(function, list(shapes) if several else [shapes])
    return found.restore([symbol.shape for symbol in found.outputs])


@pytest.mark.parametrize("name", NAMES)
def test_entry(name: str) -> None:
    builder, info = models.get(name), models.info(name)
    assert builder is getattr(models, name) and name in models.__all__
    assert info.name == name == outline(name).info.name
    known = inspect.signature(builder).parameters
    assert {"weights", "seed"} <= set(known) and known["weights"].default is known["seed"].default is None
    if name not in VECTORS:
        assert {"num_classes", "in_channels"} <= set(known)
    assert builder.__doc__ and info.paper
    if info.year is not None:
        source = str(info.year) in builder.__doc__ or str(info.year) in inspect.getsource(inspect.getmodule(builder))
        assert source and info.paper.split()[0].strip(",") in inspect.getsource(inspect.getmodule(builder))


@pytest.mark.parametrize("name", [name for name in NAMES if name not in HEADLESS + PAIRS])
def test_head_and_the_maps_before_it(name: str) -> None:
    model = outline(name)
    maps, classes = traced(model.features, name), traced(model, name)
    if isinstance(classes, tuple) and isinstance(classes[0], int):
        assert classes[:2] == (2, model.num_classes)
        assert maps[0] == 2 and len(maps) == (2 if name == "mlp" else 4)
    assert model.head is model._at(model.heads[0])
    kept = [array for key, array in model.named_parameters() if not key.startswith(model.heads)]
    trained = model.train().replace_head(3, seed=0)
    assert trained is model and model.num_classes == 3 and model.head.training
    assert (model.head.weight != 0).any() and traced(model.features, name) == maps
    for layer in model.heads:
        assert model._at(layer).weight.shape[0] == 3
    still = [array for key, array in model.named_parameters() if not key.startswith(model.heads)]
    assert len(still) == len(kept) and all(a is b for a, b in zip(still, kept, strict=True))
    again = outline(name).replace_head(3, seed=0)
    np.testing.assert_array_equal(again.head.weight, model.head.weight)
    if isinstance(classes, tuple) and isinstance(classes[0], int):
        assert traced(model.eval(), name) == (2, 3, *classes[2:])


def test_a_head_needs_classes_and_a_place() -> None:
    model = models.lenet5(seed=0)
    state = model.state_dict()
    for wrong in (0, -1):
        with pytest.raises(ValueError, match="replace_head: num_classes"):
            model.replace_head(wrong)
    with pytest.raises(TypeError, match="replace_head: num_classes"):
        model.replace_head(2.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="replace_head: Perceptron has no head"):
        models.perceptron().replace_head(2)
    with pytest.raises(ValueError, match="Perceptron: there is no head"):
        _ = models.perceptron().num_classes
    model.replace_head(3, seed=1)
    for key, array in model.state_dict().items():
        assert key.startswith("classifier.5") or np.array_equal(array, state[key])


@pytest.mark.parametrize("name", [name for name in NAMES if name not in VECTORS])
def test_preprocessing(name: str) -> None:
    info, model = models.info(name), outline(name)
    shape = info.batch(1)
    shape = shape[0] if isinstance(shape[0], tuple) else shape
    found = model.preprocess
    assert found(np.zeros((50, 40, 3), np.uint8) if shape[1] == 3 else np.zeros((50, 40), np.uint8)).shape == shape
    if TORCHVISION.fullmatch(name):
        resize, crop, interpolation = PUBLISHED.get(name, (256, 224, "bilinear"))
        assert found == Preprocess(resize, crop, interpolation, MEAN, STD)


def test_preprocessing_can_be_changed() -> None:
    model = models.lenet5(seed=0)
    model.preprocess = Preprocess(40, 32, mean=(0.5,), std=(0.25,))
    assert model.preprocess(np.full((32, 64), 255, np.uint8)).shape == (1, 1, 32, 32)
    assert model.preprocess(np.full((32, 64), 255, np.uint8)).max() == 2.0
    assert models.Network().preprocess == Preprocess()
    gray = outline("resnet18", in_channels=1).preprocess
    assert len(gray.mean) == 1 and gray.mean[0] == pytest.approx(np.mean(MEAN))
    with pytest.raises(ValueError, match="mlp takes vectors"):
        _ = models.mlp().preprocess


@pytest.mark.parametrize("name", ["lenet5", "squeezenet1_1", "resnet20"])
def test_weights_by_name(name: str, tmp_path: Path) -> None:
    state = models.get(name)(seed=1).state_dict()
    np.savez(tmp_path / "weights.npz", **state)
    for weights in (state, tmp_path / "weights.npz"):
        for key, array in models.get(name)(weights=weights).state_dict().items():
            np.testing.assert_array_equal(array, state[key])


def test_a_module_that_is_no_network_has_no_entry() -> None:
    assert models.ResNet.info is None and models.ResNet(BasicBlock, (1, 1, 1, 1), 5).info is None
    assert isinstance(models.mlp(), nn.Sequential) and models.mlp(hidden=(3, 4)).heads == ("5",)
