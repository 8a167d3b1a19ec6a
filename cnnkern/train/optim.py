# SPDX-License-Identifier: BSD-3-Clause
"""`Optimizer`: learning rates, the state of every parameter, and the nodes of a training step that update them."""

from __future__ import annotations

import fnmatch
import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from cnnkern import functional, graph
from cnnkern.functional import _check as check
from cnnkern.functional._reduction import total
from cnnkern.functional.activation import clamped

Array = npt.NDArray[np.float32]


Groups = Mapping[str, Mapping[str, float]]
_GROUP_SETTINGS = ("lr", "lr_scale", "weight_decay")
_TINY = 1e-6  # beside the norm that gradients are divided by, as in PyTorch


class Optimizer:
    """Base class. An optimizer keeps its state for the parameters of one model, through any number of `fit` calls.

    `lr` may be changed between steps. Figures that change from step to step reach the plan through small arrays, one
    for all parameters that were bound in the same step and belong to the same group. `loads` counts the states that
    were loaded.

    Args:
        lr: learning rate, or a function (steps done) -> learning rate, such as those of `train.schedule`.
        clip_value: every element of a gradient is clamped to -clip_value .. clip_value.
        clip_norm: gradients are scaled down, all by the same factor, where their norm together exceeds this.
        groups: name -> settings of the parameters whose names begin with it (whole parts: "layer4" has
            "layer4.0.conv1.weight"), or match it if it holds a `*`. Settings: "lr", or "lr_scale", a factor of the
            optimizer's own; "weight_decay". The first name that matches counts.
    """

    slots: tuple[str, ...] = ()
    weight_decay: float = 0.0

    def __init__(
        self,
        lr: float | Callable[[int], float],
        *,
        clip_value: float | None = None,
        clip_norm: float | None = None,
        groups: Groups | None = None,
    ) -> None:
        name = type(self).__name__
        self.schedule = lr if callable(lr) else None
        self.lr = check.finite(name, "lr", lr(0) if callable(lr) else lr, 0.0)
        self.clip_value = None if clip_value is None else check.finite(name, "clip_value", clip_value, 0.0)
        self.clip_norm = None if clip_norm is None else check.finite(name, "clip_norm", clip_norm, 0.0)
        self.groups = self._checked_groups(groups or {})
        self.steps = 0
        self.loads = 0
        self._parameters: dict[str, npt.NDArray[Any]] = {}
        self._state: dict[str, dict[str, Array]] = {}
        self._born: dict[str, int] = {}
        self._hyper: dict[tuple[int, str], Array] = {}

    def _checked_groups(self, groups: Groups) -> dict[str, dict[str, float]]:
        name = type(self).__name__
        checked: dict[str, dict[str, float]] = {}
        for pattern, settings in groups.items():
            if not isinstance(pattern, str) or not isinstance(settings, Mapping):
                raise TypeError(f"{name}: groups must map names to settings, found {pattern!r}: {settings!r}")
            found = {check.choice(name, "a setting of a group", key, _GROUP_SETTINGS): key for key in settings}
            checked[pattern] = {key: check.finite(name, f"{key} of {pattern}", settings[key], 0.0) for key in found}
            if "lr" in found:
                if self.lr == 0.0 or "lr_scale" in found:
                    raise ValueError(f"{name}: {pattern}: give lr_scale instead of lr where the optimizer's lr is 0")
                checked[pattern]["lr_scale"] = checked[pattern].pop("lr") / self.lr
        return checked

    def group_of(self, parameter: str) -> str:
        """The name of the group that a parameter belongs to; "" where it belongs to none."""
        for pattern in self.groups:
            if fnmatch.fnmatchcase(parameter, pattern) or parameter.startswith(f"{pattern}."):
                return pattern
        return ""

    def _decay(self, parameter: str) -> float:
        return self.groups.get(self.group_of(parameter), {}).get("weight_decay", self.weight_decay)

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
                self._state[name] = {slot: self._initial(slot, array.shape) for slot in self.slots}
                self._born[name] = self.steps
            elif any(state.shape != array.shape for state in self._state[name].values()):
                raise ValueError(f"{type(self).__name__}: the state of {name} does not fit shape {array.shape}")
            self._hyper.setdefault((self._born[name], self.group_of(name)), np.zeros(8, np.float32))

    def _initial(self, slot: str, shape: tuple[int, ...]) -> Array:
        """The state that a parameter begins with."""
        return np.zeros(shape, np.float32)

    def record(self, gradients: Mapping[str, graph.Symbol]) -> None:
        """Add the updates of bound parameters to the current trace."""
        for name, gradient in self._clipped(gradients).items():
            hyper = self._hyper[self._born[name], self.group_of(name)]
            self._apply(self._parameters[name], gradient, self._state[name], hyper, self._decay(name))

    def _clipped(self, gradients: Mapping[str, graph.Symbol]) -> dict[str, Any]:
        clipped: dict[str, Any] = dict(gradients)
        if self.clip_value is not None:
            limit = self.clip_value
            clipped = {name: clamped(gradient, -limit, limit) for name, gradient in clipped.items()}
        if self.clip_norm is not None and clipped:
            squares = [total(functional.square(gradient)) for gradient in clipped.values()]
            norm = functional.sqrt(functools.reduce(functional.add, squares))
            most = np.asarray(self.clip_norm, np.float32)
            scale = functional.minimum(functional.divide(most, functional.add(norm, _TINY)), np.ones((), np.float32))
            clipped = {name: functional.multiply(gradient, scale) for name, gradient in clipped.items()}
        return clipped

    def _apply(
        self, parameter: npt.NDArray[Any], gradient: graph.Symbol, state: dict[str, Array], hyper: Array, decay: float
    ) -> None:
        raise NotImplementedError

    def before_step(self) -> None:
        """Set the figures of the step that is about to run. A plan calls it."""
        if self.schedule is not None:
            self.lr = check.finite(type(self).__name__, "lr", self.schedule(self.steps), 0.0)
        self.steps += 1
        for (born, group), hyper in self._hyper.items():
            rate, *others = self._figures(self.steps - born)
            hyper[: 1 + len(others)] = rate * self.groups.get(group, {}).get("lr_scale", 1.0), *others

    def _figures(self, step: int) -> tuple[float, ...]:
        """The learning rate and what else the update needs in a parameter's step number `step` (from 1)."""
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
