# SPDX-License-Identifier: BSD-3-Clause
"""Digits, folds, IDX files (also damaged ones) and batches."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnnkern import data
from cnnkern.data.loader import as_targets


def test_digits_are_those_of_scikit_learn() -> None:
    theirs = pytest.importorskip("sklearn.datasets").load_digits()
    images, labels = data.digits()
    assert images.shape == (1797, 1, 8, 8) and images.dtype == np.float32 and labels.dtype == np.int32
    np.testing.assert_array_equal(images[:, 0] * 16, theirs.images)
    np.testing.assert_array_equal(labels, theirs.target)
    raw = data.digits(raw=True).images
    assert raw.dtype == np.uint8
    np.testing.assert_array_equal(raw[:, 0], theirs.images)


def test_folds_partition_and_stratify() -> None:
    labels = data.digits().labels
    folds = data.stratified_folds(labels, 5, seed=0)
    held_out = np.concatenate([test for _, test in folds])
    np.testing.assert_array_equal(np.sort(held_out), np.arange(1797))
    assert {len(test) for _, test in folds} == {359, 360}
    overall = np.bincount(labels)
    for train, test in folds:
        assert not set(train) & set(test) and len(train) + len(test) == 1797
        counts = np.bincount(labels[test])
        assert (np.abs(counts - overall / 5) < 1).all()


def test_folds_depend_on_the_seed_alone() -> None:
    labels = data.digits().labels
    first, again, other = (data.stratified_folds(labels, 5, seed)[0][1] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    (_, y_train), (x_test, y_test) = data.digits().fold(0)
    np.testing.assert_array_equal(y_test, labels[first])
    assert len(y_train) + len(x_test) == 1797


def test_folds_refuse_what_cannot_be_divided() -> None:
    with pytest.raises(ValueError, match=r"integer labels \(N,\), found float64"):
        data.stratified_folds([0.0, 1.0], 2)
    with pytest.raises(ValueError, match="between 2 and the 3 examples, found 4"):
        data.stratified_folds([0, 1, 2], 4)


def idx(array: np.ndarray[Any, Any], code: int) -> bytes:
    return struct.pack(">BBBB", 0, 0, code, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


IMAGES = np.random.default_rng(1).integers(0, 256, (6, 28, 28), dtype=np.uint8)
LABELS = np.array([3, 1, 4, 1, 5, 9], np.uint8)


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize(("code", "dtype"), [(0x08, ">u1"), (0x09, ">i1"), (0x0B, ">i2"), (0x0C, ">i4"), (0x0D, ">f4")])
def test_idx_round_trip(tmp_path: Path, code: int, dtype: str, zipped: bool) -> None:
    array = np.arange(-12, 12).reshape(2, 3, 4).astype(dtype)
    content = idx(array, code)
    path = tmp_path / "values"
    path.write_bytes(gzip.compress(content) if zipped else content)
    found = data.read_idx(path)
    assert found.dtype == np.dtype(dtype).newbyteorder("=") and found.flags.writeable
    np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("split", ["train", "test"])
def test_mnist_folder(tmp_path: Path, suffix: str, split: Any) -> None:
    stem = "train" if split == "train" else "t10k"
    pack = gzip.compress if suffix else bytes
    (tmp_path / f"{stem}-images-idx3-ubyte{suffix}").write_bytes(pack(idx(IMAGES, 8)))
    (tmp_path / f"{stem}-labels.idx1-ubyte{suffix}").write_bytes(pack(idx(LABELS, 8)))
    images, labels = data.mnist(tmp_path, split)
    assert images.shape == (6, 1, 28, 28) and images.dtype == np.uint8 and labels.dtype == np.int32
    np.testing.assert_array_equal(images[:, 0], IMAGES)
    np.testing.assert_array_equal(labels, LABELS)


def test_mnist_refuses_what_does_not_belong_together(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="train-images-idx3-ubyte"):
        data.mnist(tmp_path)
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(IMAGES, 8))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(LABELS[:5], 8))
    with pytest.raises(ValueError, match="6 images but 5 labels"):
        data.mnist(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(IMAGES, 8))
    with pytest.raises(ValueError, match=r"byte labels \(N,\), found uint8 \(6, 28, 28\)"):
        data.mnist(tmp_path)


GOOD = idx(IMAGES, 8)
HUGE = struct.pack(">BBBB3I", 0, 0, 8, 3, 2**32 - 1, 2**32 - 1, 2**32 - 1)
BOMB = struct.pack(">BBBBI", 0, 0, 8, 1, 1 << 30)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "ends 4 bytes too early"),
        (GOOD[:9], "too early"),
        (GOOD[:-1], "the file is too small|too early"),
        (GOOD + b"x", "goes on after its 4704 bytes"),
        (b"\1" + GOOD[1:], "not an IDX file"),
        (b"\0\0\7\3" + GOOD[4:], "not an IDX file"),
        (b"\0\0\x08\0", "not an IDX file"),
        (b"\0\0\x08\xff" + b"\0" * 1020, "not an IDX file"),
        (HUGE + b"\0" * 100, "at most 2147483648 are accepted"),
        (BOMB + b"\0" * 100, "the file is too small"),
    ],
)
@pytest.mark.parametrize("zipped", [False, True])
def test_damaged_idx_files_are_refused(tmp_path: Path, content: bytes, message: str, zipped: bool) -> None:
    path = tmp_path / "damaged"
    path.write_bytes(gzip.compress(content) if zipped else content)
    with pytest.raises(ValueError, match=message):
        data.read_idx(path)


def test_damaged_gzip_streams_are_value_errors(tmp_path: Path) -> None:
    whole = gzip.compress(GOOD)
    path = tmp_path / "damaged.gz"
    rng = np.random.default_rng(0)
    for cut in (3, 11, len(whole) // 2, len(whole) - 3):
        path.write_bytes(whole[:cut])
        with pytest.raises(ValueError, match="read_idx"):
            data.read_idx(path)
    for _ in range(200):
        changed = bytearray(whole)
        changed[rng.integers(2, len(whole))] ^= 1 << int(rng.integers(8))
        path.write_bytes(bytes(changed))
        try:
            found = data.read_idx(path)
        except ValueError:
            continue
        np.testing.assert_array_equal(found, IMAGES)  # a changed bit of the gzip header that means nothing


def test_loader_in_order_and_with_a_smaller_last_batch() -> None:
    x, y = np.arange(20, dtype=np.float32).reshape(10, 2), np.arange(10)
    loader = data.Loader((x, y), 4)
    batches = list(loader)
    assert len(loader) == 3 and [len(targets) for _, targets in batches] == [4, 4, 2]
    np.testing.assert_array_equal(np.concatenate([inputs[0] for inputs, _ in batches]), x)
    np.testing.assert_array_equal(np.concatenate([targets for _, targets in batches]), y)
    assert all(targets.dtype == np.int32 for _, targets in batches)
    dropped = data.Loader((x, y), 4, drop_last=True)
    assert len(dropped) == 2 == len(list(dropped))


def test_shuffling_is_a_function_of_seed_and_epoch() -> None:
    x, y = np.zeros((50, 1), np.float32), np.arange(50)

    def orders(seed: int) -> list[list[int]]:
        loader = data.Loader((x, y), 7, shuffle=True, seed=seed)
        return [[int(i) for _, targets in loader for i in targets] for _ in range(3)]

    first = orders(5)
    assert first == orders(5) != orders(6)
    assert all(sorted(order) == list(range(50)) for order in first)
    assert first[0] != first[1] != first[2]
    later = [int(i) for _, t in data.Loader((x, y), 7, shuffle=True, seed=5).epoch(2) for i in t]
    assert later == first[2]


def test_bytes_become_fractions() -> None:
    x = np.array([[0, 51], [102, 255]], np.uint8)
    ((inputs,), _), *_ = data.Loader((x, None), 2)
    np.testing.assert_array_equal(inputs, (x / 255).astype(np.float32))


class Squares:
    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int) -> tuple[Any, int]:
        if not 0 <= index < 5:
            raise IndexError
        return np.full((1, 2, 2), index, np.float32), index * index


def test_data_sets_of_single_examples_are_stacked() -> None:
    batches = list(data.Loader(Squares(), 2))
    assert [inputs[0].shape for inputs, _ in batches] == [(2, 1, 2, 2), (2, 1, 2, 2), (1, 1, 2, 2)]
    assert [int(t) for _, targets in batches for t in targets] == [0, 1, 4, 9, 16]


def test_several_inputs_stay_together() -> None:
    a, b = np.arange(6, dtype=np.float32), np.arange(6, dtype=np.float32)[:, None] * 10
    for (first, second), targets in data.Loader(((a, b), np.arange(6)), 4, shuffle=True, seed=1):
        np.testing.assert_array_equal(first, targets)
        np.testing.assert_array_equal(second[:, 0], targets * 10)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (((np.zeros((2, 1)), None),), TypeError, r"float64; use .astype\(np.float32\)"),
        (((np.zeros((2, 1), np.float32), np.zeros(3, int)),), ValueError, "equally many examples, found 2, 3"),
        (((np.zeros((2, 1), np.float32), np.zeros(2)),), TypeError, "y: expected integers or float32, found float64"),
        (((np.float32(0), None),), ValueError, "found a scalar"),
        (((1, 2, 3),), ValueError, r"a pair \(x, y\), found a tuple of 3"),
        ((iter([]),), TypeError, "list_iterator"),
        ((Squares(), 0), ValueError, "batch_size: expected at least 1, found 0"),
        ((Squares(), 1.5), TypeError, "batch_size: expected an int, found float"),
    ],
)
def test_loader_refuses(arguments: tuple[Any, ...], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        data.Loader(*arguments)


def test_labels_beyond_int32_are_refused() -> None:
    with pytest.raises(ValueError, match="must fit int32"):
        as_targets(np.array([2**31]))
