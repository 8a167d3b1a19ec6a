# SPDX-License-Identifier: BSD-3-Clause
"""Checkpoints of PyTorch written by hand, so that the tests can lie in every field of them."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Mapping
from typing import Any

ORDERED_DICT = b"ccollections\nOrderedDict\n)R"
MAGIC = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."


def text(value: str) -> bytes:
    raw = value.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def integer(value: int) -> bytes:
    raw = value.to_bytes((value.bit_length() + 8) // 8, "little", signed=True)
    return b"\x8a" + bytes([len(raw)]) + raw


def numbers(values: tuple[int, ...]) -> bytes:
    return b"(" + b"".join(map(integer, values)) + b"t"


def storage(kind: str = "FloatStorage", key: str = "0", numel: int = 6) -> bytes:
    return b"(" + text("storage") + f"ctorch\n{kind}\n".encode() + text(key) + text("cpu") + integer(numel) + b"tQ"


def tensor(
    shape: tuple[int, ...] = (2, 3),
    strides: tuple[int, ...] = (3, 1),
    offset: int = 0,
    *,
    of: bytes | None = None,
    end: bytes = b"\x89" + ORDERED_DICT,
    function: str = "_rebuild_tensor_v2",
) -> bytes:
    content = (of or storage()) + integer(offset) + numbers(shape) + numbers(strides) + end
    return b"ctorch._utils\n" + function.encode() + b"\n(" + content + b"tR"


def state(**tensors: bytes) -> bytes:
    """The pickle of a dictionary of pickled values."""
    return b"\x80\x02}(" + b"".join(text(name) + value for name, value in tensors.items()) + b"u."


def checkpoint(pickle: bytes, storages: Mapping[str, bytes] | None = None, **options: Any) -> bytes:
    """A zip checkpoint; by default with one storage of six float32."""
    members = {"archive/data.pkl": pickle, "archive/byteorder": b"little"}
    storages = {"0": bytes(24)} if storages is None else storages
    members.update({f"archive/data/{key}": raw for key, raw in storages.items()})
    return archive({**members, "archive/version": b"3\n"}, **options)


def archive(members: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED, comment: bytes = b"") -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as file:
        for name, raw in members.items():
            file.writestr(zipfile.ZipInfo(name), raw, compression)
        file.comment = comment
    return stream.getvalue()


def legacy(
    value: bytes | None = None, keys: tuple[str, ...] = ("0",), storages: bytes = struct.pack("<q", 6) + bytes(24)
) -> bytes:
    """A checkpoint as PyTorch wrote them before 1.6."""
    system = b"\x80\x02}" + text("little_endian") + b"\x88s."
    names = b"\x80\x02](" + b"".join(map(text, keys)) + b"e."
    described = storage()[:-2] + b"NtQ"
    return MAGIC + b"\x80\x02M\xe9\x03." + system + (value or state(a=tensor(of=described))) + names + storages


def npy(
    header: bytes | str = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }", data: bytes = bytes(24)
) -> bytes:
    raw = header.encode() if isinstance(header, str) else header
    raw += b" " * (-(len(raw) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(raw)) + raw + data


def safetensors(header: bytes | str, data: bytes = b"", length: int | None = None) -> bytes:
    raw = header.encode() if isinstance(header, str) else header
    return struct.pack("<Q", len(raw) if length is None else length) + raw + data
