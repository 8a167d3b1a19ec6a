# SPDX-License-Identifier: BSD-3-Clause
"""What the benchmarks say about their measurements."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from case import parse
from compare import compare
from peer_tables import BEGIN, END, fastest, ratio, write_readme
from peer_tables import tables as peer_tables
from table import share_of_peak, tables

from cnnkern import functional, reference
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
    assert text.count(BEGIN) == text.count(END) == 1


@pytest.mark.parametrize("layout", ["plain", "blocked"])
def test_the_kernel_that_is_timed_computes(layout: str, core: Any) -> None:
    """A plan that only pretends would make every table a fiction: its last output is looked at."""
    case = parse("matmul:9x20,20x31,31" if layout == "plain" else "relu:2x33x5x7")
    values = [np.random.default_rng(0).standard_normal(shape, np.float32) for shape in case.shapes if shape]
    assert hasattr(functional, case.op)
    output = np.full(OPS[case.op].infer(values, case.attrs)[0].shape, np.nan, np.float32)
    lower = OPS[case.op].lower
    assert lower is not None
    (call,) = lower(Node(OPS[case.op], tuple(values), case.attrs, (output,)))
    shapes = [None if value is None else shape for value, shape in call.args]
    chosen = dict(layouts(call))[layout]
    names, _ = core.plan_candidates(call.op, call.attrs, shapes, chosen)
    timed = KernelTime(call, chosen, names[0][0], 1)
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


def _case(isa: str = "avx512", size: int = 224, **medians: float) -> dict[str, Any]:
    found: dict[str, Any] = {
        name: {"median": ms, "quartiles": (ms * 0.98, ms * 1.02), "first_answer": 0.5, "megabytes": 99.6, "error": 3e-7}
        | {"version": "1.2"}
        for name, ms in medians.items()
    }
    key = {"model": "resnet50", "batch": 1, "threads": 2, "size": [224, size], "isa": isa}
    return {"key": key, "found": {**found, "ncnn": {"failed": "no answer in 120 s"}}}


def test_the_fastest_peer_is_one_that_is_held_to_the_instruction_set() -> None:
    case = _case(cnnkern=15.0, openvino=20.0, onnxruntime=18.75)
    assert fastest(case) == ("onnxruntime", 18.75) and ratio(case) == pytest.approx(0.8)
    case = _case("avx2", cnnkern=15.0, openvino=20.0, onnxruntime=18.75)
    assert fastest(case) == ("openvino", 20.0) and ratio(case) == pytest.approx(0.75)
    assert ratio(_case(cnnkern=15.0)) is None and ratio(_case(openvino=15.0)) is None


def test_tables_of_peers_hold_every_case(tmp_path: Path) -> None:
    cases = [_case(cnnkern=15.0, openvino=20.0), _case("avx2", cnnkern=30.0, onnxruntime=18.0, openvino=40.0)]
    cases.append(_case(size=211, cnnkern=1.0, openvino=1.25))
    about = {"cpu": "A CPU", "cores": "2", "system": "Linux", "python": "3.13", "date": "2026-11-21"}
    text = peer_tables(cases, about)
    assert "A CPU, 2 cores, Linux, Python 3.13; 2026-11-21. Versions: cnnkern 1.2, openvino 1.2" in text
    assert "| resnet50 | **0.75** openvino |" in text and "### avx512, images of 224x211" in text
    assert "| resnet50 | 224x224 | 1 | 2 | 15 ±2% | failed | 20 ±2% |" in text.replace(
        "20 ±2% | failed", "failed | 20 ±2%"
    )
    assert "(18 ±2%)" in text and "onnxruntime and ncnn cannot be held to avx2" in text
    assert "0.50 · 100 · 3e-07" in text
    readme = tmp_path / "README.md"
    readme.write_text(f"above\n{BEGIN}old\n{END}below\n", "utf-8")
    write_readme(readme, text)
    assert readme.read_text("utf-8") == f"above\n{BEGIN}\n{text}\n{END}below\n"
