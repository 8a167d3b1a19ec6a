# SPDX-License-Identifier: BSD-3-Clause
"""Steps of optimizers against torch.optim; what they update is compared, for they return nothing."""

from collections.abc import Callable
from typing import Any

import numpy as np

from torch_functions.draw import Array, Call, Counterpart, Draw, Generator


def _updated(*arrays: Array) -> Callable[[Any, Any], None]:
    """Compares arrays, after the step, with PyTorch's."""

    def compare(actual: Any, expected: Any) -> None:
        assert actual is None
        for array, want in zip(arrays, expected, strict=True):
            limit = 1e-11 if array.dtype == np.float64 else 2e-6
            np.testing.assert_allclose(array, want.detach().numpy(), limit, limit)

    return compare


def _hyper(draw: Draw, *values: float) -> Array:
    return np.array([*values, *[0.0] * (8 - len(values))], draw.dtype)


def sgd_step(draw: Draw) -> Call:
    shape = draw.shape(0, 4)
    parameter, gradient = draw.normal(*shape), draw.normal(*(draw.broken(shape) if draw.bad else shape))
    momentum = draw.choice((0.0, 0.5, 0.9))
    buffer = draw.normal(*shape) if momentum else None
    options: dict[str, Any] = {"momentum": momentum, **draw.some({"weight_decay": lambda: 0.25})}
    if momentum and draw.maybe():
        options.update(draw.choice([{"nesterov": True}, {"dampening": 0.5}]))
    hyper = _hyper(draw, draw.choice((0.5, 0.125)), draw.integer(0, 1))
    changed = [parameter] if buffer is None else [parameter, buffer]
    return Call((parameter, gradient, buffer, hyper), options, statistical=_updated(*changed))


def adam_step(draw: Draw) -> Call:
    shape = draw.shape(0, 4)
    parameter, gradient = draw.normal(*shape), draw.normal(*(draw.broken(shape) if draw.bad else shape))
    m, v, step = draw.normal(*shape), draw.uniform(0.01, 1, *shape), draw.integer(1, 40)
    beta1, beta2 = draw.choice((0.5, 0.75)), draw.choice((0.75, 0.875))
    options = {"beta1": beta1, "beta2": beta2, "eps": draw.choice((1e-8, 0.125))}
    options.update(draw.some({"weight_decay": lambda: 0.25, "decoupled": draw.maybe}))
    hyper = _hyper(draw, draw.choice((0.5, 0.125)), 1 - beta1**step, 1 - beta2**step)
    call = Call((parameter, gradient, m, v, hyper), options, statistical=_updated(parameter, m, v))
    call.torch_kwargs = {**options, "step": step}
    return call


def adaptive_step(draw: Draw) -> Call:
    shape = draw.shape(0, 4)
    parameter, gradient = draw.normal(*shape), draw.normal(*(draw.broken(shape) if draw.bad else shape))
    keep, momentum = draw.choice((1.0, 0.75)), draw.choice((0.0, 0.5))
    momentum = momentum if keep < 1 else 0.0  # PyTorch's AdaGrad has none
    square, buffer = draw.uniform(0.01, 1, *shape), draw.normal(*shape) if momentum else None
    options: dict[str, Any] = {"momentum": momentum, "eps": draw.choice((1e-8, 0.125))}
    options.update(draw.some({"weight_decay": lambda: 0.25}))
    hyper = _hyper(draw, draw.choice((0.5, 0.125)), keep, 1.0 if keep == 1 else 1 - keep)
    changed = [parameter, square] if buffer is None else [parameter, square, buffer]
    return Call((parameter, gradient, square, buffer, hyper), options, statistical=_updated(*changed))


FUNCTIONS: dict[str, Generator] = {"adam_step": adam_step, "adaptive_step": adaptive_step, "sgd_step": sgd_step}


def _sgd(torch: Any, parameter: Any, gradient: Any, buffer: Any, hyper: Any, **options: Any) -> tuple[Any, ...]:
    weight = torch.nn.Parameter(parameter)
    weight.grad = gradient
    optimizer = torch.optim.SGD([weight], hyper[0].item(), **options)
    if buffer is not None and not hyper[1]:
        optimizer.state[weight]["momentum_buffer"] = buffer
    optimizer.step()
    return (weight,) if buffer is None else (weight, optimizer.state[weight]["momentum_buffer"])


def _adam(torch: Any, parameter: Any, gradient: Any, m: Any, v: Any, hyper: Any, **options: Any) -> tuple[Any, ...]:
    weight = torch.nn.Parameter(parameter)
    weight.grad = gradient
    kind = torch.optim.AdamW if options.pop("decoupled", False) else torch.optim.Adam
    betas, step = (options.pop("beta1"), options.pop("beta2")), options.pop("step")
    optimizer = kind([weight], hyper[0].item(), betas, **{"weight_decay": 0.0, **options})
    optimizer.state[weight] = {"step": torch.tensor(float(step - 1)), "exp_avg": m, "exp_avg_sq": v}
    optimizer.step()
    return weight, m, v


def _adaptive(
    torch: Any, parameter: Any, gradient: Any, square: Any, buffer: Any, hyper: Any, **options: Any
) -> tuple[Any, ...]:
    weight = torch.nn.Parameter(parameter)
    weight.grad = gradient
    rate, keep = hyper[0].item(), hyper[1].item()
    if keep == 1.0:
        options.pop("momentum")
        optimizer = torch.optim.Adagrad([weight], rate, **options)
        optimizer.state[weight] = {"step": torch.tensor(0.0), "sum": square}
    else:
        optimizer = torch.optim.RMSprop([weight], rate, keep, **options)
        optimizer.state[weight] = {"step": torch.tensor(0.0), "square_avg": square, "momentum_buffer": buffer}
    optimizer.step()
    return (weight, square) if buffer is None else (weight, square, buffer)


OWN: dict[str, Counterpart] = {
    "adaptive_step": lambda torch: lambda *args, **options: _adaptive(torch, *args, **options),
    "adam_step": lambda torch: lambda *args, **options: _adam(torch, *args, **options),
    "sgd_step": lambda torch: lambda *args, **options: _sgd(torch, *args, **options),
}
