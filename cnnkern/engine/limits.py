# SPDX-License-Identifier: BSD-3-Clause
"""What this machine can do at most: multiply-adds in registers, and bytes from each level of memory."""

from __future__ import annotations

import time
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cnnkern import _core

_STEPS = 20000  # rounds of multiply-adds of one unit: about 0.1 ms
_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
_USUAL = {2: 1 << 20, 3: 32 << 20}  # bytes of a cache that the system says nothing of
_UNIT = 1 << 16  # bytes that the kernel reads at a time


class Level(NamedTuple):
    """A place that data can come from: what it holds, in bytes, and bytes per nanosecond read from there."""

    name: str
    size: int
    rate: float


class Limits(NamedTuple):
    """flops: per nanosecond, a multiply-add counting as two; levels: L2 of all threads, L3, memory."""

    flops: float
    levels: tuple[Level, ...]

    def compute_ns(self, multiply_adds: float) -> float:
        """Nanoseconds that the arithmetic needs at least."""
        return 2 * multiply_adds / self.flops

    def level(self, bytes: float) -> Level:
        """The nearest level that holds so much."""
        return next((level for level in self.levels if bytes <= level.size), self.levels[-1])

    def maps_ns(self, bytes: float) -> tuple[float, str]:
        """Nanoseconds that maps of so many bytes need at least, and the level that takes longest: each level gives as
        much of them as it holds."""
        parts = []
        for level in self.levels:
            part = min(bytes, level.size)
            parts.append((part / level.rate, level.name))
            bytes -= part
        return sum(ns for ns, _ in parts), max(parts)[1]

    def weights_ns(self, bytes: float, touched: float) -> tuple[float, str]:
        """The same of weights that are read once in a run: from the level that holds all that a run touches."""
        level = self.level(touched)
        return bytes / level.rate, level.name


def measure_limits(threads: int) -> Limits:
    """Measure in about 0.2 s (once per instruction set and number of threads)."""
    return _measure(threads, _core.isa())


@cache
def _measure(threads: int, isa: str) -> Limits:
    near, far = threads * _cache_bytes(2), _cache_bytes(3)
    # Half of a cache, so that nothing else drives it out; four times the last one, so that little of it is still there.
    sizes = {"L2": (near, near // 2), "L3": (far, far // 2), "memory": (1 << 62, 4 * far)}
    levels = [Level(name, size, _bandwidth(read, threads)) for name, (size, read) in sizes.items()]
    return Limits(measure_peak(threads), tuple(levels))


def _cache_bytes(level: int) -> int:
    for entry in _CACHES.glob("index*"):
        if (entry / "level").read_text("utf-8").strip() == str(level):
            return int((entry / "size").read_text("utf-8").strip().removesuffix("K")) << 10
    return _USUAL[level]


def measure_peak(threads: int) -> float:
    """GFLOP/s of independent multiply-adds in registers on the active instruction set: the best of many short runs."""
    before = _core.get_num_threads()
    _core.set_num_threads(threads)
    try:
        return max(_flops(threads) for _ in range(40))
    finally:
        _core.set_num_threads(before)


def _bandwidth(size: int, threads: int) -> float:
    """Bytes per nanosecond of reading so many bytes over and over. A machine's memory may serve others too, so that the
    best is luck and the median is theirs as well: the best quarter's worst."""
    array = np.ones(
        max(size // _UNIT, threads) * _UNIT // 4, np.float32
    )  # written, for untouched pages are all one page
    plan = _core.Plan()
    tensor = plan.tensor(array.shape)
    plan.output(tensor, 0)
    steps = int(np.clip((1 << 24) // array.nbytes, 1, 1000))
    for _ in range(6):
        plan.step("peak", {"steps": steps}, [tensor], {}, "read")
    plan.freeze(0)
    times = [ns for _ in range(5) for ns in plan.run([], [array], threads, True)[1:]]
    return steps * array.nbytes / float(np.quantile(times, 0.25))


def _flops(threads: int) -> float:
    work = np.empty(4 * threads, np.float32)  # one unit each, several per thread
    start = time.perf_counter_ns()
    _core.launch("peak", {"steps": _STEPS}, [work])
    return float(work.sum()) / (time.perf_counter_ns() - start)
