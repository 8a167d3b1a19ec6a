# SPDX-License-Identifier: BSD-3-Clause
"""The tests of kernels are themselves able to fail, and their generators draw what they promise."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
import running
from bounds import excess, terms
from case import make, parse
from cases import CONV_DIRECTIONS, OPS, ROWS, cases, rows
from generators import GENERATORS, generated
from running import Guarded, Planned, Running, Way, Wrong
from test_kernels import _compare, _draw, _mismatch
from values import EXACT, expected, inputs, trusted

POOLS = [op for op in OPS if "pool2d" in op]


@pytest.mark.parametrize("op", OPS)
def test_a_case_is_its_name(op: str) -> None:
    every = [*rows(op), *generated(op, 3, 30)]
    for case in every:
        assert parse(str(case)) == case
    assert len(set(map(str, rows(op)))) == len(rows(op)), "a row stands twice"


def test_there_are_enough_cases() -> None:
    assert all(GENERATORS[op][1] >= 2000 for op in (*CONV_DIRECTIONS, *POOLS, "matmul"))
    assert all(rows(op) for op in OPS)
    for op in OPS:
        assert len(cases(op, 0, False)) >= len(rows(op)) + GENERATORS[op][1] // 20
    assert {case.op for case in ROWS} == set(OPS)


def test_generated_convolutions_meet_every_edge() -> None:
    """Sizes around vectors, strides, paddings up to the kernel, dilations, groups, no image at all."""
    seen: dict[str, Counter[Any]] = {
        key: Counter() for key in ("h", "c", "o", "stride", "dilation", "groups", "pad", "n")
    }
    for case in generated("conv2d", 0):
        x, w = case.shapes[0], case.shapes[1]
        assert x is not None and w is not None
        groups = case.attrs["groups"]
        depthwise = groups == x[1] and groups > 1
        for key, value in {"h": x[2], "c": x[1], "o": w[0], "n": x[0]}.items():
            seen[key][value] += 1
        for key in ("stride", "dilation"):
            seen[key].update(case.attrs[key])
        seen["groups"]["depthwise" if depthwise else min(groups, 3)] += 1
        for i, (before, after) in enumerate(case.attrs["padding"]):
            seen["pad"]["none" if before == 0 else "kernel" if before == w[2 + i] else "some"] += 1
            seen["pad"]["one side more"] += before != after
    around = {*range(1, 18), 31, 32, 33}
    assert around <= set(seen["h"]) and around <= set(seen["c"]) and around <= set(seen["o"])
    assert set(seen["stride"]) == {1, 2, 3, 4} and set(seen["dilation"]) == {1, 2, 3} and 0 in seen["n"]
    assert min(seen["groups"][kind] for kind in (1, 2, 3, "depthwise")) > 100
    assert min(seen["pad"][kind] for kind in ("none", "some", "kernel", "one side more")) > 100


def test_guards_notice_what_is_written_outside_and_what_is_not_written() -> None:
    guarded = Guarded((3, 5), np.float32, 7)
    assert guarded.unwritten() == 15 and guarded.intact()
    guarded.array[...] = 0
    assert guarded.unwritten() == 0 and guarded.intact()
    guarded._whole[guarded._stop] = 0
    assert not guarded.intact()
    guarded = Guarded((3, 5), np.float32, 0)
    guarded._whole[guarded._start - 1] = 0
    assert not guarded.intact()


class _Broken:
    """A core whose launch spoils something."""

    def __init__(self, core: Any, spoil: Any) -> None:
        self._core, self._spoil = core, spoil

    def __getattr__(self, name: str) -> Any:
        return getattr(self._core, name)

    def launch(self, op: str, attrs: Any, arrays: Any, algorithm: str) -> None:
        self._core.launch(op, attrs, arrays, algorithm)
        self._spoil(arrays)


def _behind(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.lib.stride_tricks.as_strided(array.reshape(-1), (array.size + 1,), (4,))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda arrays: arrays[0].fill(1), "changed input 0"),
        (lambda arrays: _behind(arrays[0]).__setitem__(-1, 1), "wrote outside input 0"),
        (lambda arrays: _behind(arrays[1]).__setitem__(-1, 1), "wrote outside output 0"),
        (lambda arrays: arrays[1].view(np.int32).__setitem__((0, 3), 0x7FC5A5A5), "left 1 of 51 elements"),
    ],
)
def test_a_kernel_that_breaks_a_promise_is_noticed(
    spoil: Any, message: str, core: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = parse("relu:3x17")
    monkeypatch.setattr(running, "_core", _Broken(core, spoil))
    with pytest.raises(Wrong, match=message):
        Running(case, inputs(case, 0, True)).run(Way("", "eager"), 1)


def test_lanes_and_borders_that_are_not_zero_are_noticed() -> None:
    raw = np.zeros((1, 16, 3, 5, 6), np.float32)
    raw[:, :3, :2, 1:4, 2:6] = 1
    shape, border = (1, 3, 2, 3, 4), (0, 1, 1, 1, 2, 0)
    Planned._check_zeros(raw, shape, border)
    places = ((0, 3, 1, 2, 2), "lanes"), ((0, 0, 0, 0, 3), "border"), ((0, 2, 1, 2, 1), "border")
    for place, message in (*places, ((0, 0, 2, 1, 2), "border")):
        wrong = raw.copy()
        wrong[place] = np.nan
        with pytest.raises(Wrong, match=message):
            Planned._check_zeros(wrong, shape, border)


def test_one_wrong_element_of_whole_numbers_is_noticed() -> None:
    want = np.arange(12).reshape(3, 4)
    got = want.astype(np.float32)
    assert not _mismatch(got, want)
    got[1, 2] += 1
    assert _mismatch(got, want).startswith("1 of 12 wrong, the first at (1, 2)")
    assert _mismatch(np.array([np.nan, 1], np.float32), np.array([0, 1]))


@pytest.mark.parametrize("op", [op for op in OPS if op != "dropout" and not ("max_pool" in op and "grad" not in op)])
def test_half_precision_is_outside_the_bounds_and_float32_inside(op: str) -> None:
    """A result rounded to float16's 11 bits fails for every operation whose kernels round."""
    for case in rows(op):
        values = inputs(case, 0, False)
        want = expected(case, values, False)
        if not want or not want[0].size or not np.count_nonzero(want[0]):
            continue
        single = [output.astype(np.float32) for output in want]
        assert not _compare(case, values, single, want, False), case
        mantissa, exponent = np.frexp(want[0])
        half = [np.ldexp(np.round(mantissa * 2048) / 2048, exponent), *single[1:]]
        if want[0].size > 20 and np.any(half[0] != want[0]):
            assert _compare(case, values, half, want, False), case


def test_the_bound_grows_with_the_length_of_sums() -> None:
    bounds = []
    for length in (16, 1024):
        case = make("matmul", ((8, length), (length, 8)))
        values = inputs(case, 0, False)
        want = expected(case, values, False)
        sequential = np.zeros((8, 8), np.float32)
        a, b = values[0], values[1]
        assert a is not None and b is not None
        for k in range(length):
            sequential += a[:, k : k + 1] * b[k]
        error, bound = excess(sequential, want[0], terms(case, values, want)[0])
        assert error < bound
        bounds.append(bound / np.sqrt(length))
    assert bounds[1] > 2 * bounds[0]


def test_results_of_zeros_are_not_trusted() -> None:
    case = parse("relu:3x17")
    values = inputs(case, 0, True)
    assert trusted(case, values, expected(case, values, True))
    assert not trusted(case, values, [np.zeros((3, 17))])
    _, _, trust = _draw(parse("conv2d:1x1x1x1,1x1x1x1:stride=(2,2):padding=((1,1),(1,1))"), 0, True)
    assert not trust  # every window lies in the padding


def test_values_are_small_whole_numbers() -> None:
    for op in sorted(EXACT):
        for case in rows(op):
            for value in inputs(case, 0, True):
                if value is not None and value.dtype == np.float32 and value.size:
                    assert np.array_equal(value, np.round(value)) and np.abs(value).max() <= 3
