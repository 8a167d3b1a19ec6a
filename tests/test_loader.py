# SPDX-License-Identifier: BSD-3-Clause
"""Batches that are augmented and made in the background: the same whoever makes them."""

from __future__ import annotations

import threading
import time
import tracemalloc
from typing import Any

import numpy as np
import pytest

from cnnkern import data, models, train
from cnnkern.data import transforms as T

IMAGES = np.random.default_rng(2).integers(0, 256, (37, 3, 20, 24), dtype=np.uint8)
LABELS = np.arange(37) % 4
EVERYTHING = T.Compose(
    [
        T.RandomResizedCrop(16),
        T.RandomHorizontalFlip(),
        T.RandomRotation(20, 0.5),
        T.ElasticTransform(10.0, 2.0, 0.5),
        T.ColorJitter(0.2, 0.2, 0.2),
        T.GaussianNoise(sigma=0.02, p=0.5),
        T.Normalize(),
        T.RandomErasing(value="random"),
    ],
    seed=4,
)


def epochs(**settings: Any) -> list[Any]:
    loader = data.Loader((IMAGES, LABELS), 8, shuffle=True, seed=3, transform=EVERYTHING, **settings)
    return [np.concatenate([inputs[0] for inputs, _ in loader]) for _ in range(2)]


def test_the_pictures_do_not_depend_on_the_threads() -> None:
    first, second = epochs(threads=0)
    assert first.shape == (37, 3, 16, 16) and not np.array_equal(first, second)
    for threads in (1, 2, 3, 5):
        for found, expected in zip(epochs(threads=threads), (first, second), strict=True):
            np.testing.assert_array_equal(found, expected)


def test_a_picture_is_that_of_its_number() -> None:
    loader = data.Loader((IMAGES, LABELS), 5, transform=EVERYTHING)
    assert loader.threads == 1
    found = np.concatenate([inputs[0] for inputs, _ in loader.epoch(6)])
    np.testing.assert_array_equal(found[20], EVERYTHING(IMAGES[20].transpose(1, 2, 0), epoch=6, index=20))


def test_batches_in_the_background_without_a_transform() -> None:
    x = np.arange(40, dtype=np.float32).reshape(20, 2)
    for threads in (0, 1, 3):
        batches = list(data.Loader((x, None), 3, threads=threads, drop_last=True))
        assert len(batches) == 6
        np.testing.assert_array_equal(np.concatenate([inputs[0] for inputs, _ in batches]), x[:18])


class Slow:
    """Remembers who asks, and how many examples were taken."""

    def __init__(self, fail: int = -1) -> None:
        self.threads: set[int] = set()
        self.taken = 0
        self.fail = fail

    def __len__(self) -> int:
        return 40

    def __getitem__(self, index: int) -> tuple[Any, int]:
        time.sleep(0.001)
        self.threads.add(threading.get_ident())
        self.taken += 1
        if index == self.fail:
            raise OSError(f"example {index} cannot be read")
        return np.full((1, 2, 2), index, np.float32), index


def test_the_background_runs_ahead_but_not_far() -> None:
    slow = Slow()
    before = threading.active_count()
    batches = data.Loader(slow, 2, threads=2).epoch(0)
    next(batches)
    time.sleep(0.1)
    assert 4 <= slow.taken <= 12 and threading.get_ident() not in slow.threads and len(slow.threads) == 2
    batches.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before and slow.taken <= 16


def test_an_error_in_the_background_is_an_error_of_its_batch() -> None:
    before = threading.active_count()
    seen = []
    with pytest.raises(OSError, match="example 9 cannot be read"):
        for _, targets in data.Loader(Slow(9), 4, threads=3):
            assert targets is not None
            seen += targets.tolist()
    assert seen == list(range(8)) and threading.active_count() == before


class Photographs:
    """Three hundred images of 1 MB, each made when it is asked for."""

    def __len__(self) -> int:
        return 300

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return np.full((640, 560, 3), index % 256, np.uint8), index


def test_a_set_larger_than_memory_is_read_piece_by_piece() -> None:
    tracemalloc.start()
    try:
        count = 0
        for (inputs,), _ in data.Loader(Photographs(), 4, transform=T.Resize((16, 16)), threads=2):
            count += len(inputs)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 300 and peak < 20e6  # two batches in the making, two waiting, one in use


def test_augmented_training_is_reproducible() -> None:
    images = (data.digits(raw=True).images[:200] * 15).astype(np.uint8)
    labels = data.digits().labels[:200]
    weights = []
    for threads in (0, 2):
        chain = T.Compose([T.RandomAffine(10, (0.1, 0.1), (0.9, 1.1)), T.ElasticTransform(8.0, 2.0)])
        loader = data.Loader((images, labels), 32, shuffle=True, transform=chain, threads=threads)
        model = models.course_cnn(image_size=8, seed=0)
        train.fit(model, loader, epochs=2, seed=0, progress=False)
        weights.append(model.state_dict())
    for name, values in weights[0].items():
        np.testing.assert_array_equal(values, weights[1][name])


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"transform": 3}, TypeError, "transform: expected a Compose or another transform, found int"),
        ({"threads": -1}, ValueError, "threads: expected at least 0, found -1"),
        ({"threads": 1.5}, TypeError, "threads: expected an int, found float"),
        ({"data": (IMAGES[:, 0], LABELS)}, ValueError, r"uint8 array \(N, C, H, W\), found uint8 \(37, 20, 24\)"),
        ({"data": (np.float32(IMAGES), LABELS)}, ValueError, "found float32"),
        ({"data": ((IMAGES, IMAGES), LABELS)}, ValueError, "as one uint8 array"),
    ],
)
def test_bad_settings(settings: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        data.Loader(**({"data": (IMAGES, LABELS), "transform": T.Normalize()} | settings))
