# SPDX-License-Identifier: BSD-3-Clause
"""Batches from arrays and from data sets of single examples, augmented, and made in the background."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cnnkern.data._records import gather

if TYPE_CHECKING:
    from concurrent.futures import Future

    from cnnkern.data.transforms import Compose, Transform

Array = npt.NDArray[Any]
Batch = tuple[tuple[Array, ...], Array | None]


def as_inputs(value: Any, name: str = "x") -> tuple[Array, ...]:
    """One array or a tuple of arrays (several inputs), each float32 or bytes, as a tuple of C-contiguous arrays.

    Raises:
        TypeError: another dtype; the message says how to convert.
    """
    arrays = value if isinstance(value, tuple) else (value,)
    if not arrays:
        raise ValueError(f"{name}: expected an array or a tuple of arrays, found an empty tuple")
    return tuple(_input(array, name) for array in arrays)


def _input(value: Any, name: str) -> Array:
    array = np.asarray(value)
    if array.dtype not in (np.float32, np.uint8):
        raise TypeError(
            f"{name}: expected float32 or uint8 (taken as byte / 255), found {array.dtype}; use .astype(np.float32)"
        )
    if array.ndim == 0:
        raise ValueError(f"{name}: expected examples along the first axis, found a scalar")
    return np.ascontiguousarray(array)


def as_targets(value: Any, name: str = "y") -> Array:
    """Class indices as int32, or float32 values.

    Raises:
        TypeError: another dtype.
        ValueError: an index that int32 cannot hold.
    """
    array = np.asarray(value)
    if array.dtype.kind in "iub":
        wide = array.size > 0 and not np.can_cast(array.dtype, np.int32)
        if wide and (int(array.max()) > 2**31 - 1 or int(array.min()) < -(2**31)):
            raise ValueError(f"{name}: class indices must fit int32, found values up to {array.max()}")
        return np.ascontiguousarray(array, np.int32).reshape(array.shape)
    if array.dtype != np.float32:
        raise TypeError(f"{name}: expected integers or float32, found {array.dtype}; use .astype(np.float32)")
    return np.ascontiguousarray(array).reshape(array.shape)


def is_data_set(data: Any) -> bool:
    """Whether data holds single examples by number; a mapping, which has names, does not."""
    return hasattr(data, "__len__") and hasattr(data, "__getitem__") and not isinstance(data, Mapping)


def take(array: Array, indices: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """`array[indices]` as float32, bytes as byte / 255."""
    out = np.empty((len(indices), *array.shape[1:]), np.float32)
    gather(array, indices, out)
    return out


class Loader:
    """Batches of data, in order or shuffled from a seed. Iterating over it again gives the next epoch.

    Args:
        data: `(x, y)` arrays with N examples each, `x` possibly a tuple of arrays (a model of several inputs) and `y`
            None where there are no targets; or a data set: an object with `__len__` and `__getitem__(i) -> (x, y)` for
            one example. Inputs are float32, or bytes, which become byte / 255.
        batch_size: examples per batch; the last batch holds what is left.
        shuffle: another order in each epoch, a function of (seed, epoch) alone.
        seed: of the shuffling.
        drop_last: leave out a last batch that is smaller than the others.
        transform: applied to every image, with the epoch and the number of the example: the same pictures however many
            threads there are. Images are uint8: arrays (N, C, H, W), or examples (H, W, C) of any size, or Pillow's.
        threads: make batches in so many background threads, two batches ahead of their use; 0 makes each when it is
            asked for. Reading, decoding and augmenting release the interpreter's lock, and a data set must allow calls
            from several threads. None is 1 with a transform and 0 without.

    Yields:
        (inputs, targets): a tuple of float32 arrays (n, ...), and int32 or float32 (n, ...) or None.
    """

    def __init__(
        self,
        data: Any,
        batch_size: int = 32,
        *,
        shuffle: bool = False,
        seed: int = 0,
        drop_last: bool = False,
        transform: Compose | Transform | None = None,
        threads: int | None = None,
    ) -> None:
        _whole("batch_size", batch_size, 1)
        self.threads = int(transform is not None) if threads is None else _whole("threads", threads, 0)
        self.transform = _as_chain(transform)
        self.batch_size, self.shuffle, self.seed, self.drop_last = int(batch_size), shuffle, seed, drop_last
        self.next_epoch = 0
        self._inputs: tuple[Array, ...] | None = None
        self._targets: Array | None = None
        if isinstance(data, tuple):
            if len(data) != 2:
                raise ValueError(f"data: expected a pair (x, y), found a tuple of {len(data)}")
            self._inputs = as_inputs(data[0])
            self._targets = None if data[1] is None else as_targets(data[1])
            counts = [len(array) for array in self._inputs]
            if self._targets is not None:
                counts.append(len(self._targets) if self._targets.ndim else -1)
            if len(set(counts)) != 1:
                raise ValueError(f"data: x and y must hold equally many examples, found {', '.join(map(str, counts))}")
            self.examples = counts[0]
            if self.transform is not None and (
                len(self._inputs) != 1 or self._inputs[0].dtype != np.uint8 or self._inputs[0].ndim != 4
            ):
                found = ", ".join(f"{array.dtype} {array.shape}" for array in self._inputs)
                raise ValueError(f"transform: expected x as one uint8 array (N, C, H, W), found {found}")
        elif is_data_set(data):
            self.examples = len(data)
        else:
            raise TypeError(
                f"data: expected (x, y) or a data set with __len__ and __getitem__, found {type(data).__name__}"
            )
        self._data = data

    def __len__(self) -> int:
        """The number of batches."""
        full, rest = divmod(self.examples, self.batch_size)
        return full + bool(rest and not self.drop_last)

    def __iter__(self) -> Iterator[Batch]:
        self.next_epoch += 1
        return self.epoch(self.next_epoch - 1)

    def epoch(self, number: int) -> Iterator[Batch]:
        """The batches of epoch `number` (from 0)."""
        order = np.arange(self.examples, dtype=np.int64)
        if self.shuffle:
            order = np.random.default_rng([self.seed, number]).permutation(order)
        size = self.batch_size
        parts = [order[start : start + size] for start in range(0, len(self) * size, size)]
        if self.threads:
            yield from self._in_background(parts, number)
        else:
            for part in parts:
                yield self._batch(part, number)

    def _in_background(self, parts: list[npt.NDArray[np.int64]], epoch: int) -> Iterator[Batch]:
        from concurrent.futures import ThreadPoolExecutor  # takes 10 ms to import

        ready: deque[Future[Batch]] = deque()
        with ThreadPoolExecutor(self.threads, "cnnkern-loader") as pool:
            try:
                for part in parts:
                    ready.append(pool.submit(self._batch, part, epoch))
                    if len(ready) > self.threads + 1:
                        yield ready.popleft().result()
                while ready:
                    yield ready.popleft().result()
            finally:
                for future in ready:
                    future.cancel()

    def _batch(self, indices: npt.NDArray[np.int64], epoch: int) -> Batch:
        if self._inputs is not None:
            targets = None if self._targets is None else self._targets[indices]
            if self.transform is None:
                return tuple(take(array, indices) for array in self._inputs), targets
            images = [self._inputs[0][index].transpose(1, 2, 0) for index in indices]
            return (self._augmented(images, indices, epoch),), targets
        examples = [self._data[int(index)] for index in indices]
        if self.transform is None:
            return collate(examples)
        inputs = self._augmented([example[0] for example in examples], indices, epoch)
        return (inputs,), as_targets(np.stack([np.asarray(example[1]) for example in examples]))

    def _augmented(self, images: list[Any], indices: npt.NDArray[np.int64], epoch: int) -> Array:
        assert self.transform is not None
        return self.transform.batch(images, epoch=epoch, indices=indices.tolist())


def _whole(name: str, value: Any, low: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name}: expected an int, found {type(value).__name__}")
    if value < low:
        raise ValueError(f"{name}: expected at least {low}, found {value}")
    return int(value)


def _as_chain(transform: Any) -> Compose | None:
    if transform is None or hasattr(transform, "batch"):
        chain: Compose | None = transform
        return chain
    from cnnkern.data.transforms import Compose, Transform

    if not isinstance(transform, Transform):
        raise TypeError(f"transform: expected a Compose or another transform, found {type(transform).__name__}")
    return Compose([transform])


def collate(examples: list[Any]) -> Batch:
    """Stack examples `(x, y)`, `x` possibly a tuple, into a batch."""
    columns = [example[0] if isinstance(example[0], tuple) else (example[0],) for example in examples]
    inputs = tuple(as_float(np.stack(column)) for column in zip(*columns, strict=True))
    return inputs, as_targets(np.stack([np.asarray(example[1]) for example in examples]))


def as_float(array: Array, name: str = "x") -> npt.NDArray[np.float32]:
    """float32 as it is, bytes as byte / 255; TypeError for the rest."""
    checked = _input(array, name)
    return checked if checked.dtype == np.float32 else take(checked, np.arange(len(checked), dtype=np.int64))
