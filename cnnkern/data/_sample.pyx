# SPDX-License-Identifier: BSD-3-Clause
# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, freethreading_compatible=True
"""Images sampled point by point, bilinear: rotations, shears, local warps. Coordinates are those of `_augment.pyx`."""

from libc.math cimport ceil, floor
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from cnnkern.data._colours cimport paint
from cnnkern.data._image cimport cloned, four_bytes, inside, quad, to_planes

# The largest number of samples along one axis that a pixel of a turned and shrunk image averages.
cdef int MOST_SAMPLES = 8


cdef void add_sample(const Image* image, double x, double y, float* total) noexcept nogil:
    """Adds the bilinear value at a point."""
    cdef Py_ssize_t c, left, top, right, below, channels = image.channels
    cdef float along, down, one = 1, w00, w01, w10, w11
    cdef const uint8_t* upper
    cdef const uint8_t* lower
    x = inside(x, image.width, image.border)
    y = inside(y, image.height, image.border)
    if x < 0 or y < 0:
        for c in range(channels):
            total[c] += image.fill[c]
        return
    x = min(max(x - 0.5, 0.0), <double> (image.width - 1))
    y = min(max(y - 0.5, 0.0), <double> (image.height - 1))
    left, top = <Py_ssize_t> x, <Py_ssize_t> y
    along, down = <float> (x - left), <float> (y - top)
    right = channels if left + 1 < image.width else 0
    below = image.width * channels if top + 1 < image.height else 0
    upper = image.pixels + (top * image.width + left) * channels
    lower = upper + below
    w00, w01 = (one - along) * (one - down), along * (one - down)
    w10, w11 = (one - along) * down, along * down
    for c in range(channels):
        total[c] += w00 * upper[c] + w01 * upper[right + c] + w10 * lower[c] + w11 * lower[right + c]


cdef cloned add_inner(
    const Image* image, int64_t x, int64_t y, int64_t along_x, int64_t along_y, Py_ssize_t count, float* pixels
) noexcept nogil:
    """Adds the bilinear values at points of a line well inside an image of three or four channels.

    Points less half a pixel, and the step between them, have 32 bits behind the point: a third of the time of doubles.
    """
    cdef Py_ssize_t i, channels = image.channels, pitch = image.width * channels
    cdef float one = 1, unit = 1.0 / (1 << 24), right, down, left, up
    cdef const uint8_t* pixel
    for i in range(count):
        pixel = image.pixels + (y >> 32) * pitch + (x >> 32) * channels
        right, down = unit * <int32_t> (<uint32_t> x >> 8), unit * <int32_t> (<uint32_t> y >> 8)
        left, up = one - right, one - down
        # A pixel of three bytes is read as one of four: there is another behind it.
        (<quad*> (pixels + 4 * i))[0] = (<quad*> (pixels + 4 * i))[0] + (
            (left * up) * four_bytes(pixel) + (right * up) * four_bytes(pixel + channels)
            + (left * down) * four_bytes(pixel + pitch) + (right * down) * four_bytes(pixel + pitch + channels))
        x += along_x
        y += along_y


cdef void narrow(double* first, double* last, double start, double step, double size) noexcept nogil:
    """Keep those places of first .. last where start + place * step is well inside an axis of that size."""
    cdef double low = 0.501 - start, high = size - 1.501 - start
    if step == 0:
        if low > 0 or high < 0:
            last[0] = -1
    else:
        first[0] = max(first[0], (low if step > 0 else high) / step)
        last[0] = min(last[0], (high if step > 0 else low) / step)


cdef inline double at(const float* plane, Py_ssize_t right, Py_ssize_t below, double u, double v) noexcept nogil:
    return (1 - v) * ((1 - u) * plane[0] + u * plane[right]) + v * ((1 - u) * plane[below] + u * plane[below + right])


cdef inline void move(Warp* warp, double* x, double* y) noexcept nogil:
    """Moves a point by the displacement there, bilinear between its pixels."""
    cdef double u = min(max(x[0] - 0.5, 0.0), <double> (warp.width - 1))
    cdef double v = min(max(y[0] - 0.5, 0.0), <double> (warp.height - 1))
    cdef Py_ssize_t left = <Py_ssize_t> u, top = <Py_ssize_t> v, place = top * warp.width + left
    cdef Py_ssize_t right = left + 1 < warp.width, below = warp.width if top + 1 < warp.height else 0
    u -= left
    v -= top
    if u == 0 and v == 0:
        x[0] += warp.across[place]
        y[0] += warp.down[place]
        return
    x[0] += at(warp.across + place, right, below, u, v)
    y[0] += at(warp.down + place, right, below, u, v)


cdef void add_points(
    const Image* image, Warp* warp, double right, double below, Py_ssize_t width, float* pixels
) noexcept nogil:
    """Adds the values at one point of each pixel of a row: (right, below), (1 + right, below), ..."""
    cdef double* map = warp.after
    cdef double x = map[0] * right + map[1] * below + map[2], y = map[3] * right + map[4] * below + map[5], p, q, u, v
    cdef double first = 0, last = width - 1, unit = 4294967296.0
    cdef Py_ssize_t i, begin = 0, end = 0
    if warp.across == NULL and image.channels >= 3:
        narrow(&first, &last, x, map[0], image.width)
        narrow(&first, &last, y, map[3], image.height)
        if last >= first:
            begin, end = <Py_ssize_t> ceil(first), <Py_ssize_t> floor(last) + 1
            end = max(begin, end)
            p, q = (x + begin * map[0] - 0.5) * unit, (y + begin * map[3] - 0.5) * unit
            u, v = map[0] * unit, map[3] * unit
            add_inner(image, <int64_t> p, <int64_t> q, <int64_t> u, <int64_t> v, end - begin, pixels + 4 * begin)
    for i in range(width):
        if begin <= i < end:
            continue
        p, q = x + i * map[0], y + i * map[3]
        if warp.across != NULL:
            move(warp, &p, &q)
            u, v = p, q
            p = warp.before[0] * u + warp.before[1] * v + warp.before[2]
            q = warp.before[3] * u + warp.before[4] * v + warp.before[5]
        add_sample(image, p, q, pixels + 4 * i)


cdef int sampled(const Image* image, Warp* warp, float[:, :, ::1] out, const Colour* colour) noexcept nogil:
    """Any map: each pixel the mean of its points. -1: no memory."""
    cdef Py_ssize_t y, i, j, k, width = out.shape[2]
    cdef float share = 1.0 / (warp.columns * warp.rows)
    cdef float* pixels = <float*> calloc(width * 4, sizeof(float))
    if pixels == NULL:
        return -1
    for y in range(out.shape[1]):
        memset(pixels, 0, width * 4 * sizeof(float))
        for j in range(warp.rows):
            for i in range(warp.columns):
                add_points(image, warp, (i + 0.5) / warp.columns, y + (j + 0.5) / warp.rows, width, pixels)
        if share != 1:
            for k in range(4 * width):
                pixels[k] *= share
        to_planes(pixels, out, y)
        paint(out, y, colour)
    free(pixels)
    return 0


cdef int points(double scale) noexcept nogil:
    """How many points a pixel averages along an axis that shrinks by a factor."""
    return min(max(<int> ceil(min(scale, 100.0) - 0.5), 1), MOST_SAMPLES)
