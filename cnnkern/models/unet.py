# SPDX-License-Identifier: BSD-3-Clause
"""U-Net (Ronneberger, Fischer and Brox, 2015): a class for every pixel."""

from __future__ import annotations

from typing import Any, Literal

from cnnkern import functional
from cnnkern.functional import _check as check
from cnnkern.models._network import Network
from cnnkern.models._registry import Weights, build, register
from cnnkern.nn import (
    BatchNorm2d,
    Conv2d,
    ConvTranspose2d,
    MaxPool2d,
    Module,
    ModuleList,
    ReLU,
    Sequential,
    Upsample,
    init,
)

Upsampling = Literal["transposed", "bilinear"]
Padding = Literal["same", "valid"]


def _double(in_channels: int, out_channels: int, padding: int, normalized: bool) -> Sequential:
    """Two 3x3 convolutions, each with ReLU, and normalization before it if `normalized`."""
    layers: list[Module] = []
    for channels in (in_channels, out_channels):
        layers.append(Conv2d(channels, out_channels, 3, padding=padding, bias=not normalized))
        layers += [BatchNorm2d(out_channels)] if normalized else []
        layers.append(ReLU())
    return Sequential(*layers)


class Up(Module):
    """Twice the height and width and half the channels, next to the maps of the way down, then two convolutions."""

    def __init__(self, channels: int, padding: int, normalized: bool, upsampling: Upsampling) -> None:
        half = channels // 2
        if upsampling == "transposed":
            self.up: Module = ConvTranspose2d(channels, half, 2, 2)
        else:
            self.up = Sequential(Upsample(scale_factor=2, mode="bilinear"), Conv2d(channels, half, 1))
        self.pads = padding > 0
        self.convolutions = _double(channels, half, padding, normalized)

    def forward(self, input: Any, skip: Any) -> Any:
        """(N, channels, H, W) and (N, channels / 2, H', W') -> (N, channels / 2, H'', W'').

        With padding the upsampled maps are brought to H' x W' (odd sizes lose a row on the way down); without it the
        middle of the skipped maps is taken.
        """
        out = self.up(input)
        missing = [whole - part for whole, part in zip(skip.shape[2:], out.shape[2:], strict=True)]
        border = [side for size in reversed(missing) for side in (size // 2, size - size // 2)]
        if any(border):
            if self.pads:
                out = functional.pad(out, border)
            else:
                skip = functional.pad(skip, [-side for side in border])
        return self.convolutions(functional.concat([skip, out], 1))


class UNet(Network):
    """A way down (two 3x3 convolutions, 2x2 max pooling), the way up with skip concatenation, a 1x1 convolution.

    Args:
        width: channels of the first level; each further one has twice as many.
        depth: number of times that the size is halved.
        padding: "same" keeps the image's size; "valid" is the paper's, for whose tiles 572x572 gives 388x388.
        upsampling: "transposed", the paper's 2x2 transposed convolution, or "bilinear" with a 1x1 convolution.
        normalized: batch normalization after every 3x3 convolution (the paper has none).
    """

    heads = ("classifier",)

    def __init__(
        self,
        num_classes: int = 2,
        in_channels: int = 1,
        width: int = 64,
        depth: int = 4,
        padding: Padding = "same",
        upsampling: Upsampling = "transposed",
        normalized: bool = False,
    ) -> None:
        width, depth = check.integer("unet", "width", width, 1), check.integer("unet", "depth", depth, 1)
        border = int(check.choice("unet", "padding", padding, ("same", "valid")) == "same")
        check.choice("unet", "upsampling", upsampling, ("transposed", "bilinear"))
        widths = [width << level for level in range(depth + 1)]
        inputs = [in_channels, *widths]
        self.down = ModuleList(_double(inputs[i], widths[i], border, normalized) for i in range(depth + 1))
        self.pool = MaxPool2d(2)
        self.up = ModuleList(Up(channels, border, normalized, upsampling) for channels in reversed(widths[1:]))
        self.classifier = Conv2d(width, num_classes, 1)
        self.initialize()

    def initial_values(self, name: str, layer: Module) -> None:
        """Normal values of deviation sqrt(2 / fan_in), the paper's choice; no biases."""
        if isinstance(layer, Conv2d):
            layer.weight = init.he(layer.weight.shape)
            if layer.bias is not None:
                layer.bias[...] = 0.0

    def features(self, input: Any) -> Any:
        """(N, in_channels, H, W) -> (N, width, H', W'), the maps that the last convolution classifies."""
        maps: list[Any] = []
        for convolutions in self.down:
            maps.append(convolutions(self.pool(maps[-1]) if maps else input))
        out = maps.pop()
        for level in self.up:
            out = level(out, maps.pop())
        return out

    def forward(self, input: Any) -> Any:
        """(N, in_channels, H, W) -> (N, num_classes, H', W'): logits for every pixel; H' = H with padding."""
        return self.classifier(self.features(input))


@register(
    year=2015,
    paper="Ronneberger et al., U-Net: convolutional networks for biomedical image segmentation",
    input_shape=(1, 256, 256),
    resize_size=256,
    mean=(0.0,),
    std=(1.0,),
)
def unet(
    num_classes: int = 2,
    in_channels: int = 1,
    *,
    width: int = 64,
    depth: int = 4,
    padding: Padding = "same",
    upsampling: Upsampling = "transposed",
    normalized: bool = False,
    weights: Weights = None,
    seed: init.Rng = None,
) -> UNet:
    """U-Net (Ronneberger et al., 2015): 31,030,658 parameters with one channel and two classes.

    The paper's network has `padding="valid"` and an input of 572x572.
    """
    return build(lambda: UNet(num_classes, in_channels, width, depth, padding, upsampling, normalized), weights, seed)
