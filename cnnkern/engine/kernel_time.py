# SPDX-License-Identifier: BSD-3-Clause
"""The time of a kernel alone, as in a compiled network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cnnkern import _core
from cnnkern.engine.layout import fills_lanes, in_layout
from cnnkern.graph import Array, KernelCall

# Back to back in one plan, so that what the copies around them leave in the caches weighs little.
_REPEATS = 6


class KernelTime:
    """One kernel call in a plan: operands already in its layout, weights packed before, threads awake.

    The object is the function to time and `clock` the timer to time it with: a call takes as long as one run of the
    kernel did.
    """

    def __init__(self, call: KernelCall, layouts: Sequence[str], algorithm: str, threads: int) -> None:
        arrays = [None if value is None else value.reshape(shape) for value, shape in call.args]
        shapes = [None if array is None else array.shape for array in arrays]
        _, borders = _core.plan_candidates(call.op, call.attrs, shapes, list(layouts), True)
        written = _core.op_arguments(call.op)[1]
        self._threads = threads
        self._plan = _core.Plan(_core.PackedWeights())
        self._inputs: list[Array] = []
        self._samples: list[float] = []
        self._now = 0.0
        self._copies = 0
        arena = 0
        tensors = []
        for array, border, layout, output in zip(arrays, borders, layouts, written, strict=True):
            if array is None:
                tensors.append(-1)
                continue
            tensor: int = self._plan.tensor(array.shape, layout, [] if layout == "plain" else border)
            tensors.append(tensor)
            if layout == "plain":
                self._plan.constant(tensor, array)
                continue
            self._plan.arena(tensor, arena)
            arena += (self._plan.bytes(tensor) + 63) // 64 * 64
            if not output:
                self._fill(tensor, array)
        for _ in range(_REPEATS):
            self._plan.step(call.op, call.attrs, tensors, {}, algorithm)
        self._plan.freeze(arena)

    def _fill(self, tensor: int, array: Array) -> None:
        source: int = self._plan.tensor(array.shape)
        self._plan.input(source, len(self._inputs))
        self._inputs.append(array)
        self._plan.step("copy", {}, [source, tensor])
        self._copies += 1

    def __call__(self) -> None:
        if not self._samples:
            self._samples = self._plan.run(self._inputs, [], self._threads, True)[self._copies :]
        self._now += self._samples.pop() * 1e-9

    def clock(self) -> float:
        return self._now


def layouts(call: KernelCall) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Layouts that a call's arguments may have, by name: "plain", "blocked", mixtures of the two, and "lanes"."""
    may, _, _ = _core.op_arguments(call.op)
    maps = [allowed and value is not None for allowed, (value, _) in zip(may, call.args, strict=True)]
    yield "plain", in_layout([False] * len(maps))
    if any(maps):
        yield "blocked", in_layout(maps)
    if call.op in ("conv2d", "conv2d_grad_weight", "copy"):
        yield "first", in_layout([False, *maps[1:]])
    if call.op == "copy":
        yield "last", in_layout([maps[0], False])
    full = any(maps) and all(fills_lanes(shape) for (_, shape), flag in zip(call.args, maps, strict=True) if flag)
    if full and _core.op_takes_lanes(call.op):
        yield "lanes", in_layout(maps, "lanes")
        if call.op == "copy":
            yield "to lanes", ("plain", "lanes")
            yield "from lanes", ("lanes", "plain")
