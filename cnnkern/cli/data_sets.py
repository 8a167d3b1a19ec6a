# SPDX-License-Identifier: BSD-3-Clause
"""The data of `cnnkern train`, `evaluate` and `predict`: sets by name, their parts and batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cnnkern import data
from cnnkern.data import transforms

_FASHION = ["T-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"]
_CIFAR10 = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


@dataclass
class DataSet:
    """Examples with labels: `source` is (images (N, C, H, W) uint8, labels), or an `ImageFolder` read when it is used.

    `size` is the (height, width) of the images, None where they differ.
    """

    source: Any
    labels: npt.NDArray[np.int32]
    classes: list[str]
    channels: int
    size: tuple[int, int] | None

    def part(self, indices: npt.NDArray[np.int64]) -> DataSet:
        """Some of the examples."""
        source: Any = _Part(self.source, indices)
        if isinstance(self.source, tuple):
            source = self.source[0][indices], self.source[1][indices]
        return DataSet(source, self.labels[indices], self.classes, self.channels, self.size)


class _Part:
    def __init__(self, whole: Any, indices: npt.NDArray[np.int64]) -> None:
        self.whole, self.indices = whole, indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Any:
        return self.whole[int(self.indices[index])]


def load(name: str, folder: str | None, split: str) -> DataSet:
    """The "train" or "test" split of a data set.

    Raises:
        ValueError, OSError, ImportError: what is missing or damaged.
    """
    if name == "digits":
        return _digits(split)
    if folder is None:
        raise ValueError(f"{name} lies in files: --data DIR says where")
    if name == "folder":
        inner = [Path(folder) / each for each in (("train",) if split == "train" else ("test", "val"))]
        found = next((place for place in inner if place.is_dir()), None)
        if found is None:
            raise FileNotFoundError(f"folder: no folder {' or '.join(str(place) for place in inner)}")
        images = data.ImageFolder(found)
        return DataSet(images, images.labels, images.classes, 3, None)
    reader: Any = {"cifar10": data.cifar10, "cifar100": data.cifar100}.get(name, data.mnist)
    pixels, labels = reader(folder, split)
    known = {"fashion-mnist": _FASHION, "cifar10": _CIFAR10}.get(name, [])
    count = max(int(labels.max(initial=0)) + 1, len(known))
    names = known if len(known) == count else [f"class {i}" for i in range(count)]
    return DataSet((pixels, labels), labels, names, pixels.shape[1], pixels.shape[2:])


def _digits(split: str) -> DataSet:
    """The embedded digits, 0..16 stretched to bytes; one stratified fifth is the test split."""
    raw = data.digits(raw=True)
    images = np.minimum(raw.images.astype(np.int32) * 16, 255).astype(np.uint8)
    kept, held_out = data.stratified_folds(raw.labels)[0]
    whole = DataSet((images, raw.labels), raw.labels, [str(i) for i in range(10)], 1, (8, 8))
    return whole.part(kept if split == "train" else held_out)


@dataclass
class Pictures:
    """How images become inputs: (height, width), and mean and deviation of each channel."""

    size: tuple[int, int]
    mean: Sequence[float]
    std: Sequence[float]

    def judged(self, source: DataSet, batch_size: int, threads: int) -> data.Loader:
        """Batches in order, every image resized and cut at its centre as far as it needs to be."""
        steps: list[transforms.Transform] = []
        if source.size != self.size:
            steps += [transforms.Resize(round(min(self.size) * 256 / 224)), transforms.CenterCrop(self.size)]
        return self._loader(source, batch_size, steps, 0, False, threads)

    def learned(self, source: DataSet, batch_size: int, augment: bool, seed: int, threads: int) -> data.Loader:
        """Batches in random order, augmented where that is wanted."""
        steps: list[transforms.Transform] = []
        if source.size is None or (augment and min(source.size) > 64):
            least = 0.08 if augment else 0.8
            steps += [transforms.RandomResizedCrop(self.size, (least, 1.0)), transforms.RandomHorizontalFlip()]
        elif source.size != self.size:
            steps.append(transforms.Resize(self.size))
        if augment and source.channels == 1:
            steps.append(transforms.RandomAffine(8, translate=(0.1, 0.1), scale=(0.9, 1.1), shear=5))
        elif augment:
            if len(steps) < 2:
                steps += [transforms.RandomCrop(self.size, self.size[0] // 8), transforms.RandomHorizontalFlip()]
            steps.append(transforms.ColorJitter(0.2, 0.2, 0.2))
        return self._loader(source, batch_size, steps, seed, True, threads)

    def _loader(
        self,
        source: DataSet,
        batch_size: int,
        steps: list[transforms.Transform],
        seed: int,
        shuffle: bool,
        threads: int,
    ) -> data.Loader:
        if any(self.mean) or any(value != 1 for value in self.std):
            steps.append(transforms.Normalize(self.mean, self.std))
        chain = transforms.Compose(steps, seed) if steps or source.size is None else None
        workers = threads if chain is not None else 0
        return data.Loader(source.source, batch_size, shuffle=shuffle, seed=seed, transform=chain, threads=workers)
