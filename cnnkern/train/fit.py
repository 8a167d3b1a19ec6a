# SPDX-License-Identifier: BSD-3-Clause
"""`fit`, `evaluate` and `predict`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from cnnkern import _random, graph
from cnnkern.data.loader import Loader, as_float, as_inputs
from cnnkern.functional import _check as check
from cnnkern.nn.module import Module, mode, require_module
from cnnkern.train.batches import Batches
from cnnkern.train.callback import Callback, CallbackList, History
from cnnkern.train.checkpoint import load_checkpoint
from cnnkern.train.loss import LossFunction, as_loss
from cnnkern.train.metrics import Metric, as_metrics
from cnnkern.train.optim import Optimizer
from cnnkern.train.optimizers import as_optimizer
from cnnkern.train.progress import Progress
from cnnkern.train.regularization import ElasticNet
from cnnkern.train.step import Inference, TrainingStep, as_execution
from cnnkern.train.training import Training

Array = npt.NDArray[Any]
Metrics = Sequence[str | Metric | Callable[[Array, Array], Any]]


def fit(
    model: Module,
    train_data: Any,
    validation_data: Any = None,
    *,
    epochs: int = 1,
    batch_size: int = 32,
    optimizer: str | Optimizer = "adam",
    loss: str | LossFunction = "cross_entropy",
    metrics: Metrics = ("accuracy",),
    callbacks: Sequence[Callback] = (),
    regularization: ElasticNet | None = None,
    seed: int | None = None,
    shuffle: bool = True,
    initial_epoch: int = 0,
    resume: str | os.PathLike[str] | None = None,
    progress: bool = True,
    winograd: bool = True,
    recompute: bool | int = False,
) -> History:
    """Train a model. Same seed (and same initial weights), same bits, whatever the number of threads.

    Args:
        model: its parameters, and running statistics, are changed in place; modules with `trainable = False` are not.
        train_data: `(x, y)`; a data set, with `__len__` and `__getitem__(i) -> (x, y)`; or any iterable of batches
            `(x, y)` that can be iterated once per epoch. x is float32, or bytes (taken as byte / 255), with examples
            along the first axis, and a tuple for a model of several inputs. y holds integers (classes) or float32.
        validation_data: the same, evaluated after every epoch in evaluation mode and logged as "val_...".
        epochs: the number of the epoch to stop before, counted from 0.
        batch_size: examples per step; the last batch of an epoch takes what is left.
        optimizer: an `Optimizer`, or "sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw". One that has
            trained this model goes on where it stopped.
        loss: "cross_entropy" (of logits and class indices), "mse", "huber", ...; an object such as
            `nn.CrossEntropyLoss(label_smoothing=0.1)`; or a function (outputs, targets) -> one number, written with
            `cnnkern.functional`, which gets what the model returns. The first two count auxiliary heads (GoogLeNet 0.3,
            Inception 0.4).
        metrics: "accuracy", "top_5", "precision", "recall", "f1", `Metric` objects or functions (targets, outputs).
        callbacks: `Callback` objects.
        regularization: `train.L1`, `train.L2` or `train.ElasticNet` of the weights, added to the loss.
        seed: of shuffling and dropout, 0 .. 2^31 - 1; None draws one (`cnnkern.manual_seed`).
        shuffle: take arrays and data sets in another order in each epoch.
        initial_epoch: the epoch to begin with: with the same seed, optimizer and weights, as if never interrupted.
        resume: a checkpoint of `ModelCheckpoint`. Where the file is there, weights, optimizer, callbacks, history, seed
            and epoch come from it, and the training ends with the same bits as if never interrupted, given the same
            other arguments; where it is not, the training begins at the beginning.
        progress: show the progress on standard error.
        winograd: allow Winograd's algorithm for 3x3 and 5x5 convolutions and their gradients, whose rms error is up to
            three times that of plain sums (False: plain sums everywhere).
        recompute: memory for time: cut the forward pass into so many segments (True: a sensible number), keep what
            crosses the cuts, and compute everything else again where gradients read it. Changes no bit.

    Returns:
        A `History`. The training figures are means over the steps of the epoch, in training mode.

    Raises:
        TypeError, ValueError: data that do not fit; the message names what was expected.
    """
    require_module("fit", model)
    saved = load_checkpoint(resume) if resume is not None and os.path.exists(resume) else None
    if seed is None:
        seed = int(_random.generator().integers(2**31)) if saved is None else saved["seed"]
    seed = check.integer("fit", "seed", seed, 0)
    epochs = check.integer("fit", "epochs", epochs, 0)
    initial_epoch = check.integer("fit", "initial_epoch", initial_epoch, 0)
    shuffle, progress = check.boolean("fit", "shuffle", shuffle), check.boolean("fit", "progress", progress)
    execution = as_execution("fit", winograd, recompute)
    function, figures = as_loss(loss), as_metrics(metrics)
    optimizer = as_optimizer(optimizer)
    data = Batches("train_data", train_data, batch_size, shuffle, seed)
    held_out = None if validation_data is None else Batches("validation_data", validation_data, batch_size, False, seed)
    history = History()
    events = CallbackList([*([Progress()] if progress else []), history, *callbacks])
    training = Training(model, optimizer, events, seed, epochs, initial_epoch, len(data) or None)
    step = TrainingStep(model, function, optimizer, seed, regularization, execution=execution)
    inference = None if held_out is None else Inference(model, function)

    events("set_training", training)
    if saved is not None:
        training.load_model(saved)
    events("on_train_begin", {})
    if saved is not None:
        training.load_callbacks(saved)
    logs: dict[str, float] = {}
    for epoch in range(training.initial_epoch, epochs):
        if training.stop:
            break
        training.epoch = epoch
        events("on_epoch_begin", epoch, {})
        logs = _train_epoch(step, data.epoch(epoch), figures, training)
        if held_out is not None and inference is not None:
            events("on_test_begin", {})
            checked = _evaluate(inference, held_out.epoch(epoch), figures)
            logs |= {f"val_{name}": value for name, value in checked.items()}
            events("on_test_end", checked)
        if optimizer.schedule is not None or any(callback.sets_learning_rate for callback in events.callbacks):
            logs["lr"] = optimizer.lr
        events("on_epoch_end", epoch, logs)
        events("on_checkpoint", epoch, logs)
    events("on_train_end", logs)
    return history


class _Totals:
    """The mean loss and the metrics of an epoch."""

    def __init__(self, metrics: Sequence[Metric]) -> None:
        self._metrics = metrics
        self._sum, self._count = 0.0, 0
        for metric in metrics:
            metric.reset()

    def add(self, loss: float, targets: Array, outputs: Any) -> None:
        """Take in one batch."""
        self._sum += loss * len(targets)
        self._count += len(targets)
        main = outputs[0] if hasattr(outputs, "loss_weights") else outputs
        for metric in self._metrics:
            metric.update(targets, main)

    def logs(self) -> dict[str, float]:
        """Name -> figure."""
        mean = self._sum / self._count if self._count else float("nan")
        return {"loss": mean, **{metric.name: metric.result() for metric in self._metrics}}


def _train_epoch(
    step: TrainingStep,
    batches: Iterator[tuple[tuple[Array, ...], Array]],
    metrics: Sequence[Metric],
    training: Training,
) -> dict[str, float]:
    events = training.events
    totals = _Totals(metrics)
    with mode(step.model, training=True):
        for number, (inputs, targets) in enumerate(batches):
            training.batch = inputs, targets
            events("on_train_batch_begin", number, {})
            value, outputs = step(inputs, targets)
            totals.add(value, targets, outputs)
            events("on_train_batch_end", number, {"loss": value})
    return totals.logs()


def _evaluate(
    inference: Inference, batches: Iterator[tuple[tuple[Array, ...], Array]], metrics: Sequence[Metric]
) -> dict[str, float]:
    totals = _Totals(metrics)
    for inputs, targets in batches:
        value, outputs = inference((*inputs, targets))
        totals.add(float(value), targets, outputs)
    return totals.logs()


def evaluate(
    model: Module,
    data: Any,
    *,
    batch_size: int = 256,
    loss: str | LossFunction = "cross_entropy",
    metrics: Metrics = ("accuracy",),
) -> dict[str, float]:
    """Loss and metrics of a model on data, in evaluation mode: {"loss": ..., "accuracy": ...}.

    Args:
        model: it is not changed.
        data: as `train_data` of `fit`.
        batch_size: examples per call.
        loss: as in `fit`.
        metrics: as in `fit`.
    """
    require_module("evaluate", model)
    batches = Batches("data", data, batch_size, False, 0)
    return _evaluate(Inference(model, as_loss(loss, "evaluate")), batches.epoch(0), as_metrics(metrics))


def predict(model: Module, x: Any, batch_size: int = 256) -> Any:
    """The outputs of a model, in evaluation mode, computed batch by batch.

    Args:
        model: it is not changed.
        x: (N, ...) float32 or bytes (taken as byte / 255); a tuple of such for a model of several inputs; or a
            `data.Loader`, whose targets are left out.
        batch_size: examples per call; a loader has its own.

    Returns:
        (N, ...) for a model with one output; else its tuple, list or dictionary of such.
    """
    require_module("predict", model)
    inference = Inference(model)
    if isinstance(x, Loader):
        batches = x.epoch(0)
    else:
        arrays = as_inputs(x)
        if not len(arrays[0]):
            return inference.shapes(tuple(as_float(array) for array in arrays))
        batches = Loader((arrays, None), batch_size).epoch(0)
    parts: list[list[Array]] = []
    structure: Any = None
    for inputs, _ in batches:
        leaves: list[Array] = []
        structure = graph.flatten(inference(inputs), leaves)
        parts.append(leaves)
    if not parts:
        raise ValueError("predict: the loader has no batches")
    return graph.unflatten(structure, [np.concatenate(column) for column in zip(*parts, strict=True)])
