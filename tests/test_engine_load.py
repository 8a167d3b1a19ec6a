# SPDX-License-Identifier: BSD-3-Clause
"""Whole networks under any number of threads, many callers at once, at rest, and across a fork."""

from __future__ import annotations

import os
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cnnkern
from cnnkern import models

Array = np.ndarray[Any, Any]

# One of every family: plain, residual, concatenating, depthwise, gated, shuffling.
_NETWORKS = ("alexnet", "resnet18", "googlenet", "densenet121", "mobilenet_v2", "efficientnet_b0", "shufflenet_v2_x1_0")


def _numbers(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def _engine(name: str, shape: tuple[int, ...]) -> cnnkern.engine.Engine:
    return cnnkern.compile(models.get(name)(seed=0).eval(), shape, copy=False)


@pytest.mark.parametrize("name", _NETWORKS)
def test_a_networks_bits_do_not_depend_on_the_number_of_threads(name: str, isa: str, divided: Any) -> None:
    shape = (2, 3, 79, 65)
    engine, x = _engine(name, shape), _numbers(*shape)
    found = []
    for count in (1, 2, 3, 4, 7):
        divided.set_num_threads(count)
        found.append(engine(x).tobytes())
    assert all(bits == found[0] for bits in found)


def _resident() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text("utf-8").split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no /proc")
def test_sixteen_callers_of_four_engines(full: bool, divided: Any) -> None:
    """Right answers and no growth: a minute with --full, two seconds without."""
    divided.set_num_threads(2)
    engines = [_engine(name, (1, 3, 64, 64)) for name in ("resnet18", "googlenet", "mobilenet_v2", "squeezenet1_1")]
    inputs = [_numbers(1, 3, 64, 64, seed=i) for i in range(4)]
    expected = [[engine(x) for x in inputs] for engine in engines]
    stop, wrong, calls = threading.Event(), [], [0] * 16

    def call(caller: int) -> None:
        while not stop.is_set():
            engine, x = (caller + calls[caller]) % 4, calls[caller] // 4 % 4
            if not np.array_equal(engines[engine](inputs[x]), expected[engine][x]):
                wrong.append((caller, calls[caller]))
            calls[caller] += 1

    callers = [threading.Thread(target=call, args=(i,)) for i in range(16)]
    for caller in callers:
        caller.start()
    seconds = 60 if full else 2
    time.sleep(seconds / 2)
    half = _resident()
    time.sleep(seconds / 2)
    grown = _resident() - half
    stop.set()
    for caller in callers:
        caller.join(60)
    assert not wrong
    assert min(calls) > 0
    assert grown < 32 << 20


def test_an_idle_process_uses_no_cpu(divided: Any) -> None:
    divided.set_num_threads(4)
    engine, x = _engine("squeezenet1_1", (1, 3, 64, 64)), _numbers(1, 3, 64, 64)
    used = []
    for _ in range(5):
        engine(x)
        time.sleep(0.001)
        before = time.process_time()
        time.sleep(0.05)
        used.append(time.process_time() - before)
    assert min(used) < 0.0005


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_parent_and_child_answer_after_a_fork(divided: Any) -> None:
    divided.set_num_threads(3)
    engine, x = _engine("mobilenet_v2", (1, 3, 64, 64)), _numbers(1, 3, 64, 64)
    expected = engine(x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python warns of forks beside threads
        child = os.fork()
    if child == 0:
        os._exit(0 if all(np.array_equal(engine(x), expected) for _ in range(5)) else 1)
    assert all(np.array_equal(engine(x), expected) for _ in range(5))
    assert os.waitpid(child, 0)[1] == 0
