# SPDX-License-Identifier: BSD-3-Clause
"""The list of models, and what every builder does with `weights` and `seed`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np

from cnnkern.nn import Module, init

Weights = str | os.PathLike[str] | Mapping[str, Any] | None
Builder = TypeVar("Builder", bound=Callable[..., Module])
Model = TypeVar("Model", bound=Module)

_builders: dict[str, Callable[..., Module]] = {}


def register(builder: Builder) -> Builder:
    """Decorator: enter a builder under its own name."""
    name = builder.__name__
    if name in _builders:
        raise ValueError(f"models: a model named {name!r} exists already")
    _builders[name] = builder
    return builder


def list_models() -> list[str]:
    """The names of all models, sorted."""
    return sorted(_builders)


def get(name: str) -> Callable[..., Module]:
    """The builder of that name.

    Raises:
        ValueError: there is none; the message lists those that exist.
    """
    if name not in _builders:
        raise ValueError(f"models: no model named {name!r}; there are {', '.join(list_models())}")
    return _builders[name]


def build(factory: Callable[[], Model], weights: Weights, seed: init.Rng) -> Model:
    """Construct a model: with weights drawn from `seed`, or, if `weights` is given, with those.

    Args:
        factory: constructs the model.
        weights: None, a mapping from state-dict names to arrays, or the path of an `.npz` file with such names.
        seed: an int or generator for the initial values; None for the default generator (`cnnkern.manual_seed`).

    Raises:
        ValueError: names or shapes of the weights do not fit the model.
    """
    if weights is None:
        with init.seeded(seed):
            return factory()
    with init.skipped():
        model = factory()
    model.load_state_dict(_read(weights))
    return model


def _read(weights: str | os.PathLike[str] | Mapping[str, Any]) -> Mapping[str, Any]:
    if isinstance(weights, Mapping):
        return weights
    path = os.fspath(weights)
    if not path.endswith(".npz"):
        raise ValueError(f"weights: expected an .npz file, found {path!r}")
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}
