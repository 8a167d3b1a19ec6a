# SPDX-License-Identifier: BSD-3-Clause
import numpy as np
from numpy.typing import NDArray

_Map = tuple[float, float, float, float, float, float]

def render(
    image: NDArray[np.uint8],
    out: NDArray[np.float32],
    after: _Map,
    field: NDArray[np.float32] | None,
    before: _Map | None,
    border: int,
    fill: tuple[float, ...],
    colour: tuple[float, ...],
) -> None: ...
