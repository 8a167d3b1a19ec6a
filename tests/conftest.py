# SPDX-License-Identifier: BSD-3-Clause
"""Options of the test suite, the switch of instruction sets and threads, and the count of cases that ran."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import cnnkern

_MOST_FAILURES_SHOWN = 12


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("cnnkern")
    group.addoption("--full", action="store_true", help="run all generated cases, not a seeded twentieth")
    group.addoption("--seed", type=int, default=0, help="seed of the generated cases and of all values (default: 0)")
    group.addoption("--case", help="run one case, as a failure prints it: 'conv2d:1x3x8x8,...@avx2/direct/blocked/3'")
    group.addoption("--draw", type=int, help="run one draw of test_like_torch, as a failure prints it")


class Tally:
    """What ran: printed at the end, so that nothing is left out in silence."""

    def __init__(self) -> None:
        self.planned: Counter[str] = Counter()  # cases per operation
        self.generated: Counter[str] = Counter()  # those of them that were generated
        self.ran: Counter[tuple[str, str]] = Counter()  # cases per operation and instruction set
        self.mistrusted: Counter[str] = Counter()
        self.runs: Counter[tuple[str, int]] = Counter()  # runs per operation and number of threads
        self.algorithms: dict[str, set[str]] = {}
        self.notes: list[str] = []  # of other tests that count what they try

    def lines(self) -> Iterator[str]:
        isas = sorted({isa for _, isa in self.ran}, key=("scalar", "avx2", "avx512").index)
        threads = sorted({count for _, count in self.runs})
        head = [*isas, *(f"{count} thr" for count in threads)]
        yield (
            f"{'operation':<26}{'cases':>7}{'generated':>11}"
            + "".join(f"{name:>9}" for name in head)
            + "  mistrusted  algorithms"
        )
        for op in self.planned:
            counts = [*(self.ran[op, isa] for isa in isas), *(self.runs[op, count] for count in threads)]
            row = f"{op:<26}{self.planned[op]:>7}{self.generated[op]:>11}" + "".join(f"{count:>9}" for count in counts)
            yield f"{row}{self.mistrusted[op]:>12}  {' '.join(sorted(self.algorithms.get(op, ())))}"
            for isa in isas:
                if self.ran[op, isa] != self.planned[op]:
                    yield f"  {op}: {self.planned[op] - self.ran[op, isa]} cases did NOT run on {isa}"


_TALLY = pytest.StashKey[Tally]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_TALLY] = Tally()
    # Child processes import the package that is tested here, which need not be the source tree that they start in.
    os.environ["PYTHONSAFEPATH"] = "1"
    os.environ["PYTHONPATH"] = str(Path(cnnkern.__file__).parents[1])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    only = bool(config.getoption("--case"))
    items[:] = [item for item in items if only == (item.name == "test_given_case")]


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    tally = config.stash[_TALLY]
    for note in tally.notes:
        terminalreporter.write_line(note)
    if not tally.planned:
        return
    from cnnkern import _core

    share = "all generated cases" if config.getoption("--full") else "a seeded twentieth of the generated cases"
    terminalreporter.section("cases")
    terminalreporter.write_line(
        f"every row and {share} (seed {config.getoption('--seed')}); cases per instruction set, runs per threads"
    )
    for line in tally.lines():
        terminalreporter.write_line(line)
    for isa in _core.isas_built():
        if isa not in _core.isas():
            terminalreporter.write_line(f"{isa}: built, but this machine cannot run it")


@pytest.fixture(scope="session")
def tally(pytestconfig: pytest.Config) -> Tally:
    return pytestconfig.stash[_TALLY]


@pytest.fixture(scope="session")
def full(pytestconfig: pytest.Config) -> bool:
    return bool(pytestconfig.getoption("--full"))


@pytest.fixture(scope="session")
def seed(pytestconfig: pytest.Config) -> int:
    return int(pytestconfig.getoption("--seed"))


@pytest.fixture
def core() -> Iterator[Any]:
    """The compiled module; instruction set and threads are put back afterwards."""
    from cnnkern import _core

    isa = _core.isa()
    yield _core
    _core.set_isa(isa)
    _core.set_num_threads(0)
    _core.set_worth_a_thread(-1)


@pytest.fixture
def divided(core: Any) -> Any:
    """The compiled module, dividing even the smallest work among all threads."""
    core.set_worth_a_thread(0)
    return core


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "isa" in metafunc.fixturenames:
        from cnnkern import _core

        metafunc.parametrize("isa", _core.isas(), indirect=True)


@pytest.fixture
def isa(request: pytest.FixtureRequest, core: Any) -> str:
    """Each instruction set of the machine in turn, active during the test."""
    core.set_isa(request.param)
    assert core.isa() == request.param
    return str(request.param)


class Failures:
    """Collects failures of many cases in one test; fails with the first ones, each with its reproduction."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def add(self, case: str, message: str) -> None:
        self._lines.append(f"{message}\n    pytest tests/test_kernels.py --case '{case}'")

    def add_without_case(self, message: str) -> None:
        """A failure that the test itself has to repeat."""
        self._lines.append(message)

    @property
    def many(self) -> bool:
        return len(self._lines) >= _MOST_FAILURES_SHOWN

    def report(self, of: int) -> None:
        if self._lines:
            count = f"{len(self._lines)}{' or more' if self.many else ''} failures in {of} cases"
            pytest.fail("\n".join([count, *self._lines]), pytrace=False)


@pytest.fixture
def failures() -> Failures:
    return Failures()
