# SPDX-License-Identifier: BSD-3-Clause
"""Functions that drop at random, compared statistically: which values there are, and how many of each."""

from typing import Any

import numpy as np

from torch_functions.draw import Array, Call, Counterpart, Draw, Generator

SELU_LOW = -1.7580993408473766


def assert_dropped(x: Array, got: Array, p: float, kept: Array, low: Any, places: tuple[int, ...]) -> None:
    """Each place (an index into the axes of `places`, 1 elsewhere) holds `kept` or `low`, the latter with rate p."""
    assert got.dtype == x.dtype and got.shape == x.shape
    is_low = np.isclose(got, low, rtol=1e-5, atol=1e-5)
    is_kept = np.isclose(got, kept, rtol=1e-5, atol=1e-5)
    assert (is_low | is_kept).all(), "neither kept nor dropped"
    others = tuple(axis for axis in range(x.ndim) if places[axis] == 1)
    dropped, alive = is_low.all(others), is_kept.all(others)
    assert (dropped | alive).all(), "a place was dropped in part"
    tell = ~(dropped & alive)  # the others cannot be told apart
    count = int(tell.sum())
    if count:
        share = float(dropped[tell].mean())
        most = np.sqrt(28 * p * (1 - p) / count) + 9.4 / count  # Bernstein's inequality for one failure in a million
        assert abs(share - p) <= most, f"{share} dropped of {count}, p = {p}"


def _rate(draw: Draw) -> float:
    return draw.choice((-0.1, 1.5)) if draw.bad else draw.choice((0.0, 1.0, 0.5, 0.2, 0.9, draw.number(0, 1)))


def _dropout(low_rank: int, high_rank: int, kept_axes: int | None, alpha: bool = False) -> Generator:
    """kept_axes: how many leading axes are dropped each for itself; None: all."""

    def generator(draw: Draw) -> Call:
        x = draw.strided(draw.normal(*draw.shape(low_rank, high_rank, 9)))
        p = _rate(draw)
        training = draw.maybe(0.8)
        kwargs: dict[str, Any] = {"training": training}
        if draw.maybe(0.2):
            kwargs["inplace"] = False
        count = x.ndim if kept_axes is None else min(kept_axes if kept_axes > 0 else x.ndim + kept_axes, x.ndim)
        places = (*x.shape[:count], *[1] * (x.ndim - count))

        def check(got: Array, want: Any) -> None:
            if not training or p == 0.0:
                assert np.array_equal(got, x) and got.dtype == x.dtype
                return
            if p == 1.0:
                assert not got.any() and got.shape == x.shape
            elif alpha:
                a = ((SELU_LOW**2 * p + 1) * (1 - p)) ** -0.5
                assert_dropped(x, got, p, a * (x - SELU_LOW * p), a * SELU_LOW * (1 - p), places)
            else:
                assert_dropped(x, got, p, x / (1 - p), 0.0, places)

        torch_kwargs = dict(kwargs)
        if draw.maybe(0.3):
            kwargs["seed"] = draw.integer(0, 2**32 - 1)
        return Call((x, p), kwargs, torch_kwargs=torch_kwargs, statistical=check)

    return generator


def _dropout3d(draw: Draw) -> Call:
    return _dropout(5, 5, 2)(draw) if draw.maybe() else _dropout(4, 4, 1)(draw)


def _stochastic_depth(draw: Draw) -> Call:
    mode = draw.choice(("row", "batch"))
    made = _dropout(1, 4, 1 if mode == "row" else 0)(draw)
    x, p = made.args
    training, seed = made.kwargs["training"], made.kwargs.get("seed")
    batch = (1,) * x.ndim

    def check(got: Array, want: Any) -> None:
        if mode == "row" or not training or p in (0.0, 1.0):
            assert made.statistical is not None
            made.statistical(got, want)
        elif x.size:
            assert_dropped(x, got, 0.0 if got.any() else 1.0, x / (1 - p), 0.0, batch)

    kwargs = {"training": training, **({} if seed is None else {"seed": seed})}
    word = "column" if draw.bad else mode
    return Call((x, p, word), kwargs, torch_kwargs={"training": training}, statistical=check)


FUNCTIONS: dict[str, Generator] = {
    "dropout": _dropout(0, 5, None),
    "alpha_dropout": _dropout(0, 5, None, alpha=True),
    "dropout1d": _dropout(2, 3, -1),
    "dropout2d": _dropout(2, 5, 2),
    "dropout3d": _dropout3d,
    "feature_alpha_dropout": _dropout(2, 5, 2, alpha=True),
    "stochastic_depth": _stochastic_depth,
}


def _torch_stochastic_depth(torch: Any, input: Any, p: float, mode: str, training: bool = True) -> Any:
    if not 0 <= p <= 1 or mode not in ("batch", "row"):
        raise ValueError("bad configuration")
    if not training or p == 0.0:
        return input
    size = [input.shape[0] if mode == "row" else 1] + [1] * (input.ndim - 1)
    noise = torch.empty(size, dtype=input.dtype).bernoulli_(1 - p)
    return input * (noise / (1 - p) if p < 1 else noise)


OWN: dict[str, Counterpart] = {
    "stochastic_depth": lambda torch: lambda *args, **kwargs: _torch_stochastic_depth(torch, *args, **kwargs),
}
