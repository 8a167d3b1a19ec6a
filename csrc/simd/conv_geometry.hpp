// SPDX-License-Identifier: BSD-3-Clause
// Questions about a convolution's shapes that its blocked kernels all ask.
#pragma once
#include "simd/simd.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

// `total` things in `count` pieces whose sizes differ by at most one: where piece `index` starts, and its size.
struct Span { int64_t start, size; };
CNNKERN_INLINE Span span_of(int64_t total, int64_t count, int64_t index) {
  const int64_t size = total / count, wider = total % count;
  return {index * size + least(index, wider), size + (index < wider)};
}

CNNKERN_INLINE void spatial(const Tensor& t, int64_t* size) { size[0] = t.d, size[1] = t.h, size[2] = t.w; }

// Strides between planes, rows and pixels of a blocked map.
CNNKERN_INLINE void pixel_strides(const Tensor& t, int64_t* stride) {
  stride[0] = t.sd, stride[1] = t.sh, stride[2] = kBlock;
}

// Whether x has physical zeros wherever a tap of an output pixel leaves it along one of the axes from `axis` on.
CNNKERN_INLINE bool border_suffices(const Conv& c, int axis = 0) {
  int64_t x[3], y[3], taps[3];
  spatial(c.x, x), spatial(c.y, y), spatial(c.w, taps);
  for (int i = axis; i < 3; ++i) {
    const int64_t last = (y[i] - 1) * c.stride[i] + (taps[i] - 1) * c.dilation[i] - c.padding[i];
    if (c.padding[i] > c.x.before[i] || last >= x[i] + c.x.after[i]) return false;
  }
  return true;
}

// Whether 32-bit offsets reach everything inside one image.
CNNKERN_INLINE bool offsets_fit(const Tensor& t) {
  return t.sn < (int64_t{1} << 31) && blocks_of(t.c) * t.sc < (int64_t{1} << 31);
}

CNNKERN_INLINE int64_t taps_of(const Conv& c) { return c.w.d * c.w.h * c.w.w; }

// Elements from tap 0 to tap number `tap` in the blocked x.
CNNKERN_INLINE int64_t tap_offset(const Conv& c, int64_t tap) {
  const int64_t column = tap % c.w.w, row = tap / c.w.w % c.w.h, plane = tap / (c.w.w * c.w.h);
  return plane * c.dilation[0] * c.x.sd + row * c.dilation[1] * c.x.sh + column * c.dilation[2] * kBlock;
}

// Groups must consist of whole blocks, unless there is only one.
CNNKERN_INLINE bool groups_fit_blocks(const Conv& c) {
  return c.groups == 1 || (c.w.c % kBlock == 0 && c.w.n / c.groups % kBlock == 0);
}

CNNKERN_INLINE bool is_pointwise(const Conv& c) {
  return taps_of(c) == 1 && c.padding[0] == 0 && c.padding[1] == 0 && c.padding[2] == 0;
}

// Whether rows and planes of an image follow each other without a gap.
CNNKERN_INLINE bool is_flat(const Tensor& t) {
  return !t.present || ((t.h * t.d == 1 || t.sh == t.w * kBlock) && (t.d == 1 || t.sd == t.h * t.sh));
}
// Whether a 1x1 kernel meets the pixels of its maps one after the other: all of an image then are one row.
CNNKERN_INLINE bool is_flat(const Conv& c) {
  const bool same_size = c.x.d == c.y.d && c.x.h == c.y.h && c.x.w == c.y.w;  // no stride, or nothing to stride over
  return is_pointwise(c) && same_size && is_flat(c.x) && is_flat(c.y) && is_flat(c.residual) && is_flat(c.gate);
}

CNNKERN_INLINE double map_bytes(const Tensor& t) {
  const int64_t channels = t.layout == Layout::kBlocked ? blocks_of(t.c) * kBlock : t.c;
  return t.present ? 4.0 * static_cast<double>(t.n * channels) * static_cast<double>(t.d * t.h * t.w) : 0.0;
}

// Time to bring so many bytes in or out: what fits the private caches of all cores comes from there.
CNNKERN_INLINE double traffic_ns(double bytes, const Machine& machine) {
  const double cache = static_cast<double>(machine.l2_bytes * machine.threads);
  const double cached = bytes < cache ? bytes : cache;
  return cached / (machine.l2_bytes_per_ns * machine.threads) + (bytes - cached) / machine.memory_bytes_per_ns;
}

CNNKERN_INLINE double most_ns(double a, double b) { return a > b ? a : b; }

}  // namespace
}  // namespace CNNKERN_NAMESPACE
