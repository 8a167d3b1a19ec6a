# SPDX-License-Identifier: BSD-3-Clause
"""Callbacks of `fit`, with Keras' names: what may watch and steer a training."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

from cnnkern.nn.module import Module

if TYPE_CHECKING:
    from cnnkern.train.training import Training

Logs = dict[str, float]


class Callback:
    """Override what you need. `self.training` is the running `Training` (`model`, `optimizer`, `stop`, ...).

    Logs hold "loss", the metrics' names and, where validation data are given, the same with "val_" before.
    """

    training: Training
    model: Module
    sets_learning_rate = False  # where it does, the learning rate is logged as "lr"

    def set_training(self, training: Training) -> None:
        """Called before anything else."""
        self.training, self.model = training, training.model

    def on_train_begin(self, logs: Logs) -> None:
        """Before the first epoch."""

    def on_train_end(self, logs: Logs) -> None:
        """After the last epoch."""

    def on_epoch_begin(self, epoch: int, logs: Logs) -> None:
        """Before epoch `epoch` (from 0)."""

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """After the epoch and its validation."""

    def on_train_batch_begin(self, batch: int, logs: Logs) -> None:
        """Before batch `batch` (from 0) of the epoch."""

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        """After the step; logs hold its own loss."""

    def on_test_begin(self, logs: Logs) -> None:
        """Before the validation of an epoch."""

    def on_test_end(self, logs: Logs) -> None:
        """After the validation of an epoch."""

    def on_checkpoint(self, epoch: int, logs: Logs) -> None:
        """After `on_epoch_end` of all callbacks: the moment to save what a later training goes on with."""

    def state_dict(self) -> dict[str, Any]:
        """What the callback must know again when the training is resumed: numbers, texts, arrays, mappings of them."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a `state_dict`; called after `on_train_begin` of a resumed training."""


def lower_is_better(callback: str, monitor: str, mode: str) -> bool:
    """What a callback's `mode` says of the figure that it watches."""
    if mode not in ("auto", "min", "max"):
        raise ValueError(f'{callback}: mode must be "auto", "min" or "max", found {mode!r}')
    return mode == "min" or (mode == "auto" and monitor.endswith("loss"))


def monitored(callback: Callback, monitor: str, logs: Logs) -> float:
    """The figure that a callback watches."""
    if monitor not in logs:
        raise ValueError(f"{type(callback).__name__}: {monitor!r} is not logged; there are {', '.join(logs)}")
    return logs[monitor]


def improves(value: float, best: float | None, min_delta: float, lower_is_better: bool) -> bool:
    """Whether a figure is better than the best so far by more than `min_delta`; NaN never is."""
    if math.isnan(value):
        return False
    return best is None or (best - value if lower_is_better else value - best) > min_delta


class CallbackList:
    """Calls the same method of several callbacks in turn."""

    def __init__(self, callbacks: Iterable[Callback]) -> None:
        self.callbacks = list(callbacks)
        for callback in self.callbacks:
            if not isinstance(callback, Callback):
                raise TypeError(f"callbacks: expected Callback objects, found {type(callback).__name__}")

    def __call__(self, event: str, *arguments: Any) -> None:
        for callback in self.callbacks:
            getattr(callback, event)(*arguments)


class History(Callback):
    """What `fit` returns: `epoch`, the list of epochs, and `history`, a list per logged name."""

    def __init__(self) -> None:
        self.epoch: list[int] = []
        self.history: dict[str, list[float]] = {}

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        self.epoch.append(epoch)
        for name, value in logs.items():
            self.history.setdefault(name, []).append(value)

    def state_dict(self) -> dict[str, Any]:
        return {"epoch": list(self.epoch), "history": {name: list(values) for name, values in self.history.items()}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.epoch, self.history = list(state["epoch"]), {name: list(v) for name, v in state["history"].items()}

    def __repr__(self) -> str:
        last = ", ".join(f"{name} {values[-1]:.4g}" for name, values in self.history.items())
        return f"History({len(self.epoch)} epochs{'; last: ' + last if last else ''})"


class EarlyStopping(Callback):
    """Stop when a monitored figure has not improved for some epochs.

    Args:
        monitor: name in the logs.
        min_delta: what counts as an improvement.
        patience: epochs without improvement to wait for.
        mode: "min", "max", or "auto": "max" unless the name ends in "loss".
        baseline: value that must be beaten to count at all.
        restore_best_weights: put back the state of the best epoch at the end.
        start_from_epoch: epochs before this one do not count.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0.0,
        patience: int = 0,
        mode: Literal["auto", "min", "max"] = "auto",
        baseline: float | None = None,
        restore_best_weights: bool = False,
        start_from_epoch: int = 0,
    ) -> None:
        self.monitor, self.min_delta, self.patience = monitor, abs(min_delta), patience
        self.lower_is_better = lower_is_better("EarlyStopping", monitor, mode)
        self.baseline, self.restore_best_weights, self.start_from_epoch = (
            baseline,
            restore_best_weights,
            start_from_epoch,
        )
        self._reset()

    def _reset(self) -> None:
        self.wait = 0
        self.best: float | None = self.baseline
        self.best_epoch: int | None = None
        self.stopped_epoch: int | None = None
        self._weights: dict[str, Any] | None = None

    def on_train_begin(self, logs: Logs) -> None:
        self._reset()

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        if epoch < self.start_from_epoch:
            return
        value = monitored(self, self.monitor, logs)
        if improves(value, self.best, self.min_delta, self.lower_is_better):
            self.best, self.best_epoch, self.wait = value, epoch, 0
            self._weights = self.model.state_dict() if self.restore_best_weights else None
            return
        self.wait += 1
        if self.wait >= self.patience:
            self.stopped_epoch = epoch
            self.training.stop = True

    def on_train_end(self, logs: Logs) -> None:
        if self._weights is not None:
            self.model.load_state_dict(self._weights)

    def state_dict(self) -> dict[str, Any]:
        names = ("wait", "best", "best_epoch", "stopped_epoch")
        return {**{name: getattr(self, name) for name in names}, "weights": self._weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.wait, self.best, self.best_epoch = state["wait"], state["best"], state["best_epoch"]
        self.stopped_epoch, self._weights = state["stopped_epoch"], state["weights"]
