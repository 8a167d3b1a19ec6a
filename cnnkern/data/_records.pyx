# SPDX-License-Identifier: BSD-3-Clause
# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Gathering of records into a batch, in one pass and without the GIL."""

from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memcpy


def gather(images, const int64_t[::1] indices, out):
    """Write ``images[indices]`` into ``out`` as float32: bytes become ``byte / 255``, float32 is copied as it is.

    Args:
        images: (count, ...) uint8 or float32, C-contiguous.
        indices: (batch,) int64, each in 0 .. count - 1.
        out: (batch, ...) float32, C-contiguous.

    Raises:
        ValueError: shapes do not fit, or an array is of another type or not C-contiguous.
        IndexError: an index lies outside the records.
    """
    if images.ndim == 0 or out.shape != (indices.shape[0], *images.shape[1:]):
        raise ValueError(
            f"gather: out expects shape {(indices.shape[0], *images.shape[1:])}, found {out.shape} "
            f"(images: {images.shape})"
        )
    _check(indices, images.shape[0])
    if out.size == 0:
        return
    destination = out.reshape(out.shape[0], -1)
    source = images.reshape(images.shape[0], -1)
    if not (out.flags.c_contiguous and images.flags.c_contiguous):
        raise ValueError("gather: images and out expect C-contiguous arrays")
    if images.dtype.char == "B":
        _gather_bytes(source, indices, destination)
    else:
        _gather_floats(source, indices, destination)


cdef int _check(const int64_t[::1] indices, int64_t count) except -1:
    cdef Py_ssize_t i
    cdef int64_t lowest = 0, highest = -1
    for i in range(indices.shape[0]):
        lowest = min(lowest, indices[i])
        highest = max(highest, indices[i])
    if lowest < 0 or highest >= count:
        raise IndexError(f"gather: index {lowest if lowest < 0 else highest} is outside the {count} records")
    return 0


cdef int _gather_bytes(const uint8_t[:, ::1] images, const int64_t[::1] indices, float[:, ::1] out) except -1:
    cdef Py_ssize_t i, j, size = out.shape[1]
    cdef const uint8_t* record
    cdef float* destination
    with nogil:
        for i in range(out.shape[0]):
            record = &images[indices[i], 0]
            destination = &out[i, 0]
            for j in range(size):
                destination[j] = record[j] / <float>255.0
    return 0


cdef int _gather_floats(const float[:, ::1] images, const int64_t[::1] indices, float[:, ::1] out) except -1:
    cdef Py_ssize_t i
    cdef size_t row_bytes = out.shape[1] * sizeof(float)
    with nogil:
        for i in range(out.shape[0]):
            memcpy(&out[i, 0], &images[indices[i], 0], row_bytes)
    return 0
