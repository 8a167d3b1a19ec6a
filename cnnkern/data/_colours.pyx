# SPDX-License-Identifier: BSD-3-Clause
# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, freethreading_compatible=True
"""The colours of planes (channels, rows, columns): an affine map of each pixel's channels, then limits."""

from cnnkern.data._image cimport cloned


cdef cloned line(float* row, Py_ssize_t count, float scale, float shift, float low, float high) noexcept nogil:
    """Scale, shift, limit."""
    cdef Py_ssize_t i
    cdef float value
    for i in range(count):
        value = row[i] * scale + shift
        value = value if value > low else low
        row[i] = value if value < high else high


cdef cloned blend(
    float* red, float* green, float* blue, Py_ssize_t count, const float* matrix, const float* low, const float* high
) noexcept nogil:
    """A matrix (3, 4) on the three values of each pixel, then the limits."""
    cdef Py_ssize_t i
    cdef float r, g, b, p, q, s
    # Copies, which the rows cannot alias: the loop is vectorized.
    cdef float rr = matrix[0], rg = matrix[1], rb = matrix[2], r0 = matrix[3], rl = low[0], rh = high[0]
    cdef float gr = matrix[4], gg = matrix[5], gb = matrix[6], g0 = matrix[7], gl = low[1], gh = high[1]
    cdef float br = matrix[8], bg = matrix[9], bb = matrix[10], b0 = matrix[11], bl = low[2], bh = high[2]
    for i in range(count):
        r, g, b = red[i], green[i], blue[i]
        p = rr * r + rg * g + rb * b + r0
        q = gr * r + gg * g + gb * b + g0
        s = br * r + bg * g + bb * b + b0
        p = p if p > rl else rl
        q = q if q > gl else gl
        s = s if s > bl else bl
        red[i] = p if p < rh else rh
        green[i] = q if q < gh else gh
        blue[i] = s if s < bh else bh


cdef int read_colour(Colour* colour, tuple numbers, Py_ssize_t channels) except -1:
    cdef Py_ssize_t i, j, n = channels + 1
    if len(numbers) != channels * (n + 2):
        raise ValueError(f"colour expects {channels * (n + 2)} numbers, found {len(numbers)}")
    colour.diagonal = True
    for i in range(channels):
        for j in range(n):
            colour.matrix[i * n + j] = numbers[i * n + j]
            if j != i and j != channels and colour.matrix[i * n + j] != 0:
                colour.diagonal = False
        colour.low[i] = numbers[channels * n + i]
        colour.high[i] = numbers[channels * (n + 1) + i]
    if not colour.diagonal and channels != 3:
        raise ValueError(f"colours are mixed in images of three channels, found {channels}")
    return 0


cdef void paint(float[:, :, ::1] out, Py_ssize_t y, const Colour* colour) noexcept nogil:
    """Colours of one row of all planes."""
    cdef Py_ssize_t c, n = out.shape[0] + 1, width = out.shape[2]
    if colour.diagonal:
        for c in range(out.shape[0]):
            line(&out[c, y, 0], width, colour.matrix[c * n + c], colour.matrix[c * n + n - 1], colour.low[c],
                 colour.high[c])
    else:
        blend(&out[0, y, 0], &out[1, y, 0], &out[2, y, 0], width, colour.matrix, colour.low, colour.high)


def recolour(float[:, :, ::1] out not None, tuple colour not None):
    """Change the colours of planes (channels, rows, columns) in place; `colour` as in `render`."""
    cdef Colour painted
    cdef Py_ssize_t y
    read_colour(&painted, colour, out.shape[0])
    if out.shape[2]:
        with nogil:
            for y in range(out.shape[1]):
                paint(out, y, &painted)
