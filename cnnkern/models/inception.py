# SPDX-License-Identifier: BSD-3-Clause
"""Inception v3 (Szegedy et al., "Rethinking the Inception architecture for computer vision", 2015): convolutions
factorized, n x n into 1 x n and n x 1. State-dict names are torchvision's.
"""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

from cnnkern import functional
from cnnkern.models._inception import BasicConv2d, InceptionNetwork, build_inception
from cnnkern.models._registry import Weights, register
from cnnkern.nn import AdaptiveAvgPool2d, AvgPool2d, Conv2d, Dropout, Flatten, Linear, MaxPool2d, Module, init


class InceptionOutputs(NamedTuple):
    """What Inception v3 returns in training: the logits of the main and of the auxiliary head, (N, classes)."""

    logits: Any
    aux_logits: Any

    @property
    def loss_weights(self) -> tuple[float, ...]:
        """How much each output counts in the loss; 0.4 as in the authors' program, the paper gives no figure."""
        return 1.0, 0.4


class InceptionA(Module):
    """Branches 1x1, 5x5, twice 3x3, and pooling; 35x35 maps (figure 5)."""

    def __init__(self, in_channels: int, pooled: int) -> None:
        self.branch1x1 = BasicConv2d(in_channels, 64, 1)
        self.branch5x5_1 = BasicConv2d(in_channels, 48, 1)
        self.branch5x5_2 = BasicConv2d(48, 64, 5, padding=2)
        self.branch3x3dbl_1 = BasicConv2d(in_channels, 64, 1)
        self.branch3x3dbl_2 = BasicConv2d(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = BasicConv2d(96, 96, 3, padding=1)
        self.pool = AvgPool2d(3, 1, 1)
        self.branch_pool = BasicConv2d(in_channels, pooled, 1)

    def forward(self, input: Any) -> Any:
        """(N, in_channels, H, W) -> (N, 224 + pooled, H, W)."""
        five = self.branch5x5_2(self.branch5x5_1(input))
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(input)))
        return functional.concat([self.branch1x1(input), five, double, self.branch_pool(self.pool(input))], 1)


class InceptionB(Module):
    """Branches 3x3, twice 3x3, and pooling, all with stride 2: from 35x35 to 17x17 maps (figure 10)."""

    def __init__(self, in_channels: int) -> None:
        self.branch3x3 = BasicConv2d(in_channels, 384, 3, 2)
        self.branch3x3dbl_1 = BasicConv2d(in_channels, 64, 1)
        self.branch3x3dbl_2 = BasicConv2d(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = BasicConv2d(96, 96, 3, 2)
        self.pool = MaxPool2d(3, 2)

    def forward(self, input: Any) -> Any:
        """(N, in_channels, H, W) -> (N, in_channels + 480, (H - 1) / 2, (W - 1) / 2)."""
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(input)))
        return functional.concat([self.branch3x3(input), double, self.pool(input)], 1)


class InceptionC(Module):
    """Branches 1x1, 7x7 and twice 7x7, factorized, and pooling; 17x17 maps (figure 6)."""

    def __init__(self, in_channels: int, width: int) -> None:
        self.branch1x1 = BasicConv2d(in_channels, 192, 1)
        self.branch7x7_1 = BasicConv2d(in_channels, width, 1)
        self.branch7x7_2 = BasicConv2d(width, width, (1, 7), padding=(0, 3))
        self.branch7x7_3 = BasicConv2d(width, 192, (7, 1), padding=(3, 0))
        self.branch7x7dbl_1 = BasicConv2d(in_channels, width, 1)
        self.branch7x7dbl_2 = BasicConv2d(width, width, (7, 1), padding=(3, 0))
        self.branch7x7dbl_3 = BasicConv2d(width, width, (1, 7), padding=(0, 3))
        self.branch7x7dbl_4 = BasicConv2d(width, width, (7, 1), padding=(3, 0))
        self.branch7x7dbl_5 = BasicConv2d(width, 192, (1, 7), padding=(0, 3))
        self.pool = AvgPool2d(3, 1, 1)
        self.branch_pool = BasicConv2d(in_channels, 192, 1)

    def forward(self, input: Any) -> Any:
        """(N, in_channels, H, W) -> (N, 768, H, W)."""
        seven = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(input)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(input)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        return functional.concat([self.branch1x1(input), seven, double, self.branch_pool(self.pool(input))], 1)


class InceptionD(Module):
    """Branches 3x3, 7x7 then 3x3, and pooling, all with stride 2: from 17x17 to 8x8 maps."""

    def __init__(self, in_channels: int) -> None:
        self.branch3x3_1 = BasicConv2d(in_channels, 192, 1)
        self.branch3x3_2 = BasicConv2d(192, 320, 3, 2)
        self.branch7x7x3_1 = BasicConv2d(in_channels, 192, 1)
        self.branch7x7x3_2 = BasicConv2d(192, 192, (1, 7), padding=(0, 3))
        self.branch7x7x3_3 = BasicConv2d(192, 192, (7, 1), padding=(3, 0))
        self.branch7x7x3_4 = BasicConv2d(192, 192, 3, 2)
        self.pool = MaxPool2d(3, 2)

    def forward(self, input: Any) -> Any:
        """(N, in_channels, H, W) -> (N, in_channels + 512, (H - 1) / 2, (W - 1) / 2)."""
        three = self.branch3x3_2(self.branch3x3_1(input))
        seven = self.branch7x7x3_2(self.branch7x7x3_1(input))
        seven = self.branch7x7x3_4(self.branch7x7x3_3(seven))
        return functional.concat([three, seven, self.pool(input)], 1)


class InceptionE(Module):
    """Branches 1x1, 3x3 and twice 3x3, whose last convolutions are 1x3 and 3x1 side by side, and pooling; 8x8 maps
    (figure 7).
    """

    def __init__(self, in_channels: int) -> None:
        self.branch1x1 = BasicConv2d(in_channels, 320, 1)
        self.branch3x3_1 = BasicConv2d(in_channels, 384, 1)
        self.branch3x3_2a = BasicConv2d(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3_2b = BasicConv2d(384, 384, (3, 1), padding=(1, 0))
        self.branch3x3dbl_1 = BasicConv2d(in_channels, 448, 1)
        self.branch3x3dbl_2 = BasicConv2d(448, 384, 3, padding=1)
        self.branch3x3dbl_3a = BasicConv2d(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3dbl_3b = BasicConv2d(384, 384, (3, 1), padding=(1, 0))
        self.pool = AvgPool2d(3, 1, 1)
        self.branch_pool = BasicConv2d(in_channels, 192, 1)

    def forward(self, input: Any) -> Any:
        """(N, in_channels, H, W) -> (N, 2048, H, W)."""
        three = self.branch3x3_1(input)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(input))
        return functional.concat(
            [
                self.branch1x1(input),
                self.branch3x3_2a(three),
                self.branch3x3_2b(three),
                self.branch3x3dbl_3a(double),
                self.branch3x3dbl_3b(double),
                self.branch_pool(self.pool(input)),
            ],
            1,
        )


class InceptionAux(Module):
    """The auxiliary head on the 17x17 maps; they must be at least 17x17."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        self.pool = AvgPool2d(5, 3)
        self.conv0 = BasicConv2d(in_channels, 128, 1)
        self.conv1 = BasicConv2d(128, 768, 5)
        self.avgpool = AdaptiveAvgPool2d(1)
        self.flatten = Flatten()
        self.fc = Linear(768, num_classes)

    def forward(self, input: Any) -> Any:
        """(N, in_channels, H, W) -> (N, num_classes)."""
        return self.fc(self.flatten(self.avgpool(self.conv1(self.conv0(self.pool(input))))))


class InceptionV3(InceptionNetwork):
    """Five convolutions, eleven Inception modules of five kinds, global average pooling, a linear layer."""

    AUXILIARY: ClassVar[dict[str, str]] = {"AuxLogits": "fc"}

    def __init__(
        self, num_classes: int, in_channels: int, aux_logits: bool, transform_input: bool, dropout: float
    ) -> None:
        self.prepare(aux_logits, transform_input, in_channels)
        self.Conv2d_1a_3x3 = BasicConv2d(in_channels, 32, 3, 2)
        self.Conv2d_2a_3x3 = BasicConv2d(32, 32, 3)
        self.Conv2d_2b_3x3 = BasicConv2d(32, 64, 3, padding=1)
        self.maxpool1 = MaxPool2d(3, 2)
        self.Conv2d_3b_1x1 = BasicConv2d(64, 80, 1)
        self.Conv2d_4a_3x3 = BasicConv2d(80, 192, 3)
        self.maxpool2 = MaxPool2d(3, 2)
        self.Mixed_5b = InceptionA(192, 32)
        self.Mixed_5c = InceptionA(256, 64)
        self.Mixed_5d = InceptionA(288, 64)
        self.Mixed_6a = InceptionB(288)
        self.Mixed_6b = InceptionC(768, 128)
        self.Mixed_6c = InceptionC(768, 160)
        self.Mixed_6d = InceptionC(768, 160)
        self.Mixed_6e = InceptionC(768, 192)
        if aux_logits:
            self.AuxLogits = InceptionAux(768, num_classes)
        self.Mixed_7a = InceptionD(768)
        self.Mixed_7b = InceptionE(1280)
        self.Mixed_7c = InceptionE(2048)
        self.avgpool = AdaptiveAvgPool2d(1)
        self.dropout = Dropout(dropout)
        self.flatten = Flatten()
        self.fc = Linear(2048, num_classes)
        self.initialize()

    def initial_values(self, name: str, layer: Module) -> None:
        """Normal of deviation 0.1 in weights, cut off at twice that; less in the auxiliary head."""
        if isinstance(layer, Conv2d | Linear):
            deviation = {"AuxLogits.conv1.conv": 0.01, "AuxLogits.fc": 0.001}.get(name, 0.1)
            layer.weight = init.truncated_normal(layer.weight.shape, deviation)

    def _maps(self, input: Any) -> tuple[Any, Any]:
        """The maps after modules 6e and 7c."""
        out = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(self.transformed(input))))
        out = self.maxpool2(self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(self.maxpool1(out))))
        out = self.Mixed_6a(self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(out))))
        middle = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(out))))
        return middle, self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(middle)))

    def features(self, input: Any) -> Any:
        """(N, in_channels, H, W) -> (N, 2048, about H / 32 - 1, about W / 32 - 1), the maps of the last module."""
        return self._maps(input)[1]

    def forward(self, input: Any) -> Any:
        """(N, in_channels, H, W) -> (N, num_classes); `InceptionOutputs` in training with the auxiliary head.

        H and W are at least 75, and 299 in training with the auxiliary head.
        """
        middle, last = self._maps(input)
        logits = self.fc(self.flatten(self.dropout(self.avgpool(last))))
        if self.training and self.has_auxiliary:
            return InceptionOutputs(logits, self.AuxLogits(middle))
        return logits


@register(
    year=2015,
    paper="Szegedy et al., Rethinking the Inception architecture for computer vision",
    input_shape=(3, 299, 299),
    resize_size=342,
)
def inception_v3(
    num_classes: int = 1000,
    in_channels: int = 3,
    *,
    aux_logits: bool | None = None,
    transform_input: bool = False,
    dropout: float = 0.5,
    weights: Weights = None,
    seed: init.Rng = None,
) -> InceptionV3:
    """Inception v3 for 299x299 images (Szegedy et al., 2015): 27,161,264 parameters with 1000 classes.

    Args:
        aux_logits: one more head, which computes in training only (`InceptionOutputs`) and has 3,326,696 of the
            parameters. None: unless the weights have none.
        transform_input: as of `googlenet`.
    """
    return build_inception(
        lambda aux: InceptionV3(num_classes, in_channels, aux, transform_input, dropout), aux_logits, weights, seed
    )
