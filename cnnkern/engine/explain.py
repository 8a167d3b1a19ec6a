# SPDX-License-Identifier: BSD-3-Clause
"""Why a compiled model takes as long as it does: each step with algorithm, time and what the machine allows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from cnnkern import _core
from cnnkern.engine.freeze import StepInfo
from cnnkern.engine.limits import Limits
from cnnkern.graph import Shape


class Row(NamedTuple):
    """One step. Times in nanoseconds, None where nothing was measured.

    A step that runs several `times`, each time on other images of the batch, has the shapes of one time; all other
    figures are of all together.

    gflops counts the multiply-adds of the definition, so Winograd's algorithm may exceed the machine's peak. `bytes`
    are those that the step moves, `weight_bytes` of them constants as they are packed. `limit_ns` is what the
    algorithm's own products or the bytes need at least, `share` that limit by the measured time. `bound` says what sets
    it: "compute", or the level of memory that takes longest: of maps each level ("L2", "L3", "memory") gives as much as
    it holds; weights come from where all that a run touches fits, since each is read once in a run.
    """

    layer: str
    op: str
    algorithm: str
    alternatives: tuple[tuple[str, float], ...]
    shapes: tuple[Shape | None, ...]
    multiply_adds: int
    bytes: int
    weight_bytes: int
    times: int
    predicted_ns: float
    measured_ns: float | None
    gflops: float | None
    limit_ns: float | None
    share: float | None
    bound: str


class Explanation(NamedTuple):
    """The rows of all steps in order of execution, and what they were measured on. `str` makes a table."""

    model: str
    input_shapes: tuple[Shape, ...]
    isa: str
    threads: int
    limits: Limits | None
    rows: list[Row]

    @property
    def measured_ns(self) -> float | None:
        """Sum over the steps."""
        times = [row.measured_ns for row in self.rows if row.measured_ns is not None]
        return sum(times) if times else None

    def __str__(self) -> str:
        return "\n".join([*_heading(self), "", *_table(self)])


def explain_steps(
    steps: Sequence[StepInfo], times: np.ndarray | None, limits: Limits | None, arena_bytes: int
) -> list[Row]:
    """A row for each step; times: measured nanoseconds of each, limits: of the machine, both or neither."""
    touched = arena_bytes + sum(step.weight_bytes for step in steps)
    return [_row(step, None if times is None else float(times[i]), limits, touched) for i, step in enumerate(steps)]


def products(step: StepInfo) -> float:
    """Multiplications of the step's own algorithm: Winograd's takes one per pixel read by a tile of m x m results."""
    found = re.match(r"winograd_(\d+)x(\d+)", step.algorithm)
    weight, y = step.shapes[1] if found else None, step.shapes[-1] if found else None
    if not found or weight is None or y is None or len(weight) != len(y):
        return float(step.multiply_adds)
    count = float(step.times) * y[0] * weight[0] * weight[1]
    stride = 2 if step.algorithm.endswith("stride2") else 1
    for size, kernel, m in zip(y[-2:], weight[-2:], map(int, found.groups()), strict=True):
        count *= -(-size // m) * ((m - 1) * stride + kernel)
    return count


def _least(step: StepInfo, limits: Limits, touched: int) -> tuple[float, str]:
    """Nanoseconds that a step needs at least, and what for."""
    maps, level = limits.maps_ns((step.bytes - step.weight_bytes) / step.times)
    parts = (maps * step.times, level), limits.weights_ns(step.weight_bytes, touched)
    moving = sum(ns for ns, _ in parts), max(parts)[1]
    return max((limits.compute_ns(products(step)), "compute"), moving)


def _row(step: StepInfo, measured: float | None, limits: Limits | None, touched: int) -> Row:
    gflops = limit = share = None
    bound = ""
    if measured is not None and limits is not None:
        limit, bound = _least(step, limits, touched)
        share = limit / max(measured, 1.0)
        gflops = 2 * step.multiply_adds / max(measured, 1.0)
    return Row(
        step.layer,
        step.op,
        step.algorithm,
        step.alternatives,
        step.shapes,
        step.multiply_adds,
        step.bytes,
        step.weight_bytes,
        step.times,
        step.predicted_ns,
        measured,
        gflops,
        limit,
        share,
        bound,
    )


def _heading(self: Explanation) -> list[str]:
    shapes = ", ".join("x".join(map(str, shape)) for shape in self.input_shapes)
    lines = [f"{self.model} on {shapes}: {self.isa}, {self.threads} thread{'s' * (self.threads != 1)}"]
    if self.limits is not None:
        rates = ", ".join(f"{level.rate:.0f} GB/s from {level.name}" for level in self.limits.levels)
        lines.append(f"machine: {self.limits.flops:.0f} GFLOP/s; read: {rates}")
    return lines


_COLUMNS = ("layer", "operation", "algorithm", "result", "MMAC", "MiB", "us", "GFLOP/s", "limit", "bound", "next best")


def _table(self: Explanation) -> list[str]:
    cells = [_cells(row) for row in self.rows]
    total = self.measured_ns
    predicted = sum(row.predicted_ns for row in self.rows)
    macs = sum(row.multiply_adds for row in self.rows)
    gflops = f"{2 * macs / total:.0f}" if total else ""
    time = f"{(total or predicted) / 1e3:.1f}"
    cells.append(("total", "", "", "", f"{macs / 1e6:.1f}", "", time, gflops, "", "", ""))
    columns = tuple("us (predicted)" if name == "us" and total is None else name for name in _COLUMNS)
    widths = [max(len(row[i]) for row in (columns, *cells)) for i in range(len(columns))]
    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    lines = [_line(row, widths) for row in (columns, *cells)]
    return [lines[0], rule, *lines[1:-1], rule, lines[-1]]


def _cells(row: Row) -> tuple[str, ...]:
    written = [shape for shape, out in zip(row.shapes, _core.op_arguments(row.op)[1], strict=True) if out]
    result = next((shape for shape in reversed(written) if shape is not None), ())
    other = row.alternatives[1] if len(row.alternatives) > 1 else None
    return (
        row.layer,
        row.op,
        row.algorithm,
        (f"{row.times} * " if row.times > 1 else "") + "x".join(map(str, result)),
        f"{row.multiply_adds / 1e6:.1f}" if row.multiply_adds else "",
        f"{row.bytes / 2**20:.2f}",
        f"{(row.measured_ns if row.measured_ns is not None else row.predicted_ns) / 1e3:.1f}",
        f"{row.gflops:.0f}" if row.gflops else "",
        f"{row.share:.0%}" if row.share is not None else "",
        row.bound,
        f"{other[0]} {other[1] / max(row.predicted_ns, 1.0):.2f}x" if other else "",
    )


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    left = {0, 1, 2, 3, 9, 10}
    return "  ".join(
        f"{cell:<{width}}" if i in left else f"{cell:>{width}}"
        for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ).rstrip()
