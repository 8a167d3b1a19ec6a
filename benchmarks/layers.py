# SPDX-License-Identifier: BSD-3-Clause
"""Writes the tables and pictures of docs/speed.md: `explain()` of ResNet-50 and MobileNetV2.

    python benchmarks/layers.py                     # both networks, batch 1, two threads; alone on the machine
    python benchmarks/layers.py --print googlenet   # any network, to the terminal

Below each table stand the steps that take more than 2% of the time and stay below 60% of their limit, and why.
"""

import argparse
from pathlib import Path

import matplotlib
import numpy as np
from peer_tables import describe

import cnnkern
from cnnkern import models, plot
from cnnkern.engine.explain import Explanation, Row, products

_PAGE = Path(__file__).resolve().parents[1] / "docs" / "speed.md"
_BEGIN, _END = "<!-- layers: written by benchmarks/layers.py -->\n", "<!-- end of layers -->\n"
_MODELS = ("resnet50", "mobilenet_v2")
_SHARE_OF_TIME, _SHARE_OF_LIMIT = 0.02, 0.6


def explained(name: str, threads: int) -> Explanation:
    """Warm, then measured: medians of about a second of runs."""
    engine = cnnkern.compile(models.get(name)(seed=0).eval(), models.info(name).batch(1), threads=threads)
    total = engine.explain(repeats=20).measured_ns or 1e6
    return engine.explain(repeats=int(max(20, min(500, 1e9 / total))))


def below(told: Explanation) -> list[Row]:
    """Steps that take much time and are far from their limit."""
    total = told.measured_ns or 1.0
    much = [row for row in told.rows if (row.measured_ns or 0.0) > _SHARE_OF_TIME * total]
    return [row for row in much if row.share is not None and row.share < _SHARE_OF_LIMIT]


def reason(row: Row) -> str:
    """Why a step of this kind does not come near its limit."""
    measured = max(row.measured_ns or 0.0, 1.0)
    rate = row.weight_bytes / measured
    weights = f"{row.weight_bytes / 2**20:.1f} MiB of weights at {rate:.0f} GB/s"
    if row.algorithm.startswith("winograd"):
        maps = f"{(row.bytes - row.weight_bytes) / 2**20:.1f} MiB of maps"
        extra = products(row) / max(1, row.multiply_adds)
        return f"transforms of tiles beside {extra:.2f} of the products; {weights}, {maps}"
    if row.algorithm.startswith("depthwise"):
        return "about as many loads and stores as multiply-adds: the load ports are what is full"
    if row.algorithm == "first":
        return "three input channels: few multiply-adds for each result, and each takes a broadcast"
    if "pool" in row.op:
        return "several loads and maxima or additions of each element: instructions, not bytes"
    if row.op == "matmul":
        return f"one row: {weights}, each used once"
    if row.op.startswith("conv2d") and row.multiply_adds <= 64 * _results(row):
        return f"only {row.multiply_adds // _results(row)} multiply-adds for each result, which is activated and stored"
    if row.op.startswith("conv2d"):
        return f"few pixels for each weight: {weights}"
    return "short: handing work to the threads counts"


def _results(row: Row) -> int:
    shapes = [shape for shape in row.shapes if shape is not None]
    return max(1, int(np.prod(shapes[-1])))


def section(name: str, told: Explanation) -> str:
    """Markdown of one network."""
    lines = [f"### {name}", "", "```text", str(told), "```", ""]
    rows = below(told)
    if rows:
        lines += ["More than 2% of the time, below 60% of the limit:", ""]
        lines += ["| step | algorithm | of the time | of the limit | bound | why |", "|---|---|--:|--:|---|---|"]
        for row in rows:
            time, limit = (row.measured_ns or 0.0) / (told.measured_ns or 1.0), row.share or 0.0
            lines.append(f"| {row.layer} | {row.algorithm} | {time:.1%} | {limit:.0%} | {row.bound} | {reason(row)} |")
    else:
        lines.append("No step above 2% of the time is below 60% of its limit.")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-t", "--threads", type=int, default=2)
    parser.add_argument("--print", nargs="+", metavar="NAME", help="print networks instead")
    options = parser.parse_args()
    if options.print:
        for name in options.print:
            print(section(name, explained(name, options.threads)))
        return
    machine = describe()
    parts = [f"Machine: {machine['cpu']}, {machine['cores']} cores, {machine['system']}; {machine['date']}.\n"]
    for name in _MODELS:
        told = explained(name, options.threads)
        picture = f"roofline_{name}.svg"
        # Text as text: a quarter of the bytes.
        with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
            plot.roofline(told).savefig(_PAGE.parent / picture, metadata={"Date": None})
        parts.append(f"{section(name, told)}\n![roofline of {name}]({picture})\n")
    before, rest = _PAGE.read_text("utf-8").split(_BEGIN)
    _PAGE.write_text(before + _BEGIN + "\n" + "\n".join(parts) + "\n" + _END + rest.split(_END)[1], "utf-8")


if __name__ == "__main__":
    main()
