// SPDX-License-Identifier: BSD-3-Clause
// The direct convolution on a plain map of few channels, as first.cpp and the chains that start with one share it: the
// input rows that a band of output rows needs are copied with their padding, and the register tile of conv_tile.hpp walks
// the copy with one element per step and pixels `stride` elements apart.
#pragma once
#include "simd/conv_geometry.hpp"
#include "simd/conv_sweep.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

// Copied rows of one channel and kernel plane, elements of each.
struct InputRows { int64_t rows, width; };

CNNKERN_INLINE int64_t copied_rows(const Conv& c, int64_t band) {
  return (band - 1) * c.stride[1] + (c.w.h - 1) * c.dilation[1] + 1;
}
CNNKERN_INLINE InputRows input_rows(const Conv& c, int64_t band) {
  return {copied_rows(c, band), (c.y.w - 1) * c.stride[2] + (c.w.w - 1) * c.dilation[2] + 1};
}
CNNKERN_INLINE int64_t copied_bytes(const Conv& c, const InputRows& r) {
  return c.x.c * c.w.d * r.rows * r.width * static_cast<int64_t>(sizeof(float));
}

// Copying takes about two multiplications' time per vector.
CNNKERN_INLINE double copying_ns(double bytes, const Machine& machine) {
  return bytes / (machine.flops_per_ns * machine.threads);
}

// What the sweep reads; its result and size are the caller's.
CNNKERN_INLINE void read_input_rows(const Conv& c, const InputRows& r, Sweep& s) {
  s.groups = 1;
  s.lanes = c.w.n;
  s.reduction = 1;
  s.taps = c.x.c * taps_of(c);
  s.x = {0, 0, 0, 0, 0, c.stride[1] * r.width, c.stride[2]};
  complete_sweep(s, 1);
}

CNNKERN_INLINE void fill_row_offsets(const Conv& c, const InputRows& r, int32_t* offset) {
  for (int64_t plane = 0; plane < c.x.c * c.w.d; ++plane)
    for (int64_t h = 0; h < c.w.h; ++h)
      for (int64_t w = 0; w < c.w.w; ++w)
        *offset++ = static_cast<int32_t>((plane * r.rows + h * c.dilation[1]) * r.width + w * c.dilation[2]);
}

// [panel][c, t][blocks of the panel][16]
CNNKERN_INLINE void pack_row_weights(const Sweep& s, int64_t first, int64_t last, const float* weight, float* packed) {
  for (int64_t block = first; block < last; ++block) {
    const int64_t row = panel_width(s, block) * kBlock;
    float* const to = packed + packed_block(s, block);
    const auto place = [&](int64_t j) { return to + j * row; };
    transpose_rows(weight + block * kBlock * s.taps, s.taps, least(kBlock, s.lanes - block * kBlock), s.taps, place);
  }
}

// One row of x from element `first` on, zeros where it does not exist.
CNNKERN_INLINE void copy_row(const float* x, int64_t size, int64_t first, int64_t width, float* to) {
  const int64_t begin = least(width, most(0, -first)), end = most(begin, least(width, size - first));
  for (int64_t i = 0; i < begin; ++i) to[i] = 0;
  int64_t i = begin;
  for (; i + kLanes <= end; i += kLanes) store(to + i, load(x + first + i));
  for (; i < end; ++i) to[i] = x[first + i];
  for (i = end; i < width; ++i) to[i] = 0;
}

// The input rows of `band_rows` output rows of plane d from row h on.
CNNKERN_INLINE void copy_input_rows(const Conv& c, const InputRows& r, const float* x, int64_t n, int64_t d, int64_t h,
                                    int64_t band_rows, float* to) {
  const int64_t rows = copied_rows(c, band_rows);
  for (int64_t channel = 0; channel < c.x.c; ++channel)
    for (int64_t plane = 0; plane < c.w.d; ++plane, to += r.rows * r.width) {
      const int64_t from_d = d * c.stride[0] - c.padding[0] + plane * c.dilation[0];
      for (int64_t row = 0; row < rows; ++row) {
        const int64_t from_h = h * c.stride[1] - c.padding[1] + row;
        const bool exists = from_d >= 0 && from_d < c.x.d && from_h >= 0 && from_h < c.x.h;
        const float* const from = exists ? at(c.x, x, n, channel, from_d, from_h, 0) : nullptr;
        copy_row(from, exists ? c.x.w : 0, -c.padding[2], r.width, to + row * r.width);
      }
    }
}

}  // namespace
}  // namespace CNNKERN_NAMESPACE
