# SPDX-License-Identifier: BSD-3-Clause
"""Data sets: the digits inside the package, MNIST and its relatives from files, and stratified folds."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from cnnkern.data.idx import read_idx

Examples = tuple[npt.NDArray[Any], npt.NDArray[np.int32]]


class Digits(NamedTuple):
    """images (N, 1, 8, 8) and labels (N,): a pair that `fit` takes as it is."""

    images: npt.NDArray[Any]
    labels: npt.NDArray[np.int32]

    def fold(self, index: int, k: int = 5, seed: int = 0) -> tuple[Examples, Examples]:
        """Training and held-out examples, `(x, y)` each, of one of k stratified folds."""
        train, test = stratified_folds(self.labels, k, seed)[index]
        return (self.images[train], self.labels[train]), (self.images[test], self.labels[test])


def digits(*, raw: bool = False) -> Digits:
    """1,797 images of handwritten digits with their labels.

    Returns:
        `(images, labels)`: images (1797, 1, 8, 8), float32 in 0..1, or uint8 in 0..16 if `raw`; labels (1797,) int32 in
        0..9. `.fold(0)` divides them for training and testing.

    Source: "Optical Recognition of Handwritten Digits", E. Alpaydin and C. Kaynak (1998), UCI Machine Learning
    Repository, CC BY 4.0.
    """
    from importlib import resources  # takes 7 ms to import

    with resources.files("cnnkern.data").joinpath("digits.npz").open("rb") as file:
        archive = np.load(file, allow_pickle=False)
        images, labels = archive["images"][:, None], archive["labels"].astype(np.int32)
    return Digits(images if raw else images.astype(np.float32) / np.float32(16.0), labels)


def mnist(
    folder: str | os.PathLike[str], split: Literal["train", "test"] = "train"
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32]]:
    """MNIST, Fashion-MNIST, or another set in the same IDX files, from a folder.

    Args:
        folder: holds train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and
            t10k-labels-idx1-ubyte, each possibly with .gz, or with a dot before "idx".
        split: "train" (60,000 images of MNIST) or "test" (10,000).

    Returns:
        images (N, 1, 28, 28) uint8, labels (N,) int32. Training and prediction take bytes as byte / 255.

    Raises:
        FileNotFoundError: a file is not there.
        ValueError: a file is damaged, or images and labels do not belong together.
    """
    if split not in ("train", "test"):
        raise ValueError(f'mnist: split must be "train" or "test", found {split!r}')
    stem = "train" if split == "train" else "t10k"
    images = read_idx(_find(Path(folder), f"{stem}-images", "idx3-ubyte"))
    labels = read_idx(_find(Path(folder), f"{stem}-labels", "idx1-ubyte"))
    if images.dtype != np.uint8 or images.ndim != 3 or labels.dtype != np.uint8 or labels.ndim != 1:
        raise ValueError(
            f"mnist: expected byte images (N, H, W) and byte labels (N,), found {images.dtype} {images.shape} "
            f"and {labels.dtype} {labels.shape} in {os.fspath(folder)!r}"
        )
    if len(images) != len(labels):
        raise ValueError(f"mnist: {len(images)} images but {len(labels)} labels in {os.fspath(folder)!r}")
    return images[:, None], labels.astype(np.int32)


def _find(folder: Path, stem: str, kind: str) -> Path:
    names = [f"{stem}{dot}{kind}{suffix}" for dot in "-." for suffix in ("", ".gz")]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise FileNotFoundError(f"mnist: none of {', '.join(names)} in {os.fspath(folder)!r}")


def stratified_folds(
    labels: npt.ArrayLike, k: int = 5, seed: int = 0
) -> list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Divide examples into k parts, each class as evenly as it goes, for k-fold cross-validation.

    Args:
        labels: (N,) integer classes.
        k: number of folds, at least 2 and at most N.
        seed: of the shuffling within each class.

    Returns:
        k pairs (training indices, held-out indices), both sorted int64; the held-out parts are disjoint and cover
        everything, and their sizes differ by one at most.
    """
    classes = np.asarray(labels)
    if classes.ndim != 1 or classes.dtype.kind not in "iu":
        raise ValueError(f"stratified_folds: expected integer labels (N,), found {classes.dtype} {classes.shape}")
    if not 2 <= k <= max(len(classes), 1):
        raise ValueError(f"stratified_folds: k must lie between 2 and the {len(classes)} examples, found {k}")
    rng = np.random.default_rng(seed)
    fold = np.empty(len(classes), np.int64)
    dealt = 0
    for value in np.unique(classes):
        members = rng.permutation(np.flatnonzero(classes == value))
        # Dealing goes on where the last class stopped, so that the folds stay equally large.
        fold[members] = (dealt + np.arange(len(members))) % k
        dealt += len(members)
    return [(np.flatnonzero(fold != i), np.flatnonzero(fold == i)) for i in range(k)]
