# SPDX-License-Identifier: BSD-3-Clause
"""The self-test covers every operation, notices a wrong result, and says what to do."""

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import cnnkern
from cnnkern import _core, cli, graph, reference, selftest
from cnnkern.selftest import cases

WITHOUT_KERNEL = {"reshape"}


def some(*ops: str) -> Any:
    def part(values: cases.Values) -> Iterator[cases.Case]:
        return (case for _, make in cases.PARTS for case in make(values) if case.op in ops)

    return (("Some operations", part),)


def run() -> tuple[bool, str]:
    stream = io.StringIO()
    return selftest.run(stream), stream.getvalue()


def test_every_operation_has_cases() -> None:
    values = selftest._values(0, False)
    covered = {case.op for _, make in cases.PARTS for case in make(values)}
    assert covered == set(graph.OPS) - WITHOUT_KERNEL


def test_the_whole_command_passes(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["selftest"]) == 0, capsys.readouterr().out
    assert f"All is right: {len(set(graph.OPS) - WITHOUT_KERNEL)} operations" in capsys.readouterr().out


def test_right_kernels_pass(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(selftest, "PARTS", some("relu", "conv2d", "softmax", "adam_step"))
    before = _core.isa(), cnnkern.get_num_threads()
    assert cli.main(["selftest"]) == 0
    assert (_core.isa(), cnnkern.get_num_threads()) == before
    text = capsys.readouterr().out
    assert "All is right: 4 operations" in text and "FAILED" not in text
    for isa in _core.isas():
        assert isa in text
    for algorithm in ("im2col", "direct", "pointwise", "depthwise"):
        assert algorithm in text


def test_wrong_result_is_noticed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(selftest, "PARTS", some("relu", "tanh"))
    monkeypatch.setattr(reference, "tanh", lambda x: np.tanh(x) + 1e-4)
    assert cli.main(["selftest"]) == 1
    text = capsys.readouterr().out
    assert "FAILED: tanh (" in text
    assert "Report it" in text
    assert "CNNKERN_ISA" not in text  # no instruction set was right


def test_wrong_bits_on_one_instruction_set(monkeypatch: pytest.MonkeyPatch) -> None:
    isas = _core.isas()
    if len(isas) == 1:
        pytest.skip("this machine has the scalar kernels alone")
    launch = _core.launch

    def wrong_on_the_widest(op: str, attrs: Any, args: Any, algorithm: str = "") -> str:
        used: str = launch(op, attrs, args, algorithm)
        if _core.isa() == isas[-1]:
            args[-1].flat[0] += 1
        return used

    monkeypatch.setattr(selftest, "PARTS", some("multiply"))
    monkeypatch.setattr(_core, "launch", wrong_on_the_widest)
    passed, text = run()
    assert not passed
    assert f"FAILED: multiply ({isas[-1]})." in text
    assert f"CNNKERN_ISA={isas[-2]}" in text


def test_bits_that_depend_on_threads_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    launch = _core.launch

    def sloppy(op: str, attrs: Any, args: Any, algorithm: str = "") -> str:
        used: str = launch(op, attrs, args, algorithm)
        if cnnkern.get_num_threads() > 1:
            args[-1].flat[0] *= 1 + 2e-7
        return used

    monkeypatch.setattr(selftest, "PARTS", some("sigmoid"))
    monkeypatch.setattr(_core, "launch", sloppy)
    passed, text = run()
    assert not passed
    assert "other bits with 3 threads than with one" in text


def test_error_of_special_values() -> None:
    nan, inf = np.nan, np.inf
    assert selftest._error(np.array([1.0, nan]), np.array([1.0, 2.0])) == inf
    assert selftest._error(np.array([1.0, 2.0]), np.array([1.0, nan])) == inf
    assert selftest._error(np.array([1.0, inf]), np.array([1.0, -inf])) == inf
    assert selftest._error(np.array([1.0, nan, inf]), np.array([1.0, nan, inf])) == 0
    assert selftest._error(np.array([1.0, 4.0]), np.array([1.0, 5.0])) == 0.2
    assert selftest._error(np.zeros((2, 1)), np.zeros(2)) == inf
