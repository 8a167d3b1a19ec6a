# SPDX-License-Identifier: BSD-3-Clause
import numpy as np
from numpy.typing import NDArray

def gather(
    images: NDArray[np.uint8] | NDArray[np.float32], indices: NDArray[np.int64], out: NDArray[np.float32]
) -> None: ...
