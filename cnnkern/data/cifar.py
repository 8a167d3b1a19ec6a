# SPDX-License-Identifier: BSD-3-Clause
"""CIFAR-10 and CIFAR-100 in their binary form: records of one or two bytes of labels and 3 x 32 x 32 of the image."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

Pair = tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32]]
_PIXELS = 3 * 32 * 32
_MAX_BYTES = 1 << 31


def cifar10(folder: str | os.PathLike[str], split: Literal["train", "test"] = "train") -> Pair:
    """CIFAR-10 (Krizhevsky, 2009) from the binary files, never from the pickled ones.

    Args:
        folder: holds data_batch_1.bin to data_batch_5.bin and test_batch.bin, or cifar-10-batches-bin with them.
        split: "train" (50,000 images) or "test" (10,000).

    Returns:
        images (N, 3, 32, 32) uint8, labels (N,) int32 in 0..9. Training and prediction take bytes as byte / 255.

    Raises:
        FileNotFoundError: a file is not there.
        ValueError: a file is damaged.
    """
    names = {"train": [f"data_batch_{i}.bin" for i in range(1, 6)], "test": ["test_batch.bin"]}
    return _read("cifar10", folder, "cifar-10-batches-bin", names, split, 1, 0, 10)


def cifar100(
    folder: str | os.PathLike[str],
    split: Literal["train", "test"] = "train",
    labels: Literal["fine", "coarse"] = "fine",
) -> Pair:
    """CIFAR-100 (Krizhevsky, 2009), as `cifar10`.

    Args:
        folder: holds train.bin and test.bin, or cifar-100-binary with them.
        split: "train" or "test".
        labels: "fine" (100 classes) or "coarse" (20).
    """
    if labels not in ("fine", "coarse"):
        raise ValueError(f'cifar100: labels must be "fine" or "coarse", found {labels!r}')
    names = {"train": ["train.bin"], "test": ["test.bin"]}
    fine = labels == "fine"
    return _read("cifar100", folder, "cifar-100-binary", names, split, 2, int(fine), 100 if fine else 20)


def _read(
    function: str,
    folder: str | os.PathLike[str],
    inner: str,
    names: dict[str, list[str]],
    split: str,
    label_bytes: int,
    label: int,
    classes: int,
) -> Pair:
    if split not in names:
        raise ValueError(f'{function}: split must be "train" or "test", found {split!r}')
    place = Path(folder)
    if not (place / names[split][0]).is_file() and (place / inner).is_dir():
        place = place / inner
    for name in names[split]:
        if not (place / name).is_file():
            raise FileNotFoundError(f"{function}: no {name} in {os.fspath(place)!r}")
    record = label_bytes + _PIXELS
    sizes = [os.stat(place / name).st_size for name in names[split]]
    for name, size in zip(names[split], sizes, strict=True):
        if not size or size % record:
            raise ValueError(
                f"{function}: {os.fspath(place / name)!r} has {size} bytes, which is no multiple of the {record} of a "
                "record: truncated, or another format"
            )
    if sum(sizes) > _MAX_BYTES:
        raise ValueError(f"{function}: {sum(sizes)} bytes in {os.fspath(place)!r}; at most {_MAX_BYTES} are accepted")
    counts = [size // record for size in sizes]
    images = np.empty((sum(counts), 3, 32, 32), np.uint8)
    labels = np.empty(sum(counts), np.int32)
    start = 0
    for name, count in zip(names[split], counts, strict=True):
        records = np.fromfile(place / name, np.uint8, count * record)
        if len(records) != count * record:
            raise ValueError(f"{function}: {os.fspath(place / name)!r} ends too early")
        records = records.reshape(count, record)
        found = records[:, label]
        if found.max() >= classes:
            wrong = int(np.argmax(found >= classes))
            raise ValueError(
                f"{function}: record {wrong} of {os.fspath(place / name)!r} has label {found[wrong]}, expected less "
                f"than {classes}"
            )
        images[start : start + count] = records[:, label_bytes:].reshape(count, 3, 32, 32)
        labels[start : start + count] = found
        start += count
    return images, labels
