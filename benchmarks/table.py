# SPDX-License-Identifier: BSD-3-Clause
"""Writes the tables of benchmarks/README.md.

python benchmarks/table.py            # runs the benchmarks first (some minutes, alone on the machine)
python benchmarks/table.py run.json   # from a run saved with --benchmark-json
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).resolve().parent
_README = _FOLDER / "README.md"
_BEGIN, _END = "<!-- tables: written by benchmarks/table.py -->\n", "<!-- end of tables -->\n"

Row = dict[str, Any]


def read(path: Path) -> tuple[list[Row], Row]:
    """Rows of a saved run, each with its statistics in seconds, and the machine."""
    run = json.loads(path.read_text("utf-8"))
    return [{**b["extra_info"], "name": b["name"], **b["stats"]} for b in run["benchmarks"]], run["machine_info"]


def share_of_peak(row: Row) -> float:
    """Best time against the best of the peak's own loop, both of one run."""
    return float(row["flops"] / row["min"] * 1e-9 / row["peak_gflops"])


def _cell(row: Row | None) -> str:
    if row is None:
        return ""
    share = f" · {share_of_peak(row):.0%}" if row["flops"] else ""
    return f"{row['median'] * 1e3:.3g}{share}"


def _layer(case: str) -> str:
    _, shapes, *attrs = case.split(":")
    return " ".join([*(f"`{shape}`" for shape in shapes.split(",") if shape != "-"), *(f"`{attr}`" for attr in attrs)])


def _table(rows: Iterable[Row], columns: list[tuple[str, int]]) -> list[str]:
    """One line per case, algorithm and layout, one column per instruction set and number of threads."""
    head = ["operands", "NumPy, ms", "kernel", *(f"{isa}, {n} thread{'s' * (n > 1)}" for isa, n in columns)]
    lines = ["| " + " | ".join(head) + " |", "|---|--:|---|" + "--:|" * len(columns)]
    cells: dict[tuple[str, str], dict[tuple[str, int], Row]] = {}
    for row in rows:
        way = f"{row['algorithm']}, {row['layout']}" if row["algorithm"] else "eager call"
        cells.setdefault((row["case"], way), {})[row["isa"], row["threads"]] = row
    seen = ""
    for (case, way), found in cells.items():
        any_row = next(iter(found.values()))
        first = [_layer(case), f"{any_row['reference_seconds'] * 1e3:.3g}"] if case != seen else ["", ""]
        seen = case
        lines.append("| " + " | ".join([*first, way, *(_cell(found.get(column)) for column in columns)]) + " |")
    return lines


def tables(rows: list[Row], machine: Row) -> str:
    """Markdown of a whole run."""
    columns = list(dict.fromkeys((row["isa"], row["threads"]) for row in rows))
    cpu = machine.get("cpu", {})
    peaks = {(row["isa"], row["threads"]): row["peak_gflops"] for row in rows}
    lines = [
        f"Machine: {cpu.get('brand_raw', 'unknown')}, {machine.get('system', '')} {machine.get('release', '')}, "
        f"Python {machine.get('python_version', '')}.",
        "",
        "Measured multiply-add peak: "
        + ", ".join(f"{isa} with {n} thread{'s' * (n > 1)} {peaks[isa, n]:.0f} GFLOP/s" for isa, n in columns)
        + ".",
    ]
    for op in dict.fromkeys(row["op"] for row in rows):
        own = [row for row in rows if row["op"] == op]
        used = [column for column in columns if any((row["isa"], row["threads"]) == column for row in own)]
        lines += ["", f"### {op}", "", *_table(own, used)]
    return "\n".join(lines) + "\n"


def main(arguments: list[str]) -> None:
    if arguments:
        path = Path(arguments[0])
        rows, machine = read(path)
    else:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "run.json"
            command = [sys.executable, "-m", "pytest", str(_FOLDER), "-q", f"--benchmark-json={path}"]
            subprocess.run([*command, "--benchmark-columns=median"], cwd=_FOLDER.parent, check=True)
            rows, machine = read(path)
    text = _README.read_text("utf-8")
    before, rest = text.split(_BEGIN)
    _README.write_text(before + _BEGIN + "\n" + tables(rows, machine) + "\n" + _END + rest.split(_END)[1], "utf-8")
    print(f"{_README}: {len(rows)} measurements")


if __name__ == "__main__":
    main(sys.argv[1:])
