# SPDX-License-Identifier: BSD-3-Clause
"""Losses as `fit` and `Trainer` take them: by name, as an object of `nn`, or as a function of the whole output."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from cnnkern import functional
from cnnkern.functional import _check as check
from cnnkern.nn.module import Module

LossFunction = Callable[[Any, Any], Any]

LOSSES: dict[str, LossFunction] = {
    "binary_cross_entropy": functional.binary_cross_entropy,
    "binary_cross_entropy_with_logits": functional.binary_cross_entropy_with_logits,
    "categorical_cross_entropy": functional.cross_entropy,
    "contrastive": functional.contrastive_loss,
    "cross_entropy": functional.cross_entropy,
    "hinge": functional.hinge_loss,
    "huber": functional.huber_loss,
    "mae": functional.l1_loss,
    "mse": functional.mse_loss,
    "nll": functional.nll_loss,
    "pseudo_huber": functional.pseudo_huber_loss,
    "smooth_l1": functional.smooth_l1_loss,
    "sparse_categorical_cross_entropy": functional.cross_entropy,
}


def as_loss(loss: str | LossFunction, function: str = "fit") -> LossFunction:
    """A function (outputs, targets) -> scalar of what was given as a loss.

    A name, and an object of `cnnkern.nn` such as `nn.CrossEntropyLoss(label_smoothing=0.1)`, compares one output with
    the targets. Several outputs that have `loss_weights` (those of GoogLeNet and Inception in training: 1 for the
    logits, 0.3 and 0.4 for auxiliary heads) are compared one by one, and the values added with these weights.

    A function, written with `cnnkern.functional`, gets what the model returns, as a whole.
    """
    if isinstance(loss, Module):
        single: LossFunction = loss
    elif callable(loss):
        return loss
    else:
        single = LOSSES[check.choice(function, "loss", loss, tuple(LOSSES))]

    def weighted(outputs: Any, targets: Any) -> Any:
        if not hasattr(outputs, "loss_weights"):
            return single(outputs, targets)
        terms = [
            functional.multiply(single(each, targets), w) for each, w in zip(outputs, outputs.loss_weights, strict=True)
        ]
        return functools.reduce(functional.add, terms)

    return weighted
