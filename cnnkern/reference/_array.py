# SPDX-License-Identifier: BSD-3-Clause
"""What every reference function begins with: numbers wide enough to be the truth."""

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Pair = tuple[int, int]
Padding = tuple[Pair, ...]  # (before, after) of each spatial axis: ((top, bottom), (left, right))


def exact(x: npt.ArrayLike) -> Array:
    """Returns `x` as int64 if it holds integers (sums and products are then exact), else as float64."""
    x = np.asarray(x)
    return x.astype(np.int64 if x.dtype.kind in "iub" else np.float64)


def real(x: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Returns `x` as float64, for operations whose result is no integer."""
    return np.asarray(x).astype(np.float64)
