# SPDX-License-Identifier: BSD-3-Clause
"""Before and after: medians with their spread, of two runs saved with --benchmark-json.

    python benchmarks/compare.py before.json after.json

A line is marked faster or slower where the medians differ by more than both spreads together.
"""

import sys
from pathlib import Path

from table import Row, read


def _spread(row: Row) -> float:
    """Half of the distance between the quartiles."""
    return float(row["iqr"]) / 2


def _time(row: Row) -> str:
    return f"{row['median'] * 1e3:9.3f} ±{_spread(row) * 1e3:7.3f}"


def compare(before: list[Row], after: list[Row]) -> list[str]:
    """One line per benchmark of both runs, then those that only one of them has."""
    old, new = ({row["name"]: row for row in rows} for rows in (before, after))
    lines = [f"{'before, ms':>19} {'after, ms':>19} {'change':>8}"]
    for name in (name for name in old if name in new):
        a, b = old[name], new[name]
        difference = b["median"] - a["median"]
        clear = abs(difference) > _spread(a) + _spread(b)
        verdict = ("slower" if difference > 0 else "faster") if clear else "-"
        lines.append(f"{_time(a):>19} {_time(b):>19} {difference / a['median']:>+8.1%}  {verdict:<7} {name}")
    for title, rows, others in (("only before", old, new), ("only after", new, old)):
        lines += [f"{title}: {name}" for name in rows if name not in others]
    return lines


def main(arguments: list[str]) -> None:
    if len(arguments) != 2:
        sys.exit("usage: python benchmarks/compare.py before.json after.json")
    before, after = (read(Path(argument))[0] for argument in arguments)
    print("\n".join(compare(before, after)))


if __name__ == "__main__":
    main(sys.argv[1:])
