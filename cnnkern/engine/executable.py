# SPDX-License-Identifier: BSD-3-Clause
"""Running a traced graph as one plan on live arrays: training steps, gradients, evaluation during training."""

from __future__ import annotations

import numpy as np

from cnnkern.engine.freeze import Frozen
from cnnkern.engine.options import Options
from cnnkern.engine.passes import optimize_training
from cnnkern.graph import Array, Graph


class Executable:
    """A graph ready to run. Its constants are used where they are: it follows their present content, and nodes that
    update them (running statistics, optimizer steps) write into the very arrays.

    executable(*arrays) takes the graph's inputs (then its implicit ones), float32 and int32, and returns the flat list
    of outputs; `graph.restore` gives them their structure. Raises ValueError for a wrong number, shape or dtype.
    """

    def __init__(self, graph: Graph) -> None:
        for symbol, array in graph.constants.items():
            if not (array.flags.c_contiguous and array.flags.aligned):
                raise ValueError(f"Executable: constant {symbol!r} must be C-contiguous")
        self.graph = optimize_training(graph)
        self._frozen = Frozen(self.graph, None, Options(winograd=True))

    def __call__(self, *arrays: Array) -> list[Array]:
        expected = self._frozen.inputs
        if len(arrays) != len(expected):
            raise ValueError(f"Executable: expected {len(expected)} arrays, found {len(arrays)}")
        for symbol, array in zip(expected, arrays, strict=True):
            if array.shape != symbol.shape or array.dtype != symbol.dtype:
                raise ValueError(f"Executable: expected {symbol!r}, found {array.dtype}{list(array.shape)}")
        return self._frozen.run([np.require(array, requirements=["C", "A"]) for array in arrays])[0]
