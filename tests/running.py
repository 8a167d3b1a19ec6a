# SPDX-License-Identifier: BSD-3-Clause
"""Runs one case on the core in every way that the core has: each algorithm, each layout, any number of threads.

Outputs arrive filled with NaN and stand between guard zones; inputs are not aligned to more than an element.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from case import Case, Shape
from values import MUTATED

from cnnkern import _core
from cnnkern.engine.kernel_time import layouts
from cnnkern.functional._eager import evaluate
from cnnkern.graph import OPS, KernelCall, Node, Spec

Array = npt.NDArray[Any]

_PATTERN = np.int32(0x7FC5A5A5)  # a NaN that no kernel makes, and an index that no pool has
_GUARD = 64


class Guarded:
    """An array between two guard zones, at an odd place in memory."""

    def __init__(self, shape: Shape, dtype: Any, offset: int) -> None:
        size = int(np.prod(shape, dtype=np.int64))
        self._whole = np.full(size + 2 * _GUARD + 16, _PATTERN, np.int32)
        self._start, self._stop = _GUARD + offset, _GUARD + offset + size
        self.array: Array = self._whole[self._start : self._stop].view(dtype).reshape(shape)

    def intact(self) -> bool:
        whole = self._whole
        return bool((whole[: self._start] == _PATTERN).all() and (whole[self._stop :] == _PATTERN).all())

    def unwritten(self) -> int:
        return int((self._whole[self._start : self._stop] == _PATTERN).sum())


@dataclass(frozen=True)
class Way:
    """One way to run a case: 'eager' through launch, or in a plan with its maps in one of `layouts`.

    'bare' is blocked without the results that may be left out (the indices of max pooling).
    """

    algorithm: str
    layout: str

    def __str__(self) -> str:
        return f"{self.algorithm or '*'}/{self.layout}"


class Wrong(AssertionError):
    """The core broke a promise: it wrote where it may not, or not where it must."""


class Running:
    """One case with its values, ready to be run in any way. Results are outputs, then updated inputs."""

    def __init__(
        self, case: Case, values: Sequence[Array | None], seed: int = 0, memory: type[Guarded] = Guarded
    ) -> None:
        self.case = case
        self._memory_of = memory
        self.values = values
        self._seed = seed
        self._specs: tuple[Spec, ...] = OPS[case.op].infer(tuple(values), case.attrs)

    def ways(self, winograd: bool = False) -> list[Way]:
        """Every way that exists on the active instruction set; those of Winograd's algorithm only if asked for."""
        if any(value is not None and not value.size for value in self.values) or any(
            0 in spec.shape for spec in self._specs
        ):
            return [Way("", "functional")]  # kernels see no empty arrays
        call = self._single(self._lower(*self._memory()))
        if call is None:
            return [Way("", "eager")]
        shapes = [None if value is None else shape for value, shape in call.args]
        found = [
            Way(name, "eager")
            for name in dict.fromkeys(row[0] for row in _core.algorithms(call.op, call.attrs, shapes))
        ]
        for layout, each in layouts(call):
            try:
                names, _ = _core.plan_candidates(call.op, call.attrs, shapes, each, winograd)
            except ValueError:
                continue  # this operation cannot be said in this layout
            found += [Way(name, layout) for name in dict.fromkeys(row[0] for row in names)]
        bare = _bare(call)
        if bare is not None and "blocked" in dict(layouts(bare)):
            shapes = [None if value is None else shape for value, shape in bare.args]
            names, _ = _core.plan_candidates(bare.op, bare.attrs, shapes, dict(layouts(bare))["blocked"], winograd)
            found += [Way(name, "bare") for name in dict.fromkeys(row[0] for row in names)]
        return found

    def run(self, way: Way, threads: int) -> list[Array]:
        inputs, outputs = self._memory()
        _core.set_num_threads(threads)
        if way.layout == "functional":
            return self._functional(inputs)
        calls = self._lower(inputs, outputs)
        call = self._single(calls)
        if way.layout == "eager" or call is None:
            for each in calls:
                _core.launch(each.op, each.attrs, [_shaped(value, shape) for value, shape in each.args], way.algorithm)
        else:
            bare = _bare(call) if way.layout == "bare" else None
            if bare is not None:
                call, outputs = bare, outputs[:1]
            named = dict(layouts(call))["blocked" if bare else way.layout]
            Planned(call, named, way.algorithm, np.random.default_rng(self._seed)).run(threads)
        self._check(inputs, outputs)
        updated = [inputs[i] for i in MUTATED.get(self.case.op, ())]
        return [guarded.array for guarded in (*outputs, *updated) if guarded is not None]

    def _functional(self, inputs: Sequence[Guarded | None]) -> list[Array]:
        """As the public functions compute it: the only way for arrays without elements."""
        arrays = [None if guarded is None else guarded.array for guarded in inputs]
        outputs = evaluate(OPS[self.case.op], arrays, self.case.attrs)
        updated = [arrays[i] for i in MUTATED.get(self.case.op, ())]
        return [array for array in (*outputs, *updated) if array is not None]

    def _memory(self) -> tuple[list[Guarded | None], list[Guarded]]:
        rng = np.random.default_rng(self._seed)
        inputs: list[Guarded | None] = []
        for value in self.values:
            guarded = None if value is None else self._memory_of(value.shape, value.dtype, int(rng.integers(16)))
            if guarded is not None:
                guarded.array[...] = value
            inputs.append(guarded)
        return inputs, [self._memory_of(spec.shape, spec.dtype, int(rng.integers(16))) for spec in self._specs]

    def _lower(self, inputs: Sequence[Guarded | None], outputs: Sequence[Guarded]) -> list[KernelCall]:
        op = OPS[self.case.op]
        assert op.lower is not None
        arrays = tuple(None if guarded is None else guarded.array for guarded in inputs)
        return op.lower(Node(op, arrays, self.case.attrs, tuple(guarded.array for guarded in outputs)))

    @staticmethod
    def _single(calls: list[KernelCall]) -> KernelCall | None:
        return calls[0] if len(calls) == 1 else None

    def _check(self, inputs: Sequence[Guarded | None], outputs: Sequence[Guarded]) -> None:
        mutated = MUTATED.get(self.case.op, ())
        for i, (guarded, value) in enumerate(zip(inputs, self.values, strict=True)):
            if guarded is None or value is None:
                continue
            if not guarded.intact():
                raise Wrong(f"wrote outside input {i}")
            if i not in mutated and not np.array_equal(guarded.array.view(np.int32), value.view(np.int32)):
                raise Wrong(f"changed input {i}")
        for i, guarded in enumerate(outputs):
            if not guarded.intact():
                raise Wrong(f"wrote outside output {i}")
            if guarded.unwritten():
                raise Wrong(f"left {guarded.unwritten()} of {guarded.array.size} elements of output {i} unwritten")


def _bare(call: KernelCall) -> KernelCall | None:
    """The call without the results that may be left out, which follow the first one; None where there are none."""
    _, written, optional = _core.op_arguments(call.op)
    drop = [out and may and arg[0] is not None for arg, out, may in zip(call.args, written, optional, strict=True)]
    kept = sum(written) - sum(drop)
    if not any(drop) or kept != 1:
        return None
    args = [(None, None) if out else arg for arg, out in zip(call.args, drop, strict=True)]
    return KernelCall(call.op, call.attrs, args)


def _shaped(value: Array | None, shape: Shape | None) -> Array | None:
    return None if value is None or shape is None else value.reshape(shape)


class Planned:
    """One kernel call in a plan of its own: maps in any layout, with borders, and what it leaves in lanes and borders.

    Before the call every output that is not plain holds NaN, borders and lanes beyond C included. `run` copies the
    results back.
    """

    def __init__(self, call: KernelCall, layouts: Sequence[str], algorithm: str, rng: np.random.Generator) -> None:
        self._call = call
        self._arrays: list[Array | None] = [_shaped(value, shape) for value, shape in call.args]
        shapes = [None if array is None else array.shape for array in self._arrays]
        _, needed = _core.plan_candidates(call.op, call.attrs, shapes, list(layouts))
        self._rng = rng
        packed = _core.PackedWeights() if rng.random() < 0.5 else None
        self._plan = _core.Plan(packed)
        self._inputs: list[Array] = []
        self._outputs: list[Array] = []
        self._raw: list[tuple[Array, Shape, tuple[int, ...]]] = []
        self._arena = 0
        self._writes = _core.op_arguments(call.op)[1]
        tensors: list[int] = []
        after: list[tuple[int, Array]] = []
        for i, array in enumerate(self._arrays):
            if array is None:
                tensors.append(-1)
            elif layouts[i] == "plain":
                tensors.append(self._plain(array))
            else:
                tensors.append(self._bordered(array, layouts[i], needed[i], self._writes[i], after))
        self.step = self._steps
        report = self._plan.step(call.op, call.attrs, tensors, {}, algorithm)
        self.algorithm: str = report["algorithm"]
        for tensor, array in after:
            self._copy(tensor, self._output(array))
        self._plan.freeze(self._arena)

    _steps = 0

    def run(self, threads: int) -> list[float]:
        """Runs the plan; the nanoseconds of each step."""
        times: list[float] = self._plan.run(self._inputs, self._outputs, threads, True)
        for raw, shape, border in self._raw:
            self._check_zeros(raw, shape, border)
        return times

    def _plain(self, array: Array) -> int:
        tensor: int = self._plan.tensor(array.shape)
        self._plan.constant(tensor, array)
        return tensor

    def _input(self, array: Array) -> int:
        tensor: int = self._plan.tensor(array.shape)
        self._plan.input(tensor, len(self._inputs))
        self._inputs.append(array)
        return tensor

    def _output(self, array: Array) -> int:
        tensor: int = self._plan.tensor(array.shape)
        self._plan.output(tensor, len(self._outputs))
        self._outputs.append(array)
        return tensor

    def _copy(self, source: int, target: int) -> None:
        self._plan.step("copy", {}, [source, target])
        self._steps += 1

    def _bordered(
        self, array: Array, layout: str, needed: tuple[int, ...], written: bool, after: list[tuple[int, Array]]
    ) -> int:
        """A tensor in the arena. Its memory has a second name that shows borders and lanes too."""
        shape = array.shape
        border = tuple(int(side) + int(self._rng.integers(3)) for side in needed)
        if layout == "lanes":
            border = (0, 0, *border[2:])
        tensor: int = self._plan.tensor(shape, layout, border)
        self._plan.arena(tensor, self._arena)
        full = _full_shape(shape)
        whole_shape = _whole_shape(full, border, layout)
        whole: int = self._plan.tensor(whole_shape, layout)
        self._plan.arena(whole, self._arena)
        self._arena += (self._plan.bytes(tensor) + 63) // 64 * 64
        if not written:
            self._copy(self._input(array), tensor)
            return tensor
        self._copy(self._input(np.full(whole_shape, np.nan, np.float32)), whole)
        raw = np.empty(whole_shape, array.dtype)
        after += [(tensor, array), (whole, raw)]
        self._raw.append((raw, full, border))
        return tensor

    @staticmethod
    def _check_zeros(raw: Array, shape: Shape, border: tuple[int, ...]) -> None:
        rest = raw.view(np.int32).copy()
        before = zip(border[::2], shape[2:], strict=True)
        rest[(slice(None), slice(shape[1]), *(slice(start, start + size) for start, size in before))] = 0
        if rest[:, shape[1] :].any():
            raise Wrong("left other than zero in lanes beyond the channels")
        if rest.any():
            raise Wrong("wrote into the border")


def _full_shape(shape: Shape) -> Shape:
    """(N, C, D, H, W) as the core sees it."""
    n, c, *sizes = shape if len(shape) > 1 else (1, *shape)
    return (n, c, *[1] * (3 - len(sizes)), *sizes)


def _whole_shape(shape: Shape, border: tuple[int, ...], layout: str) -> Shape:
    """The shape in which lanes beyond C and borders are elements."""
    n, c, *sizes = shape
    channels = -(-c // 16) * 16 if layout == "blocked" else c
    return (n, channels, *(size + sum(border[2 * i : 2 * i + 2]) for i, size in enumerate(sizes)))
