# SPDX-License-Identifier: BSD-3-Clause
"""The IDX format of MNIST: two zero bytes, the type, the number of axes, the big-endian sizes, the values."""

from __future__ import annotations

import math
import os
import zlib
from typing import IO, Any

import numpy as np
import numpy.typing as npt

_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_MAX_AXES = 8
# Deflate cannot expand by more than about 1032: a header that promises more than that is a lie.
_MAX_EXPANSION = 1032
_CHUNK = 1 << 20


def read_idx(path: str | os.PathLike[str], max_bytes: int = 1 << 31) -> npt.NDArray[Any]:
    """Read an IDX file, compressed with gzip or not (the content decides, not the name).

    Args:
        path: the file.
        max_bytes: the largest array to accept.

    Returns:
        The array, in the machine's byte order.

    Raises:
        ValueError: not an IDX file, truncated, with bytes left over, larger than `max_bytes`, or with sizes that the
            file cannot hold. Sizes are checked against the file before memory is allocated.
    """
    size = os.stat(path).st_size
    with open(path, "rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        if not zipped:
            return _read(file, os.fspath(path), size, max_bytes)
        import gzip

        try:
            with gzip.open(file, "rb") as stream:
                return _read(stream, os.fspath(path), size * _MAX_EXPANSION, max_bytes)
        except (EOFError, OSError, zlib.error) as error:
            raise ValueError(f"read_idx: {os.fspath(path)!r} is a damaged gzip file: {error}") from error


def _read(stream: Any, path: str, available: int, max_bytes: int) -> npt.NDArray[Any]:
    magic = _exactly(stream, 4, path)
    kind, axes = magic[2], magic[3]
    if magic[:2] != b"\0\0" or kind not in _TYPES or not 1 <= axes <= _MAX_AXES:
        raise ValueError(f"read_idx: {path!r} is not an IDX file (it begins with {magic.hex(' ')})")
    shape = tuple(int(n) for n in np.frombuffer(_exactly(stream, 4 * axes, path), ">u4"))
    dtype = np.dtype(_TYPES[kind])
    needed = math.prod(shape) * dtype.itemsize
    if needed > max_bytes:
        raise ValueError(f"read_idx: {path!r} has shape {shape}, {needed} bytes; at most {max_bytes} are accepted")
    if needed > available:
        raise ValueError(f"read_idx: {path!r} promises shape {shape}, {needed} bytes; the file is too small for it")
    values = np.frombuffer(_exactly(stream, needed, path), dtype).reshape(shape)
    if stream.read(1):
        raise ValueError(f"read_idx: {path!r} goes on after its {needed} bytes of values")
    return values.astype(dtype.newbyteorder("="))


def _exactly(stream: IO[bytes], count: int, path: str) -> bytes:
    parts = []
    missing = count
    while missing:
        part = stream.read(min(missing, _CHUNK))
        if not part:
            raise ValueError(f"read_idx: {path!r} ends {missing} bytes too early")
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)
