# SPDX-License-Identifier: BSD-3-Clause
"""Networks as parts of other networks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cnnkern.functional import _check as check
from cnnkern.models._network import Network
from cnnkern.models._registry import get

if TYPE_CHECKING:
    from cnnkern.data.preprocess import Preprocess


class OnBackbone(Network):
    """Base of networks around a `backbone`; features and preprocessing are the backbone's."""

    backbone: Network

    def features(self, input: Any) -> Any:
        """(N, in_channels, H, W) -> the backbone's maps before its head."""
        return self.backbone.features(input)

    def _published(self) -> Preprocess:
        return self.backbone.preprocess


def backbone_of(function: str, backbone: str | Network, num_classes: int, in_channels: int) -> Network:
    """A new network of that name, or the network given, which is used itself.

    Raises:
        TypeError: it is neither.
        ValueError: there is none of that name, or num_classes is not positive.
    """
    check.integer(function, "num_classes", num_classes, 1)
    if isinstance(backbone, str):
        return get(backbone)(num_classes, in_channels)
    if not isinstance(backbone, Network):
        raise TypeError(
            f"{function}: backbone must be the name of a model or a Network, found {type(backbone).__name__}"
        )
    return backbone
