# SPDX-License-Identifier: BSD-3-Clause
"""Losses as layers: arguments at construction, arrays in the call. size_average and reduce are deprecated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cnnkern import functional
from cnnkern.functional import _check as check
from cnnkern.nn.module import Module


class Loss(Module):
    """A function of `cnnkern.functional` with its arguments; those that are arrays (weights) are buffers."""

    def __init__(self, function: Callable[..., Any], **arguments: Any) -> None:
        self.function = function
        if "reduction" in arguments:
            choices = ("none", "mean", "sum", *(("batchmean",) if isinstance(self, KLDivLoss) else ()))
            check.choice(type(self).__name__, "reduction", arguments["reduction"], choices)
        self.arguments = {name: value for name, value in arguments.items() if name not in ("weight", "pos_weight")}
        self.weights = tuple(name for name in arguments if name not in self.arguments)
        for name in self.weights:
            self.register_buffer(name, arguments[name])

    def forward(self, *inputs: Any) -> Any:
        """The arrays that the function takes before its other arguments."""
        return self.function(*inputs, **self.arguments, **{name: getattr(self, name) for name in self.weights})

    def extra_repr(self) -> str:
        given = {name: value for name, value in self.arguments.items() if value is not None}
        return ", ".join(f"{name}={value!r}" for name, value in given.items())


class MSELoss(Loss):
    """Mean of (input - target)^2.

    Arguments and shapes: `functional.mse_loss`.
    """

    def __init__(
        self,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(
            functional.mse_loss,
            size_average=size_average,
            reduce=reduce,
            reduction=reduction,
        )


class L1Loss(Loss):
    """Mean of |input - target|.

    Arguments and shapes: `functional.l1_loss`.
    """

    def __init__(
        self,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(
            functional.l1_loss,
            size_average=size_average,
            reduce=reduce,
            reduction=reduction,
        )


class SmoothL1Loss(Loss):
    """Quadratic below `beta`, linear beyond it (Girshick, 2015).

    Arguments and shapes: `functional.smooth_l1_loss`.
    """

    def __init__(
        self,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        beta: float = 1.0,
    ) -> None:
        super().__init__(
            functional.smooth_l1_loss,
            size_average=size_average,
            reduce=reduce,
            reduction=reduction,
            beta=beta,
        )


class HuberLoss(Loss):
    """Quadratic below `delta`, linear beyond it (Huber, 1964).

    Arguments and shapes: `functional.huber_loss`.
    """

    def __init__(
        self,
        reduction: str = "mean",
        delta: float = 1.0,
    ) -> None:
        super().__init__(
            functional.huber_loss,
            reduction=reduction,
            delta=delta,
        )


class CrossEntropyLoss(Loss):
    """Cross-entropy of softmax(input) against classes or probabilities.

    Arguments and shapes: `functional.cross_entropy`.
    """

    def __init__(
        self,
        weight: Any = None,
        size_average: bool | None = None,
        ignore_index: int = -100,
        reduce: bool | None = None,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(
            functional.cross_entropy,
            weight=weight,
            size_average=size_average,
            ignore_index=ignore_index,
            reduce=reduce,
            reduction=reduction,
            label_smoothing=label_smoothing,
        )


class NLLLoss(Loss):
    """Negative log-likelihood of log-probabilities.

    Arguments and shapes: `functional.nll_loss`.
    """

    def __init__(
        self,
        weight: Any = None,
        size_average: bool | None = None,
        ignore_index: int = -100,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(
            functional.nll_loss,
            weight=weight,
            size_average=size_average,
            ignore_index=ignore_index,
            reduce=reduce,
            reduction=reduction,
        )


class BCELoss(Loss):
    """Binary cross-entropy of probabilities.

    Arguments and shapes: `functional.binary_cross_entropy`.
    """

    def __init__(
        self,
        weight: Any = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(
            functional.binary_cross_entropy,
            weight=weight,
            size_average=size_average,
            reduce=reduce,
            reduction=reduction,
        )


class BCEWithLogitsLoss(Loss):
    """Binary cross-entropy of sigmoid(input).

    Arguments and shapes: `functional.binary_cross_entropy_with_logits`.
    """

    def __init__(
        self,
        weight: Any = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        pos_weight: Any = None,
    ) -> None:
        super().__init__(
            functional.binary_cross_entropy_with_logits,
            weight=weight,
            size_average=size_average,
            reduce=reduce,
            reduction=reduction,
            pos_weight=pos_weight,
        )


class KLDivLoss(Loss):
    """Divergence of Kullback and Leibler (1951) of log-probabilities.

    Arguments and shapes: `functional.kl_div`.
    """

    def __init__(
        self,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        log_target: bool = False,
    ) -> None:
        super().__init__(
            functional.kl_div,
            size_average=size_average,
            reduce=reduce,
            reduction=reduction,
            log_target=log_target,
        )


class PoissonNLLLoss(Loss):
    """Negative log-likelihood of counts.

    Arguments and shapes: `functional.poisson_nll_loss`.
    """

    def __init__(
        self,
        log_input: bool = True,
        full: bool = False,
        size_average: bool | None = None,
        eps: float = 1e-08,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(
            functional.poisson_nll_loss,
            log_input=log_input,
            full=full,
            size_average=size_average,
            eps=eps,
            reduce=reduce,
            reduction=reduction,
        )


class GaussianNLLLoss(Loss):
    """Negative log-likelihood under normal distributions (input, target, var).

    Arguments and shapes: `functional.gaussian_nll_loss`.
    """

    def __init__(
        self,
        *,
        full: bool = False,
        eps: float = 1e-06,
        reduction: str = "mean",
    ) -> None:
        super().__init__(
            functional.gaussian_nll_loss,
            full=full,
            eps=eps,
            reduction=reduction,
        )
