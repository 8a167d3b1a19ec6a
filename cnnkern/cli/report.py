# SPDX-License-Identifier: BSD-3-Clause
"""What the commands print of errors, and of how good a classifier is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from cnnkern.train import metrics

Array = npt.NDArray[Any]
_MESSAGE_LINES, _MESSAGE_COLUMNS = 6, 160
_MOST_CLASSES = 25


def reason(error: Exception) -> str:
    """The message of an error, cut to what fits a screen: wrong weights have hundreds of wrong names."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    lines = str(error).splitlines()
    kept = [f"{line[:_MESSAGE_COLUMNS]} ..." if len(line) > _MESSAGE_COLUMNS else line for line in lines]
    if len(lines) > _MESSAGE_LINES:
        kept = [*kept[:_MESSAGE_LINES], f"  ... and {len(lines) - _MESSAGE_LINES} lines more"]
    return "\n".join(kept)


def print_report(labels: Array, scores: Array, names: Sequence[str]) -> None:
    """Precision, recall and F1 of every class, their means, accuracy and top-k accuracy."""
    matrix = metrics.confusion_matrix(labels, scores, len(names))
    figures = [np.asarray(each) for each in metrics.rates(matrix, None)]
    width = min(max(5, *(len(name) for name in names)), 24)
    print(f"{'class':>{width}}  {'precision':>9}  {'recall':>7}  {'F1':>6}  {'images':>6}")
    for label, count in enumerate(matrix.sum(1)):
        if label < _MOST_CLASSES:
            precision, recall, f1 = (float(figure[label]) for figure in figures)
            print(f"{names[label][:24]:>{width}}  {precision:>9.3f}  {recall:>7.3f}  {f1:>6.3f}  {count:>6}")
    if len(names) > _MOST_CLASSES:
        print(f"{'...':>{width}}  and {len(names) - _MOST_CLASSES} classes more")
    means = metrics.rates(matrix, "macro")
    print(f"{'mean':>{width}}  {means[0]:>9.3f}  {means[1]:>7.3f}  {means[2]:>6.3f}  {len(labels):>6}")
    k = 3 if len(names) <= 10 else 5
    top = f", top-{k} accuracy {metrics.top_k_accuracy(labels, scores, k):.2%}" if k < len(names) else ""
    print(f"accuracy {metrics.accuracy(labels, scores):.2%}{top}")
