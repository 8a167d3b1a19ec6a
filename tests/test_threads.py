# SPDX-License-Identifier: BSD-3-Clause
"""Threads and instruction sets: bits that do not depend on their number, many callers, forks, the environment."""

import ctypes
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cnnkern
from cnnkern import functional as F

Array = np.ndarray[Any, Any]

_COUNTS = (1, 2, 3, 7)
_ROOT = Path(cnnkern.__file__).resolve().parents[1]


def _numbers(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def _bytes(result: Any) -> bytes:
    parts = result if isinstance(result, tuple) else (result,)
    return b"".join(np.ascontiguousarray(part).tobytes() for part in parts)


def _operations() -> dict[str, Callable[[], Any]]:
    """Calls that are large enough for several threads, each with a reduction that a careless split would cut."""
    x, w, dy = _numbers(4, 32, 28, 28), _numbers(48, 32, 3, 3, seed=1), _numbers(4, 48, 28, 28, seed=2)
    depthwise, one = _numbers(32, 1, 3, 3, seed=3), np.ones(32, np.float32)
    a, b = _numbers(300, 700, seed=4), _numbers(250, 700, seed=5)
    logits, target = _numbers(600, 100, seed=6), np.arange(600, dtype=np.int32) % 100
    mean, rstd = x.mean((0, 2, 3)), 1 / x.std((0, 2, 3))
    return {
        "conv2d": lambda: F.conv2d(x, w, padding=1),
        "conv2d, pointwise": lambda: F.conv2d(x, w[:, :, :1, :1].copy()),
        "conv2d, depthwise": lambda: F.conv2d(x, depthwise, padding=1, groups=32),
        "conv2d_grad_input": lambda: F.conv2d_grad_input(x.shape, w, dy, padding=1),
        "conv2d_grad_weight": lambda: F.conv2d_grad_weight(x, w.shape, dy, padding=1),
        "conv2d_grad_bias": lambda: F.conv2d_grad_bias(dy),
        "linear": lambda: F.linear(a, b),
        "linear_grad_weight": lambda: F.linear_grad_weight(a, _numbers(300, 250, seed=7)),
        "max_pool2d": lambda: F.max_pool2d(x, 3, 2, 1, return_indices=True),
        "avg_pool2d": lambda: F.avg_pool2d(x, 3, 2, 1),
        "global average": lambda: F.adaptive_avg_pool2d(x, 1),
        "batch_norm in training": lambda: F.batch_norm(x, None, None, one, one, training=True),
        "batch_norm_grad": lambda: F.batch_norm_grad(x[::-1].copy(), x, mean, rstd, one),
        "softmax": lambda: F.softmax(logits, 1),
        "cross_entropy": lambda: F.cross_entropy(logits, target),
        "sigmoid": lambda: F.sigmoid(x),
        "add, broadcast": lambda: F.add(x, _numbers(32, 1, 1)),
        "dropout": lambda: F.dropout(x, 0.5, True),
    }


@pytest.mark.parametrize("name", _operations())
def test_bits_do_not_depend_on_the_number_of_threads(name: str, isa: str, divided: Any) -> None:
    call = _operations()[name]
    results = []
    for count in _COUNTS:
        cnnkern.set_num_threads(count)
        cnnkern.manual_seed(3)
        results.append(_bytes(call()))
    assert results[0] and all(result == results[0] for result in results)


def test_training_gives_the_same_bits_for_any_number_of_threads(isa: str, divided: Any) -> None:
    """Five steps of a small network with batch norm, dropout and momentum: parameters, statistics and losses."""
    from cnnkern import nn, train

    x, y = _numbers(40, 1, 8, 8), np.arange(40) % 10
    results = []
    for count in _COUNTS:
        cnnkern.set_num_threads(count)
        cnnkern.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(1, 6, 3, padding=1),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 10, 3),
            nn.ReLU(),
            nn.Flatten(),
            nn.Dropout(0.3),
            nn.Linear(40, 10),
        )
        optimizer = train.SGD(lr=0.1, momentum=0.9)
        history = train.fit(model, (x, y), epochs=1, batch_size=8, optimizer=optimizer, seed=1)
        state = model.state_dict()
        bits = b"".join(np.asarray(state[key]).tobytes() for key in sorted(state))
        results.append((repr(history.history["loss"]), bits))
    assert len(results[0][1]) > 4000 and all(result == results[0] for result in results)


def test_python_threads_may_call_at_once(divided: Any) -> None:
    """Results are those of one caller alone; a caller that finds the pool busy computes by itself."""
    divided.set_num_threads(3)
    x = [_numbers(1, 16, 20, 20, seed=i) for i in range(4)]
    w = _numbers(16, 16, 3, 3, seed=9)
    alone = [F.conv2d(value, w, padding=1) for value in x]
    wrong: list[str] = []

    def work(i: int) -> None:
        for repeat in range(60):
            if not np.array_equal(F.conv2d(x[i], w, padding=1), alone[i]):
                wrong.append(f"caller {i}, repeat {repeat}")

    callers = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(60)
    assert not any(caller.is_alive() for caller in callers)
    assert not wrong


def test_another_thread_may_change_the_number_of_threads(divided: Any) -> None:
    x, w = _numbers(1, 16, 20, 20), _numbers(16, 16, 3, 3, seed=9)
    want = F.conv2d(x, w, padding=1)
    stop = threading.Event()

    def change() -> None:
        count = 0
        while not stop.is_set():
            count = count % 7 + 1
            cnnkern.set_num_threads(count)

    changer = threading.Thread(target=change)
    changer.start()
    try:
        same = all(np.array_equal(F.conv2d(x, w, padding=1), want) for _ in range(100))
    finally:
        stop.set()
        changer.join(60)
    assert same


def _run(script: str, timeout: float = 60, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("CNNKERN_", "OMP_"))}
    path = os.pathsep.join([str(_ROOT), *sys.path])
    return subprocess.run(
        [sys.executable, "-c", script],
        env={**inherited, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


_FORK = """
import os, sys
import numpy as np
from cnnkern import _core, functional as F
_core.set_worth_a_thread(0)
_core.set_num_threads(3)
x, w = np.ones((2, 16, 20, 20), np.float32), np.ones((16, 16, 3, 3), np.float32)
want = F.conv2d(x, w, padding=1)
for generation in range(3):
    child = os.fork()
    if child == 0:
        same = all(np.array_equal(F.conv2d(x, w, padding=1), want) for _ in range(20))
        if generation == 2 and os.fork() == 0:  # a grandchild
            os._exit(0 if np.array_equal(F.conv2d(x, w, padding=1), want) else 1)
        if generation == 2:
            same = same and os.wait()[1] == 0
        os._exit(0 if same else 1)
    assert np.array_equal(F.conv2d(x, w, padding=1), want)  # the parent goes on meanwhile
    assert os.waitpid(child, 0)[1] == 0
print("computed")
"""


def test_children_of_a_fork_compute() -> None:
    """A hang would run into the timeout."""
    done = _run(_FORK)
    assert done.stdout == "computed\n", done.stderr


_FORK_WHILE_BUSY = """
import os, threading
import numpy as np
from cnnkern import _core, functional as F
_core.set_worth_a_thread(0)
_core.set_num_threads(2)
x, w = np.ones((1, 16, 12, 12), np.float32), np.ones((16, 16, 3, 3), np.float32)
want = F.conv2d(x, w, padding=1)
stop = threading.Event()
def work():
    while not stop.is_set():
        F.conv2d(x, w, padding=1)
worker = threading.Thread(target=work)
worker.start()
codes = []
for _ in range(10):
    child = os.fork()
    if child == 0:
        os._exit(0 if np.array_equal(F.conv2d(x, w, padding=1), want) else 1)
    codes.append(os.waitpid(child, 0)[1])
stop.set()
worker.join()
print(codes)
"""


def test_a_fork_while_another_thread_computes() -> None:
    done = _run("import warnings; warnings.simplefilter('ignore', DeprecationWarning)" + _FORK_WHILE_BUSY)
    assert done.stdout == f"{[0] * 10}\n", done.stderr


class _Environment(ctypes.Structure):
    """glibc's fenv_t on x86-64: the x87 environment, then MXCSR."""

    _fields_ = [("x87", ctypes.c_uint32 * 7), ("mxcsr", ctypes.c_uint32)]


def _floating_point_control() -> int:
    """MXCSR of this thread without its sticky exception flags."""
    environment = _Environment()
    assert ctypes.CDLL("libm.so.6").fegetenv(ctypes.byref(environment)) == 0
    return int(environment.mxcsr) & ~0x3F


def test_the_callers_floating_point_state_is_restored(isa: str, divided: Any) -> None:
    """Denormals are flushed inside a call, and only there."""
    libm, upward = ctypes.CDLL("libm.so.6"), 0x800
    tiny = np.full((2, 20, 9, 9), 1e-40, np.float32)
    for count in (1, 3):
        divided.set_num_threads(count)
        before = _floating_point_control()
        assert not before & 0x8040, "denormals are flushed before the first call"
        assert not F.add(tiny, tiny).any()
        assert _floating_point_control() == before
        assert (tiny + tiny).all()
        assert libm.fesetround(upward) == 0
        try:
            F.add(tiny, tiny)
            changed = _floating_point_control()
        finally:
            libm.fesetround(0)
        assert changed == before | 0x4000  # rounding up is the caller's choice, and still is


_FORCED = """
import numpy as np
from cnnkern import _core, functional as F
x, w = np.arange(2 * 3 * 6 * 6, dtype=np.float32).reshape(2, 3, 6, 6), np.ones((4, 3, 3, 3), np.float32)
print(_core.isa(), float(F.conv2d(x, w).sum()))
"""


def test_the_environment_forces_an_instruction_set(core: Any) -> None:
    want = sum(  # each of the 3 x 3 taps of 4 filters sees a 4 x 4 window of every channel
        4 * np.arange(216.0).reshape(2, 3, 6, 6)[:, :, r : r + 4, s : s + 4].sum() for r in range(3) for s in range(3)
    )
    for name in core.isas():
        assert _run(_FORCED, CNNKERN_ISA=name).stdout == f"{name} {want}\n"


def test_without_the_environment_the_widest_instruction_set_is_used(core: Any) -> None:
    assert _run("from cnnkern import _core; print(_core.isa())").stdout.strip() == core.isas()[-1]


def test_an_unknown_instruction_set_is_a_clear_error(core: Any) -> None:
    done = _run("import cnnkern.functional", CNNKERN_ISA="sse9")
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: ") and "CNNKERN_ISA" in last and "sse9" in last
    assert all(name in last for name in core.isas()), "the message names those that can be used"
    with pytest.raises(ValueError, match="sse9"):
        core.set_isa("sse9")


_COUNT = "import cnnkern; from cnnkern import _core; print(cnnkern.get_num_threads(), _core.thread_rule())"


@pytest.mark.parametrize(
    ("environment", "count", "rule"),
    [
        ({"CNNKERN_NUM_THREADS": "3"}, 3, "CNNKERN_NUM_THREADS"),
        ({"OMP_NUM_THREADS": "5"}, 5, "OMP_NUM_THREADS"),
        ({"OMP_NUM_THREADS": "4,2"}, 4, "OMP_NUM_THREADS"),
        ({"CNNKERN_NUM_THREADS": "2", "OMP_NUM_THREADS": "5"}, 2, "CNNKERN_NUM_THREADS"),
        ({"CNNKERN_NUM_THREADS": "many", "OMP_NUM_THREADS": "5"}, 5, "OMP_NUM_THREADS"),
        ({"CNNKERN_NUM_THREADS": "0", "OMP_NUM_THREADS": "5"}, 5, "OMP_NUM_THREADS"),
    ],
)
def test_threads_from_the_environment(environment: dict[str, str], count: int, rule: str) -> None:
    assert _run(_COUNT, **environment).stdout.strip() == f"{count} {rule}"


def test_set_num_threads_is_stronger_than_the_environment() -> None:
    script = "import cnnkern; cnnkern.set_num_threads(4); print(cnnkern.get_num_threads()); cnnkern.show_config()"
    done = _run(script, CNNKERN_NUM_THREADS="2")
    assert done.stdout.startswith("4\n") and "threads: 4 (set_num_threads)" in done.stdout


def test_a_block_with_other_threads() -> None:
    before = cnnkern.get_num_threads()
    with cnnkern.threads(5):
        assert cnnkern.get_num_threads() == 5
    assert cnnkern.get_num_threads() == before


def _physical_cores(cpus: set[int]) -> int:
    cores = set()
    for cpu in cpus:
        path = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        cores.add(path.read_text() if path.exists() else str(cpu))
    return len(cores)


def _quota() -> int | None:
    path = Path("/sys/fs/cgroup/cpu.max")
    if not path.exists():
        return None
    quota, period = path.read_text().split()
    return None if quota == "max" else max(1, int(quota) // int(period))


def test_threads_without_the_environment_follow_cores_and_quota() -> None:
    cores = _physical_cores(os.sched_getaffinity(0))
    quota = _quota()
    assert int(_run(_COUNT).stdout.split()[0]) == min(cores, cores if quota is None else quota)


def test_threads_follow_the_affinity_mask() -> None:
    cpu = min(os.sched_getaffinity(0))
    done = _run(f"import os; os.sched_setaffinity(0, {{{cpu}}}); {_COUNT}")
    assert done.stdout.split()[0] == "1"
