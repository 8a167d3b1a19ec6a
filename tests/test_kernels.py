# SPDX-License-Identifier: BSD-3-Clause
"""Every kernel against the reference: each algorithm, layout, instruction set and number of threads, on every case.

Whole numbers must come out exactly as in int64 (values.EXACT says for which operations); real numbers within the error
that rounding explains (bounds). The bits must not depend on the number of threads.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from bounds import excess, terms
from case import Case, parse
from cases import OPS, cases
from conftest import Failures, Tally
from running import Running, Way, Wrong
from values import EXACT, Array, expected, inputs, trusted

_REDRAWS = 8
_THREADS = (2, 3, 7)


def _mismatch(got: Array, want: Array) -> str:
    """Where two arrays differ, or ''. NaN equals NaN."""
    wide = got.astype(np.float64)
    same = (wide == want) | (np.isnan(wide) & np.isnan(want.astype(np.float64)))
    if same.all():
        return ""
    at = tuple(int(i) for i in np.argwhere(~same)[0])
    return f"{np.count_nonzero(~same)} of {same.size} wrong, the first at {at}: {got[at]!s}, expected {want[at]!s}"


def _compare(case: Case, values: Sequence[Array | None], got: list[Array], want: list[Array], whole: bool) -> str:
    """What is wrong with the results, or ''."""
    found = []
    if whole:
        found = [_mismatch(g, w) for g, w in zip(got, want, strict=True)]
    elif case.op == "dropout":
        return _compare_dropout(got[0], want[0])
    else:
        bound = terms(case, values, want)
        for g, w, term in zip(got, want, bound, strict=True):
            if g.dtype == np.int32:
                found.append(_mismatch(g, w))
                continue
            error, most = excess(g, w, term)
            if not error <= most and w.size:
                found.append(f"rms error {error:.3g}, at most {most:.3g} expected")
    return "; ".join(f"output {i}: {text}" for i, text in enumerate(found) if text)


def _compare_dropout(got: Array, want: Array) -> str:
    kept = _mismatch(got != 0, want != 0)
    if kept:
        return f"mask: {kept}"
    wrong = np.abs(got - want) > 2.0**-22 * np.abs(want)
    return f"{np.count_nonzero(wrong)} of {want.size} kept values wrong" if wrong.any() else ""


def _draw(case: Case, seed: int, whole: bool) -> tuple[list[Array | None], list[Array], bool]:
    """Values, their result, and whether that can be trusted; values are drawn again where not."""
    for attempt in range(_REDRAWS):
        values = inputs(case, seed + 1000 * attempt, whole)
        want = expected(case, values, whole)
        if not want or trusted(case, values, want):
            return values, want, True
    return values, want, False


def _check_way(
    running: Running, way: Way, threads: Sequence[int], want: list[Array], whole: bool, tally: Tally
) -> tuple[int, str]:
    """Runs a case in one way with each number of threads. Returns the number that fails, and how."""
    first: list[Array] = []
    for count in threads:
        try:
            got = running.run(way, count)
        except (Wrong, ValueError) as error:
            return count, f"{type(error).__name__}: {error}"
        tally.runs[running.case.op, count] += 1
        if not first:
            first = got
            message = _compare(running.case, running.values, got, want, whole)
            if message:
                return count, message
        elif any(a.tobytes() != b.tobytes() for a, b in zip(first, got, strict=True)):
            return count, f"other bits than with {threads[0]} thread"
    return 0, ""


def _check(
    case: Case,
    number: int,
    isas: Sequence[str],
    core: Any,
    seed: int,
    tally: Tally,
    failures: Failures,
    only: Way | None = None,
) -> None:
    # Every case meets one and another number of threads, every fourth all of them.
    threads = (1, *_THREADS) if number % 4 == 0 or only else (1, _THREADS[number % 3])
    for whole in (True, False) if case.op in EXACT and number % 3 == 0 else (case.op in EXACT,):
        values, want, trust = _draw(case, seed, whole)
        tally.mistrusted[case.op] += not trust
        empty = any(value is not None and not value.size for value in values) or not want[0].size
        running = Running(case, values, seed + number)
        for isa in isas:
            core.set_isa(isa)
            ways = [Way("", "functional")] if empty else [only] if only else running.ways()
            if not ways:
                failures.add(f"{case}@{isa}", f"{case.op}: no kernel on {isa}")
            for way in ways:
                tally.algorithms.setdefault(case.op, set()).add(way.algorithm)
                count, message = _check_way(running, way, threads, want, whole, tally)
                if message:
                    failures.add(f"{case}@{isa}/{way}/{count}", f"{isa} {way} with {count} threads: {message}")
    for isa in isas:
        tally.ran[case.op, isa] += 1


@pytest.mark.parametrize("op", OPS)
def test_cases(op: str, divided: Any, full: bool, seed: int, tally: Tally, failures: Failures) -> None:
    """Rows and generated cases of an operation, on every instruction set."""
    every = cases(op, seed, full)
    tally.planned[op] = len(every)
    for number, case in enumerate(every):
        _check(case, number, divided.isas(), divided, seed, tally, failures)
        if failures.many:
            break
    failures.report(len(every))
    # A twentieth of the cases may be unable to prove anything, not more.
    assert tally.mistrusted[op] <= max(2, len(every) // 20)


def test_given_case(pytestconfig: pytest.Config, divided: Any, seed: int, tally: Tally, failures: Failures) -> None:
    """The case of --case, with all numbers of threads."""
    text = pytestconfig.getoption("--case")
    name, _, where = text.partition("@")
    isa, algorithm, layout, *_ = [*where.split("/"), "", "", ""]
    case = parse(name)
    tally.planned[case.op] = 1
    way = Way("" if algorithm == "*" else algorithm, layout) if layout else None
    for number in (0, 3):  # whole numbers; then real ones too
        _check(case, number, [isa] if isa else divided.isas(), divided, seed, tally, failures, way)
    failures.report(1)
