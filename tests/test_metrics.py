# SPDX-License-Identifier: BSD-3-Clause
"""Metrics against scikit-learn, and what it leaves undefined."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cnnkern.train import metrics as m

sklearn = pytest.importorskip("sklearn.metrics")
RNG = np.random.default_rng(3)
TARGETS = RNG.integers(0, 7, 500)
SCORES = RNG.standard_normal((500, 7)).astype(np.float32)
SCORES[np.arange(500), TARGETS] += 1.0
ANSWERS = SCORES.argmax(1)


def test_accuracy_and_confusion_matrix() -> None:
    assert m.accuracy(TARGETS, ANSWERS) == sklearn.accuracy_score(TARGETS, ANSWERS)
    np.testing.assert_array_equal(m.confusion_matrix(TARGETS, SCORES), sklearn.confusion_matrix(TARGETS, ANSWERS))


@pytest.mark.parametrize("average", ["macro", "micro", None])
def test_precision_recall_f1(average: str | None) -> None:
    for own, theirs in ((m.precision, "precision"), (m.recall, "recall"), (m.f1, "f1")):
        expected = getattr(sklearn, theirs + "_score")(TARGETS, ANSWERS, average=average)
        np.testing.assert_allclose(own(TARGETS, ANSWERS, average), expected, rtol=1e-12)


@pytest.mark.parametrize("average", ["macro", "micro"])
def test_classes_that_are_never_answered_or_never_occur(average: str) -> None:
    targets, answers = np.array([0, 0, 1, 4, 4, 4]), np.array([0, 1, 1, 1, 4, 5])
    for own, theirs in ((m.precision, "precision"), (m.recall, "recall"), (m.f1, "f1")):
        expected = getattr(sklearn, theirs + "_score")(targets, answers, average=average, zero_division=0)
        assert own(targets, answers, average) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("k", [1, 2, 5, 7])
def test_top_k(k: int) -> None:
    expected = sklearn.top_k_accuracy_score(TARGETS, SCORES, k=k) if k < 7 else 1.0
    assert m.top_k_accuracy(TARGETS, SCORES, k) == pytest.approx(expected, abs=1e-12)


def test_top_1_is_accuracy_where_scores_are_equal() -> None:
    scores = np.zeros((4, 3), np.float32)
    targets = np.array([0, 1, 2, 0])
    assert m.top_k_accuracy(targets, scores, 1) == m.accuracy(targets, scores) == 0.5
    assert m.top_k_accuracy(targets, scores, 2) == 0.75


def test_nan_scores_are_never_right() -> None:
    assert m.top_k_accuracy([0, 1], np.array([[np.nan, 1.0], [np.nan, 1.0]]), 1) == 0.5


def test_gathered_batch_by_batch_they_are_the_same() -> None:
    figures = m.as_metrics(["accuracy", "top_2", "precision", "recall", "f1", lambda t, o: float(o.mean())])
    for metric in figures:
        metric.update(np.zeros(3, np.int32), np.ones((3, 7), np.float32))
        metric.reset()
        for start in range(0, 500, 64):
            metric.update(TARGETS[start : start + 64], SCORES[start : start + 64])
    expected = [
        m.accuracy(TARGETS, SCORES),
        m.top_k_accuracy(TARGETS, SCORES, 2),
        m.precision(TARGETS, SCORES),
        m.recall(TARGETS, SCORES),
        m.f1(TARGETS, SCORES),
        SCORES.mean(),
    ]
    assert [metric.result() for metric in figures] == pytest.approx(expected, rel=1e-5)


def test_a_class_seen_first_in_a_later_batch_counts() -> None:
    metric = m.ConfusionMetric("recall")
    metric.update(np.array([0, 0]), np.array([0, 1]))
    metric.update(np.array([3]), np.array([3]))
    assert metric.result() == pytest.approx((0.5 + 0.0 + 1.0) / 3)


def test_nothing_gives_nan() -> None:
    assert math.isnan(m.accuracy(np.zeros(0, np.int32), np.zeros((0, 3))))
    assert math.isnan(m.Accuracy().result())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: m.accuracy([0.5], [1]), r"targets: expected class indices \(N,\), found float64"),
        (lambda: m.accuracy([0, 1], [1]), r"predictions: expected 2 class indices .* found int64 \(1,\)"),
        (lambda: m.accuracy([0, -1], [1, 1]), "must not be negative, found -1"),
        (lambda: m.top_k_accuracy([0], [[1.0, 2.0]], 0), "k must be positive, found 0"),
        (lambda: m.top_k_accuracy([2], [[1.0, 2.0]]), "class 2 but scores for 2 classes"),
        (lambda: m.confusion_matrix([3], [0], 3), "class 3 does not fit num_classes=3"),
        (lambda: m.precision([0], [0], "weighted"), 'expected "macro", "micro" or None'),  # type: ignore[arg-type]
        (lambda: m.as_metrics(["speed"]), "'speed'"),
        (lambda: m.as_metrics(["accuracy", "accuracy"]), "must differ"),
    ],
)
def test_wrong_arguments_are_named(call: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()  # type: ignore[operator]
