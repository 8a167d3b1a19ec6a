# SPDX-License-Identifier: BSD-3-Clause
"""Predictions averaged: over several networks, and over crops and the mirror image of one picture."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from cnnkern import functional as F
from cnnkern.functional import _check as check
from cnnkern.nn import Module

_AVERAGES = ("probabilities", "outputs")


class Ensemble(Module):
    """Several networks on the same input, their predictions averaged; state-dict names begin with "0.", "1.", ...

    The result is again something that `evaluate`, `predict` and `compile` take as they take each of the networks: with
    "probabilities", logits whose softmax is the mean of the networks' softmax; with "outputs", the mean itself.

    Args:
        networks: which must give outputs of one shape; auxiliary outputs are left out.
        average: "probabilities" or "outputs".
    """

    def __init__(self, networks: Sequence[Module], average: str = "probabilities") -> None:
        self.average = check.choice("ensemble", "average", average, _AVERAGES)
        if not networks:
            raise ValueError("ensemble: expected at least one network, found none")
        for position, network in enumerate(networks):
            if not isinstance(network, Module):
                raise TypeError(f"ensemble: networks must be modules, found {type(network).__name__}")
            self.register_module(str(position), network)
        self.train(all(network.training for network in networks))

    def forward(self, *inputs: Any) -> Any:
        """Whatever the networks take -> (N, classes)."""
        return mean_prediction([_main(network(*inputs)) for network in self._modules.values()], self.average)


class MultiCrop(Module):
    """One network on several parts of each image, their predictions averaged as those of an `Ensemble`.

    Args:
        network: takes images of `size`.
        size: of the parts, an integer for squares or (height, width): the four corners and the centre. None: the whole
            image.
        mirror: the mirrored parts too: ten crops (Krizhevsky and others, 2012), or, with size None, two views.
        average: "probabilities" or "outputs".
    """

    def __init__(
        self,
        network: Module,
        size: int | tuple[int, int] | None,
        *,
        mirror: bool = True,
        average: str = "probabilities",
    ) -> None:
        self.average = check.choice("multi_crop", "average", average, _AVERAGES)
        if not isinstance(network, Module):
            raise TypeError(f"multi_crop: network must be a module, found {type(network).__name__}")
        if size is not None:
            pair = size if isinstance(size, (tuple, list)) else (size, size)
            if len(pair) != 2:
                raise ValueError(f"multi_crop: size must be an integer or (height, width), found {size!r}")
            size = (
                check.integer("multi_crop", "size", pair[0], 1),
                check.integer("multi_crop", "size", pair[1], 1),
            )
        self.size, self.mirror = size, check.boolean("multi_crop", "mirror", mirror)
        self.network = network
        self.train(network.training)

    def forward(self, input: Any) -> Any:
        """(N, C, H, W) of at least `size` -> (N, classes)."""
        if len(input.shape) != 4:
            raise ValueError(f"multi_crop: input must have shape (N, C, H, W), found {input.shape}")
        views = self._views(input)
        if self.mirror:
            views += [F.flip(view, (3,)) for view in views]
        outputs = _main(self.network(F.concat(views)))
        return mean_prediction(list(F.split(outputs, input.shape[0])), self.average)

    def _views(self, input: Any) -> list[Any]:
        if self.size is None:
            return [input]
        height, width = self.size
        down, across = input.shape[2] - height, input.shape[3] - width
        if min(down, across) < 0:
            raise ValueError(f"multi_crop: images must have at least {height} x {width} pixels, found {input.shape}")
        places = ((0, 0), (0, across), (down, 0), (down, across), (round(down / 2), round(across / 2)))
        return [F.narrow(F.narrow(input, 2, top, height), 3, left, width) for top, left in places]


def ensemble(networks: Sequence[Module], average: str = "probabilities") -> Ensemble:
    """The average of several networks: `models.ensemble([a, b, c])` is used like each of them."""
    return Ensemble(networks, average)


def multi_crop(
    network: Module,
    size: int | tuple[int, int] | None = None,
    *,
    mirror: bool = True,
    average: str = "probabilities",
) -> MultiCrop:
    """A network that looks at ten crops of each image, or at the image and its mirror image (size None)."""
    return MultiCrop(network, size, mirror=mirror, average=average)


def mean_prediction(outputs: Sequence[Any], average: str = "probabilities") -> Any:
    """The mean of several outputs of one shape; of "probabilities", the logarithm of the mean of their softmax."""
    if len(outputs) == 1:
        return outputs[0]
    share = 1.0 / len(outputs)
    if average == "outputs":
        return F.multiply(functools.reduce(F.add, outputs), share)
    logarithms = [F.log_softmax(output, 1) for output in outputs]
    # Relative to the largest of them, so that none of the exponentials that matter vanishes.
    highest = functools.reduce(F.maximum, logarithms)
    total = functools.reduce(F.add, [F.exp(F.subtract(each, highest)) for each in logarithms])
    return F.add(highest, F.log(F.multiply(total, share)))


def _main(outputs: Any) -> Any:
    return outputs[0] if hasattr(outputs, "loss_weights") else outputs
