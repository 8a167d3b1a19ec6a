# SPDX-License-Identifier: BSD-3-Clause
"""Penalties on weights, which `fit` and `Trainer` add to the loss: L1, L2 and the elastic net.

They count the trainable parameters of two or more axes: the weights of layers, not biases and normalizations. The
optimizers' `weight_decay` is L2 without its share in the loss that is logged, and costs nothing.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

from cnnkern import functional
from cnnkern.functional import _check as check
from cnnkern.functional._reduction import total


class ElasticNet:
    """strength (alpha sum |w| + (1 - alpha) / 2 sum w^2) (Zou and Hastie, 2005); alpha 1 is L1, alpha 0 is L2.

    The derivative of |w| at 0 is 0.
    """

    def __init__(self, strength: float, alpha: float = 0.5) -> None:
        name = type(self).__name__
        self.strength = check.finite(name, "strength", strength, 0.0)
        self.alpha = check.finite(name, "alpha", alpha, 0.0, 1.0)

    def __call__(self, parameters: Iterable[Any]) -> Any | None:
        """The penalty on parameters, arrays or symbols; None where there is nothing to add."""
        terms = []
        for weight in parameters:
            if len(weight.shape) < 2:
                continue
            if self.alpha:
                terms.append(total(functional.abs(weight), self.strength * self.alpha))
            if self.alpha < 1:
                terms.append(total(functional.square(weight), self.strength * (1.0 - self.alpha) / 2.0))
        return functools.reduce(functional.add, terms) if terms and self.strength else None


class L1(ElasticNet):
    """strength sum |w| (Tibshirani, 1996): weights that matter little become almost 0."""

    def __init__(self, strength: float) -> None:
        super().__init__(strength, 1.0)


class L2(ElasticNet):
    """strength / 2 sum w^2: keeps weights small."""

    def __init__(self, strength: float) -> None:
        super().__init__(strength, 0.0)
