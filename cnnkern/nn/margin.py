# SPDX-License-Identifier: BSD-3-Clause
"""Losses that ask for a margin, and distances, as layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cnnkern import functional
from cnnkern.nn.loss import Loss


class HingeEmbeddingLoss(Loss):
    """Distances near for targets 1, a margin apart for targets -1.

    Arguments and shapes: `functional.hinge_embedding_loss`.
    """

    def __init__(
        self,
        margin: float = 1.0,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(
            functional.hinge_embedding_loss,
            margin=margin,
            size_average=size_average,
            reduce=reduce,
            reduction=reduction,
        )


class SoftMarginLoss(Loss):
    """log(1 + exp(-target * input)).

    Arguments and shapes: `functional.soft_margin_loss`.
    """

    def __init__(
        self,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(
            functional.soft_margin_loss,
            size_average=size_average,
            reduce=reduce,
            reduction=reduction,
        )


class MultiMarginLoss(Loss):
    """Hinge loss of classes (Crammer and Singer, 2001).

    Arguments and shapes: `functional.multi_margin_loss`.
    """

    def __init__(
        self,
        p: float = 1,
        margin: float = 1.0,
        weight: Any = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(
            functional.multi_margin_loss,
            p=p,
            margin=margin,
            weight=weight,
            size_average=size_average,
            reduce=reduce,
            reduction=reduction,
        )


class MultiLabelMarginLoss(Loss):
    """Hinge loss of several labels.

    Arguments and shapes: `functional.multilabel_margin_loss`.
    """

    def __init__(
        self,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(
            functional.multilabel_margin_loss,
            size_average=size_average,
            reduce=reduce,
            reduction=reduction,
        )


class MultiLabelSoftMarginLoss(Loss):
    """Binary cross-entropy of several labels.

    Arguments and shapes: `functional.multilabel_soft_margin_loss`.
    """

    def __init__(
        self,
        weight: Any = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(
            functional.multilabel_soft_margin_loss,
            weight=weight,
            size_average=size_average,
            reduce=reduce,
            reduction=reduction,
        )


class MarginRankingLoss(Loss):
    """Order of two scores (input1, input2, target).

    Arguments and shapes: `functional.margin_ranking_loss`.
    """

    def __init__(
        self,
        margin: float = 0.0,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(
            functional.margin_ranking_loss,
            margin=margin,
            size_average=size_average,
            reduce=reduce,
            reduction=reduction,
        )


class CosineEmbeddingLoss(Loss):
    """Angle of two vectors (input1, input2, target).

    Arguments and shapes: `functional.cosine_embedding_loss`.
    """

    def __init__(
        self,
        margin: float = 0.0,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(
            functional.cosine_embedding_loss,
            margin=margin,
            size_average=size_average,
            reduce=reduce,
            reduction=reduction,
        )


class TripletMarginLoss(Loss):
    """Anchor nearer to the positive than to the negative, by a margin.

    Arguments and shapes: `functional.triplet_margin_loss`.
    """

    def __init__(
        self,
        margin: float = 1.0,
        p: float = 2.0,
        eps: float = 1e-06,
        swap: bool = False,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(
            functional.triplet_margin_loss,
            margin=margin,
            p=p,
            eps=eps,
            swap=swap,
            size_average=size_average,
            reduce=reduce,
            reduction=reduction,
        )


class TripletMarginWithDistanceLoss(Loss):
    """`TripletMarginLoss` with a distance of one's own.

    Arguments and shapes: `functional.triplet_margin_with_distance_loss`.
    """

    def __init__(
        self,
        *,
        distance_function: Callable[[Any, Any], Any] | None = None,
        margin: float = 1.0,
        swap: bool = False,
        reduction: str = "mean",
    ) -> None:
        super().__init__(
            functional.triplet_margin_with_distance_loss,
            distance_function=distance_function,
            margin=margin,
            swap=swap,
            reduction=reduction,
        )


class PairwiseDistance(Loss):
    """Norm of x1 - x2 over the last axis.

    Arguments and shapes: `functional.pairwise_distance`.
    """

    def __init__(
        self,
        p: float = 2.0,
        eps: float = 1e-06,
        keepdim: bool = False,
    ) -> None:
        super().__init__(
            functional.pairwise_distance,
            p=p,
            eps=eps,
            keepdim=keepdim,
        )


class CosineSimilarity(Loss):
    """Cosine of the angle of x1 and x2.

    Arguments and shapes: `functional.cosine_similarity`.
    """

    def __init__(
        self,
        dim: int = 1,
        eps: float = 1e-08,
    ) -> None:
        super().__init__(
            functional.cosine_similarity,
            dim=dim,
            eps=eps,
        )
