# SPDX-License-Identifier: BSD-3-Clause
"""`Training`: a running `fit`, as callbacks see it, and what a checkpoint holds of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from cnnkern.nn.module import Module
from cnnkern.train.callback import CallbackList
from cnnkern.train.optim import Optimizer

Array = npt.NDArray[Any]


class Training:
    """A running `fit`.

    Attributes:
        model, optimizer: what is trained, and by what.
        epochs: the epoch to stop before; `initial_epoch`: the one that this run began with; `epoch`: the present one.
        batches: per epoch, None where nobody knows.
        batch: the inputs, a tuple, and targets of the present step.
        seed: of shuffling and dropout.
        stop: setting it ends the training after the epoch.
    """

    def __init__(
        self,
        model: Module,
        optimizer: Optimizer,
        events: CallbackList,
        seed: int,
        epochs: int,
        initial_epoch: int,
        batches: int | None,
    ) -> None:
        self.model, self.optimizer, self.events, self.seed = model, optimizer, events, seed
        self.epochs, self.initial_epoch, self.batches = epochs, initial_epoch, batches
        self.epoch = initial_epoch
        self.stop = False
        self.batch: tuple[tuple[Array, ...], Array] = (), np.empty(0, np.float32)

    def state(self) -> dict[str, Any]:
        """All that going on after the present epoch takes."""
        return {
            "epoch": self.epoch + 1,
            "seed": self.seed,
            "stop": self.stop,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "callbacks": {name: callback.state_dict() for name, callback in self._named_callbacks().items()},
        }

    def _named_callbacks(self) -> dict[str, Any]:
        """Callbacks by the names of their classes, numbered: those of another run are found again by them."""
        seen: Counter[str] = Counter()
        named = {}
        for callback in self.events.callbacks:
            name = type(callback).__name__
            named[f"{name} {seen[name]}"] = callback
            seen[name] += 1
        return named

    def load_model(self, state: Mapping[str, Any]) -> None:
        """Take model, optimizer, epoch and `stop` over from a `state`.

        Raises:
            ValueError: it is the state of another model, optimizer or seed.
        """
        if state["seed"] != self.seed:
            raise ValueError(f"fit: resume: the checkpoint was made with seed {state['seed']}, found seed {self.seed}")
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.initial_epoch = self.epoch = state["epoch"]
        self.stop = state["stop"]

    def load_callbacks(self, state: Mapping[str, Any]) -> None:
        """Give every callback the state that one of its kind had; one that was not there keeps its own."""
        for name, callback in self._named_callbacks().items():
            if name in state["callbacks"]:
                callback.load_state_dict(state["callbacks"][name])
