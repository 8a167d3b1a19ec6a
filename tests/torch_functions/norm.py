# SPDX-License-Identifier: BSD-3-Clause
"""Normalization: by the batch, by groups, by channels, by the last axes, by neighbours, by a norm."""

from typing import Any

import numpy as np

from torch_functions.draw import Array, Call, Counterpart, Draw, Generator


def _maps(draw: Draw, low: int = 0, high: int = 3, channels: int = 0) -> tuple[int, ...]:
    """(N, C, ...) with low to high further axes."""
    spatial = tuple(draw.size(7) for _ in range(draw.integer(low, high)))
    return (draw.batch(), channels or draw.size(), *spatial)


def _shifted(draw: Draw, shape: tuple[int, ...]) -> Array:
    return draw.strided((draw.normal(*shape) * 2 + 3).astype(draw.dtype))


def _vector(draw: Draw, length: int) -> Array:
    return draw.uniform(0.5, 2, length + (1 if draw.bad and draw.maybe() else 0))


def _eps(draw: Draw) -> float:
    return draw.choice((1e-5, 1e-3, 0.1))


def _batch_norm(draw: Draw, training: bool) -> Call:
    shape = _maps(draw)
    draw.bad &= shape[0] > 0  # PyTorch looks at little where there is nothing to do
    while training and np.prod(shape) == shape[1] and not draw.bad:
        shape = _maps(draw)
    c = shape[1]
    running = training is False or draw.maybe()
    statistics = (_vector(draw, c), _vector(draw, c)) if running else (None, None)
    affine = draw.some({"weight": lambda: _vector(draw, c), "bias": lambda: _vector(draw, c)})
    kwargs = {**affine, "training": training, "eps": _eps(draw), **draw.some({"momentum": lambda: draw.number(0, 1)})}
    return Call((_shifted(draw, shape), *statistics), kwargs, gradients=(0,) if shape[0] else ())


def batch_norm(draw: Draw) -> Call:
    return _batch_norm(draw, draw.maybe())


def group_norm(draw: Draw) -> Call:
    groups = draw.choice((1, 2, 3, draw.size()))
    shape = _maps(draw, channels=groups * draw.size(5))
    c = shape[1] if shape[1] else 1
    kwargs = draw.some(
        {"weight": lambda: _vector(draw, c), "bias": lambda: _vector(draw, c), "eps": lambda: _eps(draw)}
    )
    each = shape[1] // groups * int(np.prod(shape[2:]))
    count = shape[0] * each
    if each == 1:  # nothing but rounding is left
        shape, count = (*shape, 2), 2 * count
    groups = groups + 1 if draw.bad and draw.maybe() else groups
    return Call((_shifted(draw, shape), groups), kwargs, gradients=(0,) if count > 1 else ())


def group_norm_grad(draw: Draw) -> Call:
    groups = draw.choice((1, 2, 3))
    shape = (draw.integer(2, 3), groups * draw.integer(3, 5), draw.integer(2, 5))
    weight = draw.maybe()
    args: list[Any] = [draw.normal(*(draw.broken(shape) if draw.bad else shape)), _shifted(draw, shape), groups]
    return Call((*args, draw.uniform(0.5, 2, shape[1]) if weight else None, _eps(draw)), tolerance=1e-4)


def layer_norm(draw: Draw) -> Call:
    shape = draw.shape(1, 4)
    last = shape[draw.integer(0, len(shape) - 1) :]
    wanted = draw.broken(last) if draw.bad else last
    kwargs = draw.some(
        {
            "weight": lambda: draw.uniform(0.5, 2, *wanted),
            "bias": lambda: draw.normal(*wanted),
            "eps": lambda: _eps(draw),
        }
    )
    return Call((_shifted(draw, shape), wanted), kwargs, gradients=(0,) if 0 not in shape else ())


def rms_norm(draw: Draw) -> Call:
    made = layer_norm(draw)
    kwargs = {key: value for key, value in made.kwargs.items() if key != "bias"}
    if draw.maybe(0.3):
        kwargs["eps"] = None
    return Call(made.args, kwargs, gradients=made.gradients)


def instance_norm(draw: Draw) -> Call:
    shape = _maps(draw, 1)
    draw.bad &= shape[0] > 0
    c = shape[1]
    running = draw.maybe()
    statistics = (_vector(draw, c), _vector(draw, c)) if running else (None, None)
    affine = draw.some({"weight": lambda: _vector(draw, c), "bias": lambda: _vector(draw, c)})
    own = not running or draw.maybe() if not draw.bad else draw.maybe()
    kwargs = {**affine, "use_input_stats": own, "eps": _eps(draw), **draw.some({"momentum": lambda: draw.number(0, 1)})}
    count = int(np.prod(shape[2:]))
    return Call((_shifted(draw, shape), *statistics), kwargs, gradients=(0,) if shape[0] and count > 1 else ())


def local_response_norm(draw: Draw) -> Call:
    shape = _maps(draw, 0 if draw.bad else 1)
    args = (draw.strided(draw.normal(*shape)), draw.choice((1, 2, 3, 5, 5, 9, 40)))
    kwargs = draw.some(
        {
            "alpha": lambda: draw.choice((1e-4, 0.5, 2.0)),
            "beta": lambda: draw.choice((0.75, 0.5, 1.0, 0.3)),
            "k": lambda: draw.choice((1.0, 2.0)),
        }
    )
    return Call(args, kwargs, gradients=(0,))


def local_response_norm_grad(draw: Draw) -> Call:
    made = local_response_norm(draw)
    shape = made.args[0].shape
    return Call((draw.normal(*(draw.broken(shape) if draw.bad else shape)), *made.args), made.kwargs)


def normalize(draw: Draw) -> Call:
    shape = draw.shape(1, 4)
    axes = range(-len(shape), len(shape))
    dim: Any = draw.choice(axes)
    if draw.maybe(0.2) and len(shape) > 1:
        dim = (0, -1)
    if draw.bad:
        dim = len(shape)
    p = draw.choice((2.0, 2, 1.0, 3.0, 1.5, 0.5, float("inf"), float("-inf"), 0.0))
    x = draw.normal(*shape)
    kwargs = draw.some({"eps": lambda: draw.choice((1e-12, 0.5))})
    smooth = p in (2.0, 1.0, 3.0, 1.5)
    return Call((draw.strided(x), p, dim), kwargs, gradients=(0,) if smooth else ())


def batch_norm_training(draw: Draw) -> Call:
    made = _batch_norm(draw, True)
    while not made.args[0].size:
        made = _batch_norm(draw, True)
    x, mean, var = made.args
    kwargs = {key: value for key, value in made.kwargs.items() if key != "training"}
    return Call((x, kwargs.pop("weight", None), kwargs.pop("bias", None), mean, var), kwargs)


def batch_norm_grad(draw: Draw) -> Call:
    shape = (draw.integer(2, 4), draw.size(), *(draw.size(5) for _ in range(draw.integer(0, 2))))
    x = _shifted(draw, shape)
    axes = (0, *range(2, len(shape)))
    mean, rstd = x.mean(axes).astype(draw.dtype), (1 / np.sqrt(x.var(axes) + 1e-3)).astype(draw.dtype)
    dy = draw.normal(*(draw.broken(shape) if draw.bad else shape))
    weight = draw.uniform(0.5, 2, shape[1]) if draw.maybe() else None
    return Call((dy, x, mean, rstd, weight), tolerance=1e-4)


FUNCTIONS: dict[str, Generator] = {
    "batch_norm": batch_norm,
    "batch_norm_grad": batch_norm_grad,
    "batch_norm_training": batch_norm_training,
    "group_norm": group_norm,
    "group_norm_grad": group_norm_grad,
    "instance_norm": instance_norm,
    "layer_norm": layer_norm,
    "local_response_norm": local_response_norm,
    "local_response_norm_grad": local_response_norm_grad,
    "normalize": normalize,
    "rms_norm": rms_norm,
}


def _group_norm_grad(torch: Any, dy: Any, x: Any, groups: int, weight: Any, eps: float) -> Any:
    if dy.shape != x.shape:
        raise ValueError("shapes differ")
    x.requires_grad_()
    w = (torch.ones(x.shape[1], dtype=x.dtype) if weight is None else weight).requires_grad_()
    b = torch.zeros(x.shape[1], dtype=x.dtype, requires_grad=True)
    return torch.autograd.grad(torch.nn.functional.group_norm(x, groups, w, b, eps), (x, w, b), dy)


def _training(
    torch: Any, x: Any, weight: Any, bias: Any, mean: Any, var: Any, eps: float, momentum: float = 0.1
) -> Any:
    y = torch.nn.functional.batch_norm(x, mean, var, weight, bias, True, momentum, eps)
    axes = (0, *range(2, x.ndim))
    return y, x.mean(axes), (x.var(axes, correction=0) + eps).rsqrt()


def _batch_norm_grad(torch: Any, dy: Any, x: Any, mean: Any, rstd: Any, weight: Any) -> Any:
    if dy.shape != x.shape:
        raise ValueError("shapes differ")
    x.requires_grad_()
    w = (torch.ones(x.shape[1], dtype=x.dtype) if weight is None else weight).requires_grad_()
    b = torch.zeros(x.shape[1], dtype=x.dtype, requires_grad=True)
    y = torch.nn.functional.batch_norm(x, None, None, w, b, True, 0.0, 1e-3)
    return torch.autograd.grad(y, (x, w, b), dy)


def _response_grad(torch: Any, dy: Any, x: Any, *args: Any, **kwargs: Any) -> Any:
    if dy.shape != x.shape:
        raise ValueError("shapes differ")
    x.requires_grad_()
    y = torch.nn.functional.local_response_norm(x, *args, **kwargs)
    return torch.autograd.grad(y, x, dy)[0]


OWN: dict[str, Counterpart] = {
    "batch_norm_grad": lambda torch: lambda *args: _batch_norm_grad(torch, *args),
    "batch_norm_training": lambda torch: lambda *args, **kwargs: _training(torch, *args, **kwargs),
    "group_norm_grad": lambda torch: lambda *args: _group_norm_grad(torch, *args),
    "local_response_norm_grad": lambda torch: lambda *args, **kwargs: _response_grad(torch, *args, **kwargs),
}
