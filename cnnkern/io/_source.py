# SPDX-License-Identifier: BSD-3-Clause
"""A weight file being read: the one exception of all readers, and what they share."""

from __future__ import annotations

import os
import stat
from typing import IO, Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
CHUNK = 1 << 20
MAX_TENSORS = 16_384
_LARGEST_SIZE = 2**31 - 1
_MOST_AXES = 32


class FormatError(ValueError):
    """A weight file that is damaged, hostile, or of a kind that is not read.

    Attributes:
        file: the path.
        tensor: name of the array concerned, None where the whole file is.
        rule: what the file breaks.
    """

    def __init__(self, file: str, rule: str, tensor: str | None = None) -> None:
        self.file, self.rule, self.tensor = file, rule, tensor
        super().__init__(f"{file}: {f'tensor {_short(tensor)}: ' if tensor is not None else ''}{rule}")

    def __reduce__(self) -> Any:
        return type(self), (self.file, self.rule, self.tensor)


def _short(name: str) -> str:
    return repr(name if len(name) <= 100 else name[:97] + "...")


class Source:
    """An open regular file with its path and size."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        # Not blocking: opening a pipe must not wait for a writer.
        descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        status = os.fstat(descriptor)
        self.size = status.st_size
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            raise self.error("not a regular file")
        self.file: IO[bytes] = os.fdopen(descriptor, "rb")

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *exception: object) -> None:
        self.file.close()

    def error(self, rule: str, tensor: str | None = None) -> FormatError:
        return FormatError(self.path, rule, tensor)

    def head(self, count: int) -> bytes:
        """The first bytes of the file, `count` or as many as it has."""
        self.file.seek(0)
        return self.file.read(min(count, self.size))

    def tail(self, count: int) -> bytes:
        """The last bytes of the file."""
        self.file.seek(max(self.size - count, 0))
        return self.file.read(count)


def read_into(stream: Any, array: Array) -> bool:
    """Fill a contiguous array with bytes from a stream, piece by piece. False if the stream ends too early."""
    view = array.reshape(-1).view(np.uint8).data
    done = 0
    while done < len(view):
        count = stream.readinto(view[done : done + CHUNK])
        if not count:
            return False
        done += count
    return True


def shape_problem(shape: Any) -> str | None:
    """What is wrong with the sizes of an array that a file announces, or None."""
    if len(shape) > _MOST_AXES:
        return f"has {len(shape)} axes, at most {_MOST_AXES} are read"
    if not all(type(size) is int and 0 <= size <= _LARGEST_SIZE for size in shape):
        return f"sizes must be integers in 0 .. {_LARGEST_SIZE}, found {str(tuple(shape))[:100]}"
    return None


def widened(array: Array) -> Array:
    """Half precision as float32, anything in the machine's byte order; otherwise the array itself."""
    if array.dtype.kind == "f" and array.dtype.itemsize == 2:
        return array.astype(np.float32)
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def widened_bfloat16(bits: Array) -> Array:
    """float32 of the bits (uint16) of bfloat16 numbers: their upper half."""
    wide = bits.astype(np.uint32)
    wide <<= 16
    return wide.view(np.float32)
