# SPDX-License-Identifier: BSD-3-Clause
"""Checks every kernel on the user's machine: each operation, each algorithm, each usable instruction set.

Every case is computed by the kernels with one and with several threads, which must give the same bits, and compared
with the float64 definition of the operation in `cnnkern.reference`. On small whole numbers, operations that only add,
multiply and compare must be exactly right; elsewhere the error relative to the answer's largest number has a bound.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TextIO

import numpy as np

import cnnkern
from cnnkern import _core, graph, reference
from cnnkern.selftest.cases import PARTS, Array, Case, Values

_THREADS = 3  # an odd number, so that work is split unevenly
_ROUNDING = 5e-7  # a few roundings, or exp and tanh to the last bits of float32
_SUM = 1e-5  # sums of up to some thousand products
_SUMS = (
    "conv1d",
    "conv2d",
    "conv2d_scaled",
    "conv3d",
    "matmul",
    "batch_norm",
    "group_norm",
    "sum_to",
    "resample",
    "grid_sample",
    "local_response_norm",
    "softmax",
    "log_softmax",
    "cross_entropy",
)
_EXACT = (  # on whole numbers
    *(f"conv{rank}d{part}" for rank in (1, 2, 3) for part in ("", "_grad_input", "_grad_weight")),
    *(f"{kind}_pool{rank}d{part}" for kind in ("max", "adaptive_max") for rank in (1, 2, 3) for part in ("", "_grad")),
    *("conv2d_scaled", "matmul", "max_unpool", "max_unpool_grad", "maximum", "minimum", "abs", "threshold"),
    *("relu", "relu_grad", "leaky_relu", "leaky_relu_grad", "clamp", "clamp_grad", "negative", "square", "square_grad"),
    *("scale", "add", "subtract", "multiply", "sum_to", "expand", "concat", "slice", "pad", "permute", "resample"),
)


class _Tally:
    """What is known about one operation."""

    def __init__(self) -> None:
        self.runs = 0
        self.algorithms: dict[str, None] = {}  # in order of appearance
        self.share = 0.0  # error by bound, of the worst run
        self.error, self.bound = 0.0, 0.0  # of that run
        self.failures: list[str] = []
        self.wrong_isas: set[str] = set()


def _values(seed: int, whole: bool) -> Values:
    rng = np.random.default_rng(seed)

    def values(*shape: int) -> Array:
        if whole:
            return rng.integers(-4, 5, shape).astype(np.float32)
        return np.asarray(rng.standard_normal(shape), np.float32)

    return values


def _calls(case: Case) -> tuple[list[graph.KernelCall], list[Array]]:
    """The kernel calls of a case on copies of its inputs, and all arrays that they write, filled with nonsense."""
    op = graph.OPS[case.op]
    inputs = tuple(None if x is None else x.copy() for x in case.inputs)
    outputs = tuple(np.full(spec.shape, np.nan if spec.dtype.kind == "f" else -77, spec.dtype)
                    for spec in op.infer(inputs, case.attrs))  # fmt: skip
    assert op.lower is not None
    calls = op.lower(graph.Node(op, inputs, case.attrs, outputs))
    return calls, [*outputs, *(x for i in op.mutates if (x := inputs[i]) is not None)]


def _arguments(call: graph.KernelCall) -> list[Array | None]:
    return [None if array is None else array.reshape(shape) for array, shape in call.args]


def _expected(case: Case) -> list[Array]:
    """The same arrays as `_calls` gives, by the reference."""
    inputs = [x if x is None or x.dtype == np.int32 else x.astype(np.float64) for x in case.inputs]
    result = getattr(reference, case.op)(*inputs, **case.attrs)
    outputs = list(result) if isinstance(result, tuple) else [] if result is None else [result]
    return [*outputs, *(x for i in graph.OPS[case.op].mutates if (x := inputs[i]) is not None)]


@np.errstate(invalid="ignore", over="ignore")
def _error(actual: Array, expected: Array) -> float:
    """Largest difference relative to the largest finite magnitude of `expected`; infinite where NaN stands wrongly."""
    if actual.shape != expected.shape or (np.isnan(actual) != np.isnan(expected)).any():
        return float("inf")
    difference = np.nan_to_num(abs(actual - expected), nan=0.0, posinf=np.inf)
    largest = np.nan_to_num(abs(expected), nan=0.0, posinf=0.0).max(initial=0.0)
    return float(difference.max(initial=0.0) / (largest or 1.0))


def _bound(case: Case, whole: bool) -> float:
    if whole and case.op in _EXACT:
        return 0.0
    return _SUM if case.op.startswith(_SUMS) else _ROUNDING


def _compute(case: Case, algorithm: str, threads: int) -> list[Array]:
    cnnkern.set_num_threads(threads)
    calls, written = _calls(case)
    for call in calls:
        _core.launch(call.op, call.attrs, _arguments(call), algorithm)
    return written


def _algorithms(case: Case) -> list[str]:
    """Everything that can serve the case on the active instruction set; "" stands for several calls in a row."""
    calls, _ = _calls(case)
    if len(calls) != 1:
        return [""]
    shapes = [None if array is None else array.shape for array in _arguments(calls[0])]
    return sorted({name for name, *_ in _core.algorithms(calls[0].op, calls[0].attrs, shapes)})


def _check(case: Case, expected: list[Array], bound: float, algorithm: str, tally: _Tally) -> str:
    """Runs one algorithm on one case. Returns what is wrong, or an empty string."""
    try:
        actual, threaded = _compute(case, algorithm, 1), _compute(case, algorithm, _THREADS)
    except ValueError as refusal:
        return f"refused: {refusal}"
    error = max(_error(a, b) for a, b in zip(actual, expected, strict=True))
    share = error / bound if bound else np.inf if error else 0.0
    if share >= tally.share:
        tally.share, tally.error, tally.bound = share, error, bound
    if not error <= bound:
        return f"error {error:.1e}, allowed {bound:.0e}"
    if any(a.tobytes() != b.tobytes() for a, b in zip(actual, threaded, strict=True)):
        return f"other bits with {_THREADS} threads than with one"
    return ""


def _check_part(make: Callable[[Values], Iterable[Case]], isas: list[str]) -> dict[str, _Tally]:
    tallies: dict[str, _Tally] = {}
    for whole in (True, False):
        for case in make(_values(1, whole)):
            tally = tallies.setdefault(case.op, _Tally())
            expected, bound = _expected(case), _bound(case, whole)
            shapes = [None if x is None else x.shape for x in case.inputs]
            for isa in isas:
                _core.set_isa(isa)
                algorithms = _algorithms(case) if _core.isa() == isa else []
                for algorithm in algorithms or ["nothing"]:
                    tally.runs += 1
                    tally.algorithms[algorithm] = None
                    wrong = _check(case, expected, bound, algorithm, tally) if algorithms else "no kernel serves"
                    if wrong:
                        tally.failures.append(f"{algorithm} on {isa}: {wrong} (inputs {shapes}, {case.attrs})")
                        tally.wrong_isas.add(isa)
    return tallies


_INTRODUCTION = """\
Self-test of cnnkern {version}

Every operation is computed by each of its algorithms, in each instruction set that this processor can use
({isas}), on one thread and on {threads}, and compared with a slow computation in double precision.
"error" is the largest difference, relative to the largest number of the right answer; "allowed" is what rounding to
single precision explains. On whole numbers there is no rounding: there the operations marked * must be exactly right.
"""


def run(stream: TextIO) -> bool:
    """Check every kernel on this machine, in under a minute. Writes the findings to `stream`; True if all is right."""
    isas, threads_before, isa_before = _core.isas(), _core.get_num_threads(), _core.isa()
    started, tallies = time.perf_counter(), dict[str, _Tally]()
    heading = {"version": cnnkern.__version__, "isas": ", ".join(isas), "threads": _THREADS}
    print(_INTRODUCTION.format(**heading), file=stream)
    try:
        for title, make in PARTS:
            print(f"{title:<40} {'runs':>6}  {'error':>8} {'allowed':>8}", file=stream)
            part = _check_part(make, isas)
            for op, tally in part.items():
                _report(op, tally, stream)
            print(file=stream, flush=True)
            tallies |= part
    finally:
        _core.set_isa(isa_before)
        _core.set_num_threads(threads_before)
    return _conclude(tallies, isas, time.perf_counter() - started, stream)


def _report(op: str, tally: _Tally, stream: TextIO) -> None:
    name = f"  {op}{'*' if op in _EXACT else ''}"
    algorithms = ", ".join(name for name in tally.algorithms if name)
    verdict = "FAILED" if tally.failures else "ok"
    figures = f"{tally.runs:>6}  {tally.error:>8.1e} {tally.bound:>8.0e}"
    print(f"{name:<40} {figures}  {verdict:<6} {algorithms}".rstrip(), file=stream)
    for failure in tally.failures[:3]:
        print(f"      {failure}", file=stream)
    if len(tally.failures) > 3:
        print(f"      and {len(tally.failures) - 3} more", file=stream)


def _conclude(tallies: dict[str, _Tally], isas: list[str], seconds: float, stream: TextIO) -> bool:
    failed = [op for op, tally in tallies.items() if tally.failures]
    runs = sum(tally.runs for tally in tallies.values())
    if not failed:
        print(f"All is right: {len(tallies)} operations, {runs:,} runs in {seconds:.0f} s, no failure.", file=stream)
        return True
    wrong = set().union(*(tally.wrong_isas for tally in tallies.values()))
    right = [isa for isa in isas if isa not in wrong]
    print(f"FAILED: {', '.join(failed)} ({', '.join(sorted(wrong, key=isas.index))}).", file=stream)
    print("Results that cnnkern computes on this machine may be wrong. What to do:", file=stream)
    if right:
        print(f"  - Set the environment variable CNNKERN_ISA={right[-1]}: its kernels passed, if slower.", file=stream)
    print("  - Report it to the developers, with this text and the output of `cnnkern info`.", file=stream)
    return False
