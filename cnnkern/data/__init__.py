# SPDX-License-Identifier: BSD-3-Clause
"""Data sets and batches."""

from cnnkern.data.datasets import Digits, digits, mnist, stratified_folds
from cnnkern.data.idx import read_idx
from cnnkern.data.loader import Loader

__all__ = ["Digits", "Loader", "digits", "mnist", "read_idx", "stratified_folds"]
