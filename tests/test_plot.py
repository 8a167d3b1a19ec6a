# SPDX-License-Identifier: BSD-3-Clause
"""Pictures of filters and feature maps: what is drawn is what the layers hold."""

from __future__ import annotations

import io
import sys
from typing import Any

import numpy as np
import pytest

import cnnkern
from cnnkern import models, nn, plot
from cnnkern.data import transforms

pytest.importorskip("matplotlib")


def pictures(figure: Any) -> list[Any]:
    """The arrays that are drawn, in order, after a rendering that must succeed."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    assert stream.getvalue().startswith(b"\x89PNG")
    axes = [axis for panel in (figure.subfigs or [figure]) for axis in panel.axes]
    return [np.asarray(image.get_array()) for axis in axes for image in axis.images]


def test_filters_of_colours_are_drawn_in_colours() -> None:
    layer = models.resnet18(seed=0).conv1
    drawn = pictures(plot.filters(layer))
    limit = np.abs(layer.weight).max()
    assert len(drawn) == 64
    np.testing.assert_allclose((drawn[5] - 0.5) * 2 * limit, layer.weight[5].transpose(1, 2, 0), atol=1e-6)
    assert len(pictures(plot.filters(layer, count=5))) == 5


def test_other_filters_are_averaged() -> None:
    weight = np.random.default_rng(0).standard_normal((3, 5, 3, 3), dtype=np.float32)
    drawn = pictures(plot.filters(weight))
    for kernel, picture in zip(weight, drawn, strict=True):
        np.testing.assert_allclose(picture, kernel.mean(0))


def test_feature_maps() -> None:
    model = models.course_cnn(seed=0).train()
    x = np.random.default_rng(0).random((2, 1, 28, 28), np.float32)
    drawn = pictures(plot.feature_maps(model, x, channels=4))
    assert [picture.shape for picture in drawn] == [(28, 28)] * 4 + [(14, 14)] * 4
    assert model.training and model.bn1.training
    expected = model.conv1(x[:1])[0]
    chosen = np.sort(np.argsort(-expected.std((1, 2)))[:4])
    np.testing.assert_array_equal(np.stack(drawn[:4]), expected[chosen])
    again = pictures(plot.feature_maps(model, x[0], ["relu1", "pool2"], channels=40))
    assert [picture.shape for picture in again] == [(28, 28)] * 16 + [(7, 7)] * 32
    assert min(picture.min() for picture in again[:16]) == 0


def test_large_networks_show_six_convolutions() -> None:
    figure = plot.feature_maps(models.resnet18(seed=0), np.zeros((1, 3, 32, 32), np.float32))
    titles = [panel._suptitle.get_text() for panel in figure.subfigs]
    assert len(titles) == 6
    assert titles[0] == "conv1: 64 maps of 16 x 16" and titles[-1].startswith("layer4.1.conv2: 512 maps of 1 x 1")


def test_what_cannot_be_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = models.course_cnn(seed=0), np.zeros((1, 1, 28, 28), np.float32)
    with pytest.raises(ValueError, match=r"no layer 'fc' with maps; there are conv1, bn1"):
        plot.feature_maps(model, x, ["fc"])
    with pytest.raises(ValueError, match=r"filters: .* \(O, C, R, S\), found \(2, 3\)"):
        plot.filters(nn.Linear(3, 2))
    with pytest.raises(TypeError, match=r"filters: .*found ReLU"):
        plot.filters(nn.ReLU())
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for call in (lambda: plot.filters(model.conv1), lambda: plot.feature_maps(model, x)):
        with pytest.raises(ImportError, match=r"pip install 'cnnkern\[plot\]'"):
            call()


def test_roofline() -> None:
    engine = cnnkern.compile(models.resnet20(seed=0), (1, 3, 32, 32))
    explanation = engine.explain(repeats=1)
    (axis,) = plot.roofline(explanation).axes
    drawn = sum(len(collection.get_offsets()) for collection in axis.collections)
    assert drawn == sum(row.multiply_adds > 0 for row in explanation.rows) > 10
    assert len(axis.lines) == 3 and axis.get_xscale() == axis.get_yscale() == "log"
    with pytest.raises(ValueError, match="nothing was measured"):
        plot.roofline(engine.explain(repeats=0))


def test_augmented_samples() -> None:
    image = np.random.default_rng(0).integers(0, 256, (20, 24, 3), dtype=np.uint8)
    chain = transforms.Compose(
        [transforms.RandomCrop(16), transforms.Normalize(), transforms.RandomErasing(1.0)], seed=2
    )
    drawn = pictures(plot.augmented(image, chain, 5, epoch=3))
    assert len(drawn) == 6
    np.testing.assert_allclose(drawn[0], image / 255)
    plain = transforms.Compose([transforms.RandomCrop(16)], seed=2)(image, epoch=3, index=2).transpose(1, 2, 0)
    erased = (drawn[3] == 0).all(2)
    assert 0.01 < erased.mean() < 0.4
    np.testing.assert_allclose(drawn[3][~erased], plain[~erased], atol=1e-6)
    assert len(pictures(plot.augmented(image[:, :, 0], transforms.RandomRotation(30), 3))) == 4
    assert len(pictures(plot.augmented(image, transforms.TenCrop(8), 1))) == 11
