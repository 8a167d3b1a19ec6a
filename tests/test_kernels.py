# SPDX-License-Identifier: BSD-3-Clause
"""Every kernel against the reference: each algorithm, layout, instruction set and number of threads, on every case.

Whole numbers must come out exactly as in int64 (values.EXACT says for which operations); real numbers within the error
that rounding explains (bounds). The bits must not depend on the number of threads.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bounds import Term, excess, terms
from case import Case, parse
from cases import OPS, ROWS, cases, rows
from conftest import Failures, Tally
from generators import generated
from running import Running, Way, Wrong
from values import Array, exact, expected, inputs, trusted

_REDRAWS = 8
_THREADS = (2, 3, 7)
_POOR = ("winograd_4x4", "winograd_4x4_rows", "winograd_4x4_stride2", "winograd_2x2_5x5")
_SLACK = dict.fromkeys(_POOR, 3.0)  # rms error against that of plain sums


def _mismatch(got: Array, want: Array) -> str:
    """Where two arrays differ, or ''. NaN equals NaN."""
    wide = got.astype(np.float64)
    same = (wide == want) | (np.isnan(wide) & np.isnan(want.astype(np.float64)))
    if same.all():
        return ""
    at = tuple(int(i) for i in np.argwhere(~same)[0])
    return f"{np.count_nonzero(~same)} of {same.size} wrong, the first at {at}: {got[at]!s}, expected {want[at]!s}"


def _compare(
    case: Case,
    values: Sequence[Array | None],
    got: list[Array],
    want: list[Array],
    whole: bool,
    slack: float = 1.0,
) -> str:
    """What is wrong with the results, or ''."""
    if case.op == "dropout":
        return _compare_dropout(got[0], want[0])
    if whole or ("max_pool" in case.op and "grad" not in case.op):  # a maximum is one of the inputs
        found = [_mismatch(g, w) for g, w in zip(got, want, strict=True)]
    elif any(value is not None and not value.size for value in values):  # nothing was rounded but constants
        found = ["" if np.allclose(g, w, 1e-6, 0, True) else "wrong" for g, w in zip(got, want, strict=True)]
    else:
        bounds = terms(case, values, want)
        found = [_outside(g, w, term, slack) for g, w, term in zip(got, want, bounds, strict=True)]
    return "; ".join(f"output {i}: {text}" for i, text in enumerate(found) if text)


def _outside(got: Array, want: Array, term: Term, slack: float) -> str:
    """Whether real numbers differ by more than rounding explains, or ''."""
    if np.isnan(want).any():  # the mean over no position
        return "" if np.isnan(want).all() and np.isnan(got).all() else "NaN in the wrong places"
    error, most = excess(got, want, term)
    most *= slack
    return "" if error <= most or not want.size else f"rms error {error:.3g}, at most {most:.3g} expected"


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


class Checking:
    """Checks cases in every way, on every instruction set, and keeps count."""

    def __init__(self, core: Any, seed: int, tally: Tally, failures: Failures) -> None:
        self._core, self._seed, self._tally, self._failures = core, seed, tally, failures

    def check(self, case: Case, number: int, isas: Sequence[str], only: Way | None = None) -> None:
        """Every case meets one and another number of threads, every fourth all of them."""
        threads = (1, *_THREADS) if number % 4 == 0 or only else (1, _THREADS[number % 3])
        for whole in (True, False) if exact(case) and number % 3 == 0 else (exact(case),):
            values, want, trust = _draw(case, self._seed, whole)
            self._tally.mistrusted[case.op] += whole is exact(case) and not trust
            running = Running(case, values, self._seed + number)
            for isa in isas:
                self._core.set_isa(isa)
                ways = [only] if only else running.ways(winograd=not whole)
                if not ways:
                    self._failures.add(f"{case}@{isa}", f"{case.op}: no kernel on {isa}")
                for way in ways:
                    self._check_way(running, isa, way, threads, want, whole)
        for isa in isas:
            self._tally.ran[case.op, isa] += 1

    def _check_way(
        self, running: Running, isa: str, way: Way, threads: Sequence[int], want: list[Array], whole: bool
    ) -> None:
        case, first = running.case, None
        self._tally.algorithms.setdefault(case.op, set()).add(way.algorithm)
        for count in threads:
            message = ""
            try:
                got = running.run(way, count)
                self._tally.runs[case.op, count] += 1
                if first is None:
                    first = got
                    wanted = want[: len(got)]  # a bare way has fewer results
                    message = _compare(case, running.values, got, wanted, whole, _SLACK.get(way.algorithm, 1.0))
                elif any(a.tobytes() != b.tobytes() for a, b in zip(first, got, strict=True)):
                    message = f"other bits than with {threads[0]} thread"
            except (Wrong, ValueError) as error:
                message = f"{type(error).__name__}: {error}"
            if message:
                self._failures.add(f"{case}@{isa}/{way}/{count}", f"{isa} {way} with {count} threads: {message}")
                return


@pytest.mark.parametrize("op", OPS)
def test_cases(op: str, divided: Any, full: bool, seed: int, tally: Tally, failures: Failures) -> None:
    """Rows and generated cases of an operation, on every instruction set."""
    every = cases(op, seed, full)
    tally.planned[op] = len(every)
    tally.generated[op] = sum(1 for _ in generated(op, seed, 1 if full else 20))
    checking = Checking(divided, seed, tally, failures)
    for number, case in enumerate(every):
        checking.check(case, number, divided.isas())
        if failures.many:
            break
    failures.report(len(every))
    # A twentieth of the cases may be unable to prove anything, not more.
    assert tally.mistrusted[op] <= max(3, len(every) // 20)


_SPECIAL = (np.nan, np.inf, -np.inf)


def _poisoned(case: Case, values: Sequence[Array | None], at: int, seed: int) -> list[Array | None]:
    """The values with a NaN and both infinities somewhere in input `at`."""
    rng = np.random.default_rng(seed)
    changed = list(values)
    array = np.array(changed[at])
    array.flat[rng.choice(array.size, min(3, array.size), replace=False)] = rng.permutation(_SPECIAL)[: array.size]
    changed[at] = array
    return changed


def _special_mismatch(got: Array, want: Array) -> str:
    """Whether NaN, infinities and their signs stand where they should; what is finite is compared elsewhere."""
    for name, test in (("NaN", np.isnan), ("infinite", np.isposinf), ("negatively infinite", np.isneginf)):
        differ = np.asarray(test(got) != test(want))
        if differ.any():
            at = tuple(int(i) for i in np.argwhere(differ)[0])
            return (
                f"{np.count_nonzero(differ)} wrongly {name} or not, the first at {at}: {got[at]}, expected {want[at]}"
            )
    return ""


@pytest.mark.parametrize("op", OPS)
def test_nan_and_infinity(op: str, divided: Any, seed: int, failures: Failures) -> None:
    """They go where they go in float64 arithmetic, also beside lanes, tiles and borders that hold zeros."""
    every = [case for case in rows(op) if all(shape is None or 0 not in shape for shape in case.shapes)]
    for number, case in enumerate(every):
        original = inputs(case, seed, False)
        for at in _POISONED.get(op, (0,)):
            values = _poisoned(case, original, at, seed + number)
            with np.errstate(all="ignore"):
                want = expected(case, values, False)
            running = Running(case, values, seed + number)
            for isa in divided.isas():
                divided.set_isa(isa)
                for way in running.ways():
                    try:
                        got = running.run(way, 2)
                        message = "; ".join(filter(None, map(_special_mismatch, got, want)))
                    except Wrong as error:
                        message = str(error)
                    if message:
                        failures.add_without_case(f"{case}@{isa}/{way}/2, input {at}: {message}")
    failures.report(len(every))


# Inputs that receive them, where not the first alone.
_POISONED = {
    **dict.fromkeys(("add", "subtract", "multiply", "divide", "maximum", "minimum", "prelu"), (0, 1)),
    **dict.fromkeys(("relu_grad", "leaky_relu_grad", "clamp_grad"), (0, 1)),
    "matmul": (0, 1),
    "uniform": (),
    "sgd_step": (1,),
    "adam_step": (1,),
    "adaptive_step": (1,),
    "cross_entropy_grad": (1,),
}


def test_nothing_is_read_beyond_an_array() -> None:
    """Every row with operands that end, or begin, at a page that nobody may touch; a crash names the case."""
    script = Path(__file__).with_name("page_edges.py")
    path = os.pathsep.join(filter(None, sys.path))
    done = subprocess.run(
        [sys.executable, script], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False
    )
    last = done.stdout.strip().rpartition("\n")[2]
    assert done.returncode == 0, f"signal {-done.returncode} in {last}\n{done.stderr}"
    assert last == f"{len(ROWS)} rows"


def test_given_case(pytestconfig: pytest.Config, divided: Any, seed: int, tally: Tally, failures: Failures) -> None:
    """The case of --case, with all numbers of threads."""
    name, _, where = str(pytestconfig.getoption("--case")).partition("@")
    isa, algorithm, layout, *_ = [*where.split("/"), "", "", ""]
    case = parse(name)
    tally.planned[case.op] = 1
    way = Way("" if algorithm == "*" else algorithm, layout) if layout else None
    Checking(divided, seed, tally, failures).check(case, 0, [isa] if isa else divided.isas(), way)
    failures.report(1)
