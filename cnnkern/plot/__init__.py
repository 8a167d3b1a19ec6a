# SPDX-License-Identifier: BSD-3-Clause
"""Pictures, with matplotlib: `pip install 'cnnkern[plot]'`. All functions return a Figure: `figure.savefig(path)`."""

from cnnkern.plot._figure import require_matplotlib
from cnnkern.plot.augmentation import augmented
from cnnkern.plot.network import feature_maps, filters
from cnnkern.plot.speed import roofline
from cnnkern.plot.training import (
    confusion_matrix,
    decision_boundary,
    demo_figure,
    gradient_norms,
    misclassified,
    training_curves,
)

__all__ = [
    "augmented",
    "confusion_matrix",
    "decision_boundary",
    "demo_figure",
    "feature_maps",
    "filters",
    "gradient_norms",
    "misclassified",
    "require_matplotlib",
    "roofline",
    "training_curves",
]
