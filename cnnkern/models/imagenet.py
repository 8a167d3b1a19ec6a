# SPDX-License-Identifier: BSD-3-Clause
"""The names of the 1,000 classes that networks for ImageNet tell apart."""

from __future__ import annotations

from functools import cache


@cache
def imagenet_classes() -> tuple[str, ...]:
    """The 1,000 classes of the ImageNet challenge (Russakovsky and others, 2015), in the order of the usual outputs.

    That order is the one of torchvision's, timm's and Keras' weights: `imagenet_classes()[logits.argmax()]`.
    """
    from importlib import resources

    text = resources.files("cnnkern.models").joinpath("imagenet.txt").read_text("utf-8")
    return tuple(text.splitlines())
