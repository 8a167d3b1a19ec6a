// SPDX-License-Identifier: BSD-3-Clause
// A copy that keeps the layout: concatenation, slice, padding, another border. Axes that both tensors hold in one piece
// merge, so that most copies are a few long rows. Blocked channels that move by no multiple of 16 (concatenation behind
// 24 channels) take the lanes of each pixel from two blocks of x. Limited by memory.
// Measured, one core (Zen 5, AVX-512, from the last cache): 57 bytes/ns.
#include "simd/region.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

constexpr int64_t kShiftPixels = 256;  // pixels of one unit where lanes shift: 16 KB

CNNKERN_INLINE void copy_row(const float* x, float* y, int64_t n) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(y + i, load(x + i));
  if (i < n) store_n(y + i, load_n(x + i, static_cast<int>(n - i)), static_cast<int>(n - i));
}

// Columns that were cut out of plain rows.
CNNKERN_INLINE void copy_strided(const float* x, int64_t x_stride, float* y, int64_t y_stride, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i * y_stride] = x[i * x_stride];
}

struct Views {
  Axes<2> axes;
  int64_t x, y;  // offsets of the region
};

Views views_of(const Copy& op, const Region& region) {
  Views views;
  const Tensor x = part_of(op.x, region.source, region.size, views.x);
  const Tensor y = part_of(op.y, region.first, region.size, views.y);
  const Tensor* const tensors[2] = {&x, &y};
  views.axes = axes_of(y, tensors);
  return views;
}

// Both blocked, and channels keep their lanes; or both plain.
void run_aligned(const Copy& op, const Region& region, int64_t first, int64_t last, const float* x, float* y) {
  const Views views = views_of(op, region);
  const bool contiguous = views.axes.stride[0][0] == 1 && views.axes.stride[0][1] == 1;
  const int lanes = views.axes.tail;
  const bool ends =
      region.first[1] + region.size[1] == op.y.c;  // then the lanes behind are unused, else another piece's
  for_rows(views.axes, first, last, [&](const int64_t* offset, int64_t n, bool tail) CNNKERN_LAMBDA {
    const float* from = x + views.x + offset[0];
    float* to = y + views.y + offset[1];
    if (!contiguous) return copy_strided(from, views.axes.stride[0][0], to, views.axes.stride[0][1], n);
    if (!tail || ends) {
      copy_row(from, to, n);
      if (tail) empty_tail(to, n, lanes);
      return;
    }
    for (int64_t i = 0; i < n; i += kBlock) block_store_n(to + i, block_load_n(from + i, lanes), lanes);
  });
}

struct Shift { int64_t first_block, blocks, rows, rows_per_unit, groups; };

Shift shift_of(const Region& region) {
  Shift shift;
  shift.first_block = region.first[1] / kBlock;
  shift.blocks = blocks_of(region.first[1] + region.size[1]) - shift.first_block;
  shift.rows = region.size[2] * region.size[3];
  shift.rows_per_unit = most(1, kShiftPixels / region.size[4]);
  shift.groups = (shift.rows + shift.rows_per_unit - 1) / shift.rows_per_unit;
  return shift;
}

CNNKERN_INLINE void copy_lanes(const float* x, float* y, int64_t pixels, int lanes) {
  for (int64_t i = 0; i < pixels; ++i) block_store_n(y + i * kBlock, block_load_n(x + i * kBlock, lanes), lanes);
}

CNNKERN_INLINE void zero_lanes(float* y, int64_t pixels, int lanes) {
  for (int64_t i = 0; i < pixels; ++i) block_store_n(y + i * kBlock, block_zero(), lanes);
}

// Both blocked, channels change their lanes: each block of y is made of up to two stretches of channels of x.
void run_shifted(const Copy& op, const Region& region, int64_t first, int64_t last, const float* x, float* y) {
  const Shift shift = shift_of(region);
  const int64_t end = region.first[1] + region.size[1];
  for (int64_t unit = first; unit < last; ++unit) {
    const int64_t group = unit % shift.groups, block = shift.first_block + unit / shift.groups % shift.blocks;
    const int64_t n = unit / (shift.groups * shift.blocks);
    const int64_t stop = least(shift.rows, (group + 1) * shift.rows_per_unit);
    for (int64_t row = group * shift.rows_per_unit; row < stop; ++row) {
      const int64_t d = row / region.size[3], h = row % region.size[3];
      float* to =
          at_block(op.y, y, region.first[0] + n, block, region.first[2] + d, region.first[3] + h, region.first[4]);
      int64_t channel = most(block * kBlock, region.first[1]);
      const int64_t block_end = least((block + 1) * kBlock, end);
      while (channel < block_end) {
        const int64_t source = channel - op.offset[1], lane = source % kBlock;
        const int64_t lanes = least(kBlock - lane, block_end - channel);
        const float* from = at_block(op.x, x, region.source[0] + n, source / kBlock, region.source[2] + d,
                                     region.source[3] + h, region.source[4]);
        copy_lanes(from + lane, to + channel % kBlock, region.size[4], static_cast<int>(lanes));
        channel += lanes;
      }
      if (channel == op.y.c && channel % kBlock)
        zero_lanes(to + channel % kBlock, region.size[4], static_cast<int>(kBlock - channel % kBlock));
    }
  }
}

bool shifted(const Copy& op) { return op.y.layout == Layout::kBlocked && op.offset[1] % kBlock != 0; }

int candidates(const Op& op, const Machine& machine, Variant* out) {
  const Copy& copy = op.copy;
  if (copy.x.layout != copy.y.layout) return 0;
  const Region region = region_of(copy);
  double floats = copy.fill ? elements(copy.y) : 0;
  if (!region.empty) {
    double moved = 1;
    for (int i = 0; i < 5; ++i) moved *= static_cast<double>(region.size[i]);
    floats += (shifted(copy) ? 3 : 2) * moved;
  }
  out[0] = Variant{};
  out[0].ns = stream_ns(machine, floats);
  return 1;
}

void prepare(const Op& op, const Variant&, Work* work, void*) {
  const Copy& copy = op.copy;
  const Region region = region_of(copy);
  work->phases = 0;
  if (copy.fill) work->units[work->phases++] = fill_units(copy);
  int64_t units = 0;
  if (!region.empty && shifted(copy)) {
    const Shift shift = shift_of(region);
    units = region.size[0] * shift.blocks * shift.groups;
  } else if (!region.empty) {
    units = tiles(tiling_of(views_of(copy, region).axes));
  }
  work->units[work->phases++] = units;
}

void run(const Prepared& prepared, int phase, int64_t first, int64_t last, const Context& context) {
  const Copy& op = prepared.op.copy;
  const Region region = region_of(op);
  const float* x = static_cast<const float*>(context.args[Copy::kX]);
  float* y = static_cast<float*>(context.args[Copy::kY]);
  if (op.fill && phase == 0) return fill_around(op, region, first, last, y);
  if (region.empty) return;
  if (shifted(op)) return run_shifted(op, region, first, last, x, y);
  run_aligned(op, region, first, last, x, y);
}

}  // namespace

extern const Kernel copy_rows;
const Kernel copy_rows = {"rows", OpKind::kCopy, candidates, prepare, nullptr, run};

}  // namespace CNNKERN_NAMESPACE
