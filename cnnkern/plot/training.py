# SPDX-License-Identifier: BSD-3-Clause
"""How a training went and what a classifier confuses: curves, confusion, mistakes, gradients, boundaries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from cnnkern import train
from cnnkern.nn import Module
from cnnkern.plot._figure import new_figure, require_matplotlib
from cnnkern.plot.network import draw_filters
from cnnkern.train import History, metrics

Array = npt.NDArray[Any]


def draw_image(axis: Any, image: Array) -> None:
    """Draw an image (C, H, W) of any range: one channel in shades, dark is high; three in colours."""
    if len(image) == 3:
        low, high = float(image.min()), float(image.max())
        axis.imshow((image.transpose(1, 2, 0) - low) / max(high - low, 1e-12))
    else:
        axis.imshow(image[0], cmap="gray_r")


def draw_predictions(
    panel: Any, images: Array, labels: Array, answers: Array, names: Sequence[str] | None = None
) -> None:
    """Draw images (n, C, H, W) with the answer above each, red with "(true class)" if it is wrong, into a panel."""
    columns = min(8, max(1, len(images)))
    axes = np.atleast_1d(panel.subplots(-(-len(images) // columns), columns)).ravel()
    for axis in axes:
        axis.set_axis_off()
    for axis, image, label, answer in zip(axes, images, labels, answers, strict=False):
        draw_image(axis, image)
        right = label == answer
        shown, true = (answer, label) if names is None else (names[int(answer)], names[int(label)])
        axis.set_title(f"{shown}" if right else f"{shown} ({true})", color="black" if right else "red", fontsize=9)


def draw_confusion(panel: Any, labels: Array, answers: Array, names: Sequence[str] | None = None) -> None:
    """Draw the confusion matrix of class indices (N,) into a subfigure."""
    matrix = metrics.confusion_matrix(labels, answers, None if names is None else len(names))
    axis = panel.subplots()
    # The right answers would drown the mistakes on a linear scale.
    axis.imshow(np.log1p(matrix), cmap="Blues")
    for row, column in np.ndindex(matrix.shape):
        if matrix[row, column]:
            dark = matrix[row, column] > matrix.max() / 4
            axis.text(
                column, row, matrix[row, column], ha="center", va="center", fontsize=7, color="w" if dark else "k"
            )
    axis.set_xticks(range(len(matrix)), names, **({} if names is None else {"rotation": 90}))
    axis.set_yticks(range(len(matrix)), names)
    axis.set_xlabel("answer")
    axis.set_ylabel("true class")


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
    figure = new_figure(12, 9)
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


def training_curves(history: History) -> Any:
    """A matplotlib Figure of every logged figure over the epochs: losses in one panel, the others in another.

    Args:
        history: what `fit` returned.

    Raises:
        ImportError: matplotlib is missing.
    """
    require_matplotlib()
    names = [name for name in history.history if name != "lr"]
    parts = [[name for name in names if name.endswith("loss") == losses] for losses in (True, False)]
    parts = [part for part in parts if part]
    figure = new_figure(5 * max(1, len(parts)), 4)
    for axis, part in zip(figure.subplots(1, max(1, len(parts)), squeeze=False).ravel(), parts, strict=False):
        for name in part:
            style = "--" if name.startswith("val_") else "-"
            axis.plot(np.array(history.epoch) + 1, history.history[name], style, label=name)
        axis.set_xlabel("epoch")
        axis.legend(fontsize=8)
    return figure


def confusion_matrix(targets: npt.ArrayLike, predictions: npt.ArrayLike, names: Sequence[str] | None = None) -> Any:
    """A matplotlib Figure of how often each true class (row) got each answer (column).

    Args:
        targets: (N,) class indices.
        predictions: (N,) class indices or (N, C) scores.
        names: of the classes.

    Raises:
        ImportError: matplotlib is missing.
        ValueError: targets and predictions do not belong together.
    """
    require_matplotlib()
    labels, answers = np.asarray(targets), _answers(predictions)
    size = 3 + 0.3 * (len(names) if names is not None else int(max(labels.max(initial=0), answers.max(initial=0))) + 1)
    figure = new_figure(size, size)
    draw_confusion(figure, labels, answers, names)
    return figure


def _answers(predictions: npt.ArrayLike) -> Array:
    array = np.asarray(predictions)
    return array.argmax(1) if array.ndim == 2 else array


def misclassified(
    images: Array,
    targets: npt.ArrayLike,
    predictions: npt.ArrayLike,
    names: Sequence[str] | None = None,
    count: int = 32,
) -> Any:
    """A matplotlib Figure of images that got a wrong answer, the most certain mistakes first if scores are given.

    Args:
        images: (N, C, H, W) with one or three channels.
        targets: (N,) class indices.
        predictions: (N,) class indices or (N, C) scores.
        names: of the classes.
        count: of images, at most.

    Raises:
        ImportError: matplotlib is missing.
        ValueError: the shapes do not belong together.
    """
    require_matplotlib()
    labels, answers = np.asarray(targets), _answers(predictions)
    if images.ndim != 4 or not len(images) == len(labels) == len(answers):
        raise ValueError(
            f"misclassified: expected images (N, C, H, W) with N targets and predictions, found {images.shape}, "
            f"{labels.shape} and {np.shape(predictions)}"
        )
    wrong = np.flatnonzero(labels != answers)
    scores = np.asarray(predictions)
    if scores.ndim == 2:
        exact = scores[wrong].astype(np.float64)
        lead = exact[np.arange(len(wrong)), answers[wrong]] - exact[np.arange(len(wrong)), labels[wrong]]
        wrong = wrong[np.argsort(-lead, kind="stable")]
    shown = wrong[:count]
    figure = new_figure(10, 0.5 + 1.3 * max(1, -(-len(shown) // 8)))
    figure.suptitle(f"{len(wrong)} of {len(labels)} wrong: answer (true class)")
    draw_predictions(figure, images[shown], labels[shown], answers[shown], names)
    return figure


def gradient_norms(models: Module | Mapping[str, Module], x: Any, y: Any, loss: str | Any = "cross_entropy") -> Any:
    """A matplotlib Figure of the norm of the loss's gradient for each weight, from the first layer to the last.

    Where it falls by orders of magnitude towards the first layers, gradients vanish: deep plain networks against
    residual ones (He et al., 2015).

    Args:
        models: one, or several by name; in the mode that they are in, and not changed.
        x, y: a batch, as `value_and_grad` takes it.
        loss: as of `fit`.

    Raises:
        ImportError: matplotlib is missing.
    """
    require_matplotlib()
    figure = new_figure(7, 4)
    axis = figure.subplots()
    for name, model in ({"": models} if isinstance(models, Module) else dict(models)).items():
        _, gradients = train.value_and_grad(model, loss)(x, y)
        norms = [float(np.linalg.norm(gradient)) for gradient in gradients.values() if gradient.ndim > 1]
        axis.plot(np.linspace(0, 1, len(norms)), norms, ".-", label=f"{name} ({len(norms)} layers)".strip())
    axis.set_yscale("log")
    axis.set_xlabel("depth of the layer: 0 is the first, 1 the last")
    axis.set_ylabel("norm of the weight's gradient")
    axis.legend()
    return figure


def decision_boundary(model: Module, x: Array, y: npt.ArrayLike, resolution: int = 200) -> Any:
    """A matplotlib Figure of what a classifier of two inputs answers in the plane, with examples upon it.

    Args:
        model: of inputs (N, 2); it is not changed. One output: its sign is the answer; more: the largest.
        x: (N, 2) examples.
        y: (N,) their classes.
        resolution: points along each side.

    Raises:
        ImportError: matplotlib is missing.
        ValueError: x is not (N, 2).
    """
    require_matplotlib()
    points = np.asarray(x, np.float32)
    if points.ndim != 2 or points.shape[1] != 2 or not len(points):
        raise ValueError(f"decision_boundary: expected examples (N, 2), found {np.shape(x)}")
    low, high = points.min(0), points.max(0)
    margin = 0.1 * np.maximum(high - low, 1e-6)
    axes = [np.linspace(low[i] - margin[i], high[i] + margin[i], resolution, dtype=np.float32) for i in (0, 1)]
    grid = np.stack(np.meshgrid(*axes), -1).reshape(-1, 2)
    scores = np.asarray(train.predict(model, grid)).reshape(len(grid), -1)
    answers = scores.argmax(1) if scores.shape[1] > 1 else (scores[:, 0] > 0).astype(np.int64)
    figure = new_figure(5, 5)
    axis = figure.subplots()
    most = max(int(answers.max()), int(np.max(y)), 1)
    extent = (axes[0][0], axes[0][-1], axes[1][0], axes[1][-1])
    shades = answers.reshape(resolution, resolution)
    axis.imshow(shades, origin="lower", extent=extent, aspect="auto", cmap="coolwarm", alpha=0.4, vmin=0, vmax=most)
    axis.scatter(points[:, 0], points[:, 1], c=np.asarray(y), cmap="coolwarm", edgecolors="black", vmin=0, vmax=most)
    return figure
