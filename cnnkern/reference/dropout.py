# SPDX-License-Identifier: BSD-3-Clause
"""Dropout with a counter-based generator: the mask is a function of seed, step, node and position alone.

Philox-4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011) turns a counter of four 32-bit
words and a key of two into four random words. Element i, counted in C order, uses word i % 4 of counter (i // 4, step,
0) under key (seed, node); so any thread can make any part of the mask, and the backward pass makes the same mask again.
"""

import math

import numpy as np

from ._array import Array, real

_LOW = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)
_MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_KEY_STEPS = 0x9E3779B9, 0xBB67AE85  # the golden ratio and sqrt(3) - 1, in 32 bits
_ROUNDS = 10


def philox(counter: Array, key: tuple[int, int]) -> Array:
    """counter (..., 4) and key, words of 32 bits -> random words (..., 4), all as uint64."""
    c0, c1, c2, c3 = np.moveaxis(np.asarray(counter, np.uint64), -1, 0)
    for i in range(_ROUNDS):
        k0, k1 = (np.uint64((k + i * step) & 0xFFFFFFFF) for k, step in zip(key, _KEY_STEPS, strict=True))
        product0, product1 = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1, c2, c3 = (
            (product1 >> _SHIFT) ^ c1 ^ k0,
            product1 & _LOW,
            (product0 >> _SHIFT) ^ c3 ^ k1,
            product0 & _LOW,
        )
    return np.stack([c0, c1, c2, c3], axis=-1)


def uniform(rng: Array, *, shape: tuple[int, ...], dtype: str = "float64", node: int = 0) -> Array:
    """rng int32 (1, 2): seed and step -> numbers of [0, 1) of that shape, multiples of 2^-24."""
    seed, step = (int(word) & 0xFFFFFFFF for word in np.asarray(rng).ravel())
    count = math.prod(shape)
    block = np.arange(-(-count // 4), dtype=np.uint64)
    counter = np.stack([block & _LOW, block >> _SHIFT, np.full_like(block, step), np.zeros_like(block)], axis=-1)
    words = philox(counter, (seed, node & 0xFFFFFFFF)).ravel()[:count]
    return np.asarray((words >> np.uint64(8)) * 2.0**-24, dtype).reshape(shape)


def dropout_mask(count: int, rng: Array, *, p: float, node: int = 0) -> Array:
    """rng int32 (1, 2): seed and step -> bool (count): which elements are kept."""
    return np.asarray(uniform(rng, shape=(count,), node=node) >= np.float32(p))


@np.errstate(invalid="ignore")
def dropout(x: Array, rng: Array, *, p: float, node: int = 0) -> Array:
    """x of any shape, rng int32 (1, 2) -> y = mask * x / (1 - p). Also its own gradient, applied to dy."""
    x = real(x)
    keep = dropout_mask(x.size, rng, p=p, node=node).reshape(x.shape)
    scale = 1 / (1 - float(np.float32(p))) if np.float32(p) < 1 else 0.0
    return x * (keep * scale)
