# SPDX-License-Identifier: BSD-3-Clause
"""A whole training step against PyTorch: forward, cross-entropy, backward, SGD with momentum, at fp32.

    python benchmarks/train_peers.py                             # all cases, two threads
    python benchmarks/train_peers.py --cases resnet18 --threads 1
    python benchmarks/train_peers.py --json run.json --readme    # into the table of benchmarks/README.md

PyTorch runs the same network (the graph as the tests' oracle gives it) eagerly, with channels_last and with
torch.compile. Every contender runs in a process of its own; they take turns as in peers.py. Measured: medians of
milliseconds of a step with quartiles, peak memory, seconds to the first step; of networks without dropout the losses of
the first steps are compared.
"""

import argparse
import json
import os
from pathlib import Path
from typing import Any, NamedTuple

from peer_tables import describe, table
from peers import Contender, alternate, say

from cnnkern import _core

_HERE = Path(__file__).resolve().parent
_NAMES = ("cnnkern", "torch", "torch channels_last", "torch.compile")
_BEGIN, _END = "<!-- training: written by benchmarks/train_peers.py -->\n", "<!-- end of training -->\n"
# Relative, of the first loss and of those after it: a deep network on a small batch amplifies rounding, so that after
# one step of ResNet-50 PyTorch's own layouts are 1 % apart, after two 3 %.
_WRONG, _WRONG_LATER = 1e-3, 0.1


class Case(NamedTuple):
    """A network, its batch, the side of its images and its classes; drops: has dropout."""

    network: str
    batch: int
    size: int
    classes: int
    drops: bool = False


CASES = (
    Case("course_cnn", 128, 28, 10),
    Case("lenet5", 128, 32, 10),
    Case("resnet18", 16, 224, 1000),
    Case("resnet50", 8, 224, 1000),
    Case("mobilenet_v2", 16, 224, 1000, True),
    Case("vgg11_bn", 32, 64, 200, True),
    Case("densenet121", 8, 128, 1000),
)


def measure(case: Case, threads: int, contenders: list[str], turns: int, seconds: float) -> dict[str, Any]:
    """Every contender's figures; {"failed": why} of those that cannot, or whose losses are not those of PyTorch."""
    running: dict[str, Contender] = {}
    found: dict[str, Any] = {}
    for name in contenders:
        try:
            arguments = [name, case.network, case.batch, case.size, case.classes, threads]
            running[name] = Contender("train_contenders.py", arguments, _core.isa())
        except RuntimeError as error:
            found[name] = {"failed": str(error)}
    alternate(running, turns, seconds)
    wanted = running["torch"].facts["losses"] if "torch" in running and not case.drops else None
    for name, contender in running.items():
        losses = contender.facts["losses"]
        bounds = (_WRONG, *(_WRONG_LATER for _ in losses[1:]))
        far = wanted and any(abs(a - b) > e * abs(b) for a, b, e in zip(losses, wanted, bounds, strict=True))
        found[name] = {"failed": f"other losses: {losses}, not {wanted}"} if far else contender.summary()
    return {name: found[name] for name in contenders}


def ratio(found: dict[str, Any]) -> float | None:
    """cnnkern's median by the fastest peer's."""
    peers = [facts["median"] for name, facts in found.items() if name != "cnnkern" and "median" in facts]
    return found["cnnkern"]["median"] / min(peers) if peers and "median" in found.get("cnnkern", {}) else None


def _row(entry: dict[str, Any], names: list[str]) -> list[str]:
    case, found = Case(*entry["case"]), entry["found"]
    cells = []
    for name in names:
        facts = found.get(name, {})
        if "median" not in facts:
            cells.append("failed" if facts else "")
            continue
        low, high = facts["quartiles"]
        cells.append(f"{facts['median']:.3g} ±{(high - low) / 2 / facts['median']:.0%} · {facts['megabytes']:.0f}")
    share = ratio(found)
    head = [case.network, str(case.batch), f"{case.size}x{case.size}", str(entry["threads"])]
    return [*head, f"**{share:.2f}**" if share else "", *cells]


def text_of(saved: dict[str, Any]) -> str:
    """Markdown of all that was measured."""
    machine, entries = saved["machine"], saved["entries"]
    names = list(dict.fromkeys(name for entry in entries for name in entry["found"]))
    versions = {n: f["version"] for entry in entries for n, f in entry["found"].items() if "version" in f}
    lines = [
        f"Machine: {machine['cpu']}, {machine['cores']} cores, Python {machine['python']}; {machine['date']}. "
        f"cnnkern {versions.get('cnnkern', '')} ({saved['isa']}), PyTorch {versions.get('torch', '')}.",
        "",
        "Milliseconds of a step (median, half the distance of the quartiles) · peak memory of the process in MiB:",
        "",
        *table(
            ["network", "batch", "images", "threads", "cnnkern / fastest", *names],
            [_row(entry, names) for entry in entries],
        ),
    ]
    return "\n".join(lines) + "\n"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = [case.network for case in CASES]
    parser.add_argument("--cases", nargs="+", default=known, choices=known, metavar="NAME", help=", ".join(known))
    parser.add_argument("--threads", type=int, default=min(2, len(os.sched_getaffinity(0))))
    parser.add_argument("--contenders", nargs="+", default=list(_NAMES), choices=_NAMES, metavar="NAME")
    parser.add_argument("--turns", type=int, default=4, help="of every contender (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=1.0, help="of one turn, at least one step")
    parser.add_argument("--json", type=Path, metavar="FILE", help="save every case there, go on from what it holds")
    parser.add_argument("--readme", action="store_true", help="write the table into benchmarks/README.md")
    return parser.parse_args()


def main() -> None:
    options = _arguments()
    saved: dict[str, Any] = {"isa": _core.isa(), "entries": []}
    if options.json and options.json.exists():
        saved = json.loads(options.json.read_text("utf-8"))
    done = [(tuple(entry["case"]), entry["threads"]) for entry in saved["entries"]]
    for case in CASES:
        if case.network not in options.cases or (tuple(case), options.threads) in done:
            continue
        found = measure(case, options.threads, options.contenders, options.turns, options.seconds)
        saved["entries"].append({"case": list(case), "threads": options.threads, "found": found})
        saved["machine"] = describe()
        if options.json:
            options.json.write_text(json.dumps(saved, indent=1) + "\n", "utf-8")
        share = ratio(found)
        failed = "".join(
            f"; {name} failed: {facts['failed'][:100]}" for name, facts in found.items() if "failed" in facts
        )
        say(f"{case.network}: ratio {f'{share:.2f}' if share else '-'}{failed}")
    text = text_of(saved)
    print(text)
    if options.readme:
        path = _HERE / "README.md"
        before, rest = path.read_text("utf-8").split(_BEGIN)
        path.write_text(before + _BEGIN + "\n" + text + "\n" + _END + rest.split(_END)[1], "utf-8")


if __name__ == "__main__":
    main()
