# SPDX-License-Identifier: BSD-3-Clause
# cython: language_level=3

cdef struct Colour:
    # An affine map of a pixel's channels, then limits.
    float matrix[20]  # (channels, channels + 1)
    float low[4]
    float high[4]
    bint diagonal


cdef int read_colour(Colour* colour, tuple numbers, Py_ssize_t channels) except -1
cdef void paint(float[:, :, ::1] out, Py_ssize_t y, const Colour* colour) noexcept nogil
