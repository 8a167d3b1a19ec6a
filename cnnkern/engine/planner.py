# SPDX-License-Identifier: BSD-3-Clause
"""Lifetimes into one arena: tensors that are never alive at the same time may share memory."""

from __future__ import annotations

from typing import NamedTuple


class Lifetime(NamedTuple):
    """A tensor that is written in step `first` and read for the last time in step `last`."""

    tensor: int
    size: int  # bytes, a multiple of 64
    first: int
    last: int


def plan_memory(lifetimes: list[Lifetime]) -> tuple[dict[int, int], int]:
    """Offsets in bytes by tensor, and the size of the arena.

    Largest first, each at the lowest offset where nothing that lives at the same time stands: Pisarchyk and Lee,
    "Efficient memory management for deep neural net inference", 2020 (greedy by size).
    """
    placed: list[tuple[int, Lifetime]] = []
    offsets: dict[int, int] = {}
    total = 0
    for one in sorted(lifetimes, key=lambda life: (-life.size, life.first, life.tensor)):
        neighbours = sorted((o, p.size) for o, p in placed if p.first <= one.last and one.first <= p.last)
        offset = 0
        for start, size in neighbours:
            if offset + one.size <= start:
                break
            offset = max(offset, start + size)
        offsets[one.tensor] = offset
        placed.append((offset, one))
        total = max(total, offset + one.size)
    return offsets, total
