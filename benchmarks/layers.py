# SPDX-License-Identifier: BSD-3-Clause
"""Writes the tables and pictures of docs/speed.md: `explain()` of ResNet-50 and MobileNetV2.

    python benchmarks/layers.py                     # both networks, batch 1, two threads; alone on the machine
    python benchmarks/layers.py --print googlenet   # any network, to the terminal

Below each table stand the steps that take more than 2% of the time and stay below 60% of their limit, and why.
"""

import argparse
from pathlib import Path

from peer_tables import describe

import cnnkern
from cnnkern import models, plot
from cnnkern.engine.explain import Explanation, Row, products

_PAGE = Path(__file__).resolve().parents[1] / "docs" / "speed.md"
_BEGIN, _END = "<!-- layers: written by benchmarks/layers.py -->\n", "<!-- end of layers -->\n"
_MODELS = ("resnet50", "mobilenet_v2")
_SHARE_OF_TIME, _SHARE_OF_LIMIT = 0.02, 0.6


def explained(name: str, threads: int) -> Explanation:
    """Warm, then measured: medians of 40 runs."""
    engine = cnnkern.compile(models.get(name)(seed=0).eval(), models.info(name).batch(1), threads=threads)
    engine.explain(repeats=20)
    return engine.explain(repeats=40)


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
        return (
            "as many loads as multiply-adds, and borders: the load ports are full before the bytes or the products are"
        )
    if row.algorithm == "first":
        return "three input channels: each product's operand is broadcast anew, and the map is written once through L2"
    if "pool" in row.op:
        return "several loads and maxima or additions of each element: instructions, not bytes"
    if row.op == "matmul":
        return f"one row: {weights}, each used once"
    if row.op in ("conv2d", "conv2d_chain"):
        return f"few pixels for each weight: {weights}"
    return "short: handing work to the threads counts"


def section(name: str, told: Explanation) -> str:
    """Markdown of one network."""
    lines = [f"### {name}", "", "```text", str(told), "```", ""]
    rows = below(told)
    if rows:
        lines += ["| step | share of the time | of its limit | bound | why |", "|---|--:|--:|---|---|"]
        for row in rows:
            share = (row.measured_ns or 0.0) / (told.measured_ns or 1.0)
            step = f"{row.layer}, {row.op} {row.algorithm}"
            lines.append(f"| {step} | {share:.1%} | {row.share:.0%} | {row.bound} | {reason(row)} |")
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
        plot.roofline(told).savefig(_PAGE.parent / picture)
        parts.append(f"{section(name, told)}\n![roofline of {name}]({picture})\n")
    before, rest = _PAGE.read_text("utf-8").split(_BEGIN)
    _PAGE.write_text(before + _BEGIN + "\n" + "\n".join(parts) + "\n" + _END + rest.split(_END)[1], "utf-8")


if __name__ == "__main__":
    main()
