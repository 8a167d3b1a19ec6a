# SPDX-License-Identifier: BSD-3-Clause
"""Writing: a file is there as a whole or not at all; zip members without compression, the same bytes every time."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Any

import numpy as np

from cnnkern.io._source import CHUNK, Array


@contextlib.contextmanager
def atomic(path: str) -> Iterator[str]:
    """The path of a new file beside `path`; it takes its place when the block ends well, else it is removed."""
    target = os.path.realpath(path)
    folder, name = os.path.split(target)
    temporary = os.path.join(folder, f".{name[:100]}.{secrets.token_hex(6)}.tmp")
    try:
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        if os.path.exists(target):
            shutil.copymode(target, temporary)
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def discard_leftovers(path: str) -> None:
    """Remove the unfinished files that killed processes left beside `path`. Nobody else must be writing it."""
    folder, name = os.path.split(os.path.realpath(path))
    leftover = re.compile(rf"\.{re.escape(name[:100])}\.[0-9a-f]{{12}}\.tmp")
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if leftover.fullmatch(entry.name):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(entry.path)


def write_zip(stream: IO[bytes], members: Iterable[tuple[str, Sequence[bytes | Array]]]) -> None:
    """Members in order, each of one or more pieces, stored, with a fixed date; an array as its bytes."""
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name, pieces in members:
            views = [memoryview(piece if isinstance(piece, bytes) else _flat(piece)) for piece in pieces]
            large = sum(map(len, views)) >= 2**31
            with archive.open(zipfile.ZipInfo(name), "w", force_zip64=large) as member:
                for view in views:
                    for start in range(0, len(view), CHUNK):
                        member.write(view[start : start + CHUNK])


def _flat(array: Array) -> Any:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)
