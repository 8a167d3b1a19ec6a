# SPDX-License-Identifier: BSD-3-Clause
"""`ReduceLROnPlateau`: smaller steps where the figures no longer get better."""

from __future__ import annotations

from typing import Any

from cnnkern.functional import _check as check
from cnnkern.train.callback import Callback, Logs, improves, lower_is_better, monitored


class ReduceLROnPlateau(Callback):
    """Multiplies the learning rate by `factor` when a monitored figure has not improved for some epochs.

    ResNet's recipe is `ReduceLROnPlateau("val_loss", factor=0.1)` with SGD(0.1, momentum=0.9).

    Args:
        monitor: name in the logs.
        factor: below 1.
        patience: epochs without improvement to wait for.
        mode: "min", "max", or "auto": "max" unless the name ends in "loss".
        min_delta: what counts as an improvement.
        cooldown: epochs after a reduction in which nothing is counted.
        min_lr: the learning rate does not go below it.
    """

    sets_learning_rate = True

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        mode: str = "auto",
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
    ) -> None:
        name = "ReduceLROnPlateau"
        self.monitor, self.lower_is_better = monitor, lower_is_better(name, monitor, mode)
        self.factor = check.finite(name, "factor", factor, 0.0, 1.0)
        self.patience = check.integer(name, "patience", patience, 0)
        self.min_delta, self.min_lr = abs(min_delta), check.finite(name, "min_lr", min_lr, 0.0)
        self.cooldown = check.integer(name, "cooldown", cooldown, 0)
        self._reset()

    def _reset(self) -> None:
        self.best: float | None = None
        self.wait = self.cooling = 0

    def on_train_begin(self, logs: Logs) -> None:
        if self.training.optimizer.schedule is not None:
            raise ValueError("ReduceLROnPlateau: the optimizer has a schedule of its own")
        self._reset()

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        value = monitored(self, self.monitor, logs)
        optimizer = self.training.optimizer
        cooling, self.cooling = self.cooling > 0, max(self.cooling - 1, 0)
        if improves(value, self.best, self.min_delta, self.lower_is_better):
            self.best, self.wait = value, 0
        elif not cooling:
            self.wait += 1
            if self.wait >= self.patience and optimizer.lr > self.min_lr:
                optimizer.lr = max(optimizer.lr * self.factor, self.min_lr)
                self.cooling, self.wait = self.cooldown, 0

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "wait": self.wait, "cooling": self.cooling}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best, self.wait, self.cooling = state["best"], state["wait"], state["cooling"]
