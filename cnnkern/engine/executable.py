# SPDX-License-Identifier: BSD-3-Clause
"""Running a traced graph as one plan on live arrays: training steps, gradients, evaluation during training."""

from __future__ import annotations

import numpy as np

from cnnkern.engine.freeze import Frozen
from cnnkern.engine.options import Options
from cnnkern.engine.recompute import recomputed
from cnnkern.engine.training import optimize_training
from cnnkern.graph import Array, Graph


class Executable:
    """A graph ready to run. Its constants are used where they are: it follows their present content, and nodes that
    update them (running statistics, optimizer steps) write into the very arrays.

    executable(*arrays) takes the graph's inputs (then its implicit ones), float32 and int32, and returns the flat list
    of outputs; `graph.restore` gives them their structure. Raises ValueError for a wrong number, shape or dtype.
    winograd: may its algorithm be chosen for convolutions and their gradients? recompute: segments of what the first
    output depends on whose values are computed again instead of kept (None: a number that needs little memory).
    """

    def __init__(self, graph: Graph, winograd: bool = False, recompute: int | None = 0) -> None:
        for symbol, array in graph.constants.items():
            if not (array.flags.c_contiguous and array.flags.aligned):
                raise ValueError(f"Executable: constant {symbol!r} must be C-contiguous")
        optimized = optimize_training(graph)
        counts = (0, 3, 6, 12) if recompute is None else (recompute,)
        plans = [_planned(optimized, count, winograd) for count in counts]
        self.graph, self._frozen = min(plans, key=lambda plan: plan[1].memory(1))

    def memory(self, threads: int) -> int:
        """Bytes that a run works in, beside its inputs, outputs and constants."""
        return self._frozen.memory(threads)

    def __call__(self, *arrays: Array) -> list[Array]:
        expected = self._frozen.inputs
        if len(arrays) != len(expected):
            raise ValueError(f"Executable: expected {len(expected)} arrays, found {len(arrays)}")
        for symbol, array in zip(expected, arrays, strict=True):
            if array.shape != symbol.shape or array.dtype != symbol.dtype:
                raise ValueError(f"Executable: expected {symbol!r}, found {array.dtype}{list(array.shape)}")
        return self._frozen.run([np.require(array, requirements=["C", "A"]) for array in arrays])[0]


def _planned(graph: Graph, segments: int, winograd: bool) -> tuple[Graph, Frozen]:
    if segments:
        graph = recomputed(graph, graph.outputs[0], segments)
    return graph, Frozen(graph, None, Options(winograd=winograd))
