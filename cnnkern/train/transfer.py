# SPDX-License-Identifier: BSD-3-Clause
"""Transfer learning: a network that knows one task learns another, by three recipes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from cnnkern.data.loader import as_float
from cnnkern.nn.module import Module, observed, require_module
from cnnkern.train.batches import Batches
from cnnkern.train.callback import History
from cnnkern.train.fit import fit
from cnnkern.train.step import Inference

Array = npt.NDArray[Any]


def transfer(
    model: Any,
    train_data: Any,
    validation_data: Any = None,
    *,
    num_classes: int | None = None,
    unfreeze: str | Sequence[str] = "head",
    seed: int = 0,
    **options: Any,
) -> History:
    """Train a network from given weights on a new task.

    - `unfreeze="head"`, where data are few and like the old ones: a new classifier on frozen features. The features are
      computed once; every epoch then takes a fraction of a second. Layers before the head that are random in training
      (dropout) do nothing.
    - `unfreeze=["layer4"]`, where data are more, or less alike: these blocks and the head learn, all others are frozen,
      the statistics of their batch normalizations too.
    - `unfreeze="all"`: everything learns, from the given weights. Take a smaller learning rate than from scratch, or a
      smaller one for the lower layers: `SGD(0.01, groups={"conv1": {"lr_scale": 0.1}})`.

    Modules that are frozen stay so afterwards: `model.trainable = True` thaws them.

    Args:
        model: a network of `cnnkern.models`, with weights; changed in place.
        train_data, validation_data: as of `fit`.
        num_classes: where given, a new head of so many outputs is put in first (`replace_head`).
        unfreeze: see above; names as of `model.named_modules()`.
        seed: of the new head, shuffling and dropout.
        options: of `fit`: epochs, optimizer, callbacks, ...

    Raises:
        ValueError: a name that is no module; a model without a head.
    """
    if not getattr(require_module("transfer", model), "heads", ()):
        raise ValueError(f"transfer: {type(model).__name__} has no head; give it `heads`, the names of its last layers")
    if num_classes is not None:
        model.replace_head(num_classes, seed=seed)
    if unfreeze == "all":
        model.trainable = True
        return fit(model, train_data, validation_data, seed=seed, **options)
    if unfreeze == "head":
        freeze_but(model, model.heads)
        data = features(model, train_data)
        held_out = None if validation_data is None else features(model, validation_data)
        return fit(model.head, data, held_out, seed=seed, **options)
    if isinstance(unfreeze, str):
        raise ValueError(f'transfer: unfreeze must be "head", "all" or a list of names, found {unfreeze!r}')
    freeze_but(model, [*unfreeze, *model.heads])
    return fit(model, train_data, validation_data, seed=seed, **options)


def freeze_but(model: Module, names: Sequence[str]) -> None:
    """Freeze a model except for the modules of these names and all below them.

    Raises:
        ValueError: there is no module of that name.
    """
    modules = dict(model.named_modules())
    unknown = [name for name in names if name not in modules]
    if unknown:
        shown = ", ".join(list(modules)[1:12])
        raise ValueError(f"freeze_but: no module named {', '.join(map(repr, unknown))}; there are {shown}, ...")
    model.trainable = False
    for name in names:
        modules[name].trainable = True


class _BeforeHead(Module):
    """What the head of a model gets."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def forward(self, *inputs: Any) -> Any:
        head = self.model.head
        found: list[Any] = []

        def look(module: Module, event: str, given: tuple[Any, ...], outputs: Any) -> None:
            if module is head and event == "enter":
                found.extend(given)

        with observed(look):
            self.model(*inputs)
        return found[0]


def features(model: Any, data: Any, batch_size: int = 64) -> tuple[Array, Array]:
    """What the head of a model gets for every example, in evaluation mode, and the targets: data for a head alone.

    Args:
        model: a network of `cnnkern.models`; not changed.
        data: as of `fit`; taken in order.

    Returns:
        features (N, ...) float32, targets (N, ...).
    """
    inference = Inference(_BeforeHead(require_module("features", model)))
    values, targets = [], []
    for inputs, wanted in Batches("data", data, batch_size, False, 0).epoch(0):
        values.append(np.array(inference(tuple(as_float(array) for array in inputs))))
        targets.append(wanted)
    return np.concatenate(values), np.concatenate(targets)
