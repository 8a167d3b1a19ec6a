# SPDX-License-Identifier: BSD-3-Clause
import numpy as np
from numpy.typing import NDArray

def recolour(out: NDArray[np.float32], colour: tuple[float, ...]) -> None: ...
