# SPDX-License-Identifier: BSD-3-Clause
"""Fast convolutional networks on the CPU: NumPy arrays in, NumPy arrays out.

from cnnkern import functional as F      operations on arrays, as torch.nn.functional has them
from cnnkern import nn, models, train    layers, networks, training
engine = cnnkern.compile(model, (1, 3, 224, 224)); y = engine(x)
"""

import importlib
from typing import TYPE_CHECKING, Any

from cnnkern._version import __version__

if TYPE_CHECKING:
    from cnnkern import data, functional, io, models, nn, train
    from cnnkern._config import get_num_threads, set_num_threads, show_config, threads
    from cnnkern._random import manual_seed
    from cnnkern.engine import Engine, compile
    from cnnkern.graph import Symbol
    from cnnkern.nn import count_macs
    from cnnkern.train import value_and_grad

__all__ = [
    "Engine",
    "Symbol",
    "__version__",
    "compile",
    "count_macs",
    "data",
    "functional",
    "get_num_threads",
    "io",
    "manual_seed",
    "models",
    "nn",
    "set_num_threads",
    "show_config",
    "threads",
    "train",
    "value_and_grad",
]

# Loaded at first use: a program that only convolves does not pay for models and training.
_MODULES = ("data", "engine", "functional", "graph", "io", "models", "nn", "reference", "train")
_HOMES = {
    "Engine": "engine",
    "Symbol": "graph",
    "compile": "engine",
    "count_macs": "nn",
    "get_num_threads": "_config",
    "manual_seed": "_random",
    "set_num_threads": "_config",
    "show_config": "_config",
    "threads": "_config",
    "value_and_grad": "train",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"cnnkern.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'cnnkern' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"cnnkern.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
