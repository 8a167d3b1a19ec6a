# SPDX-License-Identifier: BSD-3-Clause
"""Compiled inference against PyTorch, ONNX Runtime, OpenVINO and ncnn, on the same network with the same weights.

    python benchmarks/peers.py --models resnet50 mobilenet_v2 --batches 1 8 --threads 1 2

Every contender runs in a process of its own, all at fp32; they take turns, several times each, and wait blocked in
between. Prints a table of medians in milliseconds with the spread (the quartiles), and the ratio of cnnkern's median to
the fastest peer's; --json keeps every figure: error against a float64 answer, seconds from the start of the process to
the first answer, peak memory. Contenders that are not installed are left out: pip install '.[bench]' brings them.
CNNKERN_ISA=avx2 and ONEDNN_MAX_CPU_ISA=AVX2 hold cnnkern, PyTorch and OpenVINO to AVX2.
"""

import argparse
import importlib.util
import itertools
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from cnnkern import _core

_HERE = Path(__file__).resolve().parent
MODELS = (
    "resnet50", "resnet18", "vgg16", "mobilenet_v2", "densenet121", "googlenet", "efficientnet_b0", "alexnet",
    "nin", "inception_v3", "squeezenet1_1", "shufflenet_v2_x1_0", "mobilenet_v1", "mobilenet_v3_large",
    "resnext50_32x4d", "unet",
)  # fmt: skip
_NEEDS = {
    "cnnkern": (),
    "torch": ("torch",),
    "torch channels_last": ("torch",),
    "torch frozen": ("torch",),
    "onnxruntime": ("torch", "onnx", "onnxruntime"),
    "openvino": ("torch", "onnx", "openvino"),
    "ncnn": ("torch", "ncnn", "pnnx"),
}


def export(name: str, folder: Path, batch: int, size: tuple[int, int], contenders: list[str]) -> None:
    """Write the network into `folder` in every contender's format, in a process of its own."""
    command = [sys.executable, _HERE / "export.py", name, folder, batch, *size, *contenders]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{name} cannot be exported:\n{done.stderr}")


class Contender:
    """A process that runs the network when told to."""

    def __init__(self, name: str, folder: Path, batch: int, threads: int) -> None:
        command = [sys.executable, str(_HERE / "contenders.py"), name, str(folder), str(batch), str(threads)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.times: list[float] = []
        self.facts: dict[str, Any] = self._read()

    def _read(self) -> Any:
        assert self._process.stdout is not None
        for line in self._process.stdout:  # libraries print too
            if line.startswith(("{", "[")):
                return json.loads(line)
        assert self._process.stderr is not None
        raise RuntimeError(self._process.stderr.read().strip().rpartition("\n")[2] or "ended without a word")

    def take_turn(self, seconds: float) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"seconds": seconds}) + "\n")
        self._process.stdin.flush()
        self.times += self._read()

    def end(self) -> None:
        self._process.communicate()


def compare(
    folder: Path, batch: int, threads: int, contenders: list[str], turns: int, seconds: float
) -> dict[str, Any]:
    """Every contender's figures on one network, batch and number of threads."""
    running: dict[str, Contender] = {}
    failed: dict[str, str] = {}
    for name in contenders:
        try:
            running[name] = Contender(name, folder, batch, threads)
        except RuntimeError as error:
            failed[name] = str(error)
    for _ in range(turns):
        for contender in running.values():
            contender.take_turn(seconds)
    found: dict[str, Any] = {name: {"failed": text} for name, text in failed.items()}
    for name, contender in running.items():
        contender.end()
        low, middle, high = np.percentile(contender.times, (25, 50, 75))
        found[name] = {"median": middle, "quartiles": (low, high), "runs": len(contender.times), **contender.facts}
    return found


def ratio(found: dict[str, Any]) -> float | None:
    """cnnkern's median by the fastest peer's."""
    peers = [facts["median"] for name, facts in found.items() if name != "cnnkern" and "median" in facts]
    return found["cnnkern"]["median"] / min(peers) if peers and "median" in found.get("cnnkern", {}) else None


def row(case: dict[str, Any], contenders: list[str]) -> str:
    """A line of the Markdown table."""
    cells = [case["model"], str(case["batch"]), str(case["threads"])]
    for name in contenders:
        facts = case["found"].get(name, {})
        spread = f" ({facts['quartiles'][0]:.1f}-{facts['quartiles'][1]:.1f})" if "median" in facts else ""
        cells.append(f"{facts['median']:.2f}{spread}" if "median" in facts else "-")
    share = ratio(case["found"])
    return f"| {' | '.join([*cells, f'{share:.2f}' if share else '-'])} |"


def heading(contenders: list[str]) -> str:
    names = ["network", "batch", "threads", *contenders, "ratio"]
    return f"| {' | '.join(names)} |\n|{'---|' * len(names)}"


def installed() -> list[str]:
    """Contenders whose packages are there."""
    return [name for name, packages in _NEEDS.items() if all(map(importlib.util.find_spec, packages))]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=list(MODELS[:8]), metavar="NAME")
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8])
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--size", nargs=2, type=int, default=[224, 224], metavar=("H", "W"))
    parser.add_argument("--contenders", nargs="+", default=installed(), choices=list(_NEEDS))
    parser.add_argument("--turns", type=int, default=6, help="of every contender")
    parser.add_argument("--seconds", type=float, default=0.5, help="of one turn")
    parser.add_argument("--json", type=Path, metavar="FILE")
    return parser.parse_args()


def main() -> None:
    options = _arguments()
    cases = []
    print(f"instruction set of cnnkern: {_core.isa()}\n\n{heading(options.contenders)}", flush=True)
    for name, batch in itertools.product(options.models, options.batches):
        with tempfile.TemporaryDirectory() as folder:
            export(name, Path(folder), batch, tuple(options.size), options.contenders)
            for threads in options.threads:
                found = compare(Path(folder), batch, threads, options.contenders, options.turns, options.seconds)
                cases.append({"model": name, "batch": batch, "threads": threads, "found": found})
                print(row(cases[-1], options.contenders), flush=True)
    for case in cases:
        for name, facts in case["found"].items():
            if "failed" in facts:
                print(f"{case['model']}, batch {case['batch']}, {name}: {facts['failed']}")
    if options.json:
        options.json.write_text(json.dumps({"isa": _core.isa(), "cases": cases}, indent=1), "utf-8")


if __name__ == "__main__":
    main()
