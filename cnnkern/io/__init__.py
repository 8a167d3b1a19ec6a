# SPDX-License-Identifier: BSD-3-Clause
"""Weights from and to files: `.npz`, safetensors, and PyTorch's `.pth` and `.pt` without PyTorch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from cnnkern.io import npz, safetensors, torch
from cnnkern.io._archive import Archive
from cnnkern.io._source import FormatError, Source
from cnnkern.io._write import atomic

__all__ = ["FormatError", "load", "save"]

Path = str | os.PathLike[str]
_SUFFIXES = (".npz", ".safetensors", ".pth", ".pt")
_SAVED = ["f8", "f4", "f2", "i8", "i4", "i2", "i1", "u1", "?"]
# Beginnings of files that people take for weights.
_STRANGERS = (
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file, as Keras writes them; it is not read"),
    (b"version https://git-lfs", "a pointer of Git LFS, not the file itself; run git lfs pull"),
    (b"<!DOCTYPE", "a web page; the download went wrong"),
    (b"<html", "a web page; the download went wrong"),
    (b"\x1f\x8b", "compressed by gzip; unpack it first"),
    (b"\x93NUMPY", "a single array (.npy); weights are archives of named arrays (.npz)"),
    (b"\x08", "an ONNX model; it is not read"),
)


def load(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Read named arrays from a file of weights.

    The content decides what kind of file it is, not the name:

    - `.npz`, an archive by NumPy, of plain numbers;
    - safetensors, read by the library of that name (`pip install 'cnnkern[io]'`);
    - `.pth` or `.pt` by `torch.save`, of today and from before PyTorch 1.6: a state dict, or a checkpoint that holds
      one as "state_dict", "model_state_dict", "model", "net", "network" or "weights". A prefix "module." or
      "_orig_mod." before all names is dropped. No PyTorch is needed, and nothing in the file is executed.

    Files may come from strangers: what a file promises is compared with its bytes before memory is allocated.

    Args:
        path: the file.

    Returns:
        Name -> array, C-contiguous, writable, in the order of the file. Half precision and bfloat16 become float32,
        other numbers keep their type.

    Raises:
        FormatError: the file is damaged, hostile, or of another kind; it names file, tensor and rule.
        OSError: the file is not there or cannot be read.
        ImportError: the library for safetensors is missing.
    """
    with Source(path) as source:
        head = source.head(64)
        if head[:4] == b"PK\3\4" or head[:4] == b"PK\5\6":
            archive = Archive(source)
            checkpoint = any(name == "data.pkl" or name.endswith("/data.pkl") for name in archive.members)
            return torch.load_zip(source, archive) if checkpoint else npz.load(source, archive)
        if len(head) > 8 and head[8:9] == b"{":
            return safetensors.load(source)
        if head[:1] == b"\x80":
            return torch.load_legacy(source)
        for beginning, kind in _STRANGERS:
            if head.lower().startswith(beginning.lower()):
                raise source.error(kind)
        found = "an empty file" if not head else f"it begins with {head[:8].hex(' ')}"
        raise source.error(f"neither .npz nor safetensors nor a checkpoint of PyTorch: {found}")


def save(path: Path, mapping: Mapping[str, npt.ArrayLike]) -> None:
    """Write named arrays to a file that `load`, and the library that the format comes from, read.

    The file is written beside `path`, brought to the disk, and then put into its place: a reader sees the old file or
    the new one, whatever happens. The same arrays give the same bytes.

    Args:
        path: ends in .npz, .safetensors (`pip install 'cnnkern[io]'`), .pth or .pt.
        mapping: name -> array of float64, float32, float16, int64, int32, int16, int8, uint8 or bool; a state dict.

    Raises:
        TypeError: not a mapping of texts to arrays of these types.
        ValueError: another suffix, or a name that no file can hold.
        OSError: the file cannot be written; an older one is untouched.
        ImportError: the library for safetensors is missing.
    """
    name = os.fspath(path)
    suffix = os.path.splitext(name)[1].lower()
    if suffix not in _SUFFIXES:
        raise ValueError(f"save: path must end in {', '.join(_SUFFIXES)}, found {name!r}")
    arrays = _arrays(mapping)
    with atomic(name) as temporary:
        if suffix == ".safetensors":
            safetensors.save(temporary, arrays)
            return
        with open(temporary, "wb") as stream:
            (npz if suffix == ".npz" else torch).save(stream, arrays)


def _arrays(mapping: Any) -> dict[str, npt.NDArray[Any]]:
    if not isinstance(mapping, Mapping):
        hint = "; use model.state_dict()" if hasattr(mapping, "state_dict") else ""
        raise TypeError(f"save: expected a mapping from names to arrays, found {type(mapping).__name__}{hint}")
    arrays = {}
    for name, value in mapping.items():
        if not isinstance(name, str):
            raise TypeError(f"save: a name must be a text, found {name!r}")
        if not name or name.startswith("/") or "\\" in name or ".." in name.split("/") or not name.isprintable():
            raise ValueError(f"save: {name!r} cannot be the name of an array in a file")
        array = np.asarray(value)
        array = array.astype(array.dtype.newbyteorder("="), copy=False)
        if array.dtype not in [np.dtype(code) for code in _SAVED]:
            raise TypeError(f"save: {name} must hold plain numbers, found {array.dtype}")
        arrays[name] = np.ascontiguousarray(array).reshape(array.shape)
    return arrays
