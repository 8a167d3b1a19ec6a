// SPDX-License-Identifier: BSD-3-Clause
// The loop of batch normalization over maps of either layout and over matrices: groups of channels, and for each group
// its elements in fixed chunks. A step is 16 numbers: 16 channels of a pixel (blocked maps, matrices) or 16 pixels of
// one channel (plain maps), so that one body serves all three.
#pragma once
#include "simd/axes.hpp"

namespace CNNKERN_NAMESPACE {

constexpr int64_t kChunkSteps = 512;  // 32 KB: a second pass over it comes from the first cache
constexpr int64_t kChunkRows = 64;    // so that short rows, each summed on its own, are few enough to add up in float
constexpr int kMaxNormTensors = 4;

struct NormLoop {
  bool per_lane;  // the lanes of a step are channels
  bool matrix;    // plain (N, C): the last group has fewer lanes
  bool streams;   // maps too large for the caches are written past them
  int64_t channels, groups;
  int64_t count;                       // elements per channel
  int64_t rows, depth, height, width;  // rows along n, d and h together; pixels of a row
  int64_t rows_per_chunk, steps_per_chunk;
  int64_t pieces, chunks;  // chunks of a row (1 where chunks hold several rows), chunks of a group
  int tensors;
  int64_t group_stride[kMaxNormTensors], image_stride[kMaxNormTensors], plane_stride[kMaxNormTensors];
  int64_t row_stride[kMaxNormTensors], step_stride[kMaxNormTensors];
};

// False where a layout is not served: mixed ones, matrices of strided columns.
CNNKERN_INLINE bool norm_loop(const Tensor* const* tensors, int count, NormLoop& loop) {
  const Tensor& x = *tensors[0];
  const bool blocked = x.layout == Layout::kBlocked;
  const bool pixel_each = x.d * x.h * x.w == 1;  // then the steps of a group go from image to image
  const bool matrix = pixel_each && !blocked;
  bool rows_join = true, planes_join = true;
  for (int i = 0; i < count; ++i) {
    const Tensor& t = *tensors[i];
    const int64_t pixel = blocked ? kBlock : 1;
    if (t.layout != x.layout) return false;
    rows_join &= t.h == 1 || t.sh == t.w * pixel;
    planes_join &= t.d == 1 || t.sd == t.h * t.w * pixel;
    if (matrix && t.sc != 1) return false;
  }
  loop = NormLoop{};
  loop.per_lane = blocked || matrix;
  loop.channels = x.c;
  loop.groups = loop.per_lane ? blocks_of(x.c) : x.c;
  loop.count = x.n * x.d * x.h * x.w;
  loop.streams = is_streamed(x);
  loop.matrix = matrix;
  loop.height = rows_join ? 1 : x.h;
  loop.depth = rows_join && planes_join ? 1 : x.d;
  loop.rows = pixel_each ? 1 : x.n * loop.depth * loop.height;
  loop.width = loop.count / loop.rows;
  const int64_t steps = loop.per_lane ? loop.width : (loop.width + kBlock - 1) / kBlock;
  loop.steps_per_chunk = least(steps, kChunkSteps);
  loop.pieces = (steps + loop.steps_per_chunk - 1) / loop.steps_per_chunk;
  loop.rows_per_chunk = loop.pieces > 1 ? 1 : least(kChunkRows, most(1, kChunkSteps / steps));
  loop.chunks = loop.pieces * ((loop.rows + loop.rows_per_chunk - 1) / loop.rows_per_chunk);
  loop.tensors = count;
  for (int i = 0; i < count; ++i) {
    const Tensor& t = *tensors[i];
    loop.group_stride[i] = matrix ? kBlock : t.sc;
    loop.image_stride[i] = t.sn;
    loop.plane_stride[i] = t.sd;
    loop.row_stride[i] = t.sh;
    loop.step_stride[i] = pixel_each ? t.sn : kBlock;
  }
  return true;
}

// Of the sums, over the tensors that they read, whose chunks may be longer than where what is written has a border; and of
// what is written.
struct NormLoops { NormLoop sums, all; };

// The first `summed` of `count` tensors are what is summed.
CNNKERN_INLINE bool norm_loops(const Tensor* const* tensors, int summed, int count, NormLoops& loops) {
  return norm_loop(tensors, summed, loops.sums) && norm_loop(tensors, count, loops.all);
}

// Three phases: a Partial for each chunk; from these an Affine for each group; by that what is written, in chunks.
template <class Partial, class Affine>
CNNKERN_INLINE void norm_work(const NormLoops& loops, Work* work, void* table) {
  const int64_t groups = loops.sums.groups, chunks = groups * loops.sums.chunks;
  work->phases = 3;
  work->units[0] = chunks;
  work->units[1] = groups;
  work->units[2] = groups * loops.all.chunks;
  work->shared_bytes = groups * static_cast<int64_t>(sizeof(Affine)) + chunks * static_cast<int64_t>(sizeof(Partial));
  work->table_bytes = sizeof(NormLoops);
  if (table) *static_cast<NormLoops*>(table) = loops;
}

// The group and the chunk that a unit of sums or of what is written stands for. Chunks of several images take turns with
// those of the next group, which lie behind them in every image: else each image gives a few KB and then a leap.
struct NormUnit { int64_t group, chunk; };
CNNKERN_INLINE NormUnit norm_unit(const NormLoop& loop, int64_t unit) {
  if (loop.rows_per_chunk > loop.height * loop.depth) return {unit % loop.groups, unit / loop.groups};
  return {unit / loop.chunks, unit % loop.chunks};
}

// Channels of a group: lanes in use, or 1.
CNNKERN_INLINE int group_channels(const NormLoop& loop, int64_t group) {
  return loop.per_lane ? static_cast<int>(least(kBlock, loop.channels - group * kBlock)) : 1;
}
CNNKERN_INLINE int64_t first_channel(const NormLoop& loop, int64_t group) {
  return loop.per_lane ? group * kBlock : group;
}

// A vector of one number per channel, as it meets the steps of the group.
CNNKERN_INLINE Block channel_block(const NormLoop& loop, const float* vector, int64_t group) {
  const float* p = vector + first_channel(loop, group);
  return loop.per_lane ? block_load_n(p, group_channels(loop, group)) : block_set1(*p);
}

// Elements per channel in a chunk.
CNNKERN_INLINE int64_t chunk_elements(const NormLoop& loop, int64_t chunk) {
  const int64_t row = chunk / loop.pieces * loop.rows_per_chunk, rows = least(loop.rows_per_chunk, loop.rows - row);
  const int64_t pixels = loop.steps_per_chunk * (loop.per_lane ? 1 : kBlock), first = chunk % loop.pieces * pixels;
  return rows * (loop.pieces == 1 ? loop.width : least(pixels, loop.width - first));
}

// Calls body(offset, steps, lanes) for stretches of steps in the chunk: offset[i] is where they begin in tensor i, and
// only the first `lanes` numbers of each step exist (16 but for the end of a plain row and for the last group of a
// matrix).
template <class Body>
CNNKERN_INLINE void for_steps(const NormLoop& loop, int64_t group, int64_t chunk, Body&& body) {
  const int64_t row = chunk / loop.pieces * loop.rows_per_chunk, end = least(loop.rows, row + loop.rows_per_chunk);
  const int64_t first = chunk % loop.pieces * loop.steps_per_chunk;
  const int64_t full = loop.per_lane ? loop.width : loop.width / kBlock;
  const int64_t steps = most(0, least(first + loop.steps_per_chunk, full) - first);
  const int rest = loop.per_lane ? 0 : static_cast<int>(loop.width % kBlock);
  const bool partial = rest && first + loop.steps_per_chunk > full;
  const int lanes = loop.matrix ? group_channels(loop, group) : kBlock;
  // Divisions for every row would take longer than rows of 7 pixels.
  int64_t h = row % loop.height, d = row / loop.height % loop.depth, n = row / (loop.height * loop.depth);
  for (int64_t r = row; r < end; ++r) {
    int64_t offset[kMaxNormTensors];
    for (int i = 0; i < loop.tensors; ++i)
      offset[i] = group * loop.group_stride[i] + n * loop.image_stride[i] + d * loop.plane_stride[i] +
                  h * loop.row_stride[i] + first * loop.step_stride[i];
    if (steps) body(offset, steps, lanes);
    if (partial) {
      for (int i = 0; i < loop.tensors; ++i) offset[i] += steps * kBlock;
      body(offset, 1, rest);
    }
    if (++h < loop.height) continue;
    h = 0;
    if (++d < loop.depth) continue;
    d = 0, ++n;
  }
}

template <bool kFull>
CNNKERN_INLINE Block read_step(const float* p, int lanes) {
  return kFull ? block_load(p) : block_load_n(p, lanes);
}
template <bool kFull>
CNNKERN_INLINE void write_step(float* p, Block v, int lanes, bool streams = false) {
  if (kFull && streams)
    block_stream(p, v);
  else if (kFull)
    block_store(p, v);
  else
    block_store_n(p, v, lanes);
}

// Zeros for the lanes from `lanes` on of blocks a step apart.
CNNKERN_INLINE void empty_steps(float* y, int64_t step, int64_t steps, int lanes) {
  for (int64_t i = 0; i < steps; ++i) empty_tail(y + i * step, kBlock, lanes);
}

// The lanes of a sum, as doubles: sum[0 .. 15] of the channels, or all of them in sum[0].
CNNKERN_INLINE void lane_sums(const NormLoop& loop, Block block, double (&sum)[kBlock]) {
  float lanes[kBlock];
  block_store(lanes, block);
  for (int i = 0; i < kBlock; ++i) sum[i] = static_cast<double>(lanes[i]);
  if (loop.per_lane) return;
  for (int i = 1; i < kBlock; ++i) sum[0] += sum[i];
}

}  // namespace CNNKERN_NAMESPACE
