# SPDX-License-Identifier: BSD-3-Clause
"""Zip archives that are not trusted: everything that the directory promises is checked before a member is read."""

from __future__ import annotations

import struct
import zipfile
import zlib
from typing import IO

from cnnkern.io._source import MAX_TENSORS, Array, Source, read_into

_MAX_MEMBERS = MAX_TENSORS + 16
_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_ENTRY_BYTES = 46
# Trained weights do not compress by much; deflate itself stops at about 1032.
_MAX_EXPANSION = 20
_FREE = 1 << 20
# What reading a damaged member raises; zlib.error is an exception of its own, EOFError means too few bytes.
READ_ERRORS = (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, NotImplementedError, ValueError)


class Archive:
    """The members of a zip file, by name, all of them in bounds of the file and of their declared sizes."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self._check_directory()
        try:
            self._zip = zipfile.ZipFile(source.file)
        except (zipfile.BadZipFile, ValueError, NotImplementedError, UnicodeDecodeError, struct.error) as error:
            raise source.error(f"damaged zip archive: {error}") from error
        self.members: dict[str, zipfile.ZipInfo] = {}
        for member in self._zip.infolist():
            self._check(member)
            self.members[member.filename] = member
        stored = sum(member.compress_size for member in self.members.values())
        if stored > source.size:
            raise source.error(f"members overlap: {stored} bytes of them in a file of {source.size}")
        expanded = sum(member.file_size for member in self.members.values())
        if expanded > _MAX_EXPANSION * source.size + _FREE:
            raise source.error(
                f"would expand from {source.size} to {expanded} bytes; at most {_MAX_EXPANSION} times are read, "
                "save it without compression"
            )

    def _check_directory(self) -> None:
        """Count the entries before `zipfile` makes an object of each."""
        source = self.source
        tail = source.tail(_END.size)
        if len(tail) < _END.size or tail[:4] != b"PK\5\6":
            raise source.error("truncated: the zip archive has no directory at its end")
        *_, size, offset, _ = _END.unpack(tail)
        before = source.tail(_END.size + _LOCATOR.size)
        if before[:4] == b"PK\6\7" and len(before) == _END.size + _LOCATOR.size:
            source.file.seek(max(source.size - _END.size - _LOCATOR.size - _END64.size, 0))
            record = source.file.read(_END64.size)
            if record[:4] != b"PK\6\6":
                raise source.error("damaged zip archive: no 64-bit directory record where it is announced")
            *_, size, offset = _END64.unpack(record)
        if size + offset > source.size or size > _MAX_MEMBERS * 256:
            raise source.error(f"damaged zip archive: a directory of {size} bytes at {offset} in {source.size}")
        source.file.seek(offset)
        directory = source.file.read(size)
        position = members = 0
        while position + _ENTRY_BYTES <= len(directory):
            if directory[position : position + 4] != b"PK\1\2":
                raise source.error("damaged zip archive: its directory is torn")
            position += _ENTRY_BYTES + sum(struct.unpack_from("<3H", directory, position + 28))
            members += 1
            if members > _MAX_MEMBERS:
                raise source.error(f"too many members: more than {_MAX_MEMBERS}")
        if position != len(directory):
            raise source.error("damaged zip archive: its directory is torn")

    def _check(self, member: zipfile.ZipInfo) -> None:
        name, source = member.filename, self.source
        shown = repr(name[:100])
        if name in self.members:
            raise source.error(f"member {shown} appears twice")
        if name.startswith("/") or "\\" in member.orig_filename or ".." in name.split("/") or "\0" in name:
            raise source.error(f"member {shown} points outside the archive")
        if member.flag_bits & 1:
            raise source.error(f"member {shown} is encrypted")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise source.error(f"member {shown} is compressed by method {member.compress_type}; only deflate is read")
        if member.compress_type == zipfile.ZIP_STORED and member.compress_size != member.file_size:
            raise source.error(
                f"member {shown} is stored, but with {member.compress_size} bytes for {member.file_size}"
            )
        if member.header_offset + member.compress_size > source.size:
            raise source.error(f"truncated: member {shown} ends beyond the file")

    def open(self, name: str) -> IO[bytes]:
        return self._zip.open(self.members[name])

    def read(self, name: str) -> bytes:
        """All bytes of a member; the caller has looked at its size."""
        try:
            with self.open(name) as stream:
                return stream.read()
        except READ_ERRORS as error:
            raise self.source.error(f"member {name!r} is damaged: {error}") from error

    def fill(self, name: str, array: Array, tensor: str | None = None) -> None:
        """Read a member into an array of exactly its size."""
        try:
            with self.open(name) as stream:
                complete = read_into(stream, array) and not stream.read(1)
        except READ_ERRORS as error:
            raise self.source.error(f"member {name!r} is damaged: {error}", tensor) from error
        if not complete:
            raise self.source.error(f"member {name!r} has not the size that the directory states", tensor)
