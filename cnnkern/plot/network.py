# SPDX-License-Identifier: BSD-3-Clause
"""What a network has learned and what it sees: filters and feature maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from cnnkern.nn import Conv2d, Module
from cnnkern.nn.module import mode, observed
from cnnkern.plot._figure import new_figure, require_matplotlib

Array = npt.NDArray[Any]


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
    weight = getattr(layer, "weight", layer)
    if not isinstance(weight, np.ndarray):
        raise TypeError(f"filters: layer must have a weight or be an array, found {type(layer).__name__}")
    if weight.ndim != 4 or not weight.size:
        raise ValueError(f"filters: the weight must have shape (O, C, R, S), found {weight.shape}")
    shown = weight[: max(1, count)]
    columns = min(8, len(shown))
    rows = -(-len(shown) // columns)
    figure = new_figure(columns + 0.2, rows + 0.2)
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
    found, convolutions = _maps(model, x[None] if x.ndim == 3 else x[:1])
    names = list(layers) if layers is not None else _spread(convolutions, 6)
    for name in names:
        if name not in found:
            raise ValueError(f"feature_maps: no layer {name!r} with maps; there are {', '.join(found) or 'none'}")
    figure = new_figure(1.2 * channels, 1.5 * max(1, len(names)))
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
