# SPDX-License-Identifier: BSD-3-Clause
"""Where an engine's time goes: the roofline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cnnkern.plot._figure import new_figure, require_matplotlib

if TYPE_CHECKING:
    from cnnkern.engine import Explanation


def roofline(explanation: Explanation) -> Any:
    """A matplotlib Figure of an engine's steps below the machine's limits (Williams, Waterman and Patterson, 2009).

    Each step that multiplies is a circle, as large as its share of the time: GFLOP/s over operations per byte, both
    counted by the definition of the operation, so Winograd's algorithm may stand above the peak.

    Args:
        explanation: of `Engine.explain()`, with measured times.

    Raises:
        ImportError: matplotlib is missing.
        ValueError: nothing was measured.
    """
    require_matplotlib()
    limits, total = explanation.limits, explanation.measured_ns
    if limits is None or not total:
        raise ValueError("roofline: nothing was measured; call explain with repeats > 0")
    figure = new_figure(9, 6)
    axis = figure.subplots()
    steps = [row for row in explanation.rows if row.multiply_adds and row.measured_ns]
    for algorithm in dict.fromkeys(row.algorithm for row in steps):
        rows = [row for row in steps if row.algorithm == algorithm]
        intensity = [2 * row.multiply_adds / row.bytes for row in rows]
        area = [20 + 3000 * (row.measured_ns or 0) / total for row in rows]
        axis.scatter(intensity, [row.gflops or 0.0 for row in rows], s=area, alpha=0.5, label=algorithm)
    left, right = axis.get_xlim()
    span = np.geomspace(max(left, 0.05), max(right, 2.0), 100)
    for (name, _, rate), style in zip(limits.levels, (":", "-.", "--"), strict=True):
        label = f"{rate:.0f} GB/s from {name}"
        axis.plot(span, np.minimum(span * rate, limits.flops), style, color="black", label=label)
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xlabel("operations per byte")
    axis.set_ylabel("GFLOP/s")
    plural = "s" * (explanation.threads != 1)
    axis.set_title(
        f"{explanation.model}: {explanation.isa}, {explanation.threads} thread{plural}, {limits.flops:.0f} GFLOP/s"
    )
    handles: Any = axis.legend(loc="lower right").legend_handles
    for handle in handles:
        if hasattr(handle, "set_sizes"):  # the circles: one size in the legend
            handle.set_sizes([60])
    return figure
