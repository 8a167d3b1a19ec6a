# SPDX-License-Identifier: BSD-3-Clause
"""Pictures: what is drawn is what the layers hold, and what a training logged."""

from __future__ import annotations

import io
import sys
from typing import Any

import numpy as np
import pytest

import cnnkern
from cnnkern import functional, models, nn, plot, train
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


# --- Trainings ----------------------------------------------------------------------------------------------------


def test_training_curves() -> None:
    x = np.random.default_rng(0).standard_normal((40, 6)).astype(np.float32)
    history = train.fit(models.mlp(6, (4,), 2, seed=0), (x, x[:, 0] > 0), (x, x[:, 0] > 0), epochs=3, progress=False)
    losses, others = plot.training_curves(history).axes
    assert [line.get_label() for line in losses.lines] == ["loss", "val_loss"]
    assert [line.get_label() for line in others.lines] == ["accuracy", "val_accuracy"]
    np.testing.assert_array_equal(losses.lines[1].get_ydata(), history.history["val_loss"])


def test_confusion_matrix() -> None:
    targets, answers = np.array([0, 0, 1, 2, 2]), np.array([0, 1, 1, 2, 0])
    figure = plot.confusion_matrix(targets, answers, ["a", "b", "c"])
    (drawn,) = pictures(figure)
    np.testing.assert_allclose(np.expm1(drawn), train.metrics.confusion_matrix(targets, answers))
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["a", "b", "c"]
    np.testing.assert_array_equal(pictures(plot.confusion_matrix(targets, np.eye(3)[answers]))[0], drawn)


def test_misclassified() -> None:
    images = np.random.default_rng(0).random((4, 1, 5, 5)).astype(np.float32)
    scores = np.array([[1.0, 0.0], [0.0, 2.0], [0.0, 9.0], [3.0, 0.0]])
    figure = plot.misclassified(images, [0, 0, 0, 0], scores, ["cat", "dog"])
    drawn = pictures(figure)
    np.testing.assert_array_equal(np.stack(drawn), images[[2, 1], 0])  # the surer mistake first
    assert figure.axes[0].get_title() == "dog (cat)" and "2 of 4 wrong" in figure._suptitle.get_text()
    assert len(pictures(plot.misclassified(images.repeat(3, 1), [1, 1, 1, 1], [0, 0, 0, 1]))) == 3
    with pytest.raises(ValueError, match=r"misclassified: expected images \(N, C, H, W\)"):
        plot.misclassified(images, [0], scores)


class Deep(nn.Module):
    """Thirty small layers, plain or each around a shortcut."""

    def __init__(self, residual: bool) -> None:
        self.residual = residual
        self.layers = nn.Sequential(*(nn.Linear(16, 16, rng=i) for i in range(30)))
        self.head = nn.Linear(16, 2, rng=30)

    def forward(self, input: Any) -> Any:
        for layer in self.layers.children():
            out = functional.tanh(layer(input))
            input = functional.add(input, out) if self.residual else out
        return self.head(input)


def test_gradients_vanish_in_plain_depth_and_not_in_residual_depth() -> None:
    x = np.random.default_rng(0).standard_normal((32, 16)).astype(np.float32)
    figure = plot.gradient_norms({"plain": Deep(False), "residual": Deep(True)}, x, (x[:, 0] > 0).astype(np.int64))
    plain, residual = (np.asarray(line.get_ydata()) for line in figure.axes[0].lines)
    assert len(plain) == len(residual) == 31
    assert plain[0] < plain[29] * 1e-4
    assert residual[0] > residual[29] * 0.1
    assert figure.axes[0].get_yscale() == "log"
    assert len(plot.gradient_norms(Deep(True), x, np.zeros(32, np.int64)).axes[0].lines) == 1


def test_decision_boundary() -> None:
    gate = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
    unit = models.perceptron(2, threshold=1.0)
    unit.weight[...] = [[0.7, 0.6]]
    (drawn,) = pictures(plot.decision_boundary(unit, gate, [0, 0, 0, 1], resolution=50))
    assert drawn.shape == (50, 50) and drawn[-1, -1] == 1 and drawn[0, -1] == drawn[-1, 0] == drawn[0, 0] == 0
    (drawn,) = pictures(plot.decision_boundary(models.mlp(2, (8,), 3, seed=0), gate, [0, 1, 2, 1], 20))
    assert set(np.unique(drawn)) <= {0, 1, 2}
    with pytest.raises(ValueError, match=r"expected examples \(N, 2\), found \(4, 3\)"):
        plot.decision_boundary(unit, np.zeros((4, 3)), [0] * 4)
