# SPDX-License-Identifier: BSD-3-Clause
"""`fit`, `evaluate` and `predict`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from cnnkern import _random, graph
from cnnkern.data.loader import Loader, as_float, as_inputs, as_targets, is_data_set
from cnnkern.functional import _check as check
from cnnkern.nn.module import Module, mode, require_module
from cnnkern.train.callback import Callback, CallbackList, History
from cnnkern.train.metrics import Metric, as_metrics
from cnnkern.train.optim import Optimizer, as_optimizer
from cnnkern.train.progress import progress_callback
from cnnkern.train.step import Inference, LossFunction, TrainingStep, as_loss

Array = npt.NDArray[Any]
Metrics = Sequence[str | Metric | Callable[[Array, Array], Any]]


class Training:
    """A running `fit`, as callbacks see it. Setting `stop` ends it after the epoch; `batches` per epoch, if known."""

    def __init__(self, model: Module, optimizer: Optimizer, epochs: int, batches: int | None) -> None:
        self.model, self.optimizer, self.epochs, self.batches = model, optimizer, epochs, batches
        self.epoch = 0
        self.stop = False


class _Batches:
    """The epochs of whatever was given as data."""

    def __init__(self, name: str, data: Any, batch_size: int, shuffle: bool, seed: int) -> None:
        self.name = name
        self._data = data
        self._loader: Loader | None = None
        if isinstance(data, tuple) or is_data_set(data):
            self._loader = Loader(data, batch_size, shuffle=shuffle, seed=seed)
        elif not isinstance(data, Iterable) or isinstance(data, Mapping):
            raise TypeError(
                f"{name}: expected (x, y), a data set or an iterable of batches, found {type(data).__name__}"
            )

    def __len__(self) -> int:
        data = self._data if self._loader is None else self._loader
        return len(data) if hasattr(data, "__len__") else 0

    def epoch(self, number: int) -> Iterator[tuple[tuple[Array, ...], Array]]:
        """The batches of one epoch.

        Raises:
            ValueError: there are none, or they have no targets.
        """
        if self._loader is not None:
            batches: Iterable[Any] = self._loader.epoch(number)
        elif isinstance(self._data, Loader):
            batches = self._data.epoch(number)
        else:
            batches = self._data
        empty = True
        for batch in batches:
            empty = False
            yield self._checked(batch)
        if empty:
            hint = " (an iterator ends once: pass something that can be iterated again)" if number else ""
            raise ValueError(f"{self.name}: no batches in epoch {number + 1}{hint}")

    def _checked(self, batch: Any) -> tuple[tuple[Array, ...], Array]:
        if not isinstance(batch, tuple | list) or len(batch) != 2:
            raise TypeError(f"{self.name}: expected batches (x, y), found {type(batch).__name__}")
        inputs, targets = batch
        if targets is None:
            raise ValueError(f"{self.name}: targets are missing")
        floats = tuple(as_float(array) for array in (inputs if isinstance(inputs, tuple) else (inputs,)))
        return floats, as_targets(targets)


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
    seed: int | None = None,
    shuffle: bool = True,
    initial_epoch: int = 0,
    progress: bool = True,
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
        optimizer: an `Optimizer`, or "sgd", "adam", "adamw". One that has trained this model goes on where it stopped.
        loss: "cross_entropy" (of logits and class indices), or a function (outputs, targets) -> one number, written
            with `cnnkern.functional`.
        metrics: "accuracy", "top_5", "precision", "recall", "f1", `Metric` objects or functions (targets, outputs).
        callbacks: `Callback` objects.
        seed: of shuffling and dropout, 0 .. 2^31 - 1; None draws one (`cnnkern.manual_seed`).
        shuffle: take arrays and data sets in another order in each epoch.
        initial_epoch: the epoch to begin with: with the same seed, optimizer and weights, as if never interrupted.
        progress: show the progress on standard error.

    Returns:
        A `History`. The training figures are means over the steps of the epoch, in training mode.

    Raises:
        TypeError, ValueError: data that do not fit; the message names what was expected.
    """
    require_module("fit", model)
    if seed is None:
        seed = int(_random.generator().integers(2**31))
    seed = check.integer("fit", "seed", seed, 0)
    epochs = check.integer("fit", "epochs", epochs, 0)
    initial_epoch = check.integer("fit", "initial_epoch", initial_epoch, 0)
    shuffle, progress = check.boolean("fit", "shuffle", shuffle), check.boolean("fit", "progress", progress)
    function, figures = as_loss(loss), as_metrics(metrics)
    optimizer = as_optimizer(optimizer)
    data = _Batches("train_data", train_data, batch_size, shuffle, seed)
    held_out = (
        None if validation_data is None else _Batches("validation_data", validation_data, batch_size, False, seed)
    )
    training = Training(model, optimizer, epochs, len(data) or None)
    history = History()
    events = CallbackList([*([progress_callback()] if progress else []), history, *callbacks])
    step = TrainingStep(model, function, optimizer, seed)
    inference = None if held_out is None else Inference(model, function)

    events("set_training", training)
    events("on_train_begin", {})
    logs: dict[str, float] = {}
    for epoch in range(initial_epoch, epochs):
        training.epoch = epoch
        events("on_epoch_begin", epoch, {})
        logs = _train_epoch(step, data.epoch(epoch), figures, events)
        if held_out is not None and inference is not None:
            events("on_test_begin", {})
            checked = _evaluate(inference, held_out.epoch(epoch), figures)
            logs |= {f"val_{name}": value for name, value in checked.items()}
            events("on_test_end", checked)
        events("on_epoch_end", epoch, logs)
        if training.stop:
            break
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
    events: CallbackList,
) -> dict[str, float]:
    totals = _Totals(metrics)
    with mode(step.model, training=True):
        for number, (inputs, targets) in enumerate(batches):
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
    batches = _Batches("data", data, batch_size, False, 0)
    return _evaluate(Inference(model, as_loss(loss)), batches.epoch(0), as_metrics(metrics))


def predict(model: Module, x: Any, batch_size: int = 256) -> Any:
    """The outputs of a model, in evaluation mode, computed batch by batch.

    Args:
        model: it is not changed.
        x: (N, ...) float32 or bytes (taken as byte / 255); a tuple of such for a model of several inputs.
        batch_size: examples per call.

    Returns:
        (N, ...) for a model with one output; else its tuple, list or dictionary of such.
    """
    require_module("predict", model)
    arrays = as_inputs(x)
    inference = Inference(model)
    if not len(arrays[0]):
        return inference.shapes(tuple(as_float(array) for array in arrays))
    parts: list[list[Array]] = []
    structure: Any = None
    for inputs, _ in Loader((arrays, None), batch_size).epoch(0):
        leaves: list[Array] = []
        structure = graph.flatten(inference(inputs), leaves)
        parts.append(leaves)
    return graph.unflatten(structure, [np.concatenate(column) for column in zip(*parts, strict=True)])
