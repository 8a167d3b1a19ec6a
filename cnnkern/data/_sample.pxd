# SPDX-License-Identifier: BSD-3-Clause
# cython: language_level=3
from cnnkern.data._colours cimport Colour
from cnnkern.data._image cimport Image


cdef struct Warp:
    # A point of the result goes through `after`; where there are displacements it moves, and goes through `before`.
    double after[6]
    double before[6]
    const float* across
    const float* down
    Py_ssize_t height, width
    int columns, rows  # points per pixel


cdef int sampled(const Image* image, Warp* warp, float[:, :, ::1] out, const Colour* colour) noexcept nogil
cdef int points(double scale) noexcept nogil
