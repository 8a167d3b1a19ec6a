# SPDX-License-Identifier: BSD-3-Clause
"""The batches of an epoch, from whatever `fit` and `evaluate` were given as data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy.typing as npt

from cnnkern.data.loader import Loader, as_float, as_targets, is_data_set

Array = npt.NDArray[Any]


def check_counts(name: str, inputs: Sequence[Array], targets: Array) -> None:
    """Raises ValueError unless inputs and targets hold equally many examples, at least one."""
    counts = [len(array) for array in inputs] + [len(targets) if targets.ndim else -1]
    if len(set(counts)) != 1 or not counts[0]:
        shapes = ", ".join(str(array.shape) for array in (*inputs, targets))
        raise ValueError(f"{name}: inputs and targets of a batch must hold equally many examples, found {shapes}")


class Batches:
    """The epochs of whatever was given as data."""

    def __init__(self, name: str, data: Any, batch_size: int, shuffle: bool, seed: int) -> None:
        self.name = name
        self._data = data
        self._loader: Loader | None = None
        if isinstance(data, tuple) or is_data_set(data):
            self._loader = Loader(data, batch_size, shuffle=shuffle, seed=seed)
        elif not isinstance(data, Iterable) or isinstance(data, Mapping):
            raise TypeError(
                f"{name}: expected (x, y), a data set or an iterable of batches, found {type(data).__name__}"
            )

    def __len__(self) -> int:
        data = self._data if self._loader is None else self._loader
        return len(data) if hasattr(data, "__len__") else 0

    def epoch(self, number: int) -> Iterator[tuple[tuple[Array, ...], Array]]:
        """The batches of one epoch.

        Raises:
            ValueError: there are none, or they have no targets.
        """
        if self._loader is not None:
            batches: Iterable[Any] = self._loader.epoch(number)
        elif isinstance(self._data, Loader):
            batches = self._data.epoch(number)
        else:
            batches = self._data
        empty = True
        for batch in batches:
            empty = False
            yield self._checked(batch)
        if empty:
            hint = " (an iterator ends once: pass something that can be iterated again)" if number else ""
            raise ValueError(f"{self.name}: no batches in epoch {number + 1}{hint}")

    def _checked(self, batch: Any) -> tuple[tuple[Array, ...], Array]:
        if not isinstance(batch, tuple | list) or len(batch) != 2:
            raise TypeError(f"{self.name}: expected batches (x, y), found {type(batch).__name__}")
        inputs, targets = batch
        if targets is None:
            raise ValueError(f"{self.name}: targets are missing")
        floats = tuple(as_float(array) for array in (inputs if isinstance(inputs, tuple) else (inputs,)))
        wanted = as_targets(targets)
        check_counts(self.name, floats, wanted)
        return floats, wanted
