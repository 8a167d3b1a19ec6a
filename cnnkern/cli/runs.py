# SPDX-License-Identifier: BSD-3-Clause
"""A run's folder: what was trained, on what, and how its weights are used again."""

from __future__ import annotations

import inspect
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cnnkern import io, models
from cnnkern.cli.data_sets import DataSet, Pictures
from cnnkern.nn import Module, init

DESCRIPTION, CHECKPOINT, BEST, TABLE = "run.json", "last.ckpt", "best.npz", "log.csv"
_KEYS = {"model": str, "options": dict, "data": str, "classes": list, "channels": int, "pictures": dict}


@dataclass
class Run:
    """A model by its builder's name and options, the data by its name, the classes, the pictures that it takes."""

    model: str
    options: dict[str, Any]
    data: str
    classes: list[str]
    channels: int
    pictures: Pictures

    def build(self, weights: Any = None, seed: int | None = None) -> Any:
        """The network, with given weights (a file or a mapping) or with fresh ones."""
        return models.get(self.model)(**self.options, weights=weights, seed=seed)

    def save(self, folder: Path) -> None:
        """Write the description into the run's folder."""
        (folder / DESCRIPTION).write_text(json.dumps(asdict(self), indent=2) + "\n", "utf-8")


def load(folder: str) -> Run:
    """The description of a run.

    Raises:
        ValueError, OSError: it is not there, or damaged.
    """
    path = Path(folder) / DESCRIPTION
    try:
        found = json.loads(path.read_text("utf-8"))
        if not isinstance(found, dict) or not all(isinstance(found.get(key), kind) for key, kind in _KEYS.items()):
            raise ValueError(f"expected {', '.join(_KEYS)}")
        pictures = Pictures(**found["pictures"])
        pictures.size = int(pictures.size[0]), int(pictures.size[1])
    except (ValueError, TypeError, LookupError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    return Run(**{**{key: found[key] for key in _KEYS}, "pictures": pictures})


def plan(model: str, name: str, source: DataSet, size: tuple[int, int] | None) -> Run:
    """How a model is built for a data set: as many classes and channels, and its image size where it takes one.

    Raises:
        ValueError: there is no such model, or it takes no such images.
    """
    builder, info = models.get(model), models.info(model)
    if info.resize_size is None or isinstance(info.batch()[0], tuple):
        raise ValueError(f"{model} does not take one image: its input is {info.input_shape}")
    taken = inspect.signature(builder).parameters
    options: dict[str, Any] = {"num_classes": len(source.classes)}
    if "in_channels" in taken:
        options["in_channels"] = source.channels
    elif source.channels != len(info.mean):
        raise ValueError(f"{model} takes images of {len(info.mean)} channels, {name} has {source.channels}")
    side = info.image_size
    own = (side, side) if isinstance(side, int) else side
    wanted = size or source.size or own
    if "image_size" in taken:
        options["image_size"] = wanted[0]
    elif size is None and not _takes(model, options, wanted):
        wanted = own
    colours = source.channels == 3
    pictures = Pictures(wanted, info.mean if colours else (0.0,), info.std if colours else (1.0,))
    return Run(model, options, name, source.classes, source.channels, pictures)


def _takes(model: str, options: dict[str, Any], size: tuple[int, int]) -> bool:
    with init.skipped():
        network: Module = models.get(model)(**options)
    try:
        network.summary((1, options.get("in_channels", 3), *size))
    except ValueError:
        return False
    return True


def weights(folder: str, chosen: str | None) -> dict[str, Any]:
    """The weights of a run: its best ones, or those of another file."""
    return io.load(chosen or Path(folder) / BEST)
