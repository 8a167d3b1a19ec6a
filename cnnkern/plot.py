# SPDX-License-Identifier: BSD-3-Clause
"""Pictures, with matplotlib, which is imported only here and only when a picture is made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cnnkern.nn import Conv2d, Module
from cnnkern.nn.module import mode, observed
from cnnkern.train.metrics import confusion_matrix

if TYPE_CHECKING:
    from cnnkern.engine import Explanation
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


def draw_filters(panel: Any, weight: Array, columns: int = 8) -> None:
    """Draw filters (O, C, R, S) of a layer, all on one scale around zero, into a figure or subfigure.

    Three input channels are drawn as colours (gray is zero), one as it is, others averaged.
    """
    axes = np.atleast_1d(panel.subplots(-(-len(weight) // columns), columns)).ravel()
    colour = weight.shape[1] == 3
    values = weight.transpose(0, 2, 3, 1) if colour else weight.mean(1)
    limit = float(np.abs(values).max()) or 1.0
    for axis in axes:
        axis.set_axis_off()
    for axis, kernel in zip(axes, values, strict=False):
        if colour:
            axis.imshow(kernel / (2 * limit) + 0.5)
        else:
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


def filters(layer: Any, count: int = 64) -> Any:
    """A matplotlib Figure of the filters of a convolution, at most `count` of them.

    Args:
        layer: a layer with a weight (O, C, R, S), or that array. Filters over three channels are drawn in colour, where
            gray is zero; those over other numbers of channels are averaged over them.
        count: how many filters to draw.

    Raises:
        ImportError: matplotlib is missing.
        TypeError, ValueError: there is no such weight.
    """
    require_matplotlib()
    from matplotlib.figure import Figure

    weight = getattr(layer, "weight", layer)
    if not isinstance(weight, np.ndarray):
        raise TypeError(f"filters: layer must have a weight or be an array, found {type(layer).__name__}")
    if weight.ndim != 4 or not weight.size:
        raise ValueError(f"filters: the weight must have shape (O, C, R, S), found {weight.shape}")
    shown = weight[: max(1, count)]
    columns = min(8, len(shown))
    rows = -(-len(shown) // columns)
    figure = Figure(figsize=(columns + 0.2, rows + 0.2), layout="constrained")
    draw_filters(figure, shown, columns)
    return figure


def feature_maps(model: Module, x: Array, layers: Sequence[str] | None = None, channels: int = 8) -> Any:
    """A matplotlib Figure of what the layers of a model make of one image: a row of maps for each layer.

    Args:
        model: computed in evaluation mode; the modes of its layers are as before afterwards.
        x: (N, C, H, W), of which the first image is drawn, or (C, H, W).
        layers: names of layers, as `model.named_modules()` has them; by default up to six convolutions, from the first
            to the last. Of a layer that is used several times the first use is drawn.
        channels: how many maps of each layer: those that vary most, in order; each row has one scale.

    Raises:
        ImportError: matplotlib is missing.
        ValueError: there is no layer of that name, or it has no maps (C, H, W); the message lists those that have.
    """
    require_matplotlib()
    from matplotlib.figure import Figure

    found, convolutions = _maps(model, x[None] if x.ndim == 3 else x[:1])
    names = list(layers) if layers is not None else _spread(convolutions, 6)
    for name in names:
        if name not in found:
            raise ValueError(f"feature_maps: no layer {name!r} with maps; there are {', '.join(found) or 'none'}")
    figure = Figure(figsize=(1.2 * channels, 1.5 * max(1, len(names))), layout="constrained")
    panels: Any = figure.subfigures(max(1, len(names)), 1, squeeze=False)
    for (panel,), name in zip(panels, names, strict=False):
        maps = found[name]
        panel.suptitle(f"{name}: {len(maps)} maps of {maps.shape[1]} x {maps.shape[2]}", fontsize=9)
        chosen = np.sort(np.argsort(-maps.std((1, 2)), kind="stable")[:channels])
        low, high = float(maps[chosen].min()), float(maps[chosen].max())
        axes = panel.subplots(1, channels, squeeze=False).ravel()
        for axis in axes:
            axis.set_axis_off()
        for axis, channel in zip(axes, chosen, strict=False):
            axis.imshow(maps[channel], cmap="viridis", vmin=low, vmax=high)
            axis.set_title(str(channel), fontsize=7)
    return figure


def _maps(model: Module, x: Array) -> tuple[dict[str, Array], list[str]]:
    """First output (C, H, W) of every layer that has maps, by name; and which of the names are convolutions."""
    names = {id(module): name for name, module in model.named_modules()}
    found: dict[str, Array] = {}
    convolutions: list[str] = []

    def keep(module: Module, event: str, inputs: Any, outputs: Any) -> None:
        name = names.get(id(module), "")
        if event == "leave" and name not in found and isinstance(outputs, np.ndarray) and outputs.ndim == 4:
            found[name] = outputs[0]
            if isinstance(module, Conv2d):
                convolutions.append(name)

    with mode(model, False), observed(keep):
        model(x)
    return found, convolutions


def _spread(names: list[str], count: int) -> list[str]:
    """Some of the names: the first, the last, and what lies evenly between."""
    if len(names) <= count:
        return names
    return [names[round(i * (len(names) - 1) / (count - 1))] for i in range(count)]


def roofline(explanation: Explanation) -> Any:
    """A matplotlib Figure of an engine's steps below the machine's limits (Williams, Waterman and Patterson, 2009).

    Each step that multiplies is a circle, as large as its share of the time: GFLOP/s over operations per byte, both
    counted by the definition of the operation, so Winograd's algorithm may stand above the peak.

    Args:
        explanation: of `Engine.explain()`, with measured times.

    Raises:
        ImportError: matplotlib is missing.
        ValueError: nothing was measured.
    """
    require_matplotlib()
    from matplotlib.figure import Figure

    limits, total = explanation.limits, explanation.measured_ns
    if limits is None or not total:
        raise ValueError("roofline: nothing was measured; call explain with repeats > 0")
    figure = Figure(figsize=(9, 6), layout="constrained")
    axis = figure.subplots()
    steps = [row for row in explanation.rows if row.multiply_adds and row.measured_ns]
    for algorithm in dict.fromkeys(row.algorithm for row in steps):
        rows = [row for row in steps if row.algorithm == algorithm]
        intensity = [2 * row.multiply_adds / row.bytes for row in rows]
        area = [20 + 3000 * (row.measured_ns or 0) / total for row in rows]
        axis.scatter(intensity, [row.gflops or 0.0 for row in rows], s=area, alpha=0.5, label=algorithm)
    left, right = axis.get_xlim()
    span = np.geomspace(max(left, 0.05), max(right, 2.0), 100)
    for (name, _, rate), style in zip(limits.levels, (":", "-.", "--"), strict=True):
        label = f"{rate:.0f} GB/s from {name}"
        axis.plot(span, np.minimum(span * rate, limits.flops), style, color="black", label=label)
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xlabel("operations per byte")
    axis.set_ylabel("GFLOP/s")
    plural = "s" * (explanation.threads != 1)
    axis.set_title(
        f"{explanation.model}: {explanation.isa}, {explanation.threads} thread{plural}, {limits.flops:.0f} GFLOP/s"
    )
    handles: Any = axis.legend(loc="lower right").legend_handles
    for handle in handles:
        if hasattr(handle, "set_sizes"):  # the circles: one size in the legend
            handle.set_sizes([60])
    return figure
