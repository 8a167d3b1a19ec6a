# SPDX-License-Identifier: BSD-3-Clause
"""`TensorBoard`: curves, histograms, pictures and the network's table for the viewer of that name."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import numpy.typing as npt

from cnnkern.functional import _check as check
from cnnkern.train.callback import Callback, Logs

_MOST_PICTURES = 16


class TensorBoard(Callback):
    """Writes events by tensorboardX: `pip install 'cnnkern[tensorboard]'`.

    Scalars after every epoch: "train/loss", "validation/loss" and so on, "learning_rate". The structure of the model as
    text. With `histograms`, all parameters; with `images`, inputs of the first batch and the filters of the first
    convolution.

    Args:
        log_dir: folder of the events.
        histograms: epochs from one to the next; 0: none.
        images: the same of the pictures. They need Pillow, which the extra brings along.
        batches: steps from one "batch/loss" to the next; 0: none.
    """

    def __init__(self, log_dir: str | os.PathLike[str], histograms: int = 0, images: int = 0, batches: int = 0) -> None:
        name = "TensorBoard"
        self.log_dir = os.fspath(log_dir)
        self.histograms = check.integer(name, "histograms", histograms, 0)
        self.images = check.integer(name, "images", images, 0)
        self.batches = check.integer(name, "batches", batches, 0)
        try:
            from tensorboardX import SummaryWriter
        except ImportError as error:
            raise ImportError("TensorBoard needs tensorboardX: pip install 'cnnkern[tensorboard]'") from error
        self._open: Any = SummaryWriter
        self._writer: Any = None

    def on_train_begin(self, logs: Logs) -> None:
        self._writer = None

    def on_epoch_begin(self, epoch: int, logs: Logs) -> None:
        if self._writer is not None:
            return
        # Events of epochs that a killed run began, and that come again now, are hidden by the viewer.
        resumed = self.training.initial_epoch > 0
        self._writer = self._open(self.log_dir, purge_step=epoch if resumed else None)
        if not resumed:
            self._writer.add_text("model", "\n".join(f"    {line}" for line in repr(self.model).splitlines()), 0)

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        steps = self.training.optimizer.steps
        if self.batches and steps % self.batches == 0:
            self._writer.add_scalar("batch/loss", logs["loss"], steps)
        if self.images and batch == 0 and self.training.epoch % self.images == 0:
            self._pictures(self.training.batch[0][0])

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        for name, value in logs.items():
            validation = name.startswith("val_")
            tag = (
                "learning_rate"
                if name == "lr"
                else f"{'validation' if validation else 'train'}/{name[4 * validation :]}"
            )
            self._writer.add_scalar(tag, value, epoch)
        if "lr" not in logs:
            self._writer.add_scalar("learning_rate", self.training.optimizer.lr, epoch)
        if self.histograms and epoch % self.histograms == 0:
            for name, array in self.model.named_parameters():
                if np.isfinite(array).all():
                    self._writer.add_histogram(name, array, epoch)
        self._writer.flush()

    def on_train_end(self, logs: Logs) -> None:
        if self._writer is not None:
            self._writer.close()

    def _pictures(self, x: npt.NDArray[Any]) -> None:
        epoch = self.training.epoch
        if x.ndim == 4 and x.shape[1] in (1, 3):
            self._writer.add_images("inputs", _stretched(x[:_MOST_PICTURES]), epoch)
        for name, array in self.model.named_parameters():
            if array.ndim == 4 and array.shape[1] in (1, 3) and array.shape[2] > 1:
                self._writer.add_images(name, _stretched(array[: 4 * _MOST_PICTURES]), epoch)
                return


def _stretched(images: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """All values between 0 and 1."""
    low, high = float(images.min()), float(images.max())
    return (images - low) / max(high - low, 1e-12)
