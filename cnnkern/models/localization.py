# SPDX-License-Identifier: BSD-3-Clause
"""One object per image: its class and its box, from one network (Sermanet et al., OverFeat, 2014)."""

from __future__ import annotations

from typing import Any

import numpy as np

from cnnkern import functional
from cnnkern.functional import _check as check
from cnnkern.models._backbone import OnBackbone, backbone_of
from cnnkern.models._network import Network
from cnnkern.models._registry import Weights, build, register
from cnnkern.nn import Identity, Linear, init


class BoxNetwork(OnBackbone):
    """A classifier whose last layer has a second one beside it, for the box.

    State-dict names are those of the backbone after "backbone.", and "classes" and "box".
    """

    heads = ("classes",)

    def __init__(self, backbone: Network, num_classes: int) -> None:
        if len(backbone.heads) != 1 or not isinstance(backbone.head, Linear):
            raise ValueError(f"BoxNetwork: {type(backbone).__name__} has not one linear layer as its head")
        if backbone.num_classes != num_classes:
            backbone.replace_head(num_classes)
        self.classes = backbone.head
        self.box = Linear(backbone.head.in_features, 4)
        parent, _, last = backbone.heads[0].rpartition(".")
        backbone._at(parent).register_module(last, Identity())
        backbone.heads = ()
        self.backbone = backbone

    def forward(self, input: Any) -> tuple[Any, Any]:
        """(N, in_channels, H, W) -> logits (N, num_classes) and boxes (N, 4)."""
        values = self.backbone(input)
        return self.classes(values), self.box(values)


def localization_loss(outputs: tuple[Any, Any], targets: Any, box_weight: float = 1.0) -> Any:
    """Cross-entropy of the class plus box_weight times smooth L1 of the box (Girshick, Fast R-CNN, 2015), means.

    outputs: logits (N, classes) and boxes (N, 4), as of `with_box_head`. targets: (N, 5), in each row the number of the
    class and the box, in whatever four coordinates the network is to learn (fractions of the image, say). A number that
    is no class (-1) adds nothing to the cross-entropy.

    Raises:
        TypeError, ValueError: shapes and dtypes do not fit.
    """
    function = "localization_loss"
    if not isinstance(outputs, tuple) or len(outputs) != 2:
        raise TypeError(f"{function}: outputs must be a pair of logits and boxes, found {type(outputs).__name__}")
    logits, boxes = outputs
    check.floating(function, logits=logits, boxes=boxes, targets=targets)
    if len(logits.shape) != 2 or 0 in logits.shape:
        raise ValueError(f"{function}: logits must have shape (N, classes), not empty, found {logits.shape}")
    check.same_shape(function, "boxes", boxes, (logits.shape[0], 4))
    check.same_shape(function, "targets", targets, (logits.shape[0], 5))
    weight = check.finite(function, "box_weight", box_weight, 0.0)
    label, box = functional.split(targets, (1, 4), 1)
    distance = functional.abs(functional.subtract(label, np.arange(logits.shape[1], dtype=logits.dtype)[None]))
    one_hot = functional.relu(functional.subtract(1.0, distance))
    box_loss = functional.smooth_l1_loss(boxes, box)
    return functional.add(functional.cross_entropy(logits, one_hot), functional.multiply(box_loss, weight))


@register(year=2013, paper="Sermanet et al., OverFeat: integrated recognition, localization and detection")
def with_box_head(
    num_classes: int = 1000,
    in_channels: int = 3,
    *,
    backbone: str | Network = "resnet18",
    weights: Weights = None,
    seed: init.Rng = None,
) -> BoxNetwork:
    """A network that answers with a class and a box (Sermanet et al., 2013); `localization_loss` teaches both.

    `with_box_head(10, backbone=resnet18(weights=path))` starts from a trained classifier: its weights stay, and if it
    has another number of classes, its last layer is replaced.

    Args:
        num_classes: of the classes.
        in_channels: of the images.
        backbone: the name of a model, built with these two, or a network, which becomes part of the new one.

    Raises:
        TypeError: the backbone is neither a name nor a `Network`.
        ValueError: there is no model of that name, or its head is not one linear layer.
    """

    def make() -> BoxNetwork:
        return BoxNetwork(backbone_of("with_box_head", backbone, num_classes, in_channels), num_classes)

    return build(make, weights, seed)
