# SPDX-License-Identifier: BSD-3-Clause
"""What `fit` shows: a bar per epoch by tqdm where it is installed, else a line per epoch. On standard error."""

from __future__ import annotations

import sys
import time
from typing import Any

from cnnkern.train.callback import Callback, Logs


def _figures(logs: Logs) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in logs.items())


class LineProgress(Callback):
    """One line at the end of each epoch."""

    def on_epoch_begin(self, epoch: int, logs: Logs) -> None:
        self._start = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        seconds = time.perf_counter() - self._start
        print(
            f"epoch {epoch + 1}/{self.training.epochs}: {_figures(logs)} ({seconds:.1f} s)", file=sys.stderr, flush=True
        )


class BarProgress(Callback):
    """One bar per epoch; the figures stand beside it when the epoch has ended."""

    def __init__(self, tqdm: Any) -> None:
        self._tqdm = tqdm
        self._bar: Any = None

    def on_epoch_begin(self, epoch: int, logs: Logs) -> None:
        label = f"epoch {epoch + 1}/{self.training.epochs}"
        self._bar = self._tqdm(total=self.training.batches, desc=label, unit="batch", file=sys.stderr)

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        self._bar.update(1)

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        self._bar.set_postfix_str(_figures(logs), refresh=True)
        self._bar.close()


def progress_callback() -> Callback:
    """A `BarProgress` where tqdm is installed, else a `LineProgress`."""
    try:
        from tqdm import tqdm
    except ImportError:
        return LineProgress()
    return BarProgress(tqdm)
