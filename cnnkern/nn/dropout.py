# SPDX-License-Identifier: BSD-3-Clause
"""Dropout and its relatives as layers: they act in training only. inplace=True is refused: inputs never change."""

from __future__ import annotations

from typing import Any

from cnnkern import functional
from cnnkern.functional import _check as check
from cnnkern.nn.module import Module


class Dropout(Module):
    """Zeroes each element with probability p and divides the rest by 1 - p (Srivastava et al., 2014)."""

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        self.p = check.finite("Dropout", "p", p, 0.0, 1.0)
        check.not_in_place("Dropout", inplace)

    def forward(self, input: Any) -> Any:
        """Any shape, kept."""
        return functional.dropout(input, self.p, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p:g}"


class Dropout1d(Module):
    """Dropout of whole channels (Tompson et al., 2015)."""

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        self.p = check.finite("Dropout1d", "p", p, 0.0, 1.0)
        check.not_in_place("Dropout1d", inplace)

    def forward(self, input: Any) -> Any:
        """(N, C, L) or (C, L), kept."""
        return functional.dropout1d(input, self.p, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p:g}"


class Dropout2d(Module):
    """Dropout of whole channels (Tompson et al., 2015)."""

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        self.p = check.finite("Dropout2d", "p", p, 0.0, 1.0)
        check.not_in_place("Dropout2d", inplace)

    def forward(self, input: Any) -> Any:
        """(N, C, H, W), kept."""
        return functional.dropout2d(input, self.p, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p:g}"


class Dropout3d(Module):
    """Dropout of whole channels (Tompson et al., 2015)."""

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        self.p = check.finite("Dropout3d", "p", p, 0.0, 1.0)
        check.not_in_place("Dropout3d", inplace)

    def forward(self, input: Any) -> Any:
        """(N, C, D, H, W) or (C, D, H, W), kept."""
        return functional.dropout3d(input, self.p, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p:g}"


class AlphaDropout(Module):
    """Dropout that keeps mean 0 and variance 1, for networks of SELU (Klambauer et al., 2017)."""

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        self.p = check.finite("AlphaDropout", "p", p, 0.0, 1.0)
        check.not_in_place("AlphaDropout", inplace)

    def forward(self, input: Any) -> Any:
        """Any shape, kept."""
        return functional.alpha_dropout(input, self.p, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p:g}"


class FeatureAlphaDropout(Module):
    """`AlphaDropout` of whole channels."""

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        self.p = check.finite("FeatureAlphaDropout", "p", p, 0.0, 1.0)
        check.not_in_place("FeatureAlphaDropout", inplace)

    def forward(self, input: Any) -> Any:
        """(N, C, ...), kept."""
        return functional.feature_alpha_dropout(input, self.p, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p:g}"


class StochasticDepth(Module):
    """Zeroes its input, a residual branch, with probability p, and divides it by 1 - p otherwise (Huang et al., 2016).

    mode: "row" decides for each image of its own, "batch" for all as one.
    """

    def __init__(self, p: float, mode: str) -> None:
        self.p = check.finite("StochasticDepth", "p", p, 0.0, 1.0)
        self.mode = check.choice("StochasticDepth", "mode", mode, ("batch", "row"))

    def forward(self, input: Any) -> Any:
        """(N, ...), kept."""
        return functional.stochastic_depth(input, self.p, self.mode, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p:g}, mode={self.mode!r}"
