# SPDX-License-Identifier: BSD-3-Clause
"""`cnnkern bench`: latency and throughput of a compiled network, or of one convolution by each of its algorithms."""

from __future__ import annotations

import argparse
import csv
import json
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import cnnkern
from cnnkern import _core, functional, models, reference
from cnnkern.engine.kernel_time import KernelTime, layouts
from cnnkern.engine.limits import measure_peak
from cnnkern.graph import OPS, Array, Node

_SECONDS = 2.0
_PERCENTILES = (50, 90, 95, 99)
_MOST_CHECKED = 2_000_000_000  # multiply-adds that the float64 reference is given


def bench(options: argparse.Namespace) -> int:
    """Run the command. Returns the exit status: 0, or 2 if it cannot be done."""
    isa = _core.isa()
    try:
        if options.name == "conv2d":
            _convolution(options)
        else:
            _network(options)
    except (ValueError, OSError) as error:
        print(f"cnnkern bench: {error}", file=sys.stderr)
        return 2
    finally:
        _core.set_isa(isa)
    return 0


def _network(options: argparse.Namespace) -> None:
    if options.isa:
        _core.set_isa(options.isa)
    info = models.info(options.name)
    shape = info.batch(options.batch)
    if options.size:
        if len(options.size) != 2 or isinstance(shape[0], tuple):
            raise ValueError(f"--size must be H,W of a network of one image, found {options.size} for {options.name}")
        shape = (*shape[:2], *options.size)
    model = models.get(options.name)(seed=0).eval()
    start = time.perf_counter()
    engine = cnnkern.compile(model, shape, threads=options.threads, tune=options.tune)
    compiled = time.perf_counter() - start
    shapes = shape if isinstance(shape[0], tuple) else (shape,)
    inputs = [np.random.default_rng(0).standard_normal(one, dtype=np.float32) for one in shapes]
    times = _time(lambda: engine(*inputs), options.niter)
    figures = {
        "model": options.name,
        "input_shapes": [list(one) for one in shapes],
        "isa": _core.isa(),
        "threads": options.threads or cnnkern.get_num_threads(),
        "compile_ms": compiled * 1e3,
        "runs": len(times),
        "latency_ms": {
            "min": float(times.min()),
            **{f"p{p}": float(np.percentile(times, p)) for p in _PERCENTILES},
            "max": float(times.max()),
            "mean": float(times.mean()),
        },
        "images_per_second": options.batch * 1e3 / float(np.median(times)),
        "memory_bytes": engine.memory()._asdict(),
        "algorithms": engine.algorithms,
    }
    _print_network(figures)
    explanation = engine.explain(*inputs) if options.layers or options.json else None
    if options.layers:
        print(f"\n{explanation}")
    if options.json and explanation is not None:
        figures["layers"] = [row._asdict() for row in explanation.rows]
        Path(options.json).write_text(json.dumps(figures, indent=1) + "\n", "utf-8")


def _time(run: Any, count: int | None) -> Array:
    """Milliseconds of every run, after a warm-up."""
    end = time.perf_counter() + _SECONDS / 10
    while time.perf_counter() < end:
        run()
    times: list[float] = []
    end = time.perf_counter() + _SECONDS
    while len(times) < count if count else len(times) < 3 or time.perf_counter() < end:
        start = time.perf_counter_ns()
        run()
        times.append((time.perf_counter_ns() - start) * 1e-6)
    return np.array(times)


def _print_network(figures: dict[str, Any]) -> None:
    shapes = ", ".join("x".join(map(str, shape)) for shape in figures["input_shapes"])
    plural = "s" * (figures["threads"] != 1)
    print(f"{figures['model']} on {shapes}: {figures['isa']}, {figures['threads']} thread{plural}")
    print(f"compiled in {figures['compile_ms']:.0f} ms, {figures['runs']} runs")
    print("latency, ms: " + ", ".join(f"{name} {value:.3f}" for name, value in figures["latency_ms"].items()))
    print(f"throughput: {figures['images_per_second']:.1f} images/s at the median")
    memory = figures["memory_bytes"]
    print("memory, MiB: " + ", ".join(f"{name} {size / 2**20:.1f}" for name, size in memory.items()))


class _Result(NamedTuple):
    """One kernel on one instruction set. Times in milliseconds; error: rms against float64, relative, or None."""

    isa: str
    algorithm: str
    layout: str
    predicted: float
    median: float
    low: float
    high: float
    gflops: float
    peak: float
    error: float | None


_UNITS = {name: f"{name}_ms" for name in ("predicted", "median", "low", "high")} | {
    "gflops": "gflop_per_s",
    "peak": "peak_gflop_per_s",
    "error": "rms_error",
}


def _convolution(options: argparse.Namespace) -> None:
    x, weight, attrs = _operands(options)
    isas = _core.isas() if options.isa == "all" else [options.isa or _core.isa()]
    threads = options.threads or cnnkern.get_num_threads()
    (spec,) = OPS["conv2d"].infer((x, weight, None, None), attrs)
    node = Node(OPS["conv2d"], (x, weight, None, None), attrs, (np.empty(spec.shape, np.float32),))
    assert OPS["conv2d"].macs is not None
    macs = OPS["conv2d"].macs(node)
    exact = None
    if macs <= _MOST_CHECKED:
        exact = reference.conv2d(x.astype(np.float64), weight.astype(np.float64), None, None, **attrs)
    found = []
    for isa in isas:
        _core.set_isa(isa)
        found += _kernels(node, options.algorithm, threads, macs, exact)
    if not found:
        raise ValueError(f"there is no algorithm {options.algorithm!r} for this convolution")
    _print_kernels(found, threads, macs)
    if options.csv:
        with open(options.csv, "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["input", "weight", "threads", *(_UNITS.get(name, name) for name in _Result._fields)])
            shapes = ["x".join(map(str, value.shape)) for value in (x, weight)]
            writer.writerows([*shapes, threads, *result] for result in found)


def _operands(options: argparse.Namespace) -> tuple[Array, Array, dict[str, Any]]:
    for name, count in (("input", 4), ("weight", 4), ("stride", 2), ("padding", 2), ("dilation", 2)):
        value = getattr(options, name)
        if name == "padding" and value is None and options.weight:
            value = options.padding = (options.weight[2] // 2, options.weight[3] // 2)
        if value is None or len(value) != count:
            raise ValueError(f"conv2d needs --{name} with {count} numbers, found {value}")
    rng = np.random.default_rng(0)
    x = rng.standard_normal(options.input, dtype=np.float32)
    fan_in = max(1, int(np.prod(options.weight[1:])))
    weight = rng.standard_normal(options.weight, dtype=np.float32) * np.float32(np.sqrt(2 / fan_in))
    geometry = {"stride": options.stride, "padding": options.padding, "dilation": options.dilation}
    functional.conv2d(x, weight, groups=options.groups, **geometry)  # says what does not fit
    pads = tuple((size, size) for size in options.padding)
    return x, weight, {**geometry, "padding": pads, "groups": options.groups}


def _kernels(node: Node, wanted: str, threads: int, macs: int, exact: Array | None) -> list[_Result]:
    """Every algorithm in every layout in which it can serve, the fastest first."""
    assert node.op.lower is not None
    (call,) = node.op.lower(node)
    shapes = [None if value is None else shape for value, shape in call.args]
    peak = measure_peak(threads)
    found: dict[tuple[str, str], _Result] = {}
    for layout, each in layouts(call):
        candidates, _ = _core.plan_candidates(call.op, call.attrs, shapes, each, True)
        for name, predicted in candidates:
            if (name, layout) in found or wanted not in ("all", name):
                continue
            times = _kernel_times(KernelTime(call, each, name, threads))
            low, middle, high = np.percentile(times, (25, 50, 75))
            rate = 2 * macs / middle * 1e-6
            error = None if exact is None else _error(node, name, exact)
            found[name, layout] = _Result(
                _core.isa(), name, layout, predicted * 1e-6, middle, low, high, rate, peak, error
            )
    return sorted(found.values(), key=lambda result: result.median)


def _kernel_times(timed: KernelTime) -> Array:
    """Milliseconds of single runs."""
    times: list[float] = []
    end = time.perf_counter() + _SECONDS / 8
    while len(times) < 12 or time.perf_counter() < end:
        before = timed.clock()
        timed()
        times.append((timed.clock() - before) * 1e3)
    return np.array(times[6:])


def _error(node: Node, algorithm: str, exact: Array) -> float:
    x, weight = node.inputs[:2]
    geometry = {name: node.attrs[name] for name in ("stride", "dilation", "groups")}
    padding = tuple(before for before, _ in node.attrs["padding"])
    y = functional.conv2d(x, weight, padding=padding, algorithm=algorithm, **geometry)
    return float(np.sqrt(np.mean((y - exact) ** 2) / np.mean(exact**2)))


def _print_kernels(results: list[_Result], threads: int, macs: int) -> None:
    print(f"{macs / 1e6:,.1f} million multiply-adds, {threads} thread{'s' * (threads != 1)}; weights packed before\n")
    header = ("isa", "algorithm", "layout", "predicted ms", "median ms", "quartiles", "GFLOP/s", "of peak", "rms error")
    rows = [
        (
            r.isa,
            r.algorithm,
            r.layout,
            f"{r.predicted:.3f}",
            f"{r.median:.3f}",
            f"{r.low:.3f}-{r.high:.3f}",
            f"{r.gflops:.0f}",
            f"{r.gflops / r.peak:.0%}",
            "" if r.error is None else f"{r.error:.1e}",
        )
        for r in results
    ]
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    for row in (header, *rows):
        left, right = row[:3], row[3:]
        cells = [f"{cell:<{width}}" for cell, width in zip(left, widths, strict=False)]
        cells += [f"{cell:>{width}}" for cell, width in zip(right, widths[3:], strict=True)]
        print("  ".join(cells))
