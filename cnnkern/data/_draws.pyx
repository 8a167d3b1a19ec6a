# SPDX-License-Identifier: BSD-3-Clause
# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, freethreading_compatible=True
"""Random numbers that are functions of (seed, epoch, index, stream) alone: whoever draws them, in whatever order.

Number j of a key is SplitMix64's output function (Steele, Lea and Flood, 2014) of key + (j + 1) * the golden ratio.
"""

from libc.math cimport ceil, exp, fabs, log, sqrt
from libc.stdint cimport uint64_t
from libc.stdlib cimport free, malloc

import numpy as np

cdef uint64_t GOLDEN = 0x9E3779B97F4A7C15ULL


cdef inline uint64_t scramble(uint64_t z) noexcept nogil:
    z = (z ^ (z >> 30)) * <uint64_t> 0xBF58476D1CE4E5B9ULL
    z = (z ^ (z >> 27)) * <uint64_t> 0x94D049BB133111EBULL
    return z ^ (z >> 31)


cdef uint64_t make_key(tuple key) except? 0:
    cdef uint64_t state = 0
    for part in key:
        state = scramble((state ^ <uint64_t> part) + GOLDEN)
    return state


cdef inline double uniform(uint64_t key, uint64_t j) noexcept nogil:
    """0 < value < 1."""
    return (<double> (scramble(key + (j + 1) * GOLDEN) >> 12) + 0.5) * (1.0 / 4503599627370496.0)


def uniforms(tuple key not None, Py_ssize_t count):
    """A list of `count` numbers between 0 and 1, both excluded. key: integers 0 .. 2^64 - 1."""
    cdef uint64_t state = make_key(key)
    cdef Py_ssize_t j
    return [uniform(state, j) for j in range(count)]


cdef inline double quantile(double p) noexcept nogil:
    """The standard normal distribution's, to about 7 digits (Wichura, Algorithm AS 241, PPND7, 1988)."""
    cdef double q = p - 0.5, r
    if fabs(q) <= 0.425:
        r = 0.180625 - q * q
        return q * (((59.109374720 * r + 159.29113202) * r + 50.434271938) * r + 3.3871327179) / (
            ((67.187563600 * r + 78.757757664) * r + 17.895169469) * r + 1.0)
    r = sqrt(-log(p if q < 0 else 1.0 - p))
    if r <= 5.0:
        r -= 1.6
        r = (((0.17023821103 * r + 1.3067284816) * r + 2.7568153900) * r + 1.4234372777) / (
            (0.12021132975 * r + 0.73700164250) * r + 1.0)
    else:
        r -= 5.0
        r = (((0.017337203997 * r + 0.42868294337) * r + 3.0812263860) * r + 6.6579051150) / (
            (0.012258202635 * r + 0.24197894225) * r + 1.0)
    return -r if q < 0 else r


def add_normal(float[:, :, :] out not None, tuple key not None, double mean, double sigma, double low, double high):
    """Add normal noise to planes (channels, rows, columns), in place, and hold them between two limits."""
    cdef uint64_t state = make_key(key), j = 0
    cdef Py_ssize_t c, y, x
    cdef float value
    with nogil:
        for c in range(out.shape[0]):
            for y in range(out.shape[1]):
                for x in range(out.shape[2]):
                    value = <float> (out[c, y, x] + (mean + sigma * quantile(uniform(state, j))))
                    value = value if value > low else <float> low
                    out[c, y, x] = value if value < high else <float> high
                    j += 1


cdef void blur(
    uint64_t key, float* rough, float* half, float[:, ::1] out, const float* weights, Py_ssize_t radius, float amplitude
) noexcept nogil:
    """Uniform noise on a plane with a border of `radius`, smoothed along the height and the width."""
    cdef Py_ssize_t height = out.shape[0], width = out.shape[1], wide = width + 2 * radius, x, y, k
    cdef float w
    cdef const float* source
    for x in range((height + 2 * radius) * wide):
        rough[x] = <float> (2.0 * uniform(key, x) - 1.0) * amplitude
    for y in range(height):
        for x in range(wide):
            half[x] = 0
        for k in range(2 * radius + 1):
            w, source = weights[k], rough + (y + k) * wide
            for x in range(wide):
                half[x] += w * source[x]
        for x in range(width):
            out[y, x] = 0
        for k in range(2 * radius + 1):
            w, source = weights[k], half + k
            for x in range(width):
                out[y, x] += w * source[x]


def displacement(Py_ssize_t height, Py_ssize_t width, tuple key not None, double sigma, double amplitude):
    """(2, height, width) float32: uniform noise in -1 .. 1 through a Gaussian of `sigma` pixels, times `amplitude`.

    The noise goes on beyond the borders, so that the displacement there is as large as elsewhere.
    """
    cdef uint64_t state = make_key(key)
    cdef Py_ssize_t radius = <Py_ssize_t> ceil(4 * sigma), k
    cdef size_t wide = width + 2 * radius
    field = np.empty((2, height, width), np.float32)
    if field.size == 0:
        return field
    cdef float[:, :, ::1] planes = field
    cdef float* rough = <float*> malloc((height + 2 * radius) * wide * sizeof(float))
    cdef float* half = <float*> malloc(wide * sizeof(float))
    cdef float* weights = <float*> malloc((2 * radius + 1) * sizeof(float))
    cdef double total = 0
    if rough == NULL or half == NULL or weights == NULL:
        free(rough)
        free(half)
        free(weights)
        raise MemoryError("displacement: no memory for the noise")
    with nogil:
        for k in range(-radius, radius + 1):
            total += exp(-0.5 * k * k / (sigma * sigma))
        for k in range(-radius, radius + 1):
            weights[k + radius] = <float> (exp(-0.5 * k * k / (sigma * sigma)) / total)
        blur(state, rough, half, planes[0], weights, radius, <float> amplitude)
        blur(scramble(state + GOLDEN), rough, half, planes[1], weights, radius, <float> amplitude)
        free(rough)
        free(half)
        free(weights)
    return field
