# SPDX-License-Identifier: BSD-3-Clause
"""`cnnkern train`: a network learns a data set, with checkpoints, and says at the end how good it is."""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

import cnnkern
from cnnkern import data, io, train
from cnnkern.cli import data_sets, runs
from cnnkern.cli.report import print_report, reason
from cnnkern.cli.runs import BEST, CHECKPOINT, TABLE, Run
from cnnkern.train import schedule
from cnnkern.train.optimizers import OPTIMIZERS


def run(options: argparse.Namespace) -> int:
    """Train, and print the report. Returns 0, or 2 where something is missing or does not fit."""
    threads = contextlib.nullcontext() if options.threads is None else cnnkern.threads(options.threads)
    try:
        with threads:
            _train(options)
    except (ValueError, OSError, ImportError, FloatingPointError) as error:
        print(f"cnnkern train: {reason(error)}", file=sys.stderr)
        return 2
    return 0


def _train(options: argparse.Namespace) -> None:
    folder = Path(options.output or Path("runs") / f"{options.model}-{options.data_set}")
    checkpoint = folder / CHECKPOINT
    if checkpoint.exists() and not options.resume:
        raise ValueError(f"{checkpoint} is there: go on with --resume, or take another --output")
    if not 0 < options.validation < 1:
        raise ValueError(f"--validation must lie between 0 and 1, found {options.validation}")
    known = data_sets.load(options.data_set, options.data, "train")
    size = None if options.size is None else (options.size, options.size)
    description = runs.plan(options.model, options.data_set, known, size)
    parts = data.stratified_folds(known.labels, max(2, round(1 / options.validation)), options.seed)
    kept, held_out = (known.part(indices) for indices in parts[0])
    batches = description.pictures.learned(kept, options.batch, options.augment, options.seed, 1)
    judged = description.pictures.judged(held_out, 256, 1)
    network = _network(description, options)
    folder.mkdir(parents=True, exist_ok=True)
    description.save(folder)
    optimizer, plateau = _optimizer(options, len(batches))
    print(f"{options.model} on {len(kept.labels)} images of {options.data_set}, {len(held_out.labels)} for validation")
    began = time.perf_counter()
    history = train.fit(
        network,
        batches,
        judged,
        epochs=options.epochs,
        optimizer=optimizer,
        loss=cnnkern.nn.CrossEntropyLoss(label_smoothing=options.label_smoothing),
        callbacks=[*plateau, *_callbacks(options, folder)],
        seed=options.seed,
        resume=checkpoint if options.resume else None,
        progress=not options.quiet,
    )
    seconds = time.perf_counter() - began
    accuracies = history.history["val_accuracy"]
    best = int(np.argmax(accuracies))
    print(f"{len(history.epoch)} epochs, {seconds:.1f} s; best on the validation images: {accuracies[best]:.2%} in "
          f"epoch {best + 1}; files in {folder}")  # fmt: skip
    network.load_state_dict(io.load(folder / BEST))
    judge(network, description, options.data, "test")


def judge(network: Any, description: Run, folder: str | None, split: str) -> None:
    """Print how good a network is on a split of the data."""
    known = data_sets.load(description.data, folder, split)
    if len(known.classes) != len(description.classes):
        raise ValueError(f"the run knows {len(description.classes)} classes, the data has {len(known.classes)}")
    scores = train.predict(network, description.pictures.judged(known, 256, 1))
    print(f"on the {len(known.labels)} images of the {split} split:")
    print_report(known.labels, scores, description.classes)


def _network(description: Run, options: argparse.Namespace) -> Any:
    network = description.build(seed=options.seed)
    if options.freeze and not options.weights:
        raise ValueError("--freeze needs --weights: there is nothing to keep yet")
    if options.weights:
        given, own = io.load(options.weights), network.state_dict()
        heads = tuple(f"{name}." for name in network.heads)
        fits = {name: value for name, value in given.items() if name in own and value.shape == own[name].shape}
        other = [name for name in own if name not in fits and not name.startswith(heads) and "num_batches" not in name]
        if other:
            raise ValueError(f"{options.weights} does not fit {options.model}: {', '.join(other[:5])}")
        network.load_state_dict(fits, strict=False)
    if options.freeze:
        train.freeze_but(network, network.heads)
    return network


def _optimizer(options: argparse.Namespace, steps: int) -> tuple[train.Optimizer, list[train.Callback]]:
    """The optimizer with its schedule, or with the callback that serves as one."""
    kind = OPTIMIZERS[options.optimizer]
    names = {"momentum": options.momentum, "weight_decay": options.weight_decay, "clip_norm": options.clip_norm}
    settings: dict[str, Any] = {name: value for name, value in names.items() if value is not None}
    if "momentum" in settings and options.optimizer not in ("sgd", "momentum", "nesterov", "rmsprop"):
        raise ValueError(f"{options.optimizer} takes no --momentum")
    rate = kind().lr if options.lr is None else options.lr
    total, warm = options.epochs * steps, options.warmup * steps
    if options.schedule == "plateau":
        if warm:
            raise ValueError("--warmup does not go with --schedule plateau")
        return kind(rate, **settings), [train.ReduceLROnPlateau("val_loss", 0.1, patience=3)]
    following: dict[str, Any] = {
        "constant": lambda: rate,
        "cosine": lambda: schedule.Cosine(rate, max(total - warm, 1)),
        "onecycle": lambda: schedule.OneCycle(rate, max(total - warm, 1)),
        "step": lambda: schedule.Step(rate, max((total - warm) // 3, 1)),
    }
    chosen = following[options.schedule]()
    return kind(schedule.WarmUp(chosen, warm) if warm else chosen, **settings), []


def _callbacks(options: argparse.Namespace, folder: Path) -> list[train.Callback]:
    callbacks: list[train.Callback] = [
        train.TerminateOnNaN(),
        train.ModelCheckpoint(folder / CHECKPOINT),
        train.ModelCheckpoint(folder / BEST, "val_accuracy", save_best_only=True, save_weights_only=True),
        train.CSVLogger(folder / TABLE),
    ]
    if options.patience:
        callbacks.append(train.EarlyStopping("val_accuracy", patience=options.patience))
    if options.tensorboard:
        callbacks.append(train.TensorBoard(options.tensorboard, histograms=1, images=1))
    return callbacks
