# SPDX-License-Identifier: BSD-3-Clause
"""The tables of peers.py: ratios, times, and what else a contender costs, as Markdown."""

import datetime
import os
import platform
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- peers: written by benchmarks/peers.py -->\n", "<!-- end of peers -->\n"
# By instruction set that was asked for, the peers that can be held to it; all the others use what the machine has.
HELD = {"avx2": {"torch", "torch channels_last", "torch frozen", "openvino"}}

Case = dict[str, Any]


def describe() -> dict[str, str]:
    """The machine and the day."""
    lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    cpu = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
    return {
        "cpu": cpu,
        "cores": str(len(os.sched_getaffinity(0))),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def fastest(case: Case) -> tuple[str, float] | None:
    """The fastest peer that is held to the same instruction set, with its median."""
    isa = case["key"]["isa"]
    allowed = HELD.get(isa, case["found"])
    peers = {n: f["median"] for n, f in case["found"].items() if n != "cnnkern" and n in allowed and "median" in f}
    return min(peers.items(), key=lambda item: item[1]) if peers else None


def ratio(case: Case) -> float | None:
    """cnnkern's median by the fastest peer's."""
    peer, own = fastest(case), case["found"].get("cnnkern", {})
    return own["median"] / peer[1] if peer and "median" in own else None


def progress_line(case: Case) -> str:
    """One case in one line."""
    key, found = case["key"], case["found"]
    times = ", ".join(f"{name} {facts['median']:.2f}" for name, facts in found.items() if "median" in facts)
    share = ratio(case)
    failed = "".join(f"; {name} failed: {facts['failed'][:80]}" for name, facts in found.items() if "failed" in facts)
    where = f"{key['model']} b{key['batch']} t{key['threads']}"
    return f"{where}: {times}; ratio {f'{share:.2f}' if share else '-'}{failed}"


def tables(cases: list[Case], machine: dict[str, str]) -> str:
    """Markdown of all cases: a section for each instruction set and kind of size."""
    versions = {n: f["version"] for case in cases for n, f in case["found"].items() if "version" in f}
    shown = ", ".join(f"{name} {version}" for name, version in versions.items() if " " not in name)
    lines = [
        f"Machine: {machine['cpu']}, {machine['cores']} cores, {machine['system']}, Python {machine['python']}; "
        f"{machine['date']}. Versions: {shown}.",
    ]
    groups: dict[tuple[str, str], list[Case]] = {}
    for case in cases:
        groups.setdefault((case["key"]["isa"], _kind(case)), []).append(case)
    for (isa, kind), own in groups.items():
        lines += ["", f"### {isa}, {kind}", "", *_notes(isa, own), *_ratios(own), "", *_times(own), "", *_costs(own)]
    return "\n".join(lines) + "\n"


def write_readme(path: Path, text: str) -> None:
    """Replace what stands between the marks."""
    before, rest = path.read_text("utf-8").split(BEGIN)
    path.write_text(before + BEGIN + "\n" + text + "\n" + END + rest.split(END)[1], "utf-8")


def _kind(case: Case) -> str:
    height, width = case["key"]["size"]
    return "images of the network's own size" if height == width else f"images of {height}x{width}"


def _notes(isa: str, cases: list[Case]) -> list[str]:
    if isa not in HELD:
        return []
    names = [n for n in _contenders(cases) if n not in HELD[isa] and n != "cnnkern"]
    return [f"{' and '.join(names)} cannot be held to {isa}: shown in brackets, left out of the ratio.", ""]


def _contenders(cases: list[Case]) -> list[str]:
    return list(dict.fromkeys(name for case in cases for name in case["found"]))


def _by_model(cases: list[Case]) -> dict[str, list[Case]]:
    found: dict[str, list[Case]] = {}
    for case in cases:
        found.setdefault(case["key"]["model"], []).append(case)
    return found


def table(head: list[str], rows: list[list[str]], left: int = 1) -> list[str]:
    rule = "|" + "---|" * left + "--:|" * (len(head) - left)
    return [f"| {' | '.join(head)} |", rule, *(f"| {' | '.join(row)} |" for row in rows)]


def _ratios(cases: list[Case]) -> list[str]:
    """cnnkern / fastest peer, a row for each network, a column for each batch and number of threads."""
    columns = sorted({(case["key"]["batch"], case["key"]["threads"]) for case in cases})
    rows = []
    for model, own in _by_model(cases).items():
        by_column = {(case["key"]["batch"], case["key"]["threads"]): case for case in own}
        rows.append([model, *(_ratio_cell(by_column.get(column)) for column in columns)])
    head = [f"batch {batch}, {threads} thread{'s' * (threads != 1)}" for batch, threads in columns]
    text = "Time of cnnkern by that of the fastest peer (below 1: cnnkern is faster), and which peer that is:"
    return [text, "", *table(["network", *head], rows)]


def _ratio_cell(case: Case | None) -> str:
    share = ratio(case) if case else None
    peer = fastest(case) if case else None
    return f"**{share:.2f}** {peer[0]}" if share and peer else ""


def _times(cases: list[Case]) -> list[str]:
    """Medians, with the distance of the quartiles to it."""
    names = _contenders(cases)
    rows = []
    for case in cases:
        key = case["key"]
        size = "x".join(map(str, key["size"]))
        cells = [_time_cell(case, name) for name in names]
        rows.append([key["model"], size, str(key["batch"]), str(key["threads"]), *cells])
    text = "Medians in milliseconds, with half the distance of the quartiles:"
    return [text, "", *table(["network", "size", "batch", "threads", *names], rows)]


def _time_cell(case: Case, name: str) -> str:
    facts = case["found"].get(name, {})
    if "median" not in facts:
        return "failed" if facts else ""
    low, high = facts["quartiles"]
    cell = f"{facts['median']:.3g} ±{(high - low) / 2 / facts['median']:.0%}"
    held = HELD.get(case["key"]["isa"])
    return f"({cell})" if held is not None and name != "cnnkern" and name not in held else cell


def _costs(cases: list[Case]) -> list[str]:
    """First answer, memory and error of the largest number of threads and the smallest batch of each network."""
    names = _contenders(cases)
    rows = []
    for model, own in _by_model(cases).items():
        case = min(own, key=lambda case: (case["key"]["batch"], -case["key"]["threads"]))
        rows.append([model, *(_cost_cell(case["found"].get(name, {})) for name in names)])
    text = "Seconds from the start to the first answer · peak memory of the process in MiB · rms error; smallest batch:"
    return [text, "", *table(["network", *names], rows)]


def _cost_cell(facts: dict[str, Any]) -> str:
    if "first_answer" not in facts:
        return "failed" if facts else ""
    return f"{facts['first_answer']:.2f} · {facts['megabytes']:.0f} · {facts['error']:.0e}"
