# SPDX-License-Identifier: BSD-3-Clause
"""Pictures, with matplotlib, which is imported only here and only when a picture is made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cnnkern.train.metrics import confusion_matrix

if TYPE_CHECKING:
    from cnnkern.train import History

Array = npt.NDArray[Any]


def require_matplotlib() -> None:
    """Raises ImportError with the remedy where matplotlib is missing."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ImportError("pictures need matplotlib: pip install 'cnnkern[plot]'") from error


def draw_predictions(panel: Any, images: Array, labels: Array, answers: Array) -> None:
    """Draw images (n, 1, H, W) with the answer above each, red with "(true class)" if it is wrong, into a panel."""
    columns = min(8, max(1, len(images)))
    axes = np.atleast_1d(panel.subplots(-(-len(images) // columns), columns)).ravel()
    for axis in axes:
        axis.set_axis_off()
    for axis, image, label, answer in zip(axes, images[:, 0], labels, answers, strict=False):
        axis.imshow(image, cmap="gray_r")
        right = label == answer
        axis.set_title(f"{answer}" if right else f"{answer} ({label})", color="black" if right else "red", fontsize=9)


def draw_confusion(panel: Any, labels: Array, answers: Array) -> None:
    """Draw the confusion matrix of class indices (N,) into a subfigure."""
    matrix = confusion_matrix(labels, answers)
    axis = panel.subplots()
    # The right answers would drown the mistakes on a linear scale.
    axis.imshow(np.log1p(matrix), cmap="Blues")
    for row, column in np.ndindex(matrix.shape):
        if matrix[row, column]:
            dark = matrix[row, column] > matrix.max() / 4
            axis.text(
                column, row, matrix[row, column], ha="center", va="center", fontsize=7, color="w" if dark else "k"
            )
    axis.set_xticks(range(len(matrix)))
    axis.set_yticks(range(len(matrix)))
    axis.set_xlabel("answer")
    axis.set_ylabel("true class")


def draw_filters(panel: Any, weight: Array) -> None:
    """Draw the filters (O, C, R, S) of a first layer, averaged over C, on one scale around zero, into a subfigure."""
    columns = 8
    axes = np.atleast_1d(panel.subplots(-(-len(weight) // columns), columns)).ravel()
    limit = float(np.abs(weight).max()) or 1.0
    for axis in axes:
        axis.set_axis_off()
    for axis, kernel in zip(axes, weight.mean(1), strict=False):
        axis.imshow(kernel, cmap="RdBu_r", vmin=-limit, vmax=limit)


def draw_history(panel: Any, history: History) -> None:
    """Draw every logged figure of a training over the epochs into a subfigure."""
    axis = panel.subplots()
    for name, values in history.history.items():
        axis.plot(np.array(history.epoch) + 1, values, label=name)
    axis.set_xlabel("epoch")
    axis.legend(fontsize=8)


def demo_figure(images: Array, labels: Array, answers: Array, weight: Array, history: History) -> Any:
    """A matplotlib Figure of predictions (wrong ones first), confusion matrix, first-layer filters and the curve.

    Args:
        images: (N, 1, H, W); labels, answers: (N,) class indices.
        weight: (O, C, R, S) of the first layer.
        history: of the training.
    """
    require_matplotlib()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 9), layout="constrained")
    panels: Any = figure.subfigures(2, 2)
    (top_left, top_right), (bottom_left, bottom_right) = panels
    shown = np.argsort(answers == labels, kind="stable")[:32]
    top_left.suptitle("held-out images: answer (true class)")
    draw_predictions(top_left, images[shown], labels[shown], answers[shown])
    top_right.suptitle("confusion matrix")
    draw_confusion(top_right, labels, answers)
    bottom_left.suptitle("filters of the first layer")
    draw_filters(bottom_left, weight)
    bottom_right.suptitle("training")
    draw_history(bottom_right, history)
    return figure
