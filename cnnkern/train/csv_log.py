# SPDX-License-Identifier: BSD-3-Clause
"""`CSVLogger`: the figures of every epoch in a table that any program reads."""

from __future__ import annotations

import csv
import os
from typing import Any

from cnnkern.train.callback import Callback, Logs


class CSVLogger(Callback):
    """Writes a row per epoch: its number (from 0, as in Keras) and everything that is logged.

    Args:
        path: of the file.
        separator: between columns.
        append: keep what is in the file. A resumed training keeps the rows of the epochs before it in any case.
    """

    def __init__(self, path: str | os.PathLike[str], separator: str = ",", append: bool = False) -> None:
        self.path, self.separator, self.append = os.fspath(path), separator, append

    def on_train_begin(self, logs: Logs) -> None:
        self._columns: list[str] | None = None

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        if self._columns is None:
            self._begin(epoch, logs)
        row = {"epoch": epoch, **{name: repr(float(value)) for name, value in logs.items()}}
        with open(self.path, "a", newline="", encoding="utf-8") as file:
            self._writer(file).writerow(row)

    def _begin(self, epoch: int, logs: Logs) -> None:
        kept: list[dict[str, Any]] = []
        self._columns = ["epoch", *logs]
        resumed = self.training.initial_epoch > 0
        if (self.append or resumed) and os.path.exists(self.path):
            with open(self.path, newline="", encoding="utf-8") as file:
                reader = csv.DictReader(file, delimiter=self.separator)
                kept = [row for row in reader if not resumed or _number(row) < epoch]
                self._columns = list(reader.fieldnames or self._columns)
        with open(self.path, "w", newline="", encoding="utf-8") as file:
            writer = self._writer(file)
            writer.writeheader()
            writer.writerows(kept)

    def _writer(self, file: Any) -> csv.DictWriter[str]:
        assert self._columns is not None
        return csv.DictWriter(file, self._columns, extrasaction="ignore", delimiter=self.separator, lineterminator="\n")


def _number(row: dict[str, Any]) -> int:
    text = row.get("epoch") or ""
    return int(text) if text.isdecimal() else 0
