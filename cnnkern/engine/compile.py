# SPDX-License-Identifier: BSD-3-Clause
"""`compile`: a model becomes an Engine, one planned call on a snapshot of its weights."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from typing import Any, NamedTuple

import numpy as np

from cnnkern import _core
from cnnkern.engine.explain import Explanation, explain_steps
from cnnkern.engine.freeze import Frozen, StepInfo
from cnnkern.engine.limits import measure_limits
from cnnkern.engine.options import Options, expanded
from cnnkern.engine.passes import Folder, optimize_inference
from cnnkern.engine.rounds import Traced, in_rounds
from cnnkern.engine.tune import tuned_algorithms
from cnnkern.graph import Array, Shape, trace

_MOST_PLANS = 8
_PRECISIONS = {"fp32": "fp32", "highest": "fp32"}


class TensorInfo(NamedTuple):
    """An input or output of an engine."""

    name: str
    shape: Shape
    dtype: np.dtype[Any]


class Memory(NamedTuple):
    """Bytes. `packed`: weights in the kernels' layouts, shared by all plans; `arena`: what one call works in."""

    weights: int
    packed: int
    arena: int

    @property
    def total(self) -> int:
        return sum(self)


class Engine:
    """A compiled model: `engine(x)` computes it in evaluation mode in one call without the GIL.

    Made by `compile`. Takes float32 arrays of any batch and image size that the model accepts (another size is planned
    in milliseconds, shares the packed weights, and only the last few plans are kept); returns float32 arrays in the
    structure that the model returns. Any number of Python threads may call it at once. Picklable and deep-copyable.
    """

    def __init__(
        self,
        model: Callable[..., Any],
        shapes: tuple[Shape, ...],
        threads: int | None,
        winograd: bool = True,
        algorithms: Mapping[str, str] | None = None,
        tuned: bool = False,
        copy: bool = True,
    ) -> None:
        self._model, self._copy = _copied(model, copy), copy
        if hasattr(self._model, "eval"):
            self._model.eval()
        self._shapes = shapes
        self.threads = threads
        self._winograd = winograd
        self._given = dict(algorithms or {})
        self._reset()
        if tuned:
            self._given.update(self._tuned())
        self._check_given(self._plan(shapes))

    def _reset(self) -> None:
        self._folder = Folder()
        self._packed = _core.PackedWeights()
        self._plans: OrderedDict[Any, Frozen] = OrderedDict()
        # What needs no snapshot: the arrays of the engine's own model, and all of them where nothing is copied.
        self._own = {id(array) for array in _state(self._model)}
        self._snapshots: dict[int, tuple[Array, Array]] = {}
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {
            "_model": self._model,
            "_shapes": self._shapes,
            "_copy": self._copy,
            "threads": self.threads,
            "_winograd": self._winograd,
            "_given": self._given,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._reset()
        self._plan(self._shapes)

    def _snapshot(self, array: Array) -> Array:
        """The engine's own copy: what a plain function refers to may change under it. The original is kept beside it,
        since an id is only good while its object lives."""
        if not self._copy or id(array) in self._own:
            return array
        entry = self._snapshots.get(id(array))
        if entry is None:
            entry = self._snapshots[id(array)] = (array, np.array(array, order="C"))
        return entry[1]

    def _plan(self, shapes: tuple[Shape, ...]) -> Frozen:
        key = (shapes, _core.isa())
        with self._lock:
            frozen = self._plans.get(key)
            if frozen is None:
                frozen = self._plans[key] = self._frozen(shapes, self._given, self._packed)
                if len(self._plans) > _MOST_PLANS:
                    self._plans.popitem(last=False)
            self._plans.move_to_end(key)
            return frozen

    def _frozen(self, shapes: tuple[Shape, ...], algorithms: Mapping[str, str], packed: Any) -> Frozen:
        named = getattr(self._model, "named_modules", dict)
        options = Options(self._winograd, {id(module): name for name, module in named()}, algorithms)

        def on_images(images: int) -> Traced:
            return self._traced(tuple((images, *shape[1:]) for shape in shapes), options)

        graph, rounds = in_rounds(self._traced(shapes, options), on_images, options)
        return Frozen(graph, packed, options, rounds)

    def _traced(self, shapes: tuple[Shape, ...], options: Options) -> Traced:
        graph = trace(self._model, list(shapes))
        if graph.implicit:
            raise ValueError("compile: the model draws random numbers even in evaluation mode")
        graph.constants = {symbol: self._snapshot(array) for symbol, array in graph.constants.items()}
        return Traced(graph, optimize_inference(graph, self._folder, options))

    def _tuned(self) -> dict[str, str]:
        """The fastest algorithms as measured now, with packed weights of their own, which most of them lose."""
        packed = _core.PackedWeights()
        threads = self.threads or _core.get_num_threads()
        return tuned_algorithms(
            lambda chosen: self._frozen(self._shapes, {**chosen, **self._given}, packed), self._random(), threads
        )

    def _random(self) -> list[Array]:
        rng = np.random.default_rng(0)
        return [rng.standard_normal(shape, dtype=np.float32) for shape in self._shapes]

    def _check_given(self, frozen: Frozen) -> None:
        known = [step.layer for step in frozen.steps if step.multiply_adds]
        single = {name for label in known for name in expanded(label)}
        unknown = [label for label in self._given if not single.issuperset(expanded(label))]
        if unknown and not frozen.empty:
            raise ValueError(f"compile: algorithms names {unknown[0]!r}; layers with a choice are {', '.join(known)}")

    @property
    def algorithms(self) -> dict[str, str]:
        """The algorithms that were given or found by tuning, by layer: `compile(..., algorithms=...)` takes them again
        (they are text: save them as JSON)."""
        return dict(self._given)

    def __call__(self, *inputs: Any) -> Any:
        arrays = _checked_inputs(inputs, len(self._shapes))
        frozen = self._plan(tuple(array.shape for array in arrays))
        outputs, _ = frozen.run(arrays, self.threads or 0)
        return frozen.graph.restore(outputs)

    def profile(self, *inputs: Any) -> list[tuple[StepInfo, float]]:
        """Run once and return each step with the nanoseconds that it took."""
        arrays = _checked_inputs(inputs, len(self._shapes))
        frozen = self._plan(tuple(array.shape for array in arrays))
        return list(zip(frozen.steps, frozen.run(arrays, self.threads or 0, profile=True)[1], strict=True))

    def explain(self, *inputs: Any, repeats: int = 20) -> Explanation:
        """What each step of the plan does, how long it takes and what bounds it, measured now on this machine.

        inputs: arrays to run on; without them random ones of the shapes that the engine was compiled for. Each step's
        time is the median of `repeats` runs (0: nothing is run, only what was planned is told). Print the result, or
        take its rows. Errors as of a call.
        """
        arrays = _checked_inputs(inputs, len(self._shapes)) if inputs else self._random()
        frozen = self._plan(tuple(array.shape for array in arrays))
        threads = self.threads or _core.get_num_threads()
        runs = [frozen.run(arrays, threads, profile=True)[1] for _ in range(repeats + 1 if repeats else 0)][1:]
        times = np.median(runs, axis=0) if runs else None
        limits = measure_limits(threads) if runs else None
        shapes = tuple(array.shape for array in arrays)
        rows = explain_steps(frozen.steps, times, limits, frozen.memory(threads))
        return Explanation(type(self._model).__name__, shapes, _core.isa(), threads, limits, rows)

    @property
    def inputs(self) -> list[TensorInfo]:
        """Name, shape and dtype of each input, for the shapes that the engine was compiled for."""
        symbols = self._plan(self._shapes).graph.inputs
        return [TensorInfo(s.name or f"input{i}", s.shape, s.dtype) for i, s in enumerate(symbols)]

    @property
    def outputs(self) -> list[TensorInfo]:
        """Name, shape and dtype of each output, in the order of the model's structure."""
        symbols = self._plan(self._shapes).graph.outputs
        return [TensorInfo(s.name or f"output{i}", s.shape, s.dtype) for i, s in enumerate(symbols)]

    @property
    def steps(self) -> list[StepInfo]:
        """What the plan for the compiled shapes does, step by step."""
        return list(self._plan(self._shapes).steps)

    def memory(self) -> Memory:
        """Bytes that the engine holds and that one call takes, known before running."""
        frozen = self._plan(self._shapes)
        weights = sum(array.nbytes for array in frozen.graph.constants.values())
        return Memory(weights, int(self._packed.bytes), frozen.memory(self.threads or _core.get_num_threads()))

    def __repr__(self) -> str:
        return f"Engine({type(self._model).__name__}, {', '.join(str(shape) for shape in self._shapes)})"


def compile(
    model: Callable[..., Any],
    input_shape: Any,
    *,
    precision: str = "fp32",
    winograd: bool = True,
    tune: bool = False,
    algorithms: Mapping[str, str] | None = None,
    threads: int | None = None,
    copy: bool = True,
) -> Engine:
    """Compile a model for inference.

    model: a `nn.Module` or a function written with `cnnkern.functional`; it is traced in evaluation mode on a copy, so
    later training does not change the engine. input_shape: the shape of its input with the batch, (N, C, H, W), or a
    tuple of such shapes for several inputs. precision: "fp32" (= "highest").
    winograd: allow Winograd's algorithm for 3x3 and 5x5 convolutions, whose rms error is up to three times that of
    plain sums and which lets a value that is not finite reach its neighbours (False: plain sums everywhere).
    tune: time the candidates of every layer inside the running network, now, and take the fastest; without it they are
    chosen by prediction, which gives the same bits on every machine with the instruction set.
    algorithms: {layer: algorithm}, names of layers and alternatives as `Engine.explain` shows them. The `algorithms` of
    a tuned engine reproduce its choices. Layers that are one step have one name, "features.2.conv.{0.0,1.0,2}", and may
    be told to be "separate".
    threads: at most so many (default: as `set_num_threads` says at each call).
    copy: False lets the engine read the model's own arrays instead of a copy. It starts faster and needs less memory,
    but the model must not change any more.

    Raises TypeError or ValueError for wrong arguments, and what the model raises for this shape.
    """
    if not callable(model):
        raise TypeError(f"compile: model must be a Module or a function, found {type(model).__name__}")
    if precision not in _PRECISIONS:
        raise ValueError(f"compile: precision must be one of {', '.join(_PRECISIONS)}, found {precision!r}")
    if threads is not None and (isinstance(threads, bool) or not isinstance(threads, int)):
        raise TypeError(f"compile: threads must be an integer or None, found {type(threads).__name__}")
    if threads is not None and not 1 <= threads <= 1024:
        raise ValueError(f"compile: threads must be in 1 .. 1024, found {threads}")
    if not isinstance(winograd, bool):
        raise TypeError(f"compile: winograd must be True or False, found {winograd!r}")
    if not isinstance(tune, bool):
        raise TypeError(f"compile: tune must be True or False, found {tune!r}")
    if not isinstance(copy, bool):
        raise TypeError(f"compile: copy must be True or False, found {copy!r}")
    if algorithms is not None and not _is_text_mapping(algorithms):
        raise TypeError(f"compile: algorithms must map names of layers to names of algorithms, found {algorithms!r}")
    return Engine(model, _shapes(input_shape), threads, winograd, algorithms, tune, copy)


def _copied(model: Callable[..., Any], arrays: bool) -> Callable[..., Any]:
    """A copy of a model, with its arrays or on the same ones. A function is its own copy."""
    if arrays:
        return deepcopy(model)
    shared = {id(array): array for array in _state(model)}
    return deepcopy(model, shared) if shared else model


def _state(model: Any) -> Iterator[Array]:
    """The parameters and buffers of a model."""
    for entries in ("named_parameters", "named_buffers"):
        for _, array in getattr(model, entries, tuple)():
            if array is not None:
                yield array


def _is_text_mapping(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(text, str) for item in value.items() for text in item)


def _shapes(input_shape: Any) -> tuple[Shape, ...]:
    if not isinstance(input_shape, (tuple, list)):
        raise TypeError(f"compile: input_shape must be a tuple of integers, found {type(input_shape).__name__}")
    several = bool(input_shape) and all(isinstance(entry, (tuple, list)) for entry in input_shape)
    shapes = tuple(tuple(shape) for shape in (input_shape if several else (input_shape,)))
    for shape in shapes:
        for size in shape:
            if isinstance(size, bool) or not isinstance(size, (int, np.integer)):
                raise TypeError(f"compile: input_shape must hold integers, found {size!r} in {shape}")
            if size < 0:
                raise ValueError(f"compile: input_shape must not be negative, found {shape}")
    return tuple(tuple(int(size) for size in shape) for shape in shapes)


def _checked_inputs(inputs: tuple[Any, ...], count: int) -> list[Array]:
    if len(inputs) != count:
        raise TypeError(f"Engine: expected {count} input{'s' * (count != 1)}, found {len(inputs)}")
    for i, value in enumerate(inputs):
        if not isinstance(value, np.ndarray):
            raise TypeError(f"Engine: input {i} must be a NumPy array, found {type(value).__name__}")
        if value.dtype != np.float32:
            raise TypeError(f"Engine: input {i} must be float32, found {value.dtype}: use x.astype(np.float32)")
    return [np.require(value, requirements=["C", "A"]) for value in inputs]
