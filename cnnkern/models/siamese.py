# SPDX-License-Identifier: BSD-3-Clause
"""Siamese networks (Bromley et al., 1993): two images through one network, and the distance of what comes out."""

from __future__ import annotations

from typing import Any

from cnnkern import functional
from cnnkern.models._backbone import OnBackbone, backbone_of
from cnnkern.models._network import Network
from cnnkern.models._registry import Weights, build, register
from cnnkern.nn import init


class Siamese(OnBackbone):
    """d(a, b) = |f(a) - f(b)|, Euclidean, with one network f for both images; `embed` is f.

    State-dict names are those of the backbone after "backbone.". Two images show the same thing (the same face, say)
    where the distance is below a threshold; `functional.contrastive_loss` teaches it.

    Args:
        backbone: whose outputs are the embedding.
    """

    def __init__(self, backbone: Network) -> None:
        self.backbone = backbone
        self.heads = tuple(f"backbone.{name}" for name in backbone.heads)

    def embed(self, input: Any) -> Any:
        """(N, in_channels, H, W) -> (N, embedding)."""
        return self.backbone(input)

    def forward(self, first: Any, second: Any) -> Any:
        """Two of (N, in_channels, H, W) -> distances (N,)."""
        return functional.pairwise_distance(self.embed(first), self.embed(second))


@register(
    year=1993,
    paper="Bromley et al., Signature verification using a siamese time delay neural network",
    input_shape=((1, 28, 28), (1, 28, 28)),
    resize_size=28,
    mean=(0.0,),
    std=(1.0,),
)
def siamese(
    num_classes: int = 32,
    in_channels: int = 1,
    *,
    backbone: str | Network = "course_cnn",
    weights: Weights = None,
    seed: init.Rng = None,
) -> Siamese:
    """Two inputs, shared weights, a distance (Bromley et al., 1993; with a loss by Hadsell, Chopra and LeCun, 2006).

    Args:
        num_classes: length of the embedding: the outputs of the backbone.
        in_channels: of the images.
        backbone: the name of a model, built with these two, or a network, which is used as it is.

    Raises:
        TypeError: the backbone is neither a name nor a `Network`.
        ValueError: there is no model of that name.
    """
    return build(lambda: Siamese(backbone_of("siamese", backbone, num_classes, in_channels)), weights, seed)
