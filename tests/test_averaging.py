# SPDX-License-Identifier: BSD-3-Clause
"""Averages over networks and over views."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import cnnkern
from cnnkern import data, models, nn, train
from cnnkern.data import transforms as T

RNG = np.random.default_rng(0)


def softmax(x: Any) -> Any:
    e = np.exp(x.astype(np.float64) - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def networks(count: int = 3) -> list[Any]:
    return [models.course_cnn(seed=i).eval() for i in range(count)]


def test_ensembles_average_probabilities() -> None:
    x = RNG.random((4, 1, 28, 28), np.float32)
    members = networks()
    together = models.ensemble(members)
    expected = np.mean([softmax(member(x)) for member in members], 0)
    np.testing.assert_allclose(np.exp(together(x)), expected, atol=1e-6)
    np.testing.assert_allclose(cnnkern.compile(together, (4, 1, 28, 28))(x), together(x), atol=1e-5)
    outputs = models.ensemble(members, average="outputs")(x)
    np.testing.assert_allclose(outputs, np.mean([member(x) for member in members], 0), atol=1e-6)
    assert next(iter(together.state_dict())) == "0.conv1.weight" and not together.training
    np.testing.assert_array_equal(models.ensemble(members[:1])(x), members[0](x))


def test_certain_networks_keep_their_logarithms_finite() -> None:
    first, second = nn.Linear(2, 2), nn.Linear(2, 2)
    for layer, sign in ((first, 1), (second, -1)):
        layer.weight[:] = np.eye(2, dtype=np.float32) * sign
        layer.bias[:] = 0
    out = models.ensemble([first, second])(np.array([[500.0, 0.0], [0.0, 0.0]], np.float32))
    np.testing.assert_allclose(out, np.full((2, 2), np.log(0.5)), atol=1e-6)


def test_an_ensemble_is_better_than_its_members() -> None:
    digits = data.digits()
    (x, y), held_out = digits.fold(0)
    members = []
    for seed in range(3):
        member = models.course_cnn(image_size=8, seed=seed)
        train.fit(member, (x[:300], y[:300]), epochs=3, seed=seed, progress=False)
        members.append(member.eval())
    single = [train.evaluate(member, held_out) for member in members]
    together = train.evaluate(models.ensemble(members), held_out)
    assert together["loss"] < np.mean([figures["loss"] for figures in single])
    assert together["accuracy"] >= np.mean([figures["accuracy"] for figures in single])


def test_views() -> None:
    x = RNG.random((2, 1, 34, 31), np.float32)
    network = models.course_cnn(seed=0).eval()
    corners = [x[:, :, top : top + 28, left : left + 28] for top, left in ((0, 0), (0, 3), (6, 0), (6, 3), (3, 2))]
    ten = [*corners, *[view[:, :, :, ::-1] for view in corners]]
    expected = np.mean([softmax(network(np.ascontiguousarray(view))) for view in ten], 0)
    crops = models.multi_crop(network, 28)
    np.testing.assert_allclose(np.exp(crops(x)), expected, atol=1e-6)
    np.testing.assert_allclose(cnnkern.compile(crops, (2, 1, 34, 31))(x), crops(x), atol=1e-5)
    five = models.multi_crop(network, (28, 28), mirror=False, average="outputs")(x)
    np.testing.assert_allclose(five, np.mean([network(np.ascontiguousarray(v)) for v in corners], 0), atol=1e-6)
    both = models.multi_crop(network)(corners[0])
    pair = np.mean([softmax(network(np.ascontiguousarray(v))) for v in (corners[0], corners[0][..., ::-1])], 0)
    np.testing.assert_allclose(np.exp(both), pair, atol=1e-6)


def test_crops_of_photographs_are_those_of_the_network() -> None:
    """`TenCrop` outside and `multi_crop` inside see the same pictures."""
    image = RNG.integers(0, 256, (34, 32), dtype=np.uint8)
    network = models.course_cnn(seed=0).eval()
    outside = models.averaging.mean_prediction(list(network(T.TenCrop(28)(image))[:, None]))
    inside = models.multi_crop(network, 28)(T.Compose([])(image)[None])
    np.testing.assert_allclose(outside, inside, atol=1e-5)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: models.ensemble([]), ValueError, "at least one network"),
        (lambda: models.ensemble([3]), TypeError, "networks must be modules, found int"),  # type: ignore[list-item]
        (lambda: models.ensemble(networks(1), "median"), ValueError, "average must be .* found 'median'"),
        (lambda: models.multi_crop(3), TypeError, "network must be a module, found int"),  # type: ignore[arg-type]
        (lambda: models.multi_crop(nn.ReLU(), (1, 2, 3)), ValueError, "an integer or"),  # type: ignore[arg-type]
        (lambda: models.multi_crop(nn.ReLU(), 0), ValueError, "size must be positive"),
        (lambda: models.multi_crop(nn.ReLU(), 9)(np.zeros((1, 1, 8, 9), np.float32)), ValueError, "at least 9 x 9"),
        (lambda: models.multi_crop(nn.ReLU())(np.zeros((1, 1), np.float32)), ValueError, r"\(N, C, H, W\)"),
    ],
)
def test_bad_input(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()
