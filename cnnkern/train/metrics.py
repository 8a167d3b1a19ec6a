# SPDX-License-Identifier: BSD-3-Clause
"""How good the answers of a classifier are.

The functions take `(targets, predictions)`, scikit-learn's order: targets (N,) class indices, predictions (N,) class
indices or (N, C) scores, whose largest is the answer. The `Metric` objects gather the same figures batch by batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from cnnkern.functional import _check as check

Array = npt.NDArray[Any]
_MOST_CLASSES = 1 << 15  # a confusion matrix of 8 GiB
Average = Literal["macro", "micro"] | None
Figures = float | npt.NDArray[np.float64]


def _targets(targets: npt.ArrayLike) -> npt.NDArray[np.int64]:
    array = np.asarray(targets)
    if array.ndim != 1 or array.dtype.kind not in "iub":
        raise ValueError(f"targets: expected class indices (N,), found {array.dtype} {array.shape}")
    if array.size and array.min() < 0:
        raise ValueError(f"targets: class indices must not be negative, found {array.min()}")
    return array.astype(np.int64)


def _classes(predictions: npt.ArrayLike, count: int) -> npt.NDArray[np.int64]:
    array = np.asarray(predictions)
    if array.ndim == 2 and len(array) == count and array.shape[1]:
        return np.asarray(array.argmax(1), np.int64)
    if array.ndim != 1 or array.dtype.kind not in "iub" or len(array) != count:
        raise ValueError(
            f"predictions: expected {count} class indices (N,) or scores (N, C), found {array.dtype} {array.shape}"
        )
    if array.size and array.min() < 0:
        raise ValueError(f"predictions: class indices must not be negative, found {array.min()}")
    return array.astype(np.int64)


def accuracy(targets: npt.ArrayLike, predictions: npt.ArrayLike) -> float:
    """Share of right answers; NaN for no examples."""
    truth = _targets(targets)
    return _share(_classes(predictions, len(truth)) == truth)


def top_k_accuracy(targets: npt.ArrayLike, scores: npt.ArrayLike, k: int = 5) -> float:
    """Share of examples whose class is among the k highest scores; between equal scores the lower class comes first.

    Args:
        targets: (N,) class indices.
        scores: (N, C). A NaN is below every number.
    """
    return _share(_top_k(targets, scores, k))


def _share(right: Array) -> float:
    return float(right.mean()) if right.size else float("nan")


def _top_k(targets: npt.ArrayLike, scores: npt.ArrayLike, k: int) -> npt.NDArray[np.bool_]:
    truth, values = _targets(targets), np.asarray(scores)
    if values.ndim != 2 or len(values) != len(truth):
        raise ValueError(f"scores: expected ({len(truth)}, C), found {values.shape}")
    check.integer("top_k_accuracy", "k", k, 1)
    if truth.size and truth.max() >= values.shape[1]:
        raise ValueError(f"targets: class {truth.max()} but scores for {values.shape[1]} classes")
    own = values[np.arange(len(truth)), truth][:, None]
    earlier = np.arange(values.shape[1]) < truth[:, None]
    rank = ((values > own) | ((values == own) & earlier)).sum(1)
    return np.asarray((rank < k) & ~np.isnan(own[:, 0]))


def confusion_matrix(
    targets: npt.ArrayLike, predictions: npt.ArrayLike, num_classes: int | None = None
) -> npt.NDArray[np.int64]:
    """(C, C) counts: row = true class, column = answer. C is `num_classes`, or what scores or indices need."""
    truth = _targets(targets)
    answers = _classes(predictions, len(truth))
    shape = np.shape(predictions)
    needed = max(int(truth.max(initial=-1)), int(answers.max(initial=-1))) + 1
    size = max(needed, shape[1] if len(shape) == 2 else 0)
    if num_classes is not None:
        size = check.integer("confusion_matrix", "num_classes", num_classes, 1, _MOST_CLASSES)
    if needed > size:
        raise ValueError(f"confusion_matrix: class {needed - 1} does not fit num_classes={size}")
    return np.bincount(truth * size + answers, minlength=size * size).reshape(size, size)


def rates(matrix: npt.NDArray[np.int64], average: Average) -> tuple[Figures, Figures, Figures]:
    """Precision, recall and F1 of a confusion matrix, averaged as in `precision`; 0 where a denominator is 0."""
    if average not in ("macro", "micro", None):
        raise ValueError(f'average: expected "macro", "micro" or None, found {average!r}')
    right = np.diag(matrix).astype(np.float64)
    answered, true = matrix.sum(0).astype(np.float64), matrix.sum(1).astype(np.float64)
    if average == "micro":
        right, answered, true = right.sum(keepdims=True), answered.sum(keepdims=True), true.sum(keepdims=True)

    def ratio(numerator: Array, denominator: Array) -> Array:
        return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)

    figures = ratio(right, answered), ratio(right, true), ratio(2 * right, answered + true)
    if average is None:
        return figures
    # A class that neither occurs nor is answered says nothing about the classifier.
    present = answered + true > 0
    precision, recall, f1 = (float(f[present].mean()) if present.any() else 0.0 for f in figures)
    return precision, recall, f1


def precision(targets: npt.ArrayLike, predictions: npt.ArrayLike, average: Average = "macro") -> Figures:
    """Right answers / answers of that class.

    `average`: "macro" (mean over the classes that occur), "micro" (over all examples) or None: per class, (C,).
    """
    return rates(confusion_matrix(targets, predictions), average)[0]


def recall(targets: npt.ArrayLike, predictions: npt.ArrayLike, average: Average = "macro") -> Figures:
    """Right answers / examples of that class. `average` as in `precision`."""
    return rates(confusion_matrix(targets, predictions), average)[1]


def f1(targets: npt.ArrayLike, predictions: npt.ArrayLike, average: Average = "macro") -> Figures:
    """2 precision recall / (precision + recall), per class and then averaged. `average` as in `precision`."""
    return rates(confusion_matrix(targets, predictions), average)[2]


class Metric:
    """A figure that is gathered over the batches of an epoch. `name` is its key in the logs."""

    name: str

    def reset(self) -> None:
        """Forget everything."""
        raise NotImplementedError

    def update(self, targets: Array, outputs: Array) -> None:
        """Take in one batch: targets (n, ...) and the model's outputs (n, ...)."""
        raise NotImplementedError

    def result(self) -> float:
        """The figure over all batches since `reset`."""
        raise NotImplementedError


class Mean(Metric):
    """The mean of `function(targets, outputs)` over batches, weighted by their sizes."""

    def __init__(self, function: Callable[[Array, Array], Any], name: str = "") -> None:
        self.function = function
        self.name = name or getattr(function, "__name__", type(function).__name__)
        self.reset()

    def reset(self) -> None:
        self._sum, self._count = 0.0, 0

    def update(self, targets: Array, outputs: Array) -> None:
        if len(outputs):
            self._sum += float(self.function(targets, outputs)) * len(outputs)
            self._count += len(outputs)

    def result(self) -> float:
        return self._sum / self._count if self._count else float("nan")


class Accuracy(Metric):
    """`accuracy`, counted exactly."""

    name = "accuracy"

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._right, self._count = 0, 0

    def update(self, targets: Array, outputs: Array) -> None:
        truth = _targets(targets)
        self._right += int((_classes(outputs, len(truth)) == truth).sum())
        self._count += len(truth)

    def result(self) -> float:
        return self._right / self._count if self._count else float("nan")


class TopK(Metric):
    """`top_k_accuracy`, counted exactly; named "top_5" for k = 5."""

    def __init__(self, k: int = 5) -> None:
        self.k, self.name = k, f"top_{k}"
        self.reset()

    def reset(self) -> None:
        self._right, self._count = 0, 0

    def update(self, targets: Array, outputs: Array) -> None:
        right = _top_k(targets, outputs, self.k)
        self._right += int(right.sum())
        self._count += len(right)

    def result(self) -> float:
        return self._right / self._count if self._count else float("nan")


class ConfusionMetric(Metric):
    """Precision, recall or F1 from the confusion matrix of all batches."""

    def __init__(
        self, name: Literal["precision", "recall", "f1"], average: Literal["macro", "micro"] = "macro"
    ) -> None:
        self.name, self.average = name, average
        self._which = ("precision", "recall", "f1").index(name)
        self.reset()

    def reset(self) -> None:
        self.matrix = np.zeros((0, 0), np.int64)

    def update(self, targets: Array, outputs: Array) -> None:
        batch = confusion_matrix(targets, outputs)
        size = max(len(batch), len(self.matrix))
        total = np.zeros((size, size), np.int64)
        for part in (self.matrix, batch):
            total[: len(part), : len(part)] += part
        self.matrix = total

    def result(self) -> float:
        figure = rates(self.matrix, self.average)[self._which]
        assert isinstance(figure, float)
        return figure


def as_metrics(metrics: Sequence[str | Metric | Callable[[Array, Array], Any]]) -> list[Metric]:
    """Metrics by name ("accuracy", "top_5", "precision", "recall", "f1"), objects, or functions (targets, outputs)."""
    if isinstance(metrics, str):
        raise TypeError(f"metrics: expected a sequence such as [{metrics!r}], found a string")
    found = [_as_metric(metric) for metric in metrics]
    names = [metric.name for metric in found]
    if len(set(names)) < len(names) or "loss" in names:
        raise ValueError(f"metrics: names must differ from each other and from loss, found {', '.join(names)}")
    return found


def _as_metric(metric: Any) -> Metric:
    if isinstance(metric, Metric):
        return metric
    if callable(metric):
        return Mean(metric)
    if metric == "accuracy":
        return Accuracy()
    if metric in ("precision", "recall", "f1"):
        return ConfusionMetric(metric)
    if isinstance(metric, str) and metric.startswith("top_") and metric[4:].isdigit():
        return TopK(int(metric[4:]))
    raise ValueError(
        f'metrics: expected "accuracy", "top_5", "precision", "recall", "f1" or a function, found {metric!r}'
    )
