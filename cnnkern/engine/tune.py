# SPDX-License-Identifier: BSD-3-Clause
"""Choosing algorithms by the clock: every layer's candidates are timed inside the running network, in turns.

Timed alone a layer finds its data in other caches than in the network, and the sum of the best layers is a time that
the network never reaches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from cnnkern.engine.freeze import Frozen
from cnnkern.engine.options import expanded
from cnnkern.graph import Array

_SECONDS = 0.5  # of runs for each set of candidates
_GAIN = 0.97  # what is not faster by more than noise stays as predicted


def tuned_algorithms(plan: Callable[[Mapping[str, str]], Frozen], arrays: list[Array], threads: int) -> dict[str, str]:
    """The algorithms to give to layers whose predicted choice is not the fastest.

    plan makes a plan with the given algorithms; arrays are its inputs. Shows a progress bar where tqdm is installed.
    """
    base = plan({})
    options = {step.layer: [name for name, _ in step.alternatives] for step in base.steps if step.multiply_adds}
    most = max((len(names) for names in options.values()), default=0)
    sets = [{label: names[min(rank, len(names) - 1)] for label, names in options.items()} for rank in range(most)]
    plans = [base, *(plan(chosen) for chosen in sets[1:])]
    times = [_by_layer(frozen, median) for frozen, median in zip(plans, _medians(plans, arrays, threads), strict=True)]
    chosen = {}
    for label, names in options.items():
        # An algorithm that several plans have in common counts by its best time: only another one can be faster.
        fastest = {
            name: min(_taken(time, label) for given, time in zip(sets, times, strict=True) if given[label] == name)
            for name in names
        }
        best = min(names, key=lambda name: fastest[name])
        if fastest[best] < _GAIN * fastest[names[0]]:
            chosen[label] = best
    if not chosen:
        return {}
    pair = _medians([base, plan(chosen)], arrays, threads)
    return chosen if pair[1].sum() < pair[0].sum() else {}


def _taken(by_layer: dict[str, float], label: str) -> float:
    """The time of a layer, or of several that are one step in some plans and apart in others."""
    return by_layer[label] if label in by_layer else sum(by_layer[name] for name in expanded(label))


def _medians(plans: list[Frozen], arrays: list[Array], threads: int) -> list[Array]:
    """Median nanoseconds of every step of each plan. The plans take turns, so that drift of the clock hits all."""
    first = [sum(frozen.run(arrays, threads, profile=True)[1]) * 1e-9 for frozen in plans]
    rounds = int(np.clip(_SECONDS * len(plans) / max(sum(first), 1e-9), 5, 50))
    runs: list[list[Any]] = [[] for _ in plans]
    for _ in _progress(rounds):
        for frozen, found in zip(plans, runs, strict=True):
            found.append(frozen.run(arrays, threads, profile=True)[1])
    return [np.median(found, axis=0) for found in runs]


def _progress(rounds: int) -> Iterable[int]:
    try:
        from tqdm import tqdm
    except ImportError:
        return range(rounds)
    return tqdm(range(rounds), desc="tuning", unit="round", leave=False)  # type: ignore[no-any-return]


def _by_layer(frozen: Frozen, nanoseconds: Array) -> dict[str, float]:
    """The time of each layer, its reorders included."""
    total: dict[str, float] = {}
    for step, time in zip(frozen.steps, nanoseconds, strict=True):
        total[step.layer] = total.get(step.layer, 0.0) + float(time)
    return total
