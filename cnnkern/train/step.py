# SPDX-License-Identifier: BSD-3-Clause
"""What training executes: forward, loss, gradients and update as one graph, planned once per batch shape."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cnnkern import graph
from cnnkern.engine import Executable
from cnnkern.functional import _check as check
from cnnkern.functional.elementwise import add
from cnnkern.nn.module import Module, kept_statistics, mode, require_module
from cnnkern.train.loss import LossFunction, as_loss
from cnnkern.train.optim import Optimizer
from cnnkern.train.regularization import ElasticNet

Array = npt.NDArray[Any]
_MAX_PLANS = 8


def _trace(function: Callable[..., Any], arrays: tuple[Array, ...]) -> graph.Graph:
    return graph.trace(function, [graph.Spec(array.shape, array.dtype) for array in arrays])


class Execution(NamedTuple):
    """How a graph is executed. winograd: may its algorithm be chosen; recompute: segments of the forward pass whose
    values are computed again for their gradients, None for a sensible number of them, 0: everything is kept."""

    winograd: bool = True
    recompute: int | None = 0


def as_execution(function: str, winograd: Any, recompute: Any) -> Execution:
    """From the arguments of `fit` and `Trainer`."""
    winograd = check.boolean(function, "winograd", winograd)
    if isinstance(recompute, (bool, np.bool_)):
        return Execution(winograd, None if recompute else 0)
    return Execution(winograd, check.integer(function, "recompute", recompute, 2))


class Plan:
    """An executable graph of (inputs..., targets?) -> whatever was traced, with the checks that labels need."""

    def __init__(self, function: Callable[..., Any], arrays: tuple[Array, ...], execution: Execution) -> None:
        self.graph = _trace(function, arrays)
        self._execute = Executable(self.graph, *execution)
        self._labels = [
            (self.graph.inputs.index(node.inputs[1]), node.inputs[0].shape[1], node.attrs["ignore_index"])
            for node in self.graph.nodes
            if node.op.name == "cross_entropy" and node.inputs[1] in self.graph.inputs
        ]

    def __call__(self, arrays: tuple[Array, ...], rng: Array) -> Any:
        for position, classes, ignored in self._labels:
            labels = arrays[position]
            wrong = ((labels < 0) | (labels >= classes)) & (labels != ignored)
            if wrong.any():
                raise ValueError(f"cross_entropy: targets must lie in 0..{classes - 1}, found {labels[wrong][0]}")
        return self.graph.restore(self._execute(*arrays, *([rng] if self.graph.implicit else [])))


class PlanCache:
    """Plans by the shapes of their inputs and the model's parts and modes; the oldest of more than a few goes."""

    def __init__(self, model: Module, function: Callable[..., Any], execution: Execution) -> None:
        self.model, self.function, self.execution = model, function, execution
        self._plans: OrderedDict[Any, Plan] = OrderedDict()

    def __call__(self, arrays: tuple[Array, ...], rng: Array) -> Any:
        modes = tuple((module, module.training, module.trainable) for module in self.model.modules())
        key = (modes, tuple((array.shape, array.dtype) for array in arrays))
        plan = self._plans.get(key)
        if plan is None:
            plan = self._plans[key] = Plan(self.function, arrays, self.execution)
            if len(self._plans) > _MAX_PLANS:
                self._plans.popitem(last=False)
        self._plans.move_to_end(key)
        return plan(arrays, rng)


def _rng(seed: int, step: int) -> Array:
    """The (seed, step) that dropout draws from."""
    return np.array([[seed & 0x7FFFFFFF, step & 0x7FFFFFFF]], np.int32)


def _parameters(model: Module) -> dict[str, Array]:
    return dict(model.named_parameters(trainable=True))


def _differentiate(
    model: Module,
    loss: LossFunction,
    inputs: tuple[Any, ...],
    targets: Any,
    parameters: Mapping[str, Array],
    penalty: ElasticNet | None = None,
) -> tuple[Any, Any, dict[str, graph.Symbol | None]]:
    """Record forward, loss and the gradients of the parameters in the current trace."""
    trace = graph.current_trace()
    assert trace is not None
    symbols = {name: trace.constant(array, name) for name, array in parameters.items()}
    outputs = model(*inputs)
    value = loss(outputs, targets)
    if not isinstance(value, graph.Symbol) or value.size != 1:
        raise ValueError(f"loss: expected a function that returns one number, found {value!r}")
    extra = None if penalty is None else penalty(symbols.values())
    if extra is not None:
        value = add(value, extra)
    gradients = graph.gradients(trace, value, list(symbols.values()))
    return value, outputs, dict(zip(symbols, gradients, strict=True))


class TrainingStep:
    """(inputs, targets) -> (loss, outputs); the model, its statistics and the optimizer's state move on.

    Without `keep_outputs` the outputs are None: they need not leave the plan.
    """

    def __init__(
        self,
        model: Module,
        loss: LossFunction,
        optimizer: Optimizer,
        seed: int,
        penalty: ElasticNet | None = None,
        keep_outputs: bool = True,
        execution: Execution = Execution(),  # noqa: B008  (a constant)
    ) -> None:
        self.model, self.loss, self.optimizer, self.penalty = model, loss, optimizer, penalty
        self._seed, self._keep_outputs = seed, keep_outputs
        self._loads = optimizer.loads
        self._plans = PlanCache(model, self._record, execution)
        self._counting = [m for m in model.modules() if type(m).after_training_step is not Module.after_training_step]

    def _record(self, *symbols: Any) -> Any:
        parameters = _parameters(self.model)
        if not parameters:
            raise ValueError("fit: the model has no trainable parameters")
        self.optimizer.bind(parameters)
        value, outputs, gradients = _differentiate(
            self.model, self.loss, symbols[:-1], symbols[-1], parameters, self.penalty
        )
        self.optimizer.record({name: gradient for name, gradient in gradients.items() if gradient is not None})
        return (value, outputs) if self._keep_outputs else value

    def __call__(self, inputs: tuple[Array, ...], targets: Array) -> tuple[float, Any]:
        arrays = (*inputs, targets)
        if self._loads != self.optimizer.loads:  # the plans hold arrays that are no longer its state
            self._loads = self.optimizer.loads
            self._plans = PlanCache(self.model, self._record, self._plans.execution)
        self.optimizer.bind(_parameters(self.model))
        self.optimizer.before_step()
        try:
            found = self._plans(arrays, _rng(self._seed, self.optimizer.steps))
        except BaseException:
            self.optimizer.steps -= 1  # labels or shapes that do not fit: no step was taken
            raise
        value, outputs = found if self._keep_outputs else (found, None)
        for module in self._counting:
            module.after_training_step()
        return float(value), outputs


def value_and_grad(
    model: Module, loss: str | LossFunction = "cross_entropy", *, seed: int = 0
) -> Callable[[Any, Any], tuple[float, dict[str, Array]]]:
    """A function (x, y) -> (loss, {parameter name: gradient}).

    The model is used in the mode that it is in and is not changed: in training mode batch normalization takes the
    batch's statistics and leaves the running ones alone, and dropout draws from `seed`.

    Convolutions are plain sums, never Winograd's algorithm. x is an array, or a tuple for a model of several inputs;
    float32, or float64, which is computed in float64 by the reference, slowly and exactly. Integer targets are class
    indices. Frozen parameters have no gradient; one that the loss does not depend on has zeros.
    """
    require_module("value_and_grad", model)
    function = as_loss(loss)
    rng = _rng(check.integer("value_and_grad", "seed", seed, 0), 0)

    def record(target: Module, symbols: tuple[Any, ...]) -> tuple[Any, list[Any]]:
        parameters = _parameters(target)
        value, _, gradients = _differentiate(target, function, symbols[:-1], symbols[-1], parameters)
        return value, [np.zeros_like(parameters[name]) if g is None else g for name, g in gradients.items()]

    plans = PlanCache(model, lambda *symbols: record(model, symbols), Execution(winograd=False))

    def evaluate(x: Any, y: Any) -> tuple[float, dict[str, Array]]:
        arrays = _examples(x, y)
        with kept_statistics():
            if arrays[0].dtype == np.float64:
                exact = model.astype(np.float64)
                traced = _trace(lambda *symbols: record(exact, symbols), arrays)
                value, found = graph.run_numpy(traced, arrays, {"rng": rng})
            else:
                value, found = plans(arrays, rng)
        return float(value), dict(zip(_parameters(model), found, strict=True))

    return evaluate


def gradient_graph(model: Module, x: Any, y: Any, loss: str | LossFunction = "cross_entropy") -> graph.Graph:
    """The graph of the loss of a model and of the gradients of its parameters, for inputs like x and targets like y.

    Its inputs are those of x, then y; its outputs (loss, {parameter name: gradient}). For a look inside: nothing runs.
    """
    function = as_loss(loss)

    def record(*symbols: Any) -> tuple[Any, dict[str, Any]]:
        value, _, gradients = _differentiate(model, function, symbols[:-1], symbols[-1], _parameters(model))
        return value, gradients

    with kept_statistics():
        return _trace(record, _examples(x, y))


def _examples(x: Any, y: Any) -> tuple[Array, ...]:
    """Inputs and targets as a flat tuple of arrays, integer targets as int32."""
    inputs = tuple(np.asarray(array) for array in (x if isinstance(x, tuple) else (x,)))
    targets = np.asarray(y)
    return (*inputs, targets.astype(np.int32) if targets.dtype.kind in "iub" else targets)


class Inference:
    """Evaluation-mode plans of a model, for `predict` and `evaluate`; they follow the model's present weights."""

    def __init__(self, model: Module, loss: LossFunction | None = None) -> None:
        self.model, self.loss = model, loss
        self._plans = PlanCache(model, self._record, Execution())

    def _record(self, *symbols: Any) -> Any:
        if self.loss is None:
            return self.model(*symbols)
        outputs = self.model(*symbols[:-1])
        return self.loss(outputs, symbols[-1]), outputs

    def __call__(self, arrays: tuple[Array, ...]) -> Any:
        with mode(self.model, training=False):
            return self._plans(arrays, _rng(0, 0))

    def shapes(self, arrays: tuple[Array, ...]) -> Any:
        """Empty outputs in the model's structure, for no examples; nothing is computed."""
        with mode(self.model, training=False):
            traced = _trace(self._record, arrays)
        return traced.restore([np.empty(symbol.shape, symbol.dtype) for symbol in traced.outputs])
