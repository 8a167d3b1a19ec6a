# SPDX-License-Identifier: BSD-3-Clause
"""What the Inception networks share: their convolution, the scale of their inputs, heads that only training has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeVar

import numpy as np

from cnnkern import functional
from cnnkern.data.preprocess import IMAGENET_MEAN, IMAGENET_STD
from cnnkern.functional import _check as check
from cnnkern.models._network import Network
from cnnkern.models._registry import Weights, build
from cnnkern.nn import BatchNorm2d, Conv2d, Module, init

Pair = int | tuple[int, int]

Model = TypeVar("Model", bound="InceptionNetwork")


class BasicConv2d(Module):
    """Convolution without bias, batch normalization with eps 0.001, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, kernel: Pair, stride: int = 1, padding: Pair = 0) -> None:
        self.conv = Conv2d(in_channels, out_channels, kernel, stride, padding, bias=False)
        self.bn = BatchNorm2d(out_channels, eps=0.001)

    def forward(self, input: Any) -> Any:
        """(N, in_channels, H, W) -> (N, out_channels, H', W')."""
        return functional.relu(self.bn(self.conv(input)))


class InceptionNetwork(Network):
    """A network with auxiliary heads, which compute in training only. `AUXILIARY`: the last layer of each, by name."""

    AUXILIARY: ClassVar[dict[str, str]]
    transform_input: bool

    @property
    def has_auxiliary(self) -> bool:
        """Whether there are auxiliary heads."""
        return len(self.heads) > 1

    def prepare(self, auxiliary: bool, transform_input: bool, in_channels: int) -> None:
        """Set what the heads are called, and `transform_input`, which is for three channels."""
        name = type(self).__name__
        self.transform_input = check.boolean(name, "transform_input", transform_input)
        if transform_input and in_channels != 3:
            raise ValueError(f"{name}: transform_input is for three channels, found in_channels={in_channels}")
        self._name_heads(auxiliary)

    def _name_heads(self, auxiliary: bool) -> None:
        more = [f"{name}.{layer}" for name, layer in self.AUXILIARY.items()] if auxiliary else []
        self.heads = ("fc", *more)

    def drop_auxiliary(self) -> None:
        """Take the auxiliary heads away: training then sees the main output alone."""
        if self.has_auxiliary:
            for name in self.AUXILIARY:
                delattr(self, name)
            self._name_heads(False)

    def transformed(self, input: Any) -> Any:
        """With `transform_input`: images normalized as for other networks -> (pixel - 0.5) / 0.5. (N, 3, H, W)."""
        if not self.transform_input:
            return input
        deviation = np.array(IMAGENET_STD, input.dtype).reshape(1, 3, 1, 1)
        mean = np.array(IMAGENET_MEAN, input.dtype).reshape(1, 3, 1, 1)
        return functional.add(functional.multiply(input, deviation / 0.5), (mean - 0.5) / 0.5)


def build_inception(
    construct: Callable[[bool], Model], aux_logits: bool | None, weights: Weights, seed: init.Rng
) -> Model:
    """`build` for weights with or without those of the auxiliary heads.

    Args:
        construct: takes whether there are auxiliary heads.
        aux_logits: None: as the weights have it, without weights True. False ignores those weights.
    """
    if aux_logits is not None:
        check.boolean("build", "aux_logits", aux_logits)

    def rename(state: Mapping[str, Any], model: Model) -> Mapping[str, Any]:
        prefixes = tuple(f"{name}." for name in model.AUXILIARY)
        main = {name: value for name, value in state.items() if not name.startswith(prefixes)}
        if aux_logits is None and len(main) == len(state):
            model.drop_auxiliary()
        return main if aux_logits is False else state

    return build(lambda: construct(aux_logits is not False), weights, seed, rename)
