# SPDX-License-Identifier: BSD-3-Clause
"""What the benchmarks say about their measurements."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from case import parse
from compare import compare
from table import share_of_peak, tables

from cnnkern import reference
from cnnkern.engine.kernel_time import KernelTime, layouts
from cnnkern.engine.limits import measure_peak
from cnnkern.graph import OPS, Node


def _row(name: str, **fields: Any) -> dict[str, Any]:
    base = {"name": name, "median": 0.010, "iqr": 0.002, "min": 0.009, "flops": 0, "peak_gflops": 100.0}
    place = {"isa": "avx2", "threads": 1, "algorithm": "direct", "layout": "blocked", "reference_seconds": 0.5}
    return {**base, **place, "case": "conv2d:1x1x2x2,1x1x1x1,-,-", "op": "conv2d", **fields}


def test_compare_marks_what_is_beyond_the_spread() -> None:
    before = [_row("slower"), _row("faster"), _row("noise"), _row("gone")]
    after = [_row("slower", median=0.0125), _row("faster", median=0.007), _row("noise", median=0.0119), _row("added")]
    lines = compare(before, after)[1:]
    assert [line.split()[-2] for line in lines[:3]] == ["slower", "faster", "-"]
    assert "+25.0%" in lines[0] and "-30.0%" in lines[1]
    assert lines[3:] == ["only before: gone", "only after: added"]


def test_the_share_of_the_peak_is_best_against_best() -> None:
    assert share_of_peak(_row("x", flops=450_000_000)) == pytest.approx(0.5)


def test_tables_hold_every_measurement() -> None:
    rows = [
        _row("a", flops=450_000_000),
        _row("b", threads=2, flops=720_000_000),
        _row("c", algorithm="", layout="", median=0.033),
    ]
    text = tables(rows, {"cpu": {"brand_raw": "A CPU"}})
    assert "A CPU" in text and "| direct, blocked | 10 · 50% | 10 · 80% |" in text and "| eager call | 33 |  |" in text
    assert "`1x1x2x2` `1x1x1x1`" in text and "| 500 |" in text


def test_the_readme_has_a_place_for_the_tables() -> None:
    text = (Path(__file__).resolve().parents[1] / "benchmarks" / "README.md").read_text("utf-8")
    assert text.count("<!-- tables: written by benchmarks/table.py -->\n") == 1
    assert text.count("<!-- end of tables -->\n") == 1


@pytest.mark.parametrize("layout", ["plain", "blocked"])
def test_the_kernel_that_is_timed_computes(layout: str, core: Any) -> None:
    """A plan that only pretends would make every table a fiction: its last output is looked at."""
    case = parse("matmul:9x20,20x31,31" if layout == "plain" else "relu:2x33x5x7")
    values = [np.random.default_rng(0).standard_normal(shape, np.float32) for shape in case.shapes if shape]
    output = np.full(OPS[case.op].infer(values, case.attrs)[0].shape, np.nan, np.float32)
    lower = OPS[case.op].lower
    assert lower is not None
    (call,) = lower(Node(OPS[case.op], tuple(values), case.attrs, (output,)))
    shapes = [None if value is None else shape for value, shape in call.args]
    blocked = dict(layouts(call))[layout]
    names, _ = core.plan_candidates(call.op, call.attrs, shapes, blocked)
    timed = KernelTime(call, blocked, names[0][0], 1)
    times = []
    for _ in range(20):
        start = timed.clock()
        timed()
        times.append(timed.clock() - start)
    assert min(times) > 0 and max(times) < 1
    if layout == "plain":
        np.testing.assert_allclose(output, getattr(reference, case.op)(*values, **case.attrs), rtol=1e-4, atol=1e-5)


def test_the_peak_is_that_of_a_processor(core: Any) -> None:
    for isa in core.isas():
        core.set_isa(isa)
        assert 0.5 < measure_peak(1) < 1000
