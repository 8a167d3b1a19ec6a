# SPDX-License-Identifier: BSD-3-Clause
"""Losses that ask for a margin."""

from typing import Any

import numpy as np

from torch_functions.draw import Array, Call, Counterpart, Draw, Generator
from torch_functions.loss import reductions


def signs(draw: Draw, shape: tuple[int, ...]) -> Array:
    """1 and -1; in some draws also other numbers."""
    return draw.pick((-1, 1, 0, 0.5) if draw.maybe(0.2) else (-1, 1), *shape)


def _shapes(draw: Draw, low: int = 0) -> tuple[tuple[int, ...], tuple[int, ...]]:
    shape = draw.shape(low, 4)
    if draw.bad:
        return (*shape, 2), (*shape, 3)
    return shape, draw.choice([shape, shape, shape[1:], (1, *shape[1:])]) if shape else shape


def _signed(margin: bool) -> Generator:
    """Losses of scores (or distances) and signs."""

    def generator(draw: Draw) -> Call:
        shape, other = _shapes(draw)
        kwargs = reductions(draw)
        if margin and draw.maybe():
            kwargs["margin"] = draw.choice((0.5, 2, -0.3))
        return Call((draw.strided(draw.normal(*shape, scale=2.0)), signs(draw, other)), kwargs, gradients=(0,))

    return generator


def hinge_loss(draw: Draw) -> Call:
    shape = draw.shape(0, 4)
    y = signs(draw, draw.broken(shape) if draw.bad else shape)
    return Call((draw.normal(*shape), y), reductions(draw, legacy=False), gradients=(0,))


def margin_ranking_loss(draw: Draw) -> Call:
    shape = draw.shape(0, 3)
    other = draw.broken(shape) if draw.bad else shape
    if draw.maybe(0.2) and shape and not draw.bad:
        other = (1, *shape[1:])
    kwargs = {**reductions(draw), **draw.some({"margin": lambda: draw.choice((0, 0.5, -1))})}
    return Call((draw.normal(*shape), draw.normal(*other), signs(draw, shape)), kwargs, gradients=(0, 1))


def cosine_embedding_loss(draw: Draw) -> Call:
    batch, size = draw.batch(6), draw.size()
    shape: tuple[int, ...] = (size,) if draw.maybe(0.2) else (batch, size)
    other = draw.broken(shape) if draw.bad and draw.maybe() else shape
    places = draw.broken(shape[:-1]) if draw.bad and draw.maybe() else shape[:-1]
    kwargs = {**reductions(draw), **draw.some({"margin": lambda: draw.choice((0, 0.5, -0.5))})}
    return Call((draw.normal(*shape), draw.normal(*other), signs(draw, places)), kwargs, gradients=(0, 1))


def multi_margin_loss(draw: Draw) -> Call:
    """Never an empty batch: PyTorch leaves its mean to chance."""
    batch, classes = draw.integer(1, 6), draw.size()
    shape: tuple[int, ...] = (classes,) if draw.maybe(0.2) else (batch, classes)
    target = draw.indices(classes, *(draw.broken(shape[:-1]) if draw.bad and draw.maybe() else shape[:-1]))
    if draw.bad and draw.maybe() and target.size:
        target[(0,) * target.ndim] = classes
    kwargs = reductions(draw)
    if draw.maybe():
        kwargs["p"] = 3 if draw.bad and draw.maybe() else draw.choice((1, 2))
    if draw.maybe():
        kwargs["margin"] = draw.choice((0.5, 2.0, -0.5))
    if draw.maybe(0.4):
        kwargs["weight"] = draw.uniform(0.1, 2, classes + (1 if draw.bad and draw.maybe() else 0))
    return Call((draw.normal(*shape), target), kwargs, gradients=(0,))


def multilabel_margin_loss(draw: Draw) -> Call:
    """Never an empty batch, as above."""
    batch, classes = draw.integer(1, 6), draw.size()
    shape: tuple[int, ...] = (classes,) if draw.maybe(0.2) else (batch, classes)
    target = np.where(draw.rng.random(shape) < 0.3, -1, draw.indices(classes, *shape))
    if draw.bad and draw.maybe() and target.size:
        target[(0,) * target.ndim] = classes
    elif draw.bad:
        target = draw.indices(classes, *draw.broken(shape))
    return Call((draw.normal(*shape), target), reductions(draw), gradients=(0,))


def multilabel_soft_margin_loss(draw: Draw) -> Call:
    shape = draw.shape(1, 3)
    y = draw.pick((0, 1), *((*shape[:-1], shape[-1] + 2) if draw.bad and shape[-1] > 1 else shape))
    kwargs = reductions(draw)
    if draw.maybe(0.4):
        kwargs["weight"] = draw.uniform(0.1, 2, *draw.choice([shape, shape[-1:], (1,)]))
    return Call((draw.strided(draw.normal(*shape, scale=3.0)), y), kwargs, gradients=(0,))


def _triplet(draw: Draw) -> tuple[Array, ...]:
    shape = (draw.size(),) if draw.maybe(0.2) else (draw.batch(6), draw.size())
    other = draw.broken(shape) if draw.bad and draw.maybe() else shape
    return draw.normal(*shape), draw.normal(*shape), draw.normal(*other)


def triplet_margin_loss(draw: Draw) -> Call:
    kwargs = reductions(draw)
    if draw.maybe():
        kwargs["margin"] = draw.choice((0.0, -1.0)) if draw.bad and draw.maybe() else draw.choice((0.5, 2.0))
    kwargs.update(
        draw.some({"p": lambda: draw.choice((1, 2, 3.0)), "eps": lambda: draw.choice((1e-6, 0.1)), "swap": draw.maybe})
    )
    return Call(_triplet(draw), kwargs, gradients=(0, 1, 2))


def manhattan(x: Any, y: Any) -> Any:
    """Of arrays, symbols and tensors."""
    difference = x - y
    if hasattr(difference, "backward"):
        return (difference * difference).mean(-1)
    from cnnkern import functional as F
    from cnnkern.functional._reduction import sum_last

    return sum_last(F.square(difference), 1.0 / difference.shape[-1])


def triplet_margin_with_distance_loss(draw: Draw) -> Call:
    kwargs = {**reductions(draw, legacy=False), **draw.some({"swap": draw.maybe})}
    if draw.maybe():
        kwargs["margin"] = -1.0 if draw.bad and draw.maybe() else draw.choice((0.5, 2.0))
    if draw.maybe():
        kwargs["distance_function"] = manhattan
    return Call(_triplet(draw), kwargs, gradients=(0, 1, 2))


def contrastive_loss(draw: Draw) -> Call:
    shape = draw.shape(0, 3)
    target = draw.pick((0, 1), *(draw.broken(shape) if draw.bad else shape))
    kwargs = {**reductions(draw, legacy=False), **draw.some({"margin": lambda: draw.choice((0.5, 2.0))})}
    return Call((draw.uniform(0, 3, *shape), target), kwargs, gradients=(0,))


FUNCTIONS: dict[str, Generator] = {
    "hinge_loss": hinge_loss,
    "soft_margin_loss": _signed(margin=False),
    "hinge_embedding_loss": _signed(margin=True),
    "margin_ranking_loss": margin_ranking_loss,
    "cosine_embedding_loss": cosine_embedding_loss,
    "multi_margin_loss": multi_margin_loss,
    "multilabel_margin_loss": multilabel_margin_loss,
    "multilabel_soft_margin_loss": multilabel_soft_margin_loss,
    "triplet_margin_loss": triplet_margin_loss,
    "triplet_margin_with_distance_loss": triplet_margin_with_distance_loss,
    "contrastive_loss": contrastive_loss,
}


def _reduce(loss: Any, reduction: str) -> Any:
    return {"mean": loss.mean, "sum": loss.sum, "none": lambda: loss}[reduction]()


def _hinge(x: Any, y: Any, reduction: str = "mean") -> Any:
    if x.shape != y.shape:
        raise ValueError("shapes differ")
    return _reduce((1 - x * y).clamp(min=0), reduction)


def _contrastive(d: Any, y: Any, margin: float = 1.0, reduction: str = "mean") -> Any:
    if d.shape != y.shape:
        raise ValueError("shapes differ")
    return _reduce(((1 - y) * d**2 + y * (margin - d).clamp(min=0) ** 2) / 2, reduction)


OWN: dict[str, Counterpart] = {
    "hinge_loss": lambda torch: _hinge,
    "contrastive_loss": lambda torch: _contrastive,
}
