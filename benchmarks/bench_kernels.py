# SPDX-License-Identifier: BSD-3-Clause
"""Times of kernels and of eager calls, against the NumPy reference and the multiply-add peak of the same run.

`pytest benchmarks -k conv2d` shows them; benchmarks/README.md says what is measured and how to save and compare runs.
"""

import functools
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from case import Case
from cases import FORWARD, OTHER_BENCHMARKS
from values import MUTATED, expected, inputs

from cnnkern import _core
from cnnkern.engine.kernel_time import KernelTime, layouts
from cnnkern.engine.limits import measure_peak
from cnnkern.functional._eager import evaluate
from cnnkern.graph import OPS, KernelCall, Node

_ISAS = [isa for isa in ("avx512", "avx2", "scalar") if isa in _core.isas()]
_THREADS = (1, 2) if len(os.sched_getaffinity(0)) > 1 else (1,)
_SECONDS = 0.4  # of one benchmark
_MOST_ROUNDS = 60


@dataclass(frozen=True)
class Bench:
    """One kernel in one layout (or, without an algorithm, the eager call) on one instruction set."""

    case: Case
    isa: str
    threads: int
    algorithm: str = ""
    layout: str = ""

    def __str__(self) -> str:
        way = f"{self.algorithm}/{self.layout}" if self.algorithm else "eager"
        return f"{self.case}@{self.isa}/{way}/{self.threads}"


def _call(case: Case, values: list[Any]) -> KernelCall:
    outputs = tuple(np.empty(spec.shape, spec.dtype) for spec in OPS[case.op].infer(tuple(values), case.attrs))
    lower = OPS[case.op].lower
    assert lower is not None
    (call,) = lower(Node(OPS[case.op], tuple(values), case.attrs, outputs))
    return call


@functools.lru_cache(maxsize=1)  # benchmarks come case by case
def _values(case: str) -> list[Any]:
    return inputs(_CASES[case], 0, False)


_CASES = {str(case): case for case in (*FORWARD, *OTHER_BENCHMARKS)}


def _benches() -> Iterator[Bench]:
    """Layers of ResNet-50 on AVX-512 and AVX2; everything else on the widest instruction set."""
    before = _core.isa()
    for case in _CASES.values():
        shapes = [None if shape is None else np.broadcast_to(np.float32(0), shape) for shape in case.shapes]
        call = _call(case, shapes)
        sizes = [None if value is None else shape for value, shape in call.args]
        for isa in _ISAS[:2] if case in FORWARD else _ISAS[:1]:
            _core.set_isa(isa)
            for layout, each in layouts(call):
                try:
                    found, _ = _core.plan_candidates(call.op, call.attrs, sizes, each)
                except ValueError:
                    continue
                for algorithm in dict.fromkeys(name for name, _ in found):
                    yield from (Bench(case, isa, threads, algorithm, layout) for threads in _THREADS)
            yield from (Bench(case, isa, threads) for threads in _THREADS)
    _core.set_isa(before)


@pytest.fixture(scope="session")
def peaks() -> dict[tuple[str, int], float]:
    """GFLOP/s of multiply-adds on every instruction set and number of threads, measured in this run."""
    found = {}
    for isa in _ISAS:
        _core.set_isa(isa)
        found.update({(isa, threads): measure_peak(threads) for threads in _THREADS})
    return found


@functools.cache
def _reference_seconds(case: str) -> float:
    """The reference once, after a first call that touches the memory if it is quick."""
    values, best = [None if v is None else v.copy() for v in _values(case)], np.inf
    for _ in range(2):
        start = time.perf_counter()
        expected(_CASES[case], values, False)
        best = min(best, time.perf_counter() - start)
        if best > 0.2:
            break
    return float(best)


@pytest.mark.parametrize("bench", list(_benches()), ids=str)
def test_kernel(bench: Bench, benchmark: Any, peaks: dict[tuple[str, int], float], request: Any) -> None:
    case, values = bench.case, _values(str(bench.case))
    _core.set_isa(bench.isa)
    _core.set_num_threads(bench.threads)
    call = _call(case, values)
    if bench.algorithm:
        timed = KernelTime(call, dict(layouts(call))[bench.layout], bench.algorithm, bench.threads)
        benchmark._timer = timed.clock
    else:
        mutated = MUTATED.get(case.op, ())
        values = [v.copy() if i in mutated and v is not None else v for i, v in enumerate(values)]
        timed = functools.partial(evaluate, OPS[case.op], values, case.attrs)
    benchmark.group = str(case)
    benchmark.extra_info.update(
        case=str(case),
        op=case.op,
        isa=bench.isa,
        threads=bench.threads,
        algorithm=bench.algorithm,
        layout=bench.layout,
        flops=_flops(case),
        peak_gflops=peaks[bench.isa, bench.threads],
    )
    if benchmark.enabled:  # otherwise it is a smoke test
        benchmark.extra_info["reference_seconds"] = _reference_seconds(str(case))
    benchmark.pedantic(timed, rounds=_rounds(timed) if benchmark.enabled else 1, iterations=1)


def _flops(case: Case) -> int:
    """Twice the multiply-adds; 0 where they are not what takes the time."""
    definition, values = OPS[case.op], tuple(_values(str(case)))
    if definition.macs is None:
        return 0
    return 2 * definition.macs(Node(definition, values, case.attrs, definition.infer(values, case.attrs)))


def _rounds(timed: Any) -> int:
    timed()
    start = time.perf_counter()
    timed()
    return int(min(_MOST_ROUNDS, max(7, _SECONDS / (time.perf_counter() - start))))
