# SPDX-License-Identifier: BSD-3-Clause
"""Images in folders, one folder per class, read when they are asked for."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from cnnkern.data.preprocess import read_image
from cnnkern.data.resize import Bytes

_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")


class ImageFolder:
    """A data set of the images `folder/CLASS/.../NAME`. Needs Pillow.

    Only the names are held in memory; each image is read, and turned as its camera held it, when it is asked for, so
    the set may be larger than memory. Classes and images are in the order of their sorted names.

    Args:
        folder: with one folder per class; images may lie deeper in them. Hidden names are left out.
        gray: read one channel instead of three.
        suffixes: of the files that count as images, in small letters.

    Attributes:
        classes: the names, `classes[label]`.
        paths: of all images.
        labels: (N,) int32.

    Raises:
        FileNotFoundError: no such folder, no classes in it, or a class without images.
    """

    def __init__(
        self, folder: str | os.PathLike[str], *, gray: bool = False, suffixes: tuple[str, ...] = _SUFFIXES
    ) -> None:
        root = Path(folder)
        if not root.is_dir():
            raise FileNotFoundError(f"ImageFolder: no folder {os.fspath(root)!r}")
        self.gray = gray
        self.classes = sorted(entry.name for entry in root.iterdir() if entry.is_dir() and entry.name[0] != ".")
        if not self.classes:
            raise FileNotFoundError(f"ImageFolder: no folders in {os.fspath(root)!r}; it needs one per class")
        self.paths: list[str] = []
        labels: list[int] = []
        for label, name in enumerate(self.classes):
            found = _images(root / name, suffixes)
            if not found:
                raise FileNotFoundError(
                    f"ImageFolder: no images in {os.fspath(root / name)!r}; their names end in {', '.join(suffixes)}"
                )
            self.paths += found
            labels += [label] * len(found)
        self.labels = np.array(labels, np.int32)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Bytes, int]:
        """(image (H, W, 3) uint8, or (H, W, 1) if gray; label)."""
        image = read_image(self.paths[index], gray=self.gray)
        return (image[:, :, None] if self.gray else image), int(self.labels[index])


def _images(folder: Path, suffixes: tuple[str, ...]) -> list[str]:
    found = []
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name[0] != ".")
        found += [
            os.path.join(parent, name) for name in sorted(names) if name[0] != "." and name.lower().endswith(suffixes)
        ]
    return found
