# SPDX-License-Identifier: BSD-3-Clause
"""Augmentation: `Compose([RandomResizedCrop(224), RandomHorizontalFlip(), Normalize()])`, uint8 in, float32 planes out.

Names and arguments are those of torchvision.transforms where it has the transform. What is drawn is a function of the
seed, the epoch and the number of the example.
"""

from cnnkern.data.transforms.colour import ColorJitter, ColorShift
from cnnkern.data.transforms.compose import Compose, Transform
from cnnkern.data.transforms.crop import (
    CenterCrop,
    FiveCrop,
    RandomCrop,
    RandomResizedCrop,
    Resize,
    TenCrop,
)
from cnnkern.data.transforms.geometry import (
    ElasticTransform,
    RandomAffine,
    RandomHorizontalFlip,
    RandomRotation,
    RandomShear,
    RandomVerticalFlip,
    RandomZoom,
)
from cnnkern.data.transforms.pixel import GaussianNoise, Normalize, RandomErasing

__all__ = [
    "CenterCrop",
    "ColorJitter",
    "ColorShift",
    "Compose",
    "ElasticTransform",
    "FiveCrop",
    "GaussianNoise",
    "Normalize",
    "RandomAffine",
    "RandomCrop",
    "RandomErasing",
    "RandomHorizontalFlip",
    "RandomResizedCrop",
    "RandomRotation",
    "RandomShear",
    "RandomVerticalFlip",
    "RandomZoom",
    "Resize",
    "TenCrop",
    "Transform",
]
