# SPDX-License-Identifier: BSD-3-Clause
# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, freethreading_compatible=True
"""One image through a chain of transforms: one resampling, colours and normalization row by row, without the GIL.

Coordinates are continuous: pixel i covers i .. i + 1, and its centre is i + 0.5. A sample is a triangle filter around the
point that the map gives, stretched where the image shrinks; weights beyond the image are dropped and the others sum to 1
again. Maps that keep the axes apart (crops, sizes, mirrors) take two passes, the height first; all others are sampled
pixel by pixel. Both hand rows of four floats a pixel to the last stage, which writes planes and applies the colours.
"""

from libc.math cimport ceil, fabs, floor
from libc.stdint cimport int32_t, uint8_t
from libc.stdlib cimport calloc, free

from cnnkern.data._colours cimport Colour, paint, read_colour

cdef extern from *:
    """
    typedef float cnnkern_quad __attribute__((vector_size(16), aligned(4), may_alias));
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
    quad quad_shuffle "__builtin_shufflevector"(quad, quad, int, int, int, int) noexcept nogil

cdef enum:
    CONSTANT = 0
    EDGE = 1
    SYMMETRIC = 2
    ROWS = 4  # output rows that share the loads of the horizontal weights

# The largest number of samples along one axis that a pixel of a turned and shrunk image averages.
cdef int MOST_SAMPLES = 8


cdef struct Axis:
    # Output i is the sum over k of weights[i * taps + k] * input[start[i] + k]; outside begin .. end - 1 it is fill.
    Py_ssize_t outputs, taps, begin, end
    int32_t* start
    float* weights


cdef struct Image:
    const uint8_t* pixels
    Py_ssize_t height, width, channels
    int border
    float fill[4]


cdef double inside(double centre, Py_ssize_t size, int border) noexcept nogil:
    """The point of the image that stands for one beyond its border; -1 where the border is constant."""
    if 0 <= centre < size:
        return centre
    if border == CONSTANT:
        return -1.0
    if border == EDGE:
        return 0.0 if centre < 0 else <double> size
    centre = fabs(centre - 2.0 * size * floor(centre / (2.0 * size)))
    return 2.0 * size - centre if centre > size else centre


cdef int make_axis(Axis* axis, Py_ssize_t outputs, Py_ssize_t inputs, double step, double offset, int border) noexcept nogil:
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


cdef void to_planes(const float* pixels, float[:, :, ::1] out, Py_ssize_t y) noexcept nogil:
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


cdef void add_sample(const Image* image, double x, double y, float* total) noexcept nogil:
    """Adds the bilinear value at a point."""
    cdef Py_ssize_t c, left, top, right, bottom, channels = image.channels
    cdef float along, down, w00, w01, w10, w11
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
    right = channels * min(left + 1, image.width - 1)
    bottom = min(top + 1, image.height - 1)
    left *= channels
    upper = image.pixels + top * image.width * channels
    lower = image.pixels + bottom * image.width * channels
    w00, w01 = (1 - along) * (1 - down), along * (1 - down)
    w10, w11 = (1 - along) * down, along * down
    for c in range(channels):
        total[c] += w00 * upper[left + c] + w01 * upper[right + c] + w10 * lower[left + c] + w11 * lower[right + c]


cdef void move(const float[:, :, ::1] field, double* x, double* y) noexcept nogil:
    """Moves a point by the displacement there: (2, height, width), of x and of y, bilinear between its pixels."""
    cdef Py_ssize_t height = field.shape[1], width = field.shape[2], left, top, right, bottom
    cdef double u = min(max(x[0] - 0.5, 0.0), <double> (width - 1)), v = min(max(y[0] - 0.5, 0.0), <double> (height - 1))
    left, top = <Py_ssize_t> u, <Py_ssize_t> v
    right, bottom = min(left + 1, width - 1), min(top + 1, height - 1)
    u -= left
    v -= top
    x[0] += (1 - v) * ((1 - u) * field[0, top, left] + u * field[0, top, right]) + v * (
        (1 - u) * field[0, bottom, left] + u * field[0, bottom, right])
    y[0] += (1 - v) * ((1 - u) * field[1, top, left] + u * field[1, top, right]) + v * (
        (1 - u) * field[1, bottom, left] + u * field[1, bottom, right])


cdef int sampled(
    const Image* image, const double* after, const double* before, const float[:, :, ::1] field, const int* samples,
    float[:, :, ::1] out, const Colour* colour
) noexcept nogil:
    """Each pixel the mean of samples[0] x samples[1] points, mapped by `after`, moved by `field`, mapped by `before`."""
    cdef Py_ssize_t x, y, c, i, j, width = out.shape[2]
    cdef double u, v, p, q
    cdef float share = 1.0 / (samples[0] * samples[1])
    cdef float* pixels = <float*> calloc(width * 4, sizeof(float))
    cdef float* total
    if pixels == NULL:
        return -1
    for y in range(out.shape[1]):
        for x in range(width):
            total = pixels + 4 * x
            for c in range(4):
                total[c] = 0
            for j in range(samples[1]):
                for i in range(samples[0]):
                    u, v = x + (i + 0.5) / samples[0], y + (j + 0.5) / samples[1]
                    p, q = after[0] * u + after[1] * v + after[2], after[3] * u + after[4] * v + after[5]
                    if field.shape[0]:
                        move(field, &p, &q)
                        u, v = p, q
                        p = before[0] * u + before[1] * v + before[2]
                        q = before[3] * u + before[4] * v + before[5]
                    add_sample(image, p, q, total)
            for c in range(4):
                total[c] *= share
        to_planes(pixels, out, y)
        paint(out, y, colour)
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
    cdef double first[6]
    cdef double second[6]
    cdef Axis rows
    cdef Axis columns
    cdef int samples[2]
    cdef int failed = 0, c
    cdef double across, down
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
        second[:] = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
        if field is not None:
            if field.shape[0] != 2 or min(field.shape[1], field.shape[2]) < 1:
                raise ValueError(f"render: a field has shape (2, h, w), found {tuple(field.shape)[:3]}")
            read_map(second, before)
        across = max(fabs(second[0] * first[0] + second[1] * first[3]), fabs(second[3] * first[0] + second[4] * first[3]))
        down = max(fabs(second[0] * first[1] + second[1] * first[4]), fabs(second[3] * first[1] + second[4] * first[4]))
        samples[0] = min(max(<int> ceil(min(across, 100.0) - 0.5), 1), MOST_SAMPLES)
        samples[1] = min(max(<int> ceil(min(down, 100.0) - 0.5), 1), MOST_SAMPLES)
        with nogil:
            failed = sampled(&source, first, second, field, samples, out, &painted)
    if failed:
        raise MemoryError("render: no memory for the weights of the resampling")
