# SPDX-License-Identifier: BSD-3-Clause
"""`Trainer`: single steps of training, for loops of one's own."""

from __future__ import annotations

from typing import Any

from cnnkern.data.loader import as_float, as_targets
from cnnkern.functional import _check as check
from cnnkern.nn.module import Module, mode, require_module
from cnnkern.train.batches import check_counts
from cnnkern.train.loss import LossFunction, as_loss
from cnnkern.train.optim import Optimizer
from cnnkern.train.optimizers import as_optimizer
from cnnkern.train.regularization import ElasticNet
from cnnkern.train.step import TrainingStep, as_execution


class Trainer:
    """Forward, loss, gradients and update in one planned call: `Trainer(model, optimizer=SGD(0.1)).step(x, labels)`.

    Args:
        model: its parameters, and running statistics, are changed in place by every step; modules with
            `trainable = False` are not.
        loss: as of `fit`.
        optimizer: as of `fit`.
        regularization: `train.L1`, `train.L2` or `train.ElasticNet`, added to the loss.
        seed: of dropout.
        winograd, recompute: as of `fit`.
    """

    def __init__(
        self,
        model: Module,
        loss: str | LossFunction = "cross_entropy",
        optimizer: str | Optimizer = "sgd",
        *,
        regularization: ElasticNet | None = None,
        seed: int = 0,
        winograd: bool = True,
        recompute: bool | int = False,
    ) -> None:
        self.model = require_module("Trainer", model)
        self.optimizer = as_optimizer(optimizer, "Trainer")
        seed = check.integer("Trainer", "seed", seed, 0)
        function = as_loss(loss, "Trainer")
        execution = as_execution("Trainer", winograd, recompute)
        self._step = TrainingStep(model, function, self.optimizer, seed, regularization, False, execution)

    def step(self, x: Any, targets: Any) -> float:
        """One step on a batch; returns its loss, computed before the update.

        Args:
            x: (N, ...) float32, or bytes (taken as byte / 255); a tuple of such for a model of several inputs.
            targets: (N, ...) integers (classes) or float32.

        Raises:
            TypeError, ValueError: arrays that do not fit; the message names what was expected. Nothing has changed.
        """
        inputs = tuple(as_float(array) for array in (x if isinstance(x, tuple) else (x,)))
        wanted = as_targets(targets, "targets")
        check_counts("Trainer.step", inputs, wanted)
        with mode(self.model, training=True):
            return self._step(inputs, wanted)[0]
