# SPDX-License-Identifier: BSD-3-Clause
"""Gathering of records into batches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cnnkern.data._records import gather

RNG = np.random.default_rng(7)
BYTES = RNG.integers(0, 256, (50, 3, 5, 7), dtype=np.uint8)
FLOATS = RNG.standard_normal((50, 3, 5, 7), dtype=np.float32)
INDICES = np.array([3, 49, 0, 3, 17], dtype=np.int64)


def nan_batch(count: int = 5) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.full((count, 3, 5, 7), np.nan, dtype=np.float32)


def test_bytes_become_fractions_of_255() -> None:
    out = nan_batch()
    gather(BYTES, INDICES, out)
    np.testing.assert_array_equal(out, BYTES[INDICES].astype(np.float32) / np.float32(255))


def test_every_byte_value_is_divided_and_rounded_correctly() -> None:
    every = np.arange(256, dtype=np.uint8).reshape(256, 1)
    out = np.empty((256, 1), dtype=np.float32)
    gather(every, np.arange(256), out)
    np.testing.assert_array_equal(out, (every / 255).astype(np.float32))


def test_floats_are_copied_bit_for_bit() -> None:
    records = FLOATS.copy()
    records[3, 0, 0, :4] = [np.nan, np.inf, -0.0, 1e-42]
    out = nan_batch()
    gather(records, INDICES, out)
    np.testing.assert_array_equal(out.view(np.int32), records[INDICES].view(np.int32))


@pytest.mark.parametrize("records", [BYTES, FLOATS])
def test_an_empty_batch_is_empty(records: Any) -> None:
    gather(records, INDICES[:0], nan_batch(0))
    gather(records[:0], INDICES[:0], nan_batch(0))


def test_read_only_records_are_read() -> None:
    records = BYTES.copy()
    records.flags.writeable = False
    out = nan_batch()
    gather(records, INDICES, out)
    assert not np.isnan(out).any()


@pytest.mark.parametrize("index", [-1, 50, 2**40, -(2**62)])
def test_an_index_outside_the_records_is_an_error(index: int) -> None:
    out = nan_batch()
    with pytest.raises(IndexError, match=f"index {index} is outside the 50 records"):
        gather(BYTES, np.array([3, 4, index, 5, 6]), out)
    assert np.isnan(out).all()


@pytest.mark.parametrize(
    ("records", "indices", "out"),
    [
        (BYTES, INDICES, nan_batch(4)),
        (BYTES, INDICES, np.zeros((5, 3, 35), np.float32)),
        (BYTES.astype(np.int32), INDICES, nan_batch()),
        (FLOATS.astype(np.float64), INDICES, nan_batch()),
        (BYTES, INDICES.astype(np.int32), nan_batch()),
        (BYTES, INDICES.reshape(5, 1), nan_batch()),
        (BYTES, INDICES, nan_batch().astype(np.float64)),
        (BYTES[:, :, :, ::-1], INDICES, nan_batch()),
        (BYTES, INDICES, nan_batch()[:, :, :, ::-1]),
        (np.uint8(3), INDICES, nan_batch()),
    ],
)
def test_arrays_that_do_not_fit_are_errors(records: Any, indices: Any, out: Any) -> None:
    with pytest.raises(ValueError, match=r"gather: |Buffer "):
        gather(records, indices, out)


def test_out_must_be_writable() -> None:
    out = nan_batch()
    out.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        gather(BYTES, INDICES, out)
