# SPDX-License-Identifier: BSD-3-Clause
"""Threads and the facts about this installation."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from contextlib import contextmanager

from cnnkern import _core
from cnnkern._version import __version__


def set_num_threads(n: int) -> None:
    """Use n threads (at least 1) from now on. The bits of results do not depend on it."""
    try:
        count = operator.index(n)
    except TypeError:
        raise TypeError(f"set_num_threads: n must be an integer, found {n!r}") from None
    if isinstance(n, bool):
        raise TypeError(f"set_num_threads: n must be an integer, found {n!r}")
    if not 1 <= count <= 1024:
        raise ValueError(f"set_num_threads: n must be in 1 .. 1024, found {count}")
    _core.set_num_threads(count)


def get_num_threads() -> int:
    """How many threads a call uses at most."""
    return _core.get_num_threads()


@contextmanager
def threads(n: int) -> Iterator[None]:
    """Use n threads inside the `with` block."""
    before = get_num_threads()
    set_num_threads(n)
    try:
        yield
    finally:
        _core.set_num_threads(before)


def show_config() -> None:
    """Print version, compiler, instruction sets (built, found on this machine, active) and threads."""
    info = _core.build_info()
    print(f"version: {__version__}")
    print(f"compiler: {info['compiler']}")
    print(f"instruction sets built: {', '.join(_core.isas_built())}")
    print(f"instruction sets found: {', '.join(_core.isas())}")
    print(f"instruction set active: {_core.isa()}")
    print(f"threads: {get_num_threads()} ({_core.thread_rule()})")
