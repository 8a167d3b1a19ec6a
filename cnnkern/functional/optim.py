# SPDX-License-Identifier: BSD-3-Clause
"""Steps of optimizers as operations. Parameter and state are updated in place: a training plan holds them."""

from __future__ import annotations

from typing import Any

import numpy as np

from cnnkern.functional import _check as check
from cnnkern.graph import Attrs, KernelCall, Node, Shape, Spec, apply, define, product


def _infer(inputs: Any, attrs: Attrs) -> tuple[Spec, ...]:
    return ()


def _lower(node: Node) -> list[KernelCall]:
    args: list[tuple[Any, Shape | None]] = [
        (value, None if value is None else (product(value.shape),)) for value in node.inputs
    ]
    return [KernelCall(node.op.name, node.attrs, args)]


SGD_STEP = define("sgd_step", _infer, mutates=(0, 2), lower=_lower)
ADAM_STEP = define("adam_step", _infer, mutates=(0, 2, 3), lower=_lower)
ADAPTIVE_STEP = define("adaptive_step", _infer, mutates=(0, 2, 3), lower=_lower)


def _checked(function: str, hyper: Any, optional: tuple[str, ...], parameter: Any, gradient: Any, **state: Any) -> None:
    check.floating(function, optional, parameter=parameter, gradient=gradient, **state, hyper=hyper)
    check.same_shape(function, "gradient", gradient, parameter.shape)
    for name, value in {"parameter": parameter, **state}.items():
        if value is not None:
            check.same_shape(function, name, value, parameter.shape)
            if isinstance(value, np.ndarray) and not value.flags.writeable:
                raise ValueError(f"{function}: {name} is read-only, but the step updates it")
    if product(hyper.shape) != 8:
        raise ValueError(f"{function}: hyper must have 8 elements, found shape {hyper.shape}")


def sgd_step(
    parameter: Any,
    gradient: Any,
    buffer: Any,
    hyper: Any,
    *,
    momentum: float = 0.0,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
) -> None:
    """One step of gradient descent with momentum, as torch.optim.SGD. parameter and buffer are updated IN PLACE.

    parameter, gradient, buffer (None without momentum): one shape; hyper: 8 numbers, learning rate and 1 in the first
    step (which puts the whole gradient into the buffer), else 0.
    """
    name = "sgd_step"
    _checked(name, hyper, ("buffer",), parameter, gradient, buffer=buffer)
    attrs = {
        "momentum": check.finite(name, "momentum", momentum, 0.0),
        "dampening": check.finite(name, "dampening", dampening),
        "weight_decay": check.finite(name, "weight_decay", weight_decay),
        "nesterov": check.boolean(name, "nesterov", nesterov),
    }
    if buffer is None and attrs["momentum"]:
        raise ValueError(f"{name}: momentum={momentum} needs a buffer")
    apply(SGD_STEP, (parameter, gradient, buffer, hyper), attrs)


def adam_step(
    parameter: Any,
    gradient: Any,
    m: Any,
    v: Any,
    hyper: Any,
    *,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    decoupled: bool = False,
) -> None:
    """One step of Adam (Kingma and Ba, 2015), AdamW if `decoupled`. parameter, m and v are updated IN PLACE.

    parameter, gradient, m, v: one shape; hyper: 8 numbers, learning rate, 1 - beta1^t and 1 - beta2^t in step t.
    """
    name = "adam_step"
    _checked(name, hyper, (), parameter, gradient, m=m, v=v)
    attrs = {
        "beta1": check.finite(name, "beta1", beta1, 0.0, 1.0),
        "beta2": check.finite(name, "beta2", beta2, 0.0, 1.0),
        "eps": check.finite(name, "eps", eps, 0.0),
        "weight_decay": check.finite(name, "weight_decay", weight_decay),
        "decoupled": check.boolean(name, "decoupled", decoupled),
    }
    apply(ADAM_STEP, (parameter, gradient, m, v, hyper), attrs)


def adaptive_step(
    parameter: Any,
    gradient: Any,
    square: Any,
    buffer: Any,
    hyper: Any,
    *,
    eps: float = 1e-8,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
) -> None:
    """One step of AdaGrad (Duchi et al., 2011) or RMSProp (Tieleman and Hinton, 2012), as in torch.optim.

    parameter, square and buffer (None without momentum) are updated IN PLACE: square <- keep square + take g^2,
    buffer <- momentum buffer + g / (sqrt(square) + eps), parameter <- parameter - rate buffer.

    parameter, gradient, square, buffer: one shape; hyper: 8 numbers, learning rate, keep, take: 1 and 1 for AdaGrad, a
    and 1 - a for RMSProp.
    """
    name = "adaptive_step"
    _checked(name, hyper, ("buffer",), parameter, gradient, square=square, buffer=buffer)
    attrs = {
        "eps": check.finite(name, "eps", eps, 0.0),
        "momentum": check.finite(name, "momentum", momentum, 0.0),
        "weight_decay": check.finite(name, "weight_decay", weight_decay),
    }
    if buffer is None and attrs["momentum"]:
        raise ValueError(f"{name}: momentum={momentum} needs a buffer")
    apply(ADAPTIVE_STEP, (parameter, gradient, square, buffer, hyper), attrs)
