# SPDX-License-Identifier: BSD-3-Clause
"""Augmented samples of one image."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from cnnkern.data.transforms import Compose, Normalize
from cnnkern.data.transforms.compose import as_pixels
from cnnkern.plot._figure import new_figure


def augmented(image: Any, transform: Any, count: int = 15, epoch: int = 0) -> Any:
    """A matplotlib Figure of one image and of what a transform makes of it, for the examples 0, 1, 2, ...

    Args:
        image: (H, W, 3) or (H, W) uint8, or a Pillow image.
        transform: of `cnnkern.data.transforms`; its normalization is left out of the pictures.
        count: how many pictures.
        epoch: which draws.

    Raises:
        ImportError: matplotlib is missing.
    """
    chain = transform if isinstance(transform, Compose) else Compose([transform])
    plain = copy.copy(chain)
    # In its place, so that what comes after it draws the same numbers.
    steps = [Normalize([0.0], [1.0]) if isinstance(step, Normalize) else step for step in chain.transforms]
    plain.transforms = tuple(steps)
    pictures = [np.asarray(as_pixels(image)) / 255]
    for picture in plain.batch([image] * max(1, count), epoch=epoch):
        views = picture if picture.ndim == 4 else picture[None]
        pictures += [np.clip(view.transpose(1, 2, 0), 0, 1) for view in views]
    columns = min(8, len(pictures))
    rows = -(-len(pictures) // columns)
    figure = new_figure(1.5 * columns, 1.6 * rows)
    axes = np.atleast_1d(figure.subplots(rows, columns)).ravel()
    for axis in axes:
        axis.set_axis_off()
    for number, (axis, picture) in enumerate(zip(axes, pictures, strict=False)):
        axis.imshow(picture[:, :, 0] if picture.shape[2] == 1 else picture, cmap="gray", vmin=0, vmax=1)
        if number == 0:
            axis.set_title("original", fontsize=8)
    return figure
