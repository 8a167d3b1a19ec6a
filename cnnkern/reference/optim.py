# SPDX-License-Identifier: BSD-3-Clause
"""One step of an optimizer. Parameter and state, arrays of one shape, are updated in place; nothing is returned.

`hyper` holds what changes from step to step (8 numbers, those beyond the named ones unused).
"""

import numpy as np

from ._array import Array, real


def sgd_step(
    parameter: Array,
    gradient: Array,
    buffer: Array | None,
    hyper: Array,
    *,
    momentum: float = 0.0,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
) -> None:
    """Stochastic gradient descent with momentum (Polyak, 1964; Nesterov: Sutskever et al., 2013), as in PyTorch.

    hyper = [learning rate, 1 in the first step else 0]. The first step puts the whole gradient into the buffer.
    """
    rate, first = real(hyper).ravel()[:2]
    p = real(parameter)
    g = real(gradient) + weight_decay * p
    if buffer is not None:
        b = g if first else momentum * real(buffer) + (1 - dampening) * g
        buffer[...] = b
        g = g + momentum * b if nesterov else b
    parameter[...] = p - rate * g


def adam_step(
    parameter: Array,
    gradient: Array,
    m: Array,
    v: Array,
    hyper: Array,
    *,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    decoupled: bool = False,
) -> None:
    """Adam (Kingma and Ba, 2015); `decoupled` weight decay is AdamW (Loshchilov and Hutter, 2019).

    hyper = [learning rate, 1 - beta1^t, 1 - beta2^t] in step t = 1, 2, ...
    """
    rate, correction1, correction2 = real(hyper).ravel()[:3]
    p, g = real(parameter), real(gradient)
    if decoupled:
        p = p * (1 - rate * weight_decay)
    else:
        g = g + weight_decay * p
    new_m = beta1 * real(m) + (1 - beta1) * g
    new_v = beta2 * real(v) + (1 - beta2) * g * g
    m[...], v[...] = new_m, new_v
    parameter[...] = p - rate * (new_m / correction1) / (np.sqrt(new_v / correction2) + eps)


def adaptive_step(
    parameter: Array,
    gradient: Array,
    square: Array,
    buffer: Array | None,
    hyper: Array,
    *,
    eps: float = 1e-8,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
) -> None:
    """AdaGrad (Duchi et al., 2011) with keep = take = 1, RMSProp (Tieleman and Hinton, 2012) with a and 1 - a.

    hyper = [learning rate, keep, take].
    """
    rate, keep, take = real(hyper).ravel()[:3]
    p = real(parameter)
    g = real(gradient) + weight_decay * p
    new_square = keep * real(square) + take * g * g
    direction = g / (np.sqrt(new_square) + eps)
    if buffer is not None:
        direction = momentum * real(buffer) + direction
        buffer[...] = direction
    square[...] = new_square
    parameter[...] = p - rate * direction
