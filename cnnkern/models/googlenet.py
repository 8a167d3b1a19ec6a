# SPDX-License-Identifier: BSD-3-Clause
"""GoogLeNet (Szegedy et al., "Going deeper with convolutions", 2014).

As torchvision has it, with its state-dict names: batch normalization instead of local response normalization, and 3x3
instead of 5x5 convolutions in the third branch.
"""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

from cnnkern import functional
from cnnkern.models._inception import BasicConv2d, InceptionNetwork, build_inception
from cnnkern.models._registry import Weights, register
from cnnkern.nn import AdaptiveAvgPool2d, Conv2d, Dropout, Flatten, Linear, MaxPool2d, Module, Sequential, init


class GoogLeNetOutputs(NamedTuple):
    """What GoogLeNet returns in training: the logits of the main head and of the two auxiliary ones, (N, classes)."""

    logits: Any
    aux_logits2: Any
    aux_logits1: Any

    @property
    def loss_weights(self) -> tuple[float, ...]:
        """How much each output counts in the loss (section 5 of the paper)."""
        return 1.0, 0.3, 0.3


class Inception(Module):
    """Four branches side by side: 1x1; 1x1 then 3x3; 1x1 then 3x3; pooling then 1x1."""

    def __init__(
        self, in_channels: int, one: int, reduce: int, three: int, reduce5: int, five: int, pooled: int
    ) -> None:
        self.branch1 = BasicConv2d(in_channels, one, 1)
        self.branch2 = Sequential(BasicConv2d(in_channels, reduce, 1), BasicConv2d(reduce, three, 3, padding=1))
        self.branch3 = Sequential(BasicConv2d(in_channels, reduce5, 1), BasicConv2d(reduce5, five, 3, padding=1))
        self.branch4 = Sequential(MaxPool2d(3, 1, 1, ceil_mode=True), BasicConv2d(in_channels, pooled, 1))

    def forward(self, input: Any) -> Any:
        """(N, in_channels, H, W) -> (N, one + three + five + pooled, H, W)."""
        return functional.concat([branch(input) for branch in self.children()], 1)


class Auxiliary(Module):
    """A classifier on maps in the middle, for the gradient of the lower layers."""

    def __init__(self, in_channels: int, num_classes: int, dropout: float) -> None:
        self.pool = AdaptiveAvgPool2d(4)
        self.conv = BasicConv2d(in_channels, 128, 1)
        self.flatten = Flatten()
        self.fc1 = Linear(2048, 1024)
        self.dropout = Dropout(dropout)
        self.fc2 = Linear(1024, num_classes)

    def forward(self, input: Any) -> Any:
        """(N, in_channels, H, W) -> (N, num_classes)."""
        out = self.flatten(self.conv(self.pool(input)))
        return self.fc2(self.dropout(functional.relu(self.fc1(out))))


class GoogLeNet(InceptionNetwork):
    """Three convolutions, nine `Inception` modules, global average pooling, a linear layer."""

    AUXILIARY: ClassVar[dict[str, str]] = {"aux1": "fc2", "aux2": "fc2"}

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        aux_logits: bool,
        transform_input: bool,
        dropout: float,
        dropout_aux: float,
    ) -> None:
        self.prepare(aux_logits, transform_input, in_channels)
        self.conv1 = BasicConv2d(in_channels, 64, 7, 2, 3)
        self.maxpool1 = MaxPool2d(3, 2, ceil_mode=True)
        self.conv2 = BasicConv2d(64, 64, 1)
        self.conv3 = BasicConv2d(64, 192, 3, padding=1)
        self.maxpool2 = MaxPool2d(3, 2, ceil_mode=True)
        self.inception3a = Inception(192, 64, 96, 128, 16, 32, 32)
        self.inception3b = Inception(256, 128, 128, 192, 32, 96, 64)
        self.maxpool3 = MaxPool2d(3, 2, ceil_mode=True)
        self.inception4a = Inception(480, 192, 96, 208, 16, 48, 64)
        self.inception4b = Inception(512, 160, 112, 224, 24, 64, 64)
        self.inception4c = Inception(512, 128, 128, 256, 24, 64, 64)
        self.inception4d = Inception(512, 112, 144, 288, 32, 64, 64)
        self.inception4e = Inception(528, 256, 160, 320, 32, 128, 128)
        self.maxpool4 = MaxPool2d(2, 2, ceil_mode=True)
        self.inception5a = Inception(832, 256, 160, 320, 32, 128, 128)
        self.inception5b = Inception(832, 384, 192, 384, 48, 128, 128)
        if aux_logits:
            self.aux1 = Auxiliary(512, num_classes, dropout_aux)
            self.aux2 = Auxiliary(528, num_classes, dropout_aux)
        self.avgpool = AdaptiveAvgPool2d(1)
        self.flatten = Flatten()
        self.dropout = Dropout(dropout)
        self.fc = Linear(1024, num_classes)
        self.initialize()

    def initial_values(self, name: str, layer: Module) -> None:
        """Normal of deviation 0.01, cut off at twice that, in all weights."""
        if isinstance(layer, Conv2d | Linear):
            layer.weight = init.truncated_normal(layer.weight.shape, 0.01)

    def _maps(self, input: Any) -> tuple[Any, Any, Any]:
        """The maps after modules 4a, 4d and 5b."""
        out = self.maxpool1(self.conv1(self.transformed(input)))
        out = self.maxpool2(self.conv3(self.conv2(out)))
        out = self.maxpool3(self.inception3b(self.inception3a(out)))
        first = self.inception4a(out)
        second = self.inception4d(self.inception4c(self.inception4b(first)))
        out = self.maxpool4(self.inception4e(second))
        return first, second, self.inception5b(self.inception5a(out))

    def features(self, input: Any) -> Any:
        """(N, in_channels, H, W) -> (N, 1024, H / 32, W / 32), the maps of the last module."""
        return self._maps(input)[2]

    def forward(self, input: Any) -> Any:
        """(N, in_channels, H, W) -> (N, num_classes); `GoogLeNetOutputs` in training with auxiliary heads."""
        first, second, last = self._maps(input)
        logits = self.fc(self.dropout(self.flatten(self.avgpool(last))))
        if self.training and self.has_auxiliary:
            return GoogLeNetOutputs(logits, self.aux2(second), self.aux1(first))
        return logits


@register(year=2014, paper="Szegedy et al., Going deeper with convolutions")
def googlenet(
    num_classes: int = 1000,
    in_channels: int = 3,
    *,
    aux_logits: bool | None = None,
    transform_input: bool = False,
    dropout: float = 0.2,
    dropout_aux: float = 0.7,
    weights: Weights = None,
    seed: init.Rng = None,
) -> GoogLeNet:
    """GoogLeNet (Szegedy et al., 2014): 6,624,904 parameters with 1000 classes, 13,004,888 with the auxiliary heads.

    Args:
        aux_logits: two more heads, which compute in training only (`GoogLeNetOutputs`). None: unless the weights have
            none.
        transform_input: torchvision's published weights want True (three channels): they expect values in -1..1, and
            the network then brings images there that were normalized as for all others.
    """
    return build_inception(
        lambda aux: GoogLeNet(num_classes, in_channels, aux, transform_input, dropout, dropout_aux),
        aux_logits,
        weights,
        seed,
    )
