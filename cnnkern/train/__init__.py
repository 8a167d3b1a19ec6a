# SPDX-License-Identifier: BSD-3-Clause
"""Training: `fit`, `evaluate`, `predict`, optimizers, metrics and callbacks."""

from cnnkern.train import metrics
from cnnkern.train.callback import Callback, EarlyStopping, History
from cnnkern.train.fit import Training, evaluate, fit, predict
from cnnkern.train.optim import SGD, Adam, AdamW, Optimizer
from cnnkern.train.step import gradient_graph, value_and_grad

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "Callback",
    "EarlyStopping",
    "History",
    "Optimizer",
    "Training",
    "evaluate",
    "fit",
    "gradient_graph",
    "metrics",
    "predict",
    "value_and_grad",
]
