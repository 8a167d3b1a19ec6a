# SPDX-License-Identifier: BSD-3-Clause
"""`TerminateOnNaN`: ends a training whose loss is no number any more, and says where that began."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from cnnkern import graph
from cnnkern.nn.module import Module, kept_statistics, mode, observed
from cnnkern.train.callback import Callback, Logs

Array = npt.NDArray[Any]


class TerminateOnNaN(Callback):
    """Raises FloatingPointError as soon as the loss of a step is NaN or infinite.

    The message names the layer whose output, or parameter, was first not finite. The model then has the weights and
    statistics from before that step, which are kept for this before every step: a copy of them in memory.
    """

    def on_train_begin(self, logs: Logs) -> None:
        self._state = list(self._arrays().values())
        self._before = [np.empty_like(array) for array in self._state]

    def _arrays(self) -> dict[str, Array]:
        return {**dict(self.model.named_parameters()), **dict(self.model.named_buffers())}

    def on_train_batch_begin(self, batch: int, logs: Logs) -> None:
        for kept, array in zip(self._before, self._state, strict=True):
            kept[...] = array

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        if np.isfinite(logs["loss"]):
            return
        for kept, array in zip(self._before, self._state, strict=True):
            array[...] = kept
        inputs, _ = self.training.batch
        raise FloatingPointError(
            f"TerminateOnNaN: the loss is {logs['loss']} in batch {batch + 1} of epoch {self.training.epoch + 1}; "
            f"{_origin(self.model, inputs)}. The model has the weights from before this step"
        )


def _origin(model: Module, inputs: tuple[Array, ...]) -> str:
    """Where the first number that is not finite comes from."""
    if not all(np.isfinite(array).all() for array in inputs):
        return "the input of the model is not finite"
    parameters = {name: array for name, array in model.named_parameters() if not np.isfinite(array).all()}
    names = {id(module): name for name, module in model.named_modules()}
    found: list[str] = []

    def look(module: Module, event: str, _: Any, outputs: Any) -> None:
        if event == "leave" and not found:
            leaves: list[Array] = []
            graph.flatten(outputs, leaves)
            if not all(np.isfinite(leaf).all() for leaf in leaves):
                found.append(names.get(id(module), ""))

    with mode(model, training=True), kept_statistics(), observed(look), np.errstate(all="ignore"):
        model(*inputs)
    if not found:
        return (
            "all outputs are finite: it is the loss function" if not parameters else f"{next(iter(parameters))} is not"
        )
    layer = found[0]
    kind = f"{layer or 'the model'} ({type(_at(model, layer)).__name__})"
    own = [name for name in parameters if name.rpartition(".")[0] == layer]
    if own:
        return f"the first layer whose output is not finite is {kind}, and so is its parameter {own[0]}"
    return f"the first layer whose output is not finite is {kind}"


def _at(model: Module, name: str) -> Module:
    return dict(model.named_modules())[name]
