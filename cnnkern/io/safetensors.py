# SPDX-License-Identifier: BSD-3-Clause
"""safetensors files, by the `safetensors` library; its header is looked at before the library gets it."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

from cnnkern.io._source import MAX_TENSORS, Array, Source, read_into, shape_problem, widened, widened_bfloat16

_MAX_HEADER = 4 << 20
_TYPES = {"F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8", "BOOL"}


def _library() -> Any:
    try:
        import safetensors
        import safetensors.numpy
    except ImportError as error:
        raise ImportError("safetensors files need a library: pip install 'cnnkern[io]'") from error
    return safetensors


def load(source: Source) -> dict[str, Array]:
    """Every tensor of the file, in the order of its header."""
    library = _library()
    header, start = _header(source)
    arrays: dict[str, Array] = {}
    try:
        with library.safe_open(source.path, framework="numpy") as file:
            for name, entry in header.items():
                if entry["dtype"] == "BF16":
                    # NumPy has no such type, so that the library gives up; it has checked the offsets.
                    arrays[name] = _bfloat16(source, name, entry, start)
                    continue
                array = np.asarray(file.get_tensor(name))
                arrays[name] = widened(array if array.flags.owndata else array.copy())
    except library.SafetensorError as error:
        raise source.error(str(error)) from error
    return arrays


def _bfloat16(source: Source, name: str, entry: dict[str, Any], start: int) -> Array:
    bits = np.empty(entry["shape"], "<u2")
    source.file.seek(start + entry["data_offsets"][0])
    if not read_into(source.file, bits):
        raise source.error("the file ends within it", name)
    return widened_bfloat16(bits)


def _header(source: Source) -> tuple[dict[str, Any], int]:
    """Name -> {dtype, shape, data_offsets}, and where the data begins."""
    (length,) = struct.unpack("<Q", source.head(8))
    if length > source.size - 8:
        raise source.error(f"truncated: a header of {length} bytes in a file of {source.size}")
    if length > _MAX_HEADER:
        raise source.error(f"a header of {length} bytes, at most {_MAX_HEADER} are read")
    try:
        header = json.loads(source.head(8 + length)[8:], object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        raise source.error(f"its header cannot be read: {error}") from None
    if not isinstance(header, dict):
        raise source.error("its header is no table of tensors")
    header.pop("__metadata__", None)
    if len(header) > MAX_TENSORS:
        raise source.error(f"{len(header)} tensors, at most {MAX_TENSORS} are read")
    for name, entry in header.items():
        _check(source, name, entry, source.size - 8 - length)
    return header, 8 + length


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a name appears twice")
    return result


def _check(source: Source, name: str, entry: Any, available: int) -> None:
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise source.error("needs dtype, shape and data_offsets, nothing else", name)
    shape, offsets = entry["shape"], entry["data_offsets"]
    if not isinstance(entry["dtype"], str) or entry["dtype"] not in _TYPES:
        raise source.error(f"numbers of the kind {str(entry['dtype'])[:40]!r} are not read", name)
    problem = "its shape is no list" if not isinstance(shape, list) else shape_problem(shape)
    if problem:
        raise source.error(problem, name)
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(type(each) is int for each in offsets):
        raise source.error("its data_offsets are not two integers", name)
    if not 0 <= offsets[0] <= offsets[1] <= available:
        raise source.error(f"lies at {offsets}, the file has {available} bytes of data", name)


def save(path: str, arrays: Mapping[str, Array]) -> None:
    """Write a file by the library; the arrays are contiguous."""
    _library().numpy.save_file(dict(arrays), path)
