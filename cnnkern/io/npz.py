# SPDX-License-Identifier: BSD-3-Clause
"""NumPy's archives of arrays (.npz)."""

from __future__ import annotations

import io
import math
import re
import struct
from collections.abc import Mapping
from typing import IO, Any

import numpy as np

from cnnkern.io._archive import READ_ERRORS, Archive
from cnnkern.io._source import Array, FormatError, Source, read_into, shape_problem, widened
from cnnkern.io._write import write_zip

# Exactly what NumPy writes for an array of plain numbers.
_HEADER = re.compile(
    rb"\{'descr': '([<>|])([fiub][1248])', 'fortran_order': (True|False), 'shape': \(([0-9, ]{0,400})\), \} *\n"
)
_MAGIC = b"\x93NUMPY\x01\x00"


def load(source: Source, archive: Archive) -> dict[str, Array]:
    """Every array of the archive."""
    arrays: dict[str, Array] = {}
    for member in archive.members:
        if not member.endswith(".npy"):
            raise source.error(f"member {member[:100]!r} is no array")
        arrays[member.removesuffix(".npy")] = _array(source, archive, member)
    return arrays


def _array(source: Source, archive: Archive, member: str) -> Array:
    tensor = member.removesuffix(".npy")
    try:
        with archive.open(member) as stream:
            dtype, shape, fortran, length = _header(source, tensor, stream)
            promised, present = math.prod(shape) * dtype.itemsize, archive.members[member].file_size - length
            if promised != present:
                raise source.error(f"shape {shape} of {dtype} needs {promised} bytes, {present} are there", tensor)
            raw = np.empty(shape[::-1] if fortran else shape, np.uint8 if dtype.kind == "b" else dtype)
            complete = read_into(stream, raw) and not stream.read(1)
    except FormatError:
        raise
    except READ_ERRORS as error:
        raise source.error(f"damaged: {error}", tensor) from error
    if not complete:
        raise source.error("has not the size that the directory states", tensor)
    array = raw != 0 if dtype.kind == "b" else raw
    return widened(np.ascontiguousarray(array.T) if fortran else array)


def _header(source: Source, tensor: str, stream: IO[bytes]) -> tuple[np.dtype[Any], tuple[int, ...], bool, int]:
    """dtype, shape, whether columns come first, and the length of the header."""
    head = stream.read(len(_MAGIC) + 2)
    if head[: len(_MAGIC)] != _MAGIC or len(head) < len(_MAGIC) + 2:
        raise source.error("not an array as NumPy writes it", tensor)
    (length,) = struct.unpack("<H", head[-2:])
    text = stream.read(length)
    match = _HEADER.fullmatch(text)
    if match is None:
        raise source.error("not an array of plain numbers", tensor)
    order, code, fortran, sizes = (group.decode("ascii") for group in match.groups())
    try:
        dtype = np.dtype(order + code)
        shape = tuple(int(size) for size in sizes.replace(" ", "").rstrip(",").split(",") if sizes.strip())
    except (TypeError, ValueError):
        raise source.error(f"not an array of plain numbers: {code!r}, shape ({sizes[:100]})", tensor) from None
    problem = shape_problem(shape)
    if problem:
        raise source.error(problem, tensor)
    return dtype, shape, fortran == "True", len(head) + length


def save(stream: IO[bytes], arrays: Mapping[str, Array]) -> None:
    """Write an uncompressed archive that `numpy.load` reads."""
    members = []
    for name, array in arrays.items():
        head = io.BytesIO()
        np.lib.format.write_array_header_1_0(head, np.lib.format.header_data_from_array_1_0(array))
        members.append((f"{name}.npy", (head.getvalue(), array)))
    write_zip(stream, members)
