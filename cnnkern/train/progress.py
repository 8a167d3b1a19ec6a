# SPDX-License-Identifier: BSD-3-Clause
"""What `fit` shows: a bar per epoch by tqdm where it is installed, else a line per epoch. On standard error."""

from __future__ import annotations

import sys
import time
from typing import Any

from cnnkern.train.callback import Callback, Logs


def _figures(logs: Logs) -> str:
    return ", ".join(f"{name} {value:.4g}" if name == "lr" else f"{name} {value:.4f}" for name, value in logs.items())


class Progress(Callback):
    """Shows how far the training is: a bar per epoch with the figures beside it when the epoch has ended.

    Args:
        bars: False: one line at the end of each epoch instead. So it is where tqdm is missing, too.
    """

    def __init__(self, bars: bool = True) -> None:
        self._tqdm: Any = None
        self._bar: Any = None
        if bars:
            try:
                from tqdm import tqdm
            except ImportError:
                return
            self._tqdm = tqdm

    def on_epoch_begin(self, epoch: int, logs: Logs) -> None:
        self._start = time.perf_counter()
        if self._tqdm is not None:
            self._bar = self._tqdm(total=self.training.batches, desc=self._label(epoch), unit="batch", file=sys.stderr)

    def _label(self, epoch: int) -> str:
        return f"epoch {epoch + 1}/{self.training.epochs}"

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        if self._bar is not None:
            self._bar.update(1)

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        if self._bar is not None:
            self._bar.set_postfix_str(_figures(logs), refresh=True)
            self._bar.close()
            return
        seconds = time.perf_counter() - self._start
        print(f"{self._label(epoch)}: {_figures(logs)} ({seconds:.1f} s)", file=sys.stderr, flush=True)
