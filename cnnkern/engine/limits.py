# SPDX-License-Identifier: BSD-3-Clause
"""What this machine can do at most: multiply-adds in registers, and bytes from each level of memory."""

from __future__ import annotations

import time
from functools import cache
from typing import NamedTuple

import numpy as np

from cnnkern import _core

_STEPS = 20000  # rounds of multiply-adds of one unit: about 0.1 ms
_SIZES = tuple(1 << bits for bits in range(16, 28, 2))  # bytes that a copy reads and writes


class Limits(NamedTuple):
    """flops: per nanosecond, a multiply-add counting as two; bandwidth: (bytes, bytes per nanosecond) of copies that
    touch so many bytes in all, smallest first."""

    flops: float
    bandwidth: tuple[tuple[int, float], ...]

    def compute_ns(self, multiply_adds: float) -> float:
        """Nanoseconds that the arithmetic needs at least."""
        return 2 * multiply_adds / self.flops

    def memory_ns(self, bytes: float) -> float:
        """Nanoseconds that so many bytes need at least, read or written once, wherever they fit."""
        sizes, rates = zip(*self.bandwidth, strict=True)
        return bytes / float(np.interp(np.log(max(bytes, 1.0)), np.log(sizes), rates))


def measure_limits(threads: int) -> Limits:
    """Measure in about 0.1 s (once per instruction set and number of threads)."""
    return _measure(threads, _core.isa())


@cache
def _measure(threads: int, isa: str) -> Limits:
    return Limits(measure_peak(threads), tuple((size, _bandwidth(size, threads)) for size in _SIZES))


def measure_peak(threads: int) -> float:
    """GFLOP/s of independent multiply-adds in registers on the active instruction set: the best of many short runs."""
    before = _core.get_num_threads()
    _core.set_num_threads(threads)
    try:
        return max(_flops(threads) for _ in range(40))
    finally:
        _core.set_num_threads(before)


def _bandwidth(size: int, threads: int) -> float:
    """Bytes per nanosecond of a copy of size / 2 bytes, one of many in a row, as the steps of a network are."""
    plan = _core.Plan()
    there, back = plan.tensor((size // 8,)), plan.tensor((size // 8,))
    plan.arena(there, 0)
    plan.arena(back, size // 2)
    for _ in range(8):
        plan.step("unary", {"function": "relu"}, [there, back])
        plan.step("unary", {"function": "relu"}, [back, there])
    plan.freeze(size)
    repeats = max(3, min(20, (1 << 24) // size))
    return size / min(min(plan.run([], [], threads, True)[2:]) for _ in range(repeats))


def _flops(threads: int) -> float:
    work = np.empty(4 * threads, np.float32)  # one unit each, several per thread
    start = time.perf_counter_ns()
    _core.launch("peak", {"steps": _STEPS}, [work])
    return float(work.sum()) / (time.perf_counter_ns() - start)
