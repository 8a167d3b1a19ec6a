# SPDX-License-Identifier: BSD-3-Clause
"""The options of `cnnkern train`, `evaluate` and `predict`; nothing is loaded before a command is chosen."""

from __future__ import annotations

import argparse
from typing import Any

DATA_SETS = ("digits", "mnist", "fashion-mnist", "cifar10", "cifar100", "folder")
OPTIMIZERS = ("adagrad", "adam", "adamw", "gradient_descent", "momentum", "nesterov", "rmsprop", "sgd")
SCHEDULES = ("constant", "cosine", "onecycle", "step", "plateau")


def add_train(parser: argparse.ArgumentParser, positive: Any) -> None:
    """The options of `cnnkern train`."""
    parser.add_argument("model", metavar="MODEL", help="the network; `cnnkern models` lists them")
    parser.add_argument("data_set", metavar="DATA", choices=DATA_SETS, help=", ".join(DATA_SETS))
    parser.add_argument("--data", metavar="DIR", help="where the files lie; of folder: train/CLASS/..., test/CLASS/...")
    parser.add_argument("--output", metavar="DIR", help="for checkpoints and tables (default: runs/MODEL-DATA)")
    parser.add_argument("--resume", action="store_true", help="go on with the run in that folder")
    learning = parser.add_argument_group("learning")
    learning.add_argument("-e", "--epochs", type=positive, default=10, metavar="N", help="default: 10")
    learning.add_argument("-b", "--batch", type=positive, default=64, metavar="N", help="images per step (default: 64)")
    learning.add_argument("--optimizer", choices=OPTIMIZERS, default="adam", help="default: adam")
    learning.add_argument("--lr", type=float, metavar="X", help="learning rate (default: the optimizer's)")
    learning.add_argument("--momentum", type=float, metavar="X", help="of sgd, momentum, nesterov and rmsprop")
    learning.add_argument("--weight-decay", type=float, metavar="X")
    learning.add_argument("--clip-norm", type=float, metavar="X", help="largest norm of the gradients")
    learning.add_argument("--schedule", choices=SCHEDULES, default="constant", help="of the rate (default: constant)")
    learning.add_argument("--warmup", type=int, default=0, metavar="N", help="epochs with a rising learning rate")
    learning.add_argument("--label-smoothing", type=float, default=0.0, metavar="X")
    learning.add_argument("--augment", action="store_true", help="shift, turn, mirror and crop the training images")
    learning.add_argument("--patience", type=positive, metavar="N", help="stop after N epochs without improvement")
    learning.add_argument("--validation", type=float, default=0.1, metavar="X", help="share of the training images")
    learning.add_argument("--weights", metavar="FILE", help="weights to begin with")
    learning.add_argument("--freeze", action="store_true", help="with --weights: train the last layer alone")
    learning.add_argument("--seed", type=int, default=0, metavar="N")
    other = parser.add_argument_group("other")
    other.add_argument("--size", type=positive, metavar="N", help="side of the images (default: those of the data)")
    other.add_argument("--tensorboard", metavar="DIR", help="events for TensorBoard; needs tensorboardX")
    other.add_argument("-t", "--threads", type=positive, metavar="N", help="default: as `cnnkern info` says")
    other.add_argument("-q", "--quiet", action="store_true", help="no progress")


def add_judge(evaluate: argparse.ArgumentParser, predict: argparse.ArgumentParser, positive: Any) -> None:
    """The options of both commands."""
    for parser in (evaluate, predict):
        parser.add_argument("run", metavar="RUN", help="the folder that `cnnkern train` wrote")
    evaluate.add_argument("--data", metavar="DIR", help="where the files lie")
    evaluate.add_argument("--split", choices=("train", "test"), default="test", help="default: test")
    predict.add_argument("images", nargs="+", metavar="IMAGE", help="in any format that Pillow reads")
    predict.add_argument("--topk", type=positive, default=3, metavar="K", help="classes to show (default: 3)")
    predict.add_argument("--csv", metavar="FILE", help="write image, class and probability to a table")
    for parser in (evaluate, predict):
        parser.add_argument("--weights", metavar="FILE", help="other weights than the run's best ones")
