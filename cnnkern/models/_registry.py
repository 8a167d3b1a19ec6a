# SPDX-License-Identifier: BSD-3-Clause
"""The list of models, and what every builder does with `weights` and `seed`."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

from cnnkern.data.preprocess import IMAGENET_MEAN, IMAGENET_STD
from cnnkern.models._network import ModelInfo, Network, Shape
from cnnkern.nn import Module, count_macs, init

Weights = str | os.PathLike[str] | Mapping[str, Any] | None
Builder = TypeVar("Builder", bound=Callable[..., Network])
Model = TypeVar("Model", bound=Module)

_builders: dict[str, Callable[..., Network]] = {}
_infos: dict[str, ModelInfo] = {}


def register(
    *,
    year: int | None,
    paper: str,
    input_shape: Shape | tuple[Shape, ...] = (3, 224, 224),
    resize_size: int | None = 256,
    interpolation: str = "bilinear",
    mean: tuple[float, ...] = IMAGENET_MEAN,
    std: tuple[float, ...] = IMAGENET_STD,
) -> Callable[[Builder], Builder]:
    """Decorator: enter a builder under its own name, with the fields of `ModelInfo`.

    What the builder returns carries them as `info`.
    """

    def enter(builder: Builder) -> Builder:
        name = builder.__name__
        if name in _builders:
            raise ValueError(f"models: a model named {name!r} exists already")
        known = ModelInfo(name, year, paper, input_shape, resize_size, interpolation, mean, std)

        @functools.wraps(builder)
        def named(*arguments: Any, **options: Any) -> Network:
            model = builder(*arguments, **options)
            model.info = known
            return model

        _builders[name], _infos[name] = named, known
        return cast(Builder, named)

    return enter


def list_models() -> list[str]:
    """The names of all models, sorted; numbers in them by their value."""
    return sorted(
        _builders, key=lambda name: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]
    )


def get(name: str) -> Callable[..., Network]:
    """The builder of that name.

    Raises:
        ValueError: there is none; the message lists those that exist.
    """
    if name not in _builders:
        raise ValueError(f"models: no model named {name!r}; there are {', '.join(list_models())}")
    return _builders[name]


def info(name: str) -> ModelInfo:
    """Year, paper, input shape and preprocessing of the model of that name; errors as of `get`."""
    get(name)
    return _infos[name]


def count(name: str) -> tuple[int, int]:
    """Parameters, and multiply-adds for one example, of a model with its default arguments; no weights are drawn."""
    with init.skipped():
        model = get(name)()
    return sum(array.size for array in model.parameters()), count_macs(model, _infos[name].batch())


def build(
    factory: Callable[[], Model],
    weights: Weights,
    seed: init.Rng,
    rename: Callable[[Mapping[str, Any], Model], Mapping[str, Any]] | None = None,
) -> Model:
    """Construct a model: with weights drawn from `seed`, or, if `weights` is given, with those.

    Args:
        factory: constructs the model.
        weights: None, a mapping from state-dict names to arrays, or the path of a file that `cnnkern.io.load`
            reads: `.npz`, safetensors, `.pth` or `.pt`.
        seed: an int or generator for the initial values; None for the default generator (`cnnkern.manual_seed`).
        rename: makes the model's names of the names that other libraries and older versions gave the weights.

    Raises:
        ValueError: names or shapes of the weights do not fit the model.
    """
    if weights is None:
        with init.seeded(seed):
            return factory()
    with init.skipped():
        model = factory()
    given = isinstance(weights, Mapping)
    state = weights if isinstance(weights, Mapping) else _read(weights)
    state = state if rename is None else rename(state, model)
    if given:
        model.load_state_dict(state)
    else:
        model._adopt_state_dict(state)
    return model


def _read(weights: str | os.PathLike[str]) -> Mapping[str, Any]:
    from cnnkern import io

    return io.load(weights)
