# SPDX-License-Identifier: BSD-3-Clause
"""Fast convolutional networks on the CPU: NumPy arrays in, NumPy arrays out.

- `from cnnkern import functional as F`: operations on arrays, with torch.nn.functional's names
- `from cnnkern import nn, models, train, data, io`: layers, networks, training, data sets, weight files
- `cnnkern.compile(model, input_shape)`: a model as one planned call
"""

import importlib
from typing import TYPE_CHECKING, Any

try:
    import cnnkern._core  # noqa: F401
except ModuleNotFoundError as error:
    raise ImportError(
        "cnnkern's compiled core cannot be found. In the source tree build it with `pip install .`, or in place with "
        "`tools/build`; both need a C++20 compiler."
    ) from error

from cnnkern._version import __version__

if TYPE_CHECKING:
    from cnnkern import data, functional, io, models, nn, train
    from cnnkern._config import get_num_threads, set_num_threads, show_config, threads
    from cnnkern._random import manual_seed
    from cnnkern.engine.compile import Engine, compile
    from cnnkern.graph import Symbol
    from cnnkern.io import FormatError
    from cnnkern.nn import count_macs
    from cnnkern.train import value_and_grad

__all__ = [
    "Engine",
    "FormatError",
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
    "FormatError": "io",
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
