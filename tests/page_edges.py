# SPDX-License-Identifier: BSD-3-Clause
"""Runs every row with operands beside forbidden pages: a script, so that a crash is one line of one test.

Prints each way of each case before it runs, at the end the number of rows.
"""

import ctypes
import mmap
from typing import Any

import numpy as np
from case import Shape
from cases import ROWS
from running import Guarded, Running
from values import inputs

from cnnkern import _core

_PAGE = mmap.PAGESIZE
_libc = ctypes.CDLL(None, use_errno=True)


class _Edge(Guarded):
    """An array whose last element is the last before a page that may not be touched."""

    _at_end = True

    def __init__(self, shape: Shape, dtype: Any, offset: int) -> None:
        size = int(np.prod(shape, dtype=np.int64)) * 4
        pages = -(-size // _PAGE) or 1
        memory = mmap.mmap(-1, (pages + 2) * _PAGE)
        self._whole = np.frombuffer(memory, np.int32)
        for page in (0, pages + 1):
            address = self._whole.ctypes.data + page * _PAGE
            if _libc.mprotect(ctypes.c_void_p(address), ctypes.c_size_t(_PAGE), 0):
                raise OSError(ctypes.get_errno(), "mprotect")
        self._start = ((pages + 1) * _PAGE - size if self._at_end else _PAGE) // 4
        self._stop = self._start + size // 4
        self.array = self._whole[self._start : self._stop].view(dtype).reshape(shape)
        self.array.view(np.int32)[...] = 0x7FC5A5A5

    def intact(self) -> bool:
        return True


class _Front(_Edge):
    """An array whose first element is the first behind such a page."""

    _at_end = False


def main() -> None:
    _core.set_worth_a_thread(0)
    for number, case in enumerate(ROWS):
        values = inputs(case, 0, True)
        for memory in (_Edge, _Front):
            running = Running(case, values, number, memory)
            for isa in _core.isas():
                _core.set_isa(isa)
                for way in running.ways():
                    print(f"{case}@{isa}/{way}/2", flush=True)
                    running.run(way, 2)
    print(f"{len(ROWS)} rows")


if __name__ == "__main__":
    main()
