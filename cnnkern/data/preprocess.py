# SPDX-License-Identifier: BSD-3-Clause
"""From photographs to the arrays that a network was trained on: resize, crop, scale, normalize."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from cnnkern.data.resize import INTERPOLATIONS, Box, Bytes, resize

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclasses.dataclass(frozen=True)
class Preprocess:
    """Images as a network expects them; the steps and the arithmetic of torchvision's classification presets.

    The shorter side is resized to `resize_size` (with antialiasing, on bytes, as Pillow does it), the centre cut out,
    bytes divided by 255, and each channel normalized: (value - mean) / std.

    Args:
        resize_size: length of the shorter side; None leaves the size alone.
        crop_size: side of the square that is cut out, or (height, width); a smaller image gets a black border.
        interpolation: "nearest", "box", "bilinear", "bicubic" or "lanczos".
        mean: per channel, of values in 0..1. Its length is the number of channels.
        std: per channel.

    `preprocess.replace(crop_size=320)` is a copy with other figures.
    """

    resize_size: int | None = 256
    crop_size: int | tuple[int, int] = 224
    interpolation: str = "bilinear"
    mean: Sequence[float] = IMAGENET_MEAN
    std: Sequence[float] = IMAGENET_STD

    def __post_init__(self) -> None:
        for name in ("mean", "std"):
            object.__setattr__(self, name, tuple(float(value) for value in getattr(self, name)))
        sizes = (*self._crop(), 1 if self.resize_size is None else self.resize_size)
        if not all(isinstance(size, (int, np.integer)) and size >= 1 for size in sizes):
            raise ValueError(
                f"Preprocess: sizes must be positive integers, found resize_size {self.resize_size!r} "
                f"and crop_size {self.crop_size!r}"
            )
        if self.interpolation not in INTERPOLATIONS:
            raise ValueError(
                f"Preprocess: interpolation must be one of {', '.join(INTERPOLATIONS)}, found {self.interpolation!r}"
            )
        if len(self.mean) != len(self.std) or not self.mean:
            raise ValueError(
                f"Preprocess: mean and std must have one value per channel, found {self.mean} and {self.std}"
            )
        if not all(value > 0 for value in self.std):
            raise ValueError(f"Preprocess: std must be positive, found {self.std}")

    def replace(self, **changes: Any) -> Preprocess:
        """A copy with some of the arguments changed."""
        return dataclasses.replace(self, **changes)

    def __call__(self, images: Any) -> npt.NDArray[np.float32]:
        """One image or a sequence of images -> (N, C, height, width) float32.

        An image is a Pillow image, or a uint8 array (H, W, C), (H, W, 1) or (H, W); an array (N, H, W, C) is a
        sequence. Gray images get as many equal channels as the network takes, Pillow images become gray for a network
        of one channel. Images may have different sizes.

        Raises:
            TypeError: something else than such images.
            ValueError: an array whose shape is none of these.
        """
        single = _is_pillow(images) or (isinstance(images, np.ndarray) and images.ndim < 4)
        sequence = [images] if single else images
        if not isinstance(sequence, (list, tuple, np.ndarray)):
            raise TypeError(
                f"preprocess: expected an image or a list of images, found {type(images).__name__}; "
                "an image is a Pillow image or a uint8 array (H, W, 3)"
            )
        result = np.empty((len(sequence), len(self.mean), *self._crop()), np.float32)
        mean = np.array(self.mean, np.float32)[:, None, None]
        std = np.array(self.std, np.float32)[:, None, None]
        for values, image in zip(result, sequence, strict=True):
            np.divide(self._pixels(image).transpose(2, 0, 1), np.float32(255), out=values, dtype=np.float32)
            values -= mean
            values /= std
        return result

    def pixels(self, image: Any) -> Bytes:
        """One image, resized and cropped: (height, width, C) uint8, what the network sees before normalization."""
        return self._pixels(image)

    def _crop(self) -> tuple[Any, Any]:
        height, width = self.crop_size if isinstance(self.crop_size, (tuple, list)) else (self.crop_size,) * 2
        return height, width

    def _pixels(self, image: Any) -> Bytes:
        pixels = _as_bytes(image, len(self.mean))
        height, width = pixels.shape[:2]
        if self.resize_size is not None:
            short, long = sorted((height, width))
            longer = int(self.resize_size * long / short)
            height, width = (longer, self.resize_size) if height > width else (self.resize_size, longer)
        crop_height, crop_width = self._crop()
        before = max(crop_height - height, 0) // 2, max(crop_width - width, 0) // 2
        padded = max(height, crop_height), max(width, crop_width)
        # Python's round, to even, as in torchvision; it counts from the corner of the padded image.
        top = max(round((padded[0] - crop_height) / 2.0), 0)
        left = max(round((padded[1] - crop_width) / 2.0), 0)
        box: Box = (top, left, min(height, crop_height), min(width, crop_width))
        part = resize(pixels, (height, width), self.interpolation, box)
        if part.shape[:2] == (crop_height, crop_width):
            return part
        result = np.zeros((crop_height, crop_width, part.shape[2]), np.uint8)
        result[before[0] : before[0] + part.shape[0], before[1] : before[1] + part.shape[1]] = part
        return result


def read_image(path: str | os.PathLike[str], *, gray: bool = False) -> Bytes:
    """A photograph from a file, turned as its camera held it: (H, W, 3) uint8, or (H, W) if `gray`. Needs Pillow.

    Raises:
        ImportError: Pillow is missing.
        FileNotFoundError: there is no such file.
        ValueError: the file is no image that Pillow can read, or a damaged one.
    """
    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        raise ImportError("reading photographs needs Pillow: pip install 'cnnkern[image]'") from error
    try:
        with Image.open(path) as image:
            return np.asarray(ImageOps.exif_transpose(image).convert("L" if gray else "RGB"))
    except (FileNotFoundError, IsADirectoryError, PermissionError):
        raise
    except Exception as error:  # Pillow's decoders raise many kinds on damaged files
        raise ValueError(f"read_image: {os.fspath(path)!r} cannot be read as an image: {error}") from error


def _is_pillow(image: Any) -> bool:
    return hasattr(image, "convert") and hasattr(image, "getbands")


def _as_bytes(image: Any, channels: int) -> Bytes:
    """An image as (H, W, channels) uint8."""
    if _is_pillow(image):
        image = np.asarray(image.convert("L" if channels == 1 else "RGB"))
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        found = f"{image.dtype} array" if isinstance(image, np.ndarray) else type(image).__name__
        raise TypeError(f"preprocess: an image must be a Pillow image or a uint8 array (H, W, 3), found {found}")
    array = image[:, :, None] if image.ndim == 2 else image
    if array.ndim != 3 or array.shape[2] not in (1, channels) or not array.size:
        hint = "; this looks like (C, H, W), use x.transpose(1, 2, 0)" if image.shape[:1] in ((1,), (3,)) else ""
        hint = "; leave the transparency out: x[:, :, :3]" if image.ndim == 3 and image.shape[2] == 4 else hint
        raise ValueError(
            f"preprocess: an image must have shape (H, W, {channels}) or (H, W), found {image.shape}{hint}"
        )
    return np.broadcast_to(array, (*array.shape[:2], channels))
