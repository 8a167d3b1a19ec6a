// SPDX-License-Identifier: BSD-3-Clause
// The part of a copy that stays after cropping, as a view of either tensor, and the filling of everything around it.
#pragma once
#include "simd/axes.hpp"

namespace CNNKERN_NAMESPACE {

// Positions first .. first + size - 1 of y along N, C, D, H, W receive those of x from `source` on.
struct Region {
  int64_t first[5], source[5], size[5];
  bool empty;
};

CNNKERN_INLINE Region region_of(const Copy& op) {
  const int64_t x[5] = {op.x.n, op.x.c, op.x.d, op.x.h, op.x.w}, y[5] = {op.y.n, op.y.c, op.y.d, op.y.h, op.y.w};
  Region region{};
  for (int i = 0; i < 5; ++i) {
    region.first[i] = most(0, op.offset[i]);
    region.source[i] = region.first[i] - op.offset[i];
    region.size[i] = least(y[i], op.offset[i] + x[i]) - region.first[i];
    region.empty |= region.size[i] <= 0;
  }
  return region;
}

// The part of t that begins at `start`, and in `offset` where its first element lies. Where t is blocked, start[1] must
// be a multiple of the block.
CNNKERN_INLINE Tensor part_of(const Tensor& t, const int64_t (&start)[5], const int64_t (&size)[5], int64_t& offset) {
  const bool blocked = t.layout == Layout::kBlocked;
  Tensor part = t;
  part.n = size[0], part.c = size[1], part.d = size[2], part.h = size[3], part.w = size[4];
  offset = start[0] * t.sn + (blocked ? start[1] / kBlock : start[1]) * t.sc + start[2] * t.sd + start[3] * t.sh +
           start[4] * (blocked ? kBlock : 1);
  return part;
}

CNNKERN_INLINE void fill_row(float* y, int64_t pixels, bool blocked, Block value) {
  if (blocked) {
    for (int64_t i = 0; i < pixels; ++i) block_store(y + i * kBlock, value);
    return;
  }
  int64_t i = 0;
  for (; i + kLanes <= pixels; i += kLanes) store(y + i, value.v[0]);
  if (i < pixels) store_n(y + i, value.v[0], static_cast<int>(pixels - i));
}

// Units of filling: one channel (block) of one image of y.
CNNKERN_INLINE int64_t fill_units(const Copy& op) {
  return op.y.n * (op.y.layout == Layout::kBlocked ? blocks_of(op.y.c) : op.y.c);
}

// Writes the value wherever y is not covered by the region; a block of channels that is covered in part is filled
// whole, so this must come before the copy.
CNNKERN_INLINE void fill_around(const Copy& op, const Region& region, int64_t first, int64_t last, float* y) {
  const Tensor& t = op.y;
  const bool blocked = t.layout == Layout::kBlocked;
  const int64_t channels = blocked ? kBlock : 1, per_image = fill_units(op) / t.n;
  for (int64_t unit = first; unit < last; ++unit) {
    const int64_t n = unit / per_image, c = unit % per_image;
    const int64_t lanes = least(channels, t.c - c * channels);
    const int64_t c0 = c * channels - region.first[1];
    const bool covered = !region.empty && n >= region.first[0] && n < region.first[0] + region.size[0] && c0 >= 0 &&
                         c0 + lanes <= region.size[1];
    const Block value = blocked ? select(first_channels(static_cast<int>(lanes)), block_set1(op.value), block_zero())
                                : block_set1(op.value);
    for (int64_t d = 0; d < t.d; ++d) {
      for (int64_t h = 0; h < t.h; ++h) {
        float* row = y + n * t.sn + c * t.sc + d * t.sd + h * t.sh;
        const int64_t d0 = d - region.first[2], h0 = h - region.first[3];
        if (!covered || d0 < 0 || d0 >= region.size[2] || h0 < 0 || h0 >= region.size[3]) {
          fill_row(row, t.w, blocked, value);
          continue;
        }
        const int64_t after = region.first[4] + region.size[4];
        fill_row(row, region.first[4], blocked, value);
        fill_row(row + after * channels, t.w - after, blocked, value);
      }
    }
  }
}

}  // namespace CNNKERN_NAMESPACE
