# SPDX-License-Identifier: BSD-3-Clause
"""The optimizers: gradient descent and its momenta, AdaGrad, RMSProp, Adam. Each update is one pass of a kernel.

Further keywords of all of them are those of `Optimizer`: `clip_value`, `clip_norm`, `groups`. `lr` is a number or a
function (steps done) -> number.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from cnnkern import graph
from cnnkern.functional import _check as check
from cnnkern.train.optim import Array, Optimizer

Rate = float | Callable[[int], float]


class SGD(Optimizer):
    """Stochastic gradient descent, with PyTorch's momentum: b <- momentum b + (1 - dampening) g, w <- w - lr b.

    The first step takes b = g. `nesterov` steps along g + momentum b (Sutskever et al., 2013). `weight_decay` adds
    weight_decay w to the gradient.
    """

    def __init__(
        self,
        lr: Rate = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        **common: Any,
    ) -> None:
        super().__init__(lr, **common)
        name = type(self).__name__
        self.momentum = check.finite(name, "momentum", momentum, 0.0)
        self.dampening = check.finite(name, "dampening", dampening)
        self.weight_decay = check.finite(name, "weight_decay", weight_decay, 0.0)
        self.nesterov = check.boolean(name, "nesterov", nesterov)
        if self.nesterov and (self.momentum == 0 or self.dampening != 0):
            raise ValueError(f"{name}: nesterov needs a momentum and no dampening")
        self.slots = ("buffer",) if self.momentum else ()

    def _apply(
        self, parameter: npt.NDArray[Any], gradient: graph.Symbol, state: dict[str, Array], hyper: Array, decay: float
    ) -> None:
        attrs = {
            "momentum": self.momentum,
            "dampening": self.dampening,
            "weight_decay": decay,
            "nesterov": self.nesterov,
        }
        graph.apply(graph.OPS["sgd_step"], (parameter, gradient, state.get("buffer"), hyper), attrs)

    def _figures(self, step: int) -> tuple[float, ...]:
        return self.lr, float(step == 1)


class GradientDescent(SGD):
    """w <- w - lr g: plain gradient descent where a batch is the whole data, stochastic where it is a part."""

    def __init__(self, lr: Rate = 1e-2, weight_decay: float = 0.0, **common: Any) -> None:
        super().__init__(lr, weight_decay=weight_decay, **common)


class Momentum(SGD):
    """Gradient descent with momentum: m <- b m + g, w <- w - lr m (Polyak, 1964), from m = 0.

    `averaged`: m <- b m + (1 - b) g, the running mean of the gradients; the same steps for a learning rate 1 / (1 - b)
    times as large.
    """

    def __init__(
        self, lr: Rate = 1e-2, momentum: float = 0.9, averaged: bool = False, weight_decay: float = 0.0, **common: Any
    ) -> None:
        self.averaged = check.boolean(type(self).__name__, "averaged", averaged)
        super().__init__(lr, momentum, momentum if self.averaged else 0.0, weight_decay, **common)

    def _figures(self, step: int) -> tuple[float, ...]:
        return self.lr, 0.0


class Nesterov(SGD):
    """Nesterov's accelerated gradient in the form of Sutskever et al. (2013): m <- b m + g, w <- w - lr (g + b m)."""

    def __init__(self, lr: Rate = 1e-2, momentum: float = 0.9, weight_decay: float = 0.0, **common: Any) -> None:
        super().__init__(lr, momentum, 0.0, weight_decay, True, **common)


class _Adaptive(Optimizer):
    """What AdaGrad and RMSProp share: steps divided by the root of gathered squares."""

    eps: float
    momentum = 0.0

    def _apply(
        self, parameter: npt.NDArray[Any], gradient: graph.Symbol, state: dict[str, Array], hyper: Array, decay: float
    ) -> None:
        attrs = {"eps": self.eps, "momentum": self.momentum, "weight_decay": decay}
        operands = parameter, gradient, state["square"], state.get("buffer"), hyper
        graph.apply(graph.OPS["adaptive_step"], operands, attrs)


class AdaGrad(_Adaptive):
    """AdaGrad (Duchi et al., 2011): s <- s + g^2, w <- w - lr g / (sqrt(s) + eps), as torch.optim.Adagrad.

    `lr_decay` divides the learning rate by 1 + (t - 1) lr_decay in step t; s begins with `initial_accumulator_value`.
    """

    slots = ("square",)

    def __init__(
        self,
        lr: Rate = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        **common: Any,
    ) -> None:
        super().__init__(lr, **common)
        self.lr_decay = check.finite("AdaGrad", "lr_decay", lr_decay, 0.0)
        self.weight_decay = check.finite("AdaGrad", "weight_decay", weight_decay, 0.0)
        self.initial = check.finite("AdaGrad", "initial_accumulator_value", initial_accumulator_value, 0.0)
        self.eps = check.finite("AdaGrad", "eps", eps, 0.0)

    def _initial(self, slot: str, shape: tuple[int, ...]) -> Array:
        return np.full(shape, self.initial, np.float32)

    def _figures(self, step: int) -> tuple[float, ...]:
        return self.lr / (1.0 + (step - 1) * self.lr_decay), 1.0, 1.0


class RMSProp(_Adaptive):
    """RMSProp (Tieleman and Hinton, 2012): s <- a s + (1 - a) g^2, w <- w - lr g / (sqrt(s) + eps), as in PyTorch.

    With `momentum`: b <- momentum b + g / (sqrt(s) + eps), w <- w - lr b.
    """

    def __init__(
        self,
        lr: Rate = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        **common: Any,
    ) -> None:
        super().__init__(lr, **common)
        self.alpha = check.finite("RMSProp", "alpha", alpha, 0.0, 1.0)
        self.eps = check.finite("RMSProp", "eps", eps, 0.0)
        self.weight_decay = check.finite("RMSProp", "weight_decay", weight_decay, 0.0)
        self.momentum = check.finite("RMSProp", "momentum", momentum, 0.0)
        self.slots = ("square", "buffer") if self.momentum else ("square",)

    def _figures(self, step: int) -> tuple[float, ...]:
        return self.lr, self.alpha, 1.0 - self.alpha


class Adam(Optimizer):
    """Adam (Kingma and Ba, 2015), with bias correction; `weight_decay` adds weight_decay w to the gradient."""

    slots = ("m", "v")
    decoupled = False

    def __init__(
        self,
        lr: Rate = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        **common: Any,
    ) -> None:
        super().__init__(lr, **common)
        name = type(self).__name__
        if not isinstance(betas, tuple | list) or len(betas) != 2:
            raise TypeError(f"{name}: betas must be two numbers, found {betas!r}")
        self.betas = (check.finite(name, "betas", betas[0], 0.0), check.finite(name, "betas", betas[1], 0.0))
        if max(self.betas) >= 1:
            raise ValueError(f"{name}: betas must lie in [0, 1), found {betas}")
        self.eps = check.finite(name, "eps", eps, 0.0)
        self.weight_decay = check.finite(name, "weight_decay", weight_decay, 0.0)

    def _apply(
        self, parameter: npt.NDArray[Any], gradient: graph.Symbol, state: dict[str, Array], hyper: Array, decay: float
    ) -> None:
        attrs = {
            "beta1": self.betas[0],
            "beta2": self.betas[1],
            "eps": self.eps,
            "weight_decay": decay,
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
        lr: Rate = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        **common: Any,
    ) -> None:
        super().__init__(lr, betas, eps, weight_decay, **common)


OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "sgd": SGD,
    "gradient_descent": GradientDescent,
    "momentum": Momentum,
    "nesterov": Nesterov,
    "adagrad": AdaGrad,
    "rmsprop": RMSProp,
    "adam": Adam,
    "adamw": AdamW,
}


def as_optimizer(optimizer: str | Optimizer, function: str = "fit") -> Optimizer:
    """An optimizer, or a new one of that name ("sgd", "adam", ...) with its default settings."""
    if isinstance(optimizer, Optimizer):
        return optimizer
    return OPTIMIZERS[check.choice(function, "optimizer", optimizer, tuple(OPTIMIZERS))]()
