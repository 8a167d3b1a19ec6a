# SPDX-License-Identifier: BSD-3-Clause
"""Optimizers: the state they keep, and the nodes that they add to the graph of a training step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from cnnkern import graph
from cnnkern.functional import _check as check

Array = npt.NDArray[np.float32]


class Optimizer:
    """Base class. An optimizer keeps its state for the parameters of one model, through any number of `fit` calls.

    `lr` may be changed between steps. Figures that change from step to step reach the plan through small arrays, one
    for all parameters that were bound in the same step. `loads` counts the states that were loaded.
    """

    slots: tuple[str, ...] = ()

    def __init__(self, lr: float) -> None:
        self.lr = check.finite(type(self).__name__, "lr", lr, 0.0)
        self.steps = 0
        self.loads = 0
        self._parameters: dict[str, npt.NDArray[Any]] = {}
        self._state: dict[str, dict[str, Array]] = {}
        self._born: dict[str, int] = {}
        self._hyper: dict[int, Array] = {}

    def bind(self, parameters: Mapping[str, npt.NDArray[Any]]) -> None:
        """Make room for the state of these parameters; parameters already bound keep theirs.

        Raises:
            ValueError: a name is bound to the parameter of another model.
        """
        for name, array in parameters.items():
            if name in self._parameters:
                if self._parameters[name] is not array:
                    raise ValueError(f"{type(self).__name__}: {name} belongs to another model; make a new optimizer")
                continue
            self._parameters[name] = array
            if name not in self._state:
                self._state[name] = {slot: np.zeros(array.shape, np.float32) for slot in self.slots}
                self._born[name] = self.steps
            elif any(state.shape != array.shape for state in self._state[name].values()):
                raise ValueError(f"{type(self).__name__}: the state of {name} does not fit shape {array.shape}")
            self._hyper.setdefault(self._born[name], np.zeros(8, np.float32))

    def record(self, name: str, gradient: graph.Symbol) -> None:
        """Add the update of a bound parameter to the current trace."""
        self._apply(self._parameters[name], gradient, self._state[name], self._hyper[self._born[name]])

    def _apply(
        self, parameter: npt.NDArray[Any], gradient: graph.Symbol, state: dict[str, Array], hyper: Array
    ) -> None:
        raise NotImplementedError

    def before_step(self) -> None:
        """Set the figures of the step that is about to run. A plan calls it."""
        self.steps += 1
        for born, hyper in self._hyper.items():
            figures = self._figures(self.steps - born)
            hyper[: len(figures)] = figures

    def _figures(self, step: int) -> tuple[float, ...]:
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        """What resuming needs: learning rate, steps; per parameter the step it was bound in, copies of its arrays."""
        return {
            "lr": self.lr,
            "steps": self.steps,
            "state": {
                name: {"born": self._born[name], **{slot: array.copy() for slot, array in state.items()}}
                for name, state in self._state.items()
            },
        }

    def load_state_dict(self, mapping: Mapping[str, Any]) -> None:
        """Take over a `state_dict`.

        Raises:
            ValueError: it is another optimizer's, or its shapes do not fit the parameters that are bound.
        """
        name = type(self).__name__
        if not isinstance(mapping, Mapping) or set(mapping) != {"lr", "steps", "state"}:
            raise ValueError(f"{name}: expected a state_dict with lr, steps and state, found {type(mapping).__name__}")
        states: dict[str, dict[str, Array]] = {}
        for parameter, entry in mapping["state"].items():
            if set(entry) != {"born", *self.slots}:
                raise ValueError(f"{name}: state of {parameter} expected {self.slots}, found {tuple(entry)}")
            states[parameter] = {slot: np.array(entry[slot], np.float32, order="C") for slot in self.slots}
            for slot, own in self._state.get(parameter, {}).items():
                found = states[parameter][slot].shape
                if found != own.shape:
                    raise ValueError(f"{name}: {slot} of {parameter} expected shape {own.shape}, found {found}")
        self.lr = check.finite(name, "lr", mapping["lr"], 0.0)
        self.steps = check.integer(name, "steps", mapping["steps"], 0)
        self.loads += 1
        self._parameters.clear()
        self._hyper.clear()
        self._state = states
        self._born = {parameter: int(entry["born"]) for parameter, entry in mapping["state"].items()}


class SGD(Optimizer):
    """Stochastic gradient descent, with PyTorch's momentum: b <- momentum b + (1 - dampening) g, w <- w - lr b.

    The first step takes b = g. `nesterov` steps along g + momentum b (Sutskever et al., 2013). `weight_decay` adds
    weight_decay w to the gradient.
    """

    def __init__(
        self,
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        super().__init__(lr)
        self.momentum = check.finite("SGD", "momentum", momentum, 0.0)
        self.dampening = check.finite("SGD", "dampening", dampening)
        self.weight_decay = check.finite("SGD", "weight_decay", weight_decay, 0.0)
        self.nesterov = check.boolean("SGD", "nesterov", nesterov)
        if self.nesterov and (self.momentum == 0 or self.dampening != 0):
            raise ValueError("SGD: nesterov needs a momentum and no dampening")
        self.slots = ("buffer",) if self.momentum else ()

    def _apply(
        self, parameter: npt.NDArray[Any], gradient: graph.Symbol, state: dict[str, Array], hyper: Array
    ) -> None:
        attrs = {
            "momentum": self.momentum,
            "dampening": self.dampening,
            "weight_decay": self.weight_decay,
            "nesterov": self.nesterov,
        }
        graph.apply(graph.OPS["sgd_step"], (parameter, gradient, state.get("buffer"), hyper), attrs)

    def _figures(self, step: int) -> tuple[float, ...]:
        return self.lr, float(step == 1)


class Adam(Optimizer):
    """Adam (Kingma and Ba, 2015), with bias correction; `weight_decay` adds weight_decay w to the gradient."""

    slots = ("m", "v")
    decoupled = False

    def __init__(
        self,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(lr)
        name = type(self).__name__
        if not isinstance(betas, tuple | list) or len(betas) != 2:
            raise TypeError(f"{name}: betas must be two numbers, found {betas!r}")
        self.betas = (check.finite(name, "betas", betas[0], 0.0), check.finite(name, "betas", betas[1], 0.0))
        if max(self.betas) >= 1:
            raise ValueError(f"{name}: betas must lie in [0, 1), found {betas}")
        self.eps = check.finite(name, "eps", eps, 0.0)
        self.weight_decay = check.finite(name, "weight_decay", weight_decay, 0.0)

    def _apply(
        self, parameter: npt.NDArray[Any], gradient: graph.Symbol, state: dict[str, Array], hyper: Array
    ) -> None:
        attrs = {
            "beta1": self.betas[0],
            "beta2": self.betas[1],
            "eps": self.eps,
            "weight_decay": self.weight_decay,
            "decoupled": self.decoupled,
        }
        graph.apply(graph.OPS["adam_step"], (parameter, gradient, state["m"], state["v"], hyper), attrs)

    def _figures(self, step: int) -> tuple[float, ...]:
        return self.lr, 1.0 - self.betas[0] ** step, 1.0 - self.betas[1] ** step


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019): w <- w (1 - lr weight_decay) before the step."""

    decoupled = True

    def __init__(
        self,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(lr, betas, eps, weight_decay)


_BY_NAME: dict[str, Callable[[], Optimizer]] = {"sgd": SGD, "adam": Adam, "adamw": AdamW}


def as_optimizer(optimizer: str | Optimizer) -> Optimizer:
    """An optimizer, or a new one with the default settings of "sgd", "adam" or "adamw"."""
    if isinstance(optimizer, Optimizer):
        return optimizer
    return _BY_NAME[check.choice("fit", "optimizer", optimizer, tuple(_BY_NAME))]()
