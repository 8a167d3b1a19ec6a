# SPDX-License-Identifier: BSD-3-Clause
"""timm's names of the layers of MobileNet and EfficientNet (those of its ResNets are torchvision's)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from cnnkern.models._mobile import MobileNetwork, Residual
from cnnkern.nn import BatchNorm2d, SqueezeExcitation

Names = dict[str, str]
_STEM = {"conv_stem": "features.0.0", "bn1": "features.0.1"}


def renamed(
    names: Callable[[Any], Names], eps: float | None = None
) -> Callable[[Mapping[str, Any], MobileNetwork], Mapping[str, Any]]:
    """A function (weights, model) -> weights by the model's names; weights without timm's names stay as they are.

    Args:
        names: makes, of the model, the dictionary from timm's layer names to the model's.
        eps: set in the model's batch normalizations if the names are timm's, because it was trained with that.
    """

    def rename(weights: Mapping[str, Any], model: MobileNetwork) -> Mapping[str, Any]:
        if "conv_stem.weight" not in weights:
            return weights
        if eps is not None:
            for module in model.modules():
                if isinstance(module, BatchNorm2d):
                    module.eps = eps
        known, shapes = names(model), {name: array.shape for name, array in model.named_parameters()}
        result = {}
        for name, array in weights.items():
            layer, _, leaf = name.rpartition(".")
            own = f"{known[layer]}.{leaf}" if layer in known else name
            result[own] = _as_matrix(array, shapes.get(own, ()))
        return result

    return rename


def _as_matrix(array: Any, shape: Sequence[int]) -> Any:
    """The weight of a 1x1 convolution as that of the linear layer that does the same."""
    if len(shape) == 2 and np.ndim(array) == 4 and np.shape(array)[2:] == (1, 1):
        return np.reshape(array, np.shape(array)[:2])
    return array


def _blocks(depths: Sequence[int]) -> Iterator[tuple[str, int]]:
    """timm's name and the running number of every block; the stages have `depths` blocks each."""
    places = [(stage, index) for stage, depth in enumerate(depths) for index in range(depth)]
    for number, (stage, index) in enumerate(places):
        yield f"blocks.{stage}.{index}", number


def mobilenet_v1_names(model: Any) -> Names:
    """timm's layer name -> that of `MobileNetV1`."""
    names = {**_STEM, "classifier": "classifier.1"}
    for theirs, number in _blocks(model.depths):
        for part, (conv, norm) in enumerate((("conv_dw", "bn1"), ("conv_pw", "bn2"))):
            names[f"{theirs}.{conv}"] = f"features.{number + 1}.{part}.0"
            names[f"{theirs}.{norm}"] = f"features.{number + 1}.{part}.1"
    return names


def mobilenet_v2_names(model: Any) -> Names:
    """timm's layer name -> that of `MobileNetV2`."""
    last = len(model.features) - 1
    names = {**_STEM, "conv_head": f"features.{last}.0", "bn2": f"features.{last}.1", "classifier": "classifier.1"}
    for theirs, number in _blocks(model.depths):
        own = f"features.{number + 1}"
        names.update(_inverted_residual(theirs, own, model.features[number + 1]))
    return names


def mobilenet_v3_names(model: Any) -> Names:
    """timm's layer name -> that of `MobileNetV3`."""
    last = len(model.features) - 1
    names = {**_STEM, "conv_head": "classifier.0", "classifier": "classifier.3"}
    names[f"blocks.{len(model.depths)}.0.conv"] = f"features.{last}.0"
    names[f"blocks.{len(model.depths)}.0.bn1"] = f"features.{last}.1"
    for theirs, number in _blocks(model.depths):
        names.update(_inverted_residual(theirs, f"features.{number + 1}", model.features[number + 1]))
    return names


def efficientnet_names(model: Any) -> Names:
    """timm's layer name -> that of `EfficientNet`."""
    last = len(model.features) - 1
    names = {**_STEM, "conv_head": f"features.{last}.0", "bn2": f"features.{last}.1", "classifier": "classifier.1"}
    for stage in range(1, last):
        for index, block in enumerate(model.features[stage]):
            names.update(_inverted_residual(f"blocks.{stage - 1}.{index}", f"features.{stage}.{index}", block))
    return names


def _inverted_residual(theirs: str, own: str, block: Residual) -> Names:
    """Layers of one block: the projection is called "conv_pwl", but "conv_pw" where nothing expands."""
    parts = list(getattr(block, block.branch)._modules.items())
    squeezed = [position for position, part in parts if isinstance(part, SqueezeExcitation)]
    path = f"{own}.{block.branch}"
    names = {}
    for position in squeezed:
        names[f"{theirs}.se.conv_reduce"] = f"{path}.{position}.fc1"
        names[f"{theirs}.se.conv_expand"] = f"{path}.{position}.fc2"
    layers = [position for position, _ in parts if position not in squeezed]
    pairs = [(f"{position}.0", f"{position}.1") for position in layers]
    if block.branch == "conv":  # the projection's two layers stand by themselves
        pairs[-2:] = [(layers[-2], layers[-1])]
    convolutions = ("conv_pw", "conv_dw", "conv_pwl") if len(pairs) == 3 else ("conv_dw", "conv_pw")
    for number, (convolution, (conv, norm)) in enumerate(zip(convolutions, pairs, strict=True), 1):
        names[f"{theirs}.{convolution}"] = f"{path}.{conv}"
        names[f"{theirs}.bn{number}"] = f"{path}.{norm}"
    return names
