# SPDX-License-Identifier: BSD-3-Clause
"""Data sets, batches, photographs, augmentation."""

from cnnkern.data import transforms
from cnnkern.data.cifar import cifar10, cifar100
from cnnkern.data.datasets import Digits, digits, mnist, stratified_folds
from cnnkern.data.folder import ImageFolder
from cnnkern.data.idx import read_idx
from cnnkern.data.loader import Loader
from cnnkern.data.preprocess import Preprocess, read_image
from cnnkern.data.resize import resize

__all__ = [
    "Digits",
    "ImageFolder",
    "Loader",
    "Preprocess",
    "cifar10",
    "cifar100",
    "digits",
    "mnist",
    "read_idx",
    "read_image",
    "resize",
    "stratified_folds",
    "transforms",
]
