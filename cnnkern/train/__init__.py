# SPDX-License-Identifier: BSD-3-Clause
"""Training: `fit`, `evaluate`, `predict`, `Trainer`; optimizers, schedules, regularization, metrics, callbacks."""

from cnnkern.train import metrics, schedule
from cnnkern.train.callback import Callback, EarlyStopping, History
from cnnkern.train.checkpoint import ModelCheckpoint, load_checkpoint, save_checkpoint
from cnnkern.train.classifier import Classifier
from cnnkern.train.csv_log import CSVLogger
from cnnkern.train.fit import evaluate, fit, predict
from cnnkern.train.not_finite import TerminateOnNaN
from cnnkern.train.optim import Optimizer
from cnnkern.train.optimizers import SGD, AdaGrad, Adam, AdamW, GradientDescent, Momentum, Nesterov, RMSProp
from cnnkern.train.plateau import ReduceLROnPlateau
from cnnkern.train.progress import Progress
from cnnkern.train.regularization import L1, L2, ElasticNet
from cnnkern.train.schedule import LearningRateScheduler
from cnnkern.train.step import gradient_graph, value_and_grad
from cnnkern.train.tensorboard import TensorBoard
from cnnkern.train.trainer import Trainer
from cnnkern.train.training import Training
from cnnkern.train.transfer import features, freeze_but, transfer

__all__ = [
    "L1",
    "L2",
    "SGD",
    "AdaGrad",
    "Adam",
    "AdamW",
    "CSVLogger",
    "Callback",
    "Classifier",
    "EarlyStopping",
    "ElasticNet",
    "GradientDescent",
    "History",
    "LearningRateScheduler",
    "ModelCheckpoint",
    "Momentum",
    "Nesterov",
    "Optimizer",
    "Progress",
    "RMSProp",
    "ReduceLROnPlateau",
    "TensorBoard",
    "TerminateOnNaN",
    "Trainer",
    "Training",
    "evaluate",
    "features",
    "fit",
    "freeze_but",
    "gradient_graph",
    "load_checkpoint",
    "metrics",
    "predict",
    "save_checkpoint",
    "schedule",
    "transfer",
    "value_and_grad",
]
