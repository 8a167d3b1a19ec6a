# SPDX-License-Identifier: BSD-3-Clause
"""From a graph to one planned, GIL-free call: `compile` for inference, `Executable` for any graph (training steps)."""

from cnnkern.engine.compile import Engine, TensorInfo, compile
from cnnkern.engine.executable import Executable
from cnnkern.engine.explain import Explanation

__all__ = ["Engine", "Executable", "Explanation", "TensorInfo", "compile"]
