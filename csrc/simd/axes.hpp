// SPDX-License-Identifier: BSD-3-Clause
// Loops over whole tensors for kernels that are limited by memory: axes merged as far as strides allow, cut into tiles
// of fixed size. The two layouts, borders and broadcasting differ only in strides, so one loop serves them all.
#pragma once
#include "simd/simd.hpp"

namespace CNNKERN_NAMESPACE {

constexpr int kMaxAxes = 6;  // lane, w, h, d, channel (block), n

// The loop over the elements of a tensor together with kTensors tensors that follow it, innermost axis first. A tensor
// that is broadcast along an axis has stride 0 there.
template <int kTensors>
struct Axes {
  int count;  // at least 1
  int64_t size[kMaxAxes];
  int64_t stride[kMaxAxes][kTensors];
  int tail;  // blocked, channels no multiple of 16: lanes in use in the last block, and then channel blocks stay an
  int block_axis;  // axis of their own, or -1: there is one block only. Otherwise tail is 0.
};

// Strides of t along (lane, w, h, d, c, n) of a loop over `shape`.
CNNKERN_INLINE void element_strides(const Tensor& shape, const Tensor& t, int64_t (&stride)[kMaxAxes]) {
  const bool loop_blocked = shape.layout == Layout::kBlocked, blocked = t.layout == Layout::kBlocked;
  const bool one_channel = t.c == 1 && shape.c > 1;
  stride[0] = one_channel || !loop_blocked ? 0 : blocked ? 1 : t.sc;
  stride[1] = t.w == 1 && shape.w > 1 ? 0 : blocked ? kBlock : 1;
  stride[2] = t.h == 1 && shape.h > 1 ? 0 : t.sh;
  stride[3] = t.d == 1 && shape.d > 1 ? 0 : t.sd;
  stride[4] = one_channel ? 0 : blocked || !loop_blocked ? t.sc : t.sc * kBlock;
  stride[5] = t.n == 1 && shape.n > 1 ? 0 : t.sn;
}

template <int kTensors>
CNNKERN_INLINE Axes<kTensors> axes_of(const Tensor& shape, const Tensor* const (&tensors)[kTensors]) {
  const bool blocked = shape.layout == Layout::kBlocked;
  const int64_t size[kMaxAxes] = {
      blocked ? kBlock : 1, shape.w, shape.h, shape.d, blocked ? blocks_of(shape.c) : shape.c, shape.n};
  int64_t stride[kTensors][kMaxAxes];
  for (int t = 0; t < kTensors; ++t) element_strides(shape, *tensors[t], stride[t]);
  Axes<kTensors> axes{};
  axes.tail = blocked ? static_cast<int>(shape.c % kBlock) : 0;
  axes.block_axis = -1;
  for (int i = 0; i < kMaxAxes; ++i) {
    if (size[i] == 1) continue;
    const bool apart = axes.tail && i >= 4;
    bool merges = axes.count > 0 && !apart;
    for (int t = 0; t < kTensors && merges; ++t)
      merges = stride[t][i] == axes.stride[axes.count - 1][t] * axes.size[axes.count - 1];
    if (merges) {
      axes.size[axes.count - 1] *= size[i];
      continue;
    }
    if (axes.tail && i == 4) axes.block_axis = axes.count;
    axes.size[axes.count] = size[i];
    for (int t = 0; t < kTensors; ++t) axes.stride[axes.count][t] = stride[t][i];
    ++axes.count;
  }
  if (axes.count == 0) {
    axes.size[0] = 1;
    for (int t = 0; t < kTensors; ++t) axes.stride[0][t] = 1;
    axes.count = 1;
  }
  return axes;
}

template <int kTensors>
CNNKERN_INLINE int64_t axis_size(const Axes<kTensors>& axes, int i) {
  return i < axes.count ? axes.size[i] : 1;
}
template <int kTensors>
CNNKERN_INLINE int64_t axis_stride(const Axes<kTensors>& axes, int i, int tensor) {
  return i < axes.count ? axes.stride[i][tensor] : 0;
}

// A position on the axes from `from` on, in their order, and the offset of each tensor there.
template <int kTensors>
struct Cursor {
  int64_t index[kMaxAxes];
  int64_t offset[kTensors];
};

template <int kTensors>
CNNKERN_INLINE Cursor<kTensors> cursor_at(const Axes<kTensors>& axes, int from, int64_t position) {
  Cursor<kTensors> cursor{};
  for (int i = from; i < axes.count; ++i) {
    cursor.index[i] = position % axes.size[i];
    position /= axes.size[i];
    for (int t = 0; t < kTensors; ++t) cursor.offset[t] += cursor.index[i] * axes.stride[i][t];
  }
  return cursor;
}

template <int kTensors>
CNNKERN_INLINE void advance(const Axes<kTensors>& axes, int from, Cursor<kTensors>& cursor) {
  for (int i = from; i < axes.count; ++i) {
    for (int t = 0; t < kTensors; ++t) cursor.offset[t] += axes.stride[i][t];
    if (++cursor.index[i] < axes.size[i]) return;
    for (int t = 0; t < kTensors; ++t) cursor.offset[t] -= axes.stride[i][t] * axes.size[i];
    cursor.index[i] = 0;
  }
}

// True if the elements at the cursor belong to a block of channels that is only partly in use.
template <int kTensors>
CNNKERN_INLINE bool in_tail(const Axes<kTensors>& axes, const Cursor<kTensors>& cursor) {
  return axes.tail && (axes.block_axis < 0 || cursor.index[axes.block_axis] == axes.size[axes.block_axis] - 1);
}

// Tiles of the two innermost axes, about kTileFloats elements each: three tensors of it fit the first cache.
constexpr int64_t kTileFloats = 4096;

struct Tiling {
  int64_t size0, size1;    // of a whole tile
  int64_t count0, count1;  // tiles along the two axes
  int64_t outer;           // positions on the other axes
};

template <int kTensors>
CNNKERN_INLINE Tiling tiling_of(const Axes<kTensors>& axes) {
  const int64_t n0 = axis_size(axes, 0), n1 = axis_size(axes, 1);
  Tiling tiling{least(n0, kTileFloats), 1, 1, 1, 1};
  tiling.size1 = least(n1, most(1, kTileFloats / tiling.size0));
  tiling.count0 = (n0 + tiling.size0 - 1) / tiling.size0;
  tiling.count1 = (n1 + tiling.size1 - 1) / tiling.size1;
  for (int i = 2; i < axes.count; ++i) tiling.outer *= axes.size[i];
  return tiling;
}
CNNKERN_INLINE int64_t tiles(const Tiling& tiling) { return tiling.count0 * tiling.count1 * tiling.outer; }

// body(offset, n, tail) for every row of n elements along the innermost axis of tiles [first, last): where the row
// begins in each tensor, and whether it lies in a block of channels that is only partly in use.
template <int kTensors, class Body>
CNNKERN_INLINE void for_rows(const Axes<kTensors>& axes, int64_t first, int64_t last, Body&& body) {
  const Tiling tiling = tiling_of(axes);
  const int64_t n0 = axis_size(axes, 0), n1 = axis_size(axes, 1);
  for (int64_t unit = first; unit < last; ++unit) {
    const int64_t tile0 = unit % tiling.count0 * tiling.size0;
    const int64_t tile1 = unit / tiling.count0 % tiling.count1 * tiling.size1;
    Cursor<kTensors> cursor = cursor_at(axes, 2, unit / (tiling.count0 * tiling.count1));
    for (int t = 0; t < kTensors; ++t)
      cursor.offset[t] += tile0 * axis_stride(axes, 0, t) + tile1 * axis_stride(axes, 1, t);
    const int64_t n = least(tiling.size0, n0 - tile0), end1 = least(tile1 + tiling.size1, n1);
    for (cursor.index[1] = tile1; cursor.index[1] < end1; ++cursor.index[1]) {
      body(cursor.offset, n, in_tail(axes, cursor));
      for (int t = 0; t < kTensors; ++t) cursor.offset[t] += axis_stride(axes, 1, t);
    }
  }
}

// True in the first `lanes` lanes of a block.
CNNKERN_INLINE BlockMask first_channels(int lanes) {
  const float ones[kBlock] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
  return less(block_zero(), block_load_n(ones, lanes));
}

// Zeros for the lanes from `lanes` on of a row of n elements, a multiple of the block.
CNNKERN_INLINE void empty_tail(float* y, int64_t n, int lanes) {
  const BlockMask keep = first_channels(lanes);
  for (int64_t i = 0; i < n; i += kBlock) block_store(y + i, select(keep, block_load(y + i), block_zero()));
}

// Elements of a tensor with its unused lanes.
CNNKERN_INLINE double elements(const Tensor& t) {
  const int64_t channels = t.layout == Layout::kBlocked ? blocks_of(t.c) * kBlock : t.c;
  return static_cast<double>(t.n) * static_cast<double>(channels) * static_cast<double>(t.d * t.h * t.w);
}

// Time to stream `floats` numbers, all cores together, and to start: what a kernel without much arithmetic takes.
CNNKERN_INLINE float stream_ns(const Machine& machine, double floats) {
  const double bytes = 4 * floats;
  const bool cached = bytes < static_cast<double>(machine.l2_bytes * machine.threads);
  const double rate = cached ? machine.l2_bytes_per_ns * machine.threads : machine.memory_bytes_per_ns;
  return static_cast<float>(1000 + bytes / rate);
}

}  // namespace CNNKERN_NAMESPACE
