# SPDX-License-Identifier: BSD-3-Clause
"""The process's random state: a NumPy generator for initial weights and a counter for dropout."""

from __future__ import annotations

import operator
import threading

import numpy as np

_lock = threading.Lock()
_seed = 0
_step = 0
_generator: np.random.Generator | None = None  # made at first use: numpy.random is slow to import


def manual_seed(seed: int) -> None:
    """Begin all random sequences of the library again from `seed` (an integer, 0 .. 2^64 - 1)."""
    global _seed, _step, _generator
    try:
        value = operator.index(seed)
    except TypeError:
        raise TypeError(f"manual_seed: seed must be an integer, found {seed!r}") from None
    if not 0 <= value < 2**64:
        raise ValueError(f"manual_seed: seed must be in 0 .. 2**64 - 1, found {value}")
    with _lock:
        _seed, _step, _generator = value, 0, np.random.default_rng(value)


def generator() -> np.random.Generator:
    """The generator of initial weights; seeded by the operating system until `manual_seed` is called."""
    global _generator
    with _lock:
        if _generator is None:
            _generator = np.random.default_rng()
        return _generator


def next_key() -> tuple[int, int]:
    """(seed, step) of the next random operation outside a trace, 32 bits each; step counts up."""
    global _step
    with _lock:
        _step = (_step + 1) & 0xFFFFFFFF
        return (_seed ^ (_seed >> 32)) & 0xFFFFFFFF, _step
