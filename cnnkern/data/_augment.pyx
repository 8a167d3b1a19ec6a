# SPDX-License-Identifier: BSD-3-Clause
# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, freethreading_compatible=True
"""One image through a chain of transforms: one resampling, colours and normalization row by row, without the GIL.

Coordinates are continuous: pixel i covers i .. i + 1, and its centre is i + 0.5. A sample is a triangle filter around
the point that the map gives, stretched where the image shrinks; weights beyond the image are dropped and the others sum
to 1 again. Maps that keep the axes apart (crops, sizes, mirrors) take two passes, the height first; all others are
sampled point by point. Both hand rows of four floats a pixel to the last stage, which writes planes and colours them.
"""

from libc.math cimport ceil, fabs, floor
from libc.stdint cimport int32_t, uint8_t
from libc.stdlib cimport calloc, free

from cnnkern.data._colours cimport Colour, paint, read_colour
from cnnkern.data._image cimport Image, cloned, inside, quad, to_planes
from cnnkern.data._sample cimport Warp, points, sampled

cdef enum:
    ROWS = 4  # output rows that share the loads of the horizontal weights


cdef struct Axis:
    # Output i is the sum over k of weights[i * taps + k] * input[start[i] + k]; outside begin .. end - 1 it is fill.
    Py_ssize_t outputs, taps, begin, end
    int32_t* start
    float* weights


cdef int make_axis(
    Axis* axis, Py_ssize_t outputs, Py_ssize_t inputs, double step, double offset, int border
) noexcept nogil:
    """The weights of one axis, output i around step * (i + 0.5) + offset. -1: no memory."""
    cdef double support = max(fabs(step), 1.0), centre, weight, total
    cdef Py_ssize_t i, k, first, last, shift
    axis.outputs = outputs
    axis.taps = min(<Py_ssize_t> ceil(2 * support), inputs)
    # A shift by whole pixels, perhaps mirrored, copies.
    if fabs(step) == 1.0 and floor(offset) == offset:
        axis.taps = 1
    axis.start = <int32_t*> calloc(outputs, sizeof(int32_t))
    axis.weights = <float*> calloc(outputs * axis.taps, sizeof(float))
    if axis.start == NULL or axis.weights == NULL:
        return -1
    axis.begin, axis.end = outputs, 0
    for i in range(outputs):
        centre = inside(step * (i + 0.5) + offset, inputs, border)
        if centre < 0:
            continue
        axis.begin, axis.end = min(axis.begin, i), i + 1
        first = max(<Py_ssize_t> floor(centre - support + 0.5), 0)
        last = min(<Py_ssize_t> floor(centre + support + 0.5), inputs)
        if axis.taps == 1:
            first = min(<Py_ssize_t> centre, inputs - 1)
            last = first + 1
        total = 0.0
        for k in range(first, last):
            total += max(1.0 - fabs(k + 0.5 - centre) / support, 0.0)
        axis.start[i] = <int32_t> min(first, inputs - axis.taps)
        shift = first - axis.start[i]
        for k in range(first, min(last, axis.start[i] + axis.taps)):
            weight = max(1.0 - fabs(k + 0.5 - centre) / support, 0.0)
            axis.weights[i * axis.taps + shift + k - first] = <float> (weight / total)
    return 0


cdef cloned weigh(
    const uint8_t* rows, Py_ssize_t pitch, const float* weights, Py_ssize_t taps, float* out, Py_ssize_t count
) noexcept nogil:
    """The sum of some rows of bytes, the tops of a triangle filter."""
    cdef Py_ssize_t i, k
    cdef const uint8_t* a = rows
    cdef const uint8_t* b = rows + pitch
    cdef const uint8_t* c = b + pitch
    cdef const uint8_t* d = c + pitch
    cdef float p = weights[0], q, r, s
    if taps == 1:
        for i in range(count):
            out[i] = p * a[i]
        return
    q = weights[1]
    if taps == 2:
        for i in range(count):
            out[i] = p * a[i] + q * b[i]
        return
    r = weights[2]
    if taps == 3:
        for i in range(count):
            out[i] = p * a[i] + q * b[i] + r * c[i]
        k = 3
    else:
        s = weights[3]
        for i in range(count):
            out[i] = p * a[i] + q * b[i] + r * c[i] + s * d[i]
        k = 4
    while k < taps:
        p, a = weights[k], rows + k * pitch
        for i in range(count):
            out[i] += p * a[i]
        k += 1


cdef void spread(
    const float* rows, Py_ssize_t pitch, const Axis* axis, Py_ssize_t left, Py_ssize_t channels, float* pixels
) noexcept nogil:
    """The horizontal pass over ROWS rows at once, (pixel, channel) -> (pixel, 4 lanes)."""
    cdef Py_ssize_t x, k
    cdef quad p, q, r, s
    cdef const float* source
    cdef const float* weights
    cdef float w
    cdef Py_ssize_t line = 4 * axis.outputs
    for x in range(axis.begin, axis.end):
        source = rows + (axis.start[x] - left) * channels
        weights = axis.weights + x * axis.taps
        w = weights[0]
        p = w * (<const quad*> source)[0]
        q = w * (<const quad*> (source + pitch))[0]
        r = w * (<const quad*> (source + 2 * pitch))[0]
        s = w * (<const quad*> (source + 3 * pitch))[0]
        for k in range(1, axis.taps):
            source += channels
            w = weights[k]
            p = p + w * (<const quad*> source)[0]
            q = q + w * (<const quad*> (source + pitch))[0]
            r = r + w * (<const quad*> (source + 2 * pitch))[0]
            s = s + w * (<const quad*> (source + 3 * pitch))[0]
        (<quad*> (pixels + 4 * x))[0] = p
        (<quad*> (pixels + line + 4 * x))[0] = q
        (<quad*> (pixels + 2 * line + 4 * x))[0] = r
        (<quad*> (pixels + 3 * line + 4 * x))[0] = s


cdef int two_passes(
    const Image* image, const Axis* rows, const Axis* columns, float[:, :, ::1] out, const Colour* colour
) noexcept nogil:
    """Height, width, planes and colours, ROWS rows of the result at a time. -1: no memory."""
    cdef Py_ssize_t left = image.width, right = 0, x, y = 0, r, c, channels = image.channels, together
    for x in range(columns.begin, columns.end):
        left = min(left, columns.start[x])
        right = max(right, columns.start[x] + columns.taps)
    cdef Py_ssize_t used = max(right - left, 0) * channels, pitch = used + 4
    cdef float* sums = <float*> calloc(ROWS * pitch + 4, sizeof(float))
    cdef float* pixels = <float*> calloc(ROWS * columns.outputs * 4, sizeof(float))
    cdef float* row
    if sums == NULL or pixels == NULL:
        free(sums)
        free(pixels)
        return -1
    # Written once: the passes leave alone what lies beyond the image.
    for x in range(columns.outputs):
        if not columns.begin <= x < columns.end:
            for r in range(ROWS):
                for c in range(channels):
                    pixels[(r * columns.outputs + x) * 4 + c] = image.fill[c]
    while y < rows.outputs:
        together = min(<Py_ssize_t> ROWS, rows.outputs - y)
        for r in range(together):
            row = sums + r * pitch
            if rows.begin <= y + r < rows.end:
                weigh(image.pixels + (rows.start[y + r] * image.width + left) * channels, image.width * channels,
                      rows.weights + (y + r) * rows.taps, rows.taps, row, used)
            else:
                for x in range(used):
                    row[x] = image.fill[x % channels]
        spread(sums, pitch, columns, left, channels, pixels)
        for r in range(together):
            to_planes(pixels + r * columns.outputs * 4, out, y + r)
            paint(out, y + r, colour)
        y += together
    free(sums)
    free(pixels)
    return 0


cdef int read_map(double* numbers, tuple values) except -1:
    cdef Py_ssize_t i
    if len(values) != 6:
        raise ValueError(f"a map has 6 numbers, found {len(values)}")
    for i in range(6):
        numbers[i] = values[i]
        if not fabs(numbers[i]) < 1e9:
            raise ValueError(f"a map has finite numbers below 1e9, found {numbers[i]}")
    return 0


def render(
    const uint8_t[:, :, ::1] image not None, float[:, :, ::1] out not None, tuple after not None,
    const float[:, :, ::1] field, tuple before, int border, tuple fill not None, tuple colour not None
):
    """Resample `image` into `out` and change its colours.

    Args:
        image: (height, width, channels), 1 to 4 channels, none of them empty.
        out: (channels, rows, columns).
        after: the affine map (a, b, c, d, e, f) of a point (x, y) of the result: (a x + b y + c, d x + e y + f).
        field: (2, h, w) displacements of x and y, added to what `after` gives; or None.
        before: the map of the moved point into the image; only with a field.
        border: 0 constant, 1 edge, 2 symmetric.
        fill: per channel, 0 to 255.
        colour: a matrix (channels, channels + 1) for bytes as numbers and 1, then the lowest, then the highest values.
    """
    cdef Image source
    cdef Colour painted
    cdef Warp warp
    cdef Axis rows
    cdef Axis columns
    cdef int failed = 0, c
    cdef double* first = warp.after
    cdef double* second = warp.before
    if min(image.shape[0], image.shape[1]) < 1 or not 1 <= image.shape[2] <= 4 or out.shape[0] != image.shape[2]:
        raise ValueError(f"render: image {tuple(image.shape)[:3]} and out {tuple(out.shape)[:3]} do not fit")
    if min(out.shape[1], out.shape[2]) < 1 or len(fill) != image.shape[2] or not 0 <= border <= 2:
        raise ValueError("render: an empty result, a wrong number of fill values or an unknown border")
    source.pixels, source.border = &image[0, 0, 0], border
    source.height, source.width, source.channels = image.shape[0], image.shape[1], image.shape[2]
    for c in range(image.shape[2]):
        source.fill[c] = fill[c]
    read_map(first, after)
    read_colour(&painted, colour, image.shape[2])
    if field is None and first[1] == 0 and first[3] == 0:
        rows.start = columns.start = NULL
        rows.weights = columns.weights = NULL
        with nogil:
            failed = make_axis(&rows, out.shape[1], source.height, first[4], first[5], border)
            failed |= make_axis(&columns, out.shape[2], source.width, first[0], first[2], border)
            if not failed:
                failed = two_passes(&source, &rows, &columns, out, &painted)
            free(rows.start)
            free(rows.weights)
            free(columns.start)
            free(columns.weights)
    else:
        for c in range(6):
            second[c] = c % 4 == 0
        warp.across = warp.down = NULL
        if field is not None:
            if field.shape[0] != 2 or min(field.shape[1], field.shape[2]) < 1:
                raise ValueError(f"render: a field has shape (2, h, w), found {tuple(field.shape)[:3]}")
            read_map(second, before)
            warp.height, warp.width = field.shape[1], field.shape[2]
            warp.across, warp.down = &field[0, 0, 0], &field[1, 0, 0]
        warp.columns = points(max(fabs(second[0] * first[0] + second[1] * first[3]),
                                  fabs(second[3] * first[0] + second[4] * first[3])))
        warp.rows = points(max(fabs(second[0] * first[1] + second[1] * first[4]),
                               fabs(second[3] * first[1] + second[4] * first[4])))
        with nogil:
            failed = sampled(&source, &warp, out, &painted)
    if failed:
        raise MemoryError("render: no memory for the weights of the resampling")
