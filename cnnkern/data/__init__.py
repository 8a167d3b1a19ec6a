# SPDX-License-Identifier: BSD-3-Clause
"""Data sets and batches."""

from cnnkern.data.datasets import digits, mnist, stratified_folds
from cnnkern.data.idx import read_idx
from cnnkern.data.loader import Loader

__all__ = ["Loader", "digits", "mnist", "read_idx", "stratified_folds"]
