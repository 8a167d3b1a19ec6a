# SPDX-License-Identifier: BSD-3-Clause
"""Compiled inference against PyTorch, ONNX Runtime, OpenVINO and ncnn, on the same network with the same weights.

    python benchmarks/peers.py                                          # eight networks, batches 1, 8, threads 1, 2
    python benchmarks/peers.py --models all --json run.json --readme    # all, into the tables of benchmarks/README.md
    python benchmarks/peers.py --models all --isa avx2 --json run.json  # the same, held to AVX2
    python benchmarks/peers.py --models all --batches 3 --size 199 211 --json run.json

Every contender runs in a process of its own, all at fp32; they take turns, after one turn to warm up, and wait blocked
in between. Those that the warm-up finds more than twice as slow as the fastest get two turns only. Measured: medians of
milliseconds with quartiles, rms error against a float64 answer, seconds from the start of the process to the first
answer, peak memory. With --json every case is saved when it is done, and a second run goes on where the first was
interrupted; --readme (and --tables FILE) writes the tables of all that the file holds.

Contenders that are not installed are left out: pip install '.[bench]' brings them. --isa avx2 holds cnnkern, PyTorch
and OpenVINO to AVX2 (CNNKERN_ISA, ATEN_CPU_CAPABILITY, ONEDNN_MAX_CPU_ISA); ONNX Runtime and ncnn have no such
setting: they are shown and left out of the ratio.
"""

import argparse
import contextlib
import importlib.util
import itertools
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from peer_tables import describe, progress_line, tables, write_readme

from cnnkern import _core, models

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
_FORMATS = {"onnx": {"onnxruntime", "openvino"}, "ncnn": {"ncnn"}}  # and who reads them
_HOPELESS = 2.0  # times the fastest: two turns tell enough
_WRONG = 1e-3  # rms error of an answer, relative
_PATIENCE = 120.0  # seconds without an answer after which a contender has failed
_START = 1.0  # seconds that a contender takes to start, for the estimate


def environment(isa: str) -> dict[str, str]:
    """What holds those that can be held to an instruction set."""
    found = {**os.environ, "CNNKERN_ISA": isa}
    if isa == "avx2":
        found |= {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}
    return found


class Contender:
    """A process that runs a network when told to: `script` with these arguments, held to `isa`."""

    def __init__(self, script: str, arguments: list[Any], isa: str) -> None:
        command = [sys.executable, str(_HERE / script), *map(str, arguments)]
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  (as long as the process)
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=environment(isa),
        )
        self.times: list[float] = []
        self.facts: dict[str, Any] = self._read()

    def _read(self) -> Any:
        assert self._process.stdout is not None
        timer = threading.Timer(_PATIENCE, self._process.kill)
        timer.start()
        try:
            for line in self._process.stdout:  # libraries print too
                if line.startswith(("{", "[")):
                    return json.loads(line)
        finally:
            timer.cancel()
        self._process.wait()
        self._errors.seek(0)
        last = self._errors.read().strip().rpartition("\n")[2]
        raise RuntimeError(last or f"no answer in {_PATIENCE:.0f} s")

    def take_turn(self, seconds: float) -> list[float]:
        """Milliseconds of the runs of one turn."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"seconds": seconds}) + "\n")
        self._process.stdin.flush()
        return list(self._read())

    def summary(self) -> dict[str, Any]:
        """Median and quartiles in milliseconds, and what the process said of itself."""
        low, middle, high = np.percentile(self.times, (25, 50, 75))
        return {"median": middle, "quartiles": (low, high), "runs": len(self.times), **self.facts}

    def end(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._process.communicate()
        self._errors.close()


def compare(
    folder: Path, batch: int, threads: int, isa: str, contenders: list[str], turns: int, seconds: float
) -> dict[str, Any]:
    """Every contender's figures on one network, batch and number of threads; {"failed": why} of those that cannot."""
    running: dict[str, Contender] = {}
    found: dict[str, Any] = {}
    for name in contenders:
        try:
            running[name] = Contender("contenders.py", [name, folder, batch, threads], isa)
        except RuntimeError as error:
            found[name] = {"failed": str(error)}
    alternate(running, turns, seconds)
    for name, contender in running.items():
        wrong = not contender.facts["error"] < _WRONG
        error = {"failed": f"wrong answer: error {contender.facts['error']:.1e}"}
        found[name] = error if wrong else contender.summary()
    return {name: found[name] for name in contenders}


def alternate(running: dict[str, Contender], turns: int, seconds: float) -> None:
    """Turns of all contenders, after one to warm up, and their end."""
    warm = {name: min(contender.take_turn(seconds / 2)) for name, contender in running.items()}
    for turn in range(turns):
        for name, contender in running.items():
            if turn < 2 or warm[name] < _HOPELESS * min(warm.values()):
                contender.times += contender.take_turn(seconds)
    for contender in running.values():
        contender.end()


@contextlib.contextmanager
def exported(
    name: str, size: tuple[int, int], batches: list[int], contenders: list[str], keep: Path | None
) -> Iterator[Path]:
    """A folder with the network in every format, made by a process of its own: kept in `keep` or thrown away."""
    formats = [kind for kind, users in _FORMATS.items() if users & set(contenders)]
    key = f"{name}-{size[0]}x{size[1]}-{'-'.join(map(str, batches))}"
    with tempfile.TemporaryDirectory() as scratch:
        folder = (keep or Path(scratch)) / key
        if not (folder / "complete").exists():
            folder.mkdir(parents=True, exist_ok=True)
            command = [sys.executable, _HERE / "export.py", name, folder, *size, ",".join(map(str, batches)), *formats]
            done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
            if done.returncode:
                reason = done.stderr.strip().rpartition("\n")[2]
                raise RuntimeError(f"{name} of {size[0]}x{size[1]} cannot be exported: {reason}")
            (folder / "complete").touch()
        yield folder


def installed() -> list[str]:
    """Contenders whose packages are there."""
    return [name for name, packages in _NEEDS.items() if all(map(importlib.util.find_spec, packages))]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=list(MODELS[:8]), metavar="NAME", help="or all (sixteen)")
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8], metavar="N")
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2], metavar="N")
    parser.add_argument("--size", nargs=2, type=int, metavar=("H", "W"), help="of images (default: the network's own)")
    parser.add_argument("--isa", default=_core.isa(), choices=_core.isas(), help="default: %(default)s")
    parser.add_argument("--contenders", nargs="+", default=installed(), choices=list(_NEEDS), metavar="NAME")
    parser.add_argument("--turns", type=int, default=6, help="of every contender (default: %(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=0.25, help="of one turn, at least one run (default: %(default)s)"
    )
    parser.add_argument("--exports", type=Path, metavar="FOLDER", help="keep the exported networks there (about 10 GB)")
    parser.add_argument("--export-only", action="store_true", help="fill that folder and stop")
    parser.add_argument("--json", type=Path, metavar="FILE", help="go on from this file, and save every case there")
    parser.add_argument("--tables", type=Path, metavar="FILE", help="write Markdown tables")
    parser.add_argument("--readme", action="store_true", help="write them into benchmarks/README.md")
    options = parser.parse_args()
    if options.models == ["all"]:
        options.models = list(MODELS)
    if options.export_only and not options.exports:
        parser.error("--export-only needs --exports")
    return options


def _size(name: str, size: list[int] | None) -> tuple[int, int]:
    height, width = size or models.info(name).input_shape[1:]
    return int(height), int(width)


def _missing(options: argparse.Namespace, known: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Cases still to be measured, by network."""
    done = {json.dumps(case["key"], sort_keys=True) for case in known}
    found: dict[str, list[dict[str, Any]]] = {}
    for name, batch, threads in itertools.product(options.models, options.batches, options.threads):
        size = _size(name, options.size)
        key = {"model": name, "batch": batch, "threads": threads, "size": list(size), "isa": options.isa}
        if json.dumps(key, sort_keys=True) not in done:
            found.setdefault(name, []).append(key)
    return found


def _measure(options: argparse.Namespace, saved: dict[str, Any]) -> None:
    """Add the missing cases to what is saved."""
    cases = saved["cases"]
    missing = _missing(options, cases)
    count, done, start = sum(map(len, missing.values())), 0, time.monotonic()
    case_seconds = len(options.contenders) * (_START + 0.8 * options.turns * options.seconds)
    about = f"about {count * case_seconds / 60:.0f} minutes, and some more for what has to be exported"
    say(f"{count} cases of {len(options.contenders)} contenders: {about}")
    for name, keys in missing.items():
        size = _size(name, options.size)
        with contextlib.ExitStack() as stack:
            try:
                folder = stack.enter_context(exported(name, size, options.batches, options.contenders, options.exports))
            except RuntimeError as error:  # a network that cannot take this size
                say(str(error))
                continue
            for key in keys if not options.export_only else ():
                rest = (options.contenders, options.turns, options.seconds)
                found = compare(folder, key["batch"], key["threads"], options.isa, *rest)
                cases.append({"key": key, "found": found})
                saved["machine"] = describe()
                if options.json:
                    _save(options.json, saved)
                done += 1
                minutes = (time.monotonic() - start) / 60
                left = minutes / done * (count - done)
                say(f"{progress_line(cases[-1])} [{done}/{count}, {minutes:.1f} min, {left:.0f} left]")


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _save(path: Path, saved: dict[str, Any]) -> None:
    scratch = path.with_suffix(".part")
    scratch.write_text(json.dumps(saved, indent=1) + "\n", "utf-8")
    scratch.replace(path)


def main() -> None:
    options = _arguments()
    saved: dict[str, Any] = {"machine": describe(), "cases": []}
    if options.json and options.json.exists():
        saved = json.loads(options.json.read_text("utf-8"))
    _measure(options, saved)
    if not saved["cases"]:
        return
    text = tables(saved["cases"], saved["machine"])
    print(text)
    if options.tables:
        options.tables.write_text(text, "utf-8")
    if options.readme:
        write_readme(_HERE / "README.md", text)


if __name__ == "__main__":
    main()
