# SPDX-License-Identifier: BSD-3-Clause
"""Losses of classes and labels, and between numbers."""

from typing import Any

import numpy as np

from torch_functions.draw import Array, Call, Counterpart, Draw, Generator, autograd


def reductions(draw: Draw, legacy: bool = True, more: tuple[str, ...] = ()) -> dict[str, Any]:
    """A reduction, or in some draws what it was before."""
    if legacy and draw.maybe(0.15):
        flags = {"size_average": draw.choice((True, False, None)), "reduce": draw.choice((True, False, None))}
        return {**flags, "reduction": draw.choice(("mean", "sum"))} if draw.maybe(0.3) else flags
    if draw.bad and draw.maybe(0.3):
        return {"reduction": "median"}
    return {} if draw.maybe(0.2) else {"reduction": draw.choice(("mean", "sum", "none", *more))}


def _pair(draw: Draw, low: int = 0) -> tuple[Array, Array]:
    """Input and target: mostly of one shape, sometimes to be broadcast, of no common one where the draw is bad."""
    shape = draw.shape(low, 4)
    other = shape
    if draw.bad:
        other = (*shape[:-1], shape[-1] + 2) if shape and shape[-1] > 1 else shape
    elif draw.maybe(0.15) and shape:
        other = draw.choice([shape[1:], (1, *shape[1:]), (*shape[:-1], 1)])
    x, y = draw.normal(*shape, scale=2.0), draw.normal(*other, scale=2.0)
    if draw.maybe(0.15):
        x, y = draw.pick((-1, 0, 0.5, 1), *shape), draw.pick((-1, 0, 0.5, 1), *other)
    return draw.strided(x), draw.strided(y)


def _regression(**options: tuple[float, ...]) -> Generator:
    """Losses of a difference, with weights where `weight` is an option."""

    def generator(draw: Draw) -> Call:
        x, y = _pair(draw)
        legacy, weighted = "delta" not in options, "weight" in options
        kwargs = reductions(draw, legacy)
        for name in ("beta", "delta"):
            if name in options and draw.maybe():
                kwargs[name] = -0.5 if draw.bad and draw.maybe() else draw.choice(options[name])
        if weighted and draw.maybe(0.4):
            shape = draw.broken(x.shape) if draw.bad and draw.maybe() else x.shape
            kwargs["weight"] = draw.uniform(0.1, 2, *shape)
        smooth = x.shape != y.shape or not np.any(np.isclose(np.abs(x - y), 0) | np.isclose(np.abs(x - y), 0.5))
        return Call((x, y), kwargs, gradients=(0, 1) if smooth else ())

    return generator


def binary_cross_entropy(draw: Draw) -> Call:
    shape = draw.shape(0, 4)
    other = draw.broken(shape) if draw.bad and draw.maybe() else shape
    x, y = draw.uniform(0, 1, *shape), draw.uniform(0, 1, *other)
    if draw.maybe(0.2):
        x, y = draw.pick((0, 0.5, 1), *shape), draw.pick((0, 1), *other)
    if draw.bad and draw.maybe() and x.size:
        x[(0,) * x.ndim] = 1.5
    kwargs = reductions(draw)
    if draw.maybe(0.4):
        kwargs["weight"] = draw.uniform(0.1, 2, *_smaller(draw, shape))
    return Call((draw.strided(x), y), kwargs, gradients=(0,))


def _smaller(draw: Draw, shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape that can be broadcast to this one."""
    if draw.bad and draw.maybe() and shape:
        return (*shape[:-1], shape[-1] + 2)
    return draw.choice([shape, shape[1:], shape[-1:], (1,) * len(shape)])


def binary_cross_entropy_with_logits(draw: Draw) -> Call:
    shape = draw.shape(0, 4)
    other = draw.broken(shape) if draw.bad and draw.maybe() else shape
    x, y = draw.normal(*shape, scale=draw.choice((1, 5, 60))), draw.uniform(0, 1, *other)
    kwargs = reductions(draw)
    for name in ("weight", "pos_weight"):
        if draw.maybe(0.3):
            kwargs[name] = draw.uniform(0.1, 2, *_smaller(draw, shape))
    return Call((draw.strided(x), y), kwargs, gradients=(0, 1) if "weight" not in kwargs else (0,))


def _classes(draw: Draw) -> tuple[tuple[int, ...], int, tuple[int, ...]]:
    """Shape of the scores, number of classes, shape of the targets."""
    classes = draw.size()
    if draw.maybe(0.2):
        return (classes,), classes, ()
    batch, rest = draw.batch(), draw.shape(1, 2, 5) if draw.maybe(0.4) else ()
    return (batch, classes, *rest), classes, (batch, *rest)


def _indices(draw: Draw, classes: int, shape: tuple[int, ...], ignored: int) -> Array:
    if draw.bad and draw.maybe():
        shape = draw.broken(shape)
    target = draw.indices(classes, *shape)
    if draw.bad and draw.maybe() and target.size:
        target[(0,) * target.ndim] = classes
    return np.where(draw.rng.random(shape) < 0.2, ignored, target) if draw.maybe(0.4) else target


def _class_options(draw: Draw, classes: int) -> dict[str, Any]:
    kwargs = reductions(draw)
    if draw.maybe(0.4):
        kwargs["weight"] = draw.uniform(0.1, 2, classes + (1 if draw.bad and draw.maybe() else 0))
    return kwargs


def cross_entropy(draw: Draw) -> Call:
    shape, classes, places = _classes(draw)
    x = draw.strided(draw.normal(*shape, scale=3.0))
    kwargs = _class_options(draw, classes)
    if draw.maybe(0.4):
        kwargs["label_smoothing"] = 1.5 if draw.bad and draw.maybe() else draw.choice((0.0, 0.1, 1.0))
    if draw.maybe(0.35):
        target = draw.uniform(0, 1, *(draw.broken(shape) if draw.bad and draw.maybe() else shape))
        if draw.maybe(0.1):
            kwargs["ignore_index"] = draw.choice((-100, -1))
        return Call((x, target), kwargs, gradients=(0, 1))
    ignored = draw.choice((-100, 0, classes - 1, 300))
    if ignored != -100 or draw.maybe():
        kwargs["ignore_index"] = ignored
    target = _indices(draw, classes, places, ignored)
    return Call((x, target), kwargs, gradients=(0,))


def nll_loss(draw: Draw) -> Call:
    shape, classes, places = _classes(draw)
    kwargs = _class_options(draw, classes)
    ignored = draw.choice((-100, 0, classes - 1, 300))
    if ignored != -100 or draw.maybe():
        kwargs["ignore_index"] = ignored
    x = draw.strided(draw.normal(*shape))
    return Call((x, _indices(draw, classes, places, ignored)), kwargs, gradients=(0,))


def cross_entropy_grad(draw: Draw) -> Call:
    shape, classes, places = _classes(draw)
    reduction = draw.choice(("mean", "sum", "none"))
    kwargs: dict[str, Any] = {"reduction": reduction, "label_smoothing": draw.choice((0.0, 0.2))}
    if draw.maybe(0.4):
        kwargs["weight"] = draw.uniform(0.1, 2, classes)
    each = places if reduction == "none" else ()
    dy = draw.normal(*(draw.broken(each) if draw.bad else each))
    return Call((dy, draw.normal(*shape), draw.indices(classes, *places)), kwargs)


def kl_div(draw: Draw) -> Call:
    x, y = _pair(draw)
    kwargs = reductions(draw, more=("batchmean",))
    if draw.maybe():
        return Call((x, y), {**kwargs, "log_target": True}, gradients=(0, 1))
    y = np.asarray(np.abs(y))
    return Call((x, y), kwargs, gradients=(0, 1) if y.all() else (0,))


def poisson_nll_loss(draw: Draw) -> Call:
    x, y = _pair(draw)
    y = np.floor(np.abs(y) * 2)
    kwargs = {**reductions(draw), **draw.some({"full": draw.maybe, "eps": lambda: draw.choice((1e-8, 0.1))})}
    if draw.maybe():
        return Call((x, y), kwargs, gradients=(0,))
    return Call((np.asarray(np.abs(x) + 0.1).astype(x.dtype), y), {**kwargs, "log_input": False}, gradients=(0,))


def gaussian_nll_loss(draw: Draw) -> Call:
    x, y = _pair(draw)
    var: Any
    if draw.maybe(0.3):
        var = draw.choice((0.0, 0.7, 2.0))
    else:
        shapes = [x.shape, x.shape[:-1], (*x.shape[:-1], 1)] if x.ndim else [()]
        shape = draw.broken(x.shape) if draw.bad and draw.maybe() else draw.choice(shapes)
        var = draw.uniform(0.0 if draw.maybe(0.2) else 0.1, 3, *shape)
    if draw.bad and draw.maybe():
        var = np.asarray(-var) if isinstance(var, np.ndarray) else -1.0
    kwargs = {**reductions(draw, legacy=False), **draw.some({"full": draw.maybe, "eps": lambda: 0.5})}
    return Call((x, y, var), kwargs, gradients=(0, 1, 2) if isinstance(var, np.ndarray) else (0, 1))


def pseudo_huber_loss(draw: Draw) -> Call:
    x, y = _pair(draw)
    kwargs = {**reductions(draw, legacy=False), **draw.some({"delta": lambda: draw.number(0.1, 3)})}
    return Call((x, y), kwargs, gradients=(0, 1))


def one_hot(draw: Draw) -> Call:
    tensor = draw.indices(draw.integer(1, 9), *draw.shape(0, 3))
    if draw.bad and tensor.size:
        tensor[(0,) * tensor.ndim] = -1
    if draw.maybe(0.4):
        return Call((tensor,))
    return Call((tensor, draw.choice((-1, 9, 12, 3))))


FUNCTIONS: dict[str, Generator] = {
    "mse_loss": _regression(weight=()),
    "l1_loss": _regression(weight=()),
    "smooth_l1_loss": _regression(beta=(0.0, 0.3, 1, 2.5)),
    "huber_loss": _regression(weight=(), delta=(0.3, 1, 2.5)),
    "pseudo_huber_loss": pseudo_huber_loss,
    "binary_cross_entropy": binary_cross_entropy,
    "binary_cross_entropy_with_logits": binary_cross_entropy_with_logits,
    "cross_entropy": cross_entropy,
    "cross_entropy_grad": cross_entropy_grad,
    "nll_loss": nll_loss,
    "kl_div": kl_div,
    "poisson_nll_loss": poisson_nll_loss,
    "gaussian_nll_loss": gaussian_nll_loss,
    "one_hot": one_hot,
}


def _pseudo_huber(torch: Any, x: Any, y: Any, reduction: str = "mean", delta: float = 1.0) -> Any:
    loss = delta**2 * ((1 + ((x - y) / delta) ** 2).sqrt() - 1)
    return {"mean": loss.mean, "sum": loss.sum, "none": lambda: loss}[reduction]()


OWN: dict[str, Counterpart] = {
    "cross_entropy_grad": autograd(
        lambda torch, x, target, weight=None, **options: torch.nn.functional.cross_entropy(x, target, weight, **options)
    ),
    "pseudo_huber_loss": lambda torch: lambda x, y, **options: _pseudo_huber(torch, x, y, **options),
}
