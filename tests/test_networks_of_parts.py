# SPDX-License-Identifier: BSD-3-Clause
"""Siamese networks and networks with a box head: structure, losses, gradients against PyTorch, learning."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from oracle import torch_or_skip
from torch_graph import as_module, traced

import cnnkern
from cnnkern import functional, models, train


def normal(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def test_both_images_go_through_the_same_weights() -> None:
    model = models.siamese(16, seed=0).eval()
    first, second = normal(3, 1, 28, 28), normal(3, 1, 28, 28, seed=1)
    assert {name.split(".")[0] for name in model.state_dict()} == {"backbone"}
    assert model.features(first).shape == (3, 32, 7, 7) and model.embed(first).shape == (3, 16)
    expected = np.linalg.norm(model.embed(first) - model.embed(second), axis=1)
    np.testing.assert_allclose(model(first, second), expected, rtol=1e-4)
    assert model(first, first).max() < 1e-4
    engine = cnnkern.compile(model, (first.shape, second.shape))
    np.testing.assert_allclose(engine(first, second), expected, rtol=1e-4)
    assert model.preprocess(np.zeros((60, 40), np.uint8)).shape == (1, 1, 28, 28)
    assert model.replace_head(5, seed=0).embed(first).shape == (3, 5) and model.num_classes == 5


def test_gradients_of_the_siamese_network_are_those_of_pytorch() -> None:
    torch = torch_or_skip()
    model = models.siamese(8, backbone=models.lenet5(8, activation="relu", pooling="max", seed=1))
    pair, target = (normal(4, 1, 32, 32), normal(4, 1, 32, 32, seed=1)), np.array([0, 1, 0, 1], np.float32)

    def loss(distance: Any, wanted: Any) -> Any:
        return functional.contrastive_loss(distance, wanted, margin=2.0)

    value, gradients = cnnkern.value_and_grad(model, loss)(pair, target)
    twin = as_module(torch, model, traced(model, [array.shape for array in pair]))
    distance = twin(*(torch.from_numpy(array) for array in pair))
    t = torch.from_numpy(target)
    expected = (((1 - t) * distance**2 + t * torch.relu(2.0 - distance) ** 2) / 2).mean()
    expected.backward()
    assert value == pytest.approx(expected.item(), rel=1e-5)
    for name, parameter in twin.named_parameters():
        found = gradients[name] - parameter.grad.numpy()
        assert np.linalg.norm(found) <= 1e-4 * np.linalg.norm(parameter.grad.numpy()) + 1e-7, name


def test_a_siamese_network_learns_what_is_alike() -> None:
    rng = np.random.default_rng(0)
    kinds = rng.standard_normal((4, 1, 32, 32), dtype=np.float32)
    left, right = rng.integers(0, 4, (2, 64))
    noise = 0.3 * rng.standard_normal((2, 64, 1, 32, 32), dtype=np.float32)
    pair, target = (kinds[left] + noise[0], kinds[right] + noise[1]), (left != right).astype(np.float32)
    model = models.siamese(4, backbone=models.lenet5(4, activation="relu", pooling="max", seed=0))
    options: dict[str, Any] = {"metrics": [], "seed": 0, "progress": False, "optimizer": train.Adam(0.002)}
    train.fit(model, (pair, target), epochs=12, batch_size=16, loss=functional.contrastive_loss, **options)
    assert ((train.predict(model, pair) > 0.5) == (target == 1)).mean() > 0.9


def test_the_box_head_keeps_the_trained_classifier() -> None:
    classifier = models.resnet20(10, seed=3).eval()
    x = normal(2, 3, 32, 32)
    scores, maps, head = classifier(x), classifier.features(x), classifier.fc.weight.copy()
    model = models.with_box_head(10, backbone=classifier, seed=0).eval()
    np.testing.assert_array_equal(model(x)[0], scores)
    np.testing.assert_array_equal(model.features(x), maps)
    np.testing.assert_array_equal(model.classes.weight, head)
    assert model(x)[1].shape == (2, 4) and model.num_classes == 10
    assert {name.split(".")[0] for name in model.state_dict()} == {"backbone", "classes", "box"}
    for found, expected in zip(cnnkern.compile(model, x.shape)(x), model(x), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert models.with_box_head(7, backbone=models.resnet20(10, seed=3)).num_classes == 7
    assert models.with_box_head(2, 1, backbone="lenet5").preprocess.crop_size == 32
    state = model.state_dict()
    again = models.with_box_head(10, backbone="resnet20", weights=state)
    for name, array in again.state_dict().items():
        np.testing.assert_array_equal(array, state[name])
    assert pickle.loads(pickle.dumps(again)).replace_head(3, seed=0)(x)[0].shape == (2, 3)


def test_localization_loss_is_that_of_pytorch() -> None:
    torch = torch_or_skip()
    logits, boxes = normal(5, 3), normal(5, 4, seed=1)
    labels, wanted = np.array([0, 2, 1, 2, 0]), normal(5, 4, seed=2)
    targets = np.concatenate([labels[:, None], wanted], 1).astype(np.float32)
    f = torch.nn.functional
    expected = f.cross_entropy(torch.from_numpy(logits), torch.from_numpy(labels))
    expected = expected + 2.5 * f.smooth_l1_loss(torch.from_numpy(boxes), torch.from_numpy(wanted))
    found = models.localization_loss((logits, boxes), targets, 2.5)
    assert float(found) == pytest.approx(expected.item(), rel=1e-5)


def test_it_finds_the_bright_square() -> None:
    rng = np.random.default_rng(0)
    corners, sizes = rng.integers(0, 16, (96, 2)), rng.integers(0, 2, 96)
    x = 0.1 * rng.standard_normal((96, 3, 28, 28), dtype=np.float32)
    boxes = np.empty((96, 4), np.float32)
    for image, (top, left), size, box in zip(x, corners, sizes, boxes, strict=True):
        side = 6 + 6 * size
        image[:, top : top + side, left : left + side] += 1.0
        box[:] = np.array([top, left, top + side, left + side]) / 28
    targets = np.concatenate([sizes[:, None], boxes], 1).astype(np.float32)
    model = models.with_box_head(2, backbone="course_cnn", seed=0)
    options: dict[str, Any] = {"metrics": [], "seed": 0, "progress": False, "optimizer": train.Adam(0.003)}
    history = train.fit(model, (x, targets), epochs=8, batch_size=16, loss=models.localization_loss, **options)
    assert history.history["loss"][-1] < 0.3 * history.history["loss"][0]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: models.siamese(backbone=3), TypeError, "siamese: backbone must be the name of a model or a Network"),  # type: ignore[arg-type]
        (lambda: models.siamese(backbone="lenet6"), ValueError, "no model named 'lenet6'"),
        (lambda: models.siamese(0), ValueError, "siamese: num_classes must be positive, found 0"),
        (lambda: models.with_box_head(0), ValueError, "with_box_head: num_classes must be positive"),
        (
            lambda: models.with_box_head(backbone="squeezenet1_1"),
            ValueError,
            "SqueezeNet has not one linear layer as its head",
        ),
        (lambda: models.with_box_head(backbone="googlenet"), ValueError, "GoogLeNet has not one linear"),
        (lambda: models.with_box_head(backbone=None), TypeError, "with_box_head: backbone must be"),  # type: ignore[arg-type]
        (
            lambda: models.localization_loss((normal(2, 3), normal(2, 4)), normal(2, 4)),
            ValueError,
            r"localization_loss: targets",
        ),
    ],
)
def test_refusals(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
