# SPDX-License-Identifier: BSD-3-Clause
"""Losses inside compiled training plans: the float32 plan against the float64 reference."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from cnnkern import functional as F
from cnnkern import nn, train

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((6, 7)), RNG.uniform(0.05, 0.95, (6, 5))
SIGNS, CLASSES = RNG.choice([-1.0, 1.0], 6), RNG.integers(0, 5, 6)
LABELS = np.where(RNG.random((6, 5)) < 0.3, -1, RNG.integers(0, 5, (6, 5)))

Loss = Callable[[Any, Any], Any]
CASES: dict[str, tuple[Loss, Any]] = {
    "cross_entropy": (lambda y, t: F.cross_entropy(y, t, label_smoothing=0.1), Y),
    "kl_div": (lambda y, t: F.kl_div(F.log_softmax(y, 1), t, reduction="batchmean"), Y),
    "poisson_nll_loss": (lambda y, t: F.poisson_nll_loss(y, t, full=True), np.floor(Y * 4)),
    "gaussian_nll_loss": (lambda y, t: F.gaussian_nll_loss(y, t, F.exp(y)), Y),
    "binary_cross_entropy_with_logits": (F.binary_cross_entropy_with_logits, Y),
    "soft_margin_loss": (F.soft_margin_loss, np.sign(Y - 0.5)),
    "multilabel_soft_margin_loss": (F.multilabel_soft_margin_loss, np.round(Y)),
    "multi_margin_loss": (lambda y, t: F.multi_margin_loss(y, t, 2), CLASSES),
    "multilabel_margin_loss": (F.multilabel_margin_loss, LABELS),
    "cosine_embedding_loss": (lambda y, t: F.cosine_embedding_loss(y, F.square(y), t, 0.1), SIGNS),
    "triplet_margin_loss": (lambda y, t: F.triplet_margin_loss(y, t, F.square(y), swap=True), Y),
    "contrastive_loss": (lambda y, t: F.contrastive_loss(F.pairwise_distance(y, F.square(y)), t), (SIGNS + 1) / 2),
    "pdist": (lambda y, t: F.mse_loss(F.pdist(y), F.pdist(t)), Y),
    "bilinear": (lambda y, t: F.mse_loss(F.bilinear(y, y, np.ones((2, 5, 5), y.dtype)), F.split(t, (2, 3), 1)[0]), Y),
}


@pytest.mark.parametrize("name", CASES)
def test_plan_and_reference_agree(name: str) -> None:
    loss, target = CASES[name]
    step = train.value_and_grad(nn.Linear(7, 5, rng=0), loss)
    exact, expected = step(X, target)
    single = target if target.dtype.kind == "i" else target.astype(np.float32)
    value, found = step(X.astype(np.float32), single)
    assert value == pytest.approx(exact, rel=1e-5)
    assert found["weight"].any()
    largest = max(np.abs(gradient).max() for gradient in expected.values())
    for key, gradient in found.items():
        np.testing.assert_allclose(gradient, expected[key], rtol=1e-4, atol=1e-5 * largest, err_msg=key)
