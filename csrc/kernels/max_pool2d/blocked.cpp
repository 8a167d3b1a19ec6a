// SPDX-License-Identifier: BSD-3-Clause
// y = the maximum of each window, indices = its place (d * H + h) * W + w in the input (where wanted): the first maximum,
// or the last NaN. Blocked layout, one output row of one channel block per unit, 16 channels at once; whole windows of
// 2x2 and 3x3 are unrolled. A tap is two compares and two blends; neighbouring windows are independent and overlap in
// the core. Measured, one core (Zen 5, AVX-512, from the last cache): 3x3 at stride 2: 34 bytes/ns with indices, 67
// without (AVX2: 32, 62; scalar: 15, 19); 2x2: 50 and 85.
#include "simd/window.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

struct Result {
  Block y;
  BlockI index;
};

// The window whose first tap is x, at place `place` of the plane. At least one tap.
template <bool kIndices>
CNNKERN_INLINE Result window_max(const float* x, int32_t place, int rows, int columns, int64_t row_step,
                                 int64_t column_step, int32_t row_places, int32_t column_places) {
  Result best{block_load(x), block_set1_i(place)};
  for (int r = 0; r < rows; ++r) {
    for (int s = 0; s < columns; ++s) {
      const Block v = block_load(x + r * row_step + s * column_step);
      if constexpr (kIndices) {
        const BlockI here = block_set1_i(place + r * row_places + s * column_places);
        unroll<kVecs>([&](auto i) CNNKERN_LAMBDA {
          const Mask take = either(less(best.y.v[i], v.v[i]), is_nan(v.v[i]));
          best.y.v[i] = select(take, v.v[i], best.y.v[i]);
          best.index.v[i] = select(take, here.v[i], best.index.v[i]);
        });
      } else {
        best.y = select(is_nan(v), v, max(v, best.y));  // max keeps a NaN that is there already
      }
    }
  }
  return best;
}

// The better of two, the first where they are equal.
template <bool kIndices>
CNNKERN_INLINE Result better(const Result& a, const Result& b) {
  Result best = a;
  if constexpr (kIndices) {
    unroll<kVecs>([&](auto i) CNNKERN_LAMBDA {
      const Mask take = either(less(a.y.v[i], b.y.v[i]), is_nan(b.y.v[i]));
      best.y.v[i] = select(take, b.y.v[i], a.y.v[i]);
      best.index.v[i] = select(take, b.index.v[i], a.index.v[i]);
    });
  } else {
    best.y = select(is_nan(b.y), b.y, max(b.y, a.y));
  }
  return best;
}

struct Row {
  const float* x;  // the first plane of the windows
  float* y;        // the output row
  int32_t* indices;
  Window plane, window;  // along D, along H
};

template <bool kIndices, bool kDeep>
void pool_row(const Pool& op, const Row& row, const Window* columns, int lanes) {
  const int64_t row_step = op.windows == Pool::kAdaptive ? op.x.sh : op.dilation[1] * op.x.sh;
  const int32_t dilation = op.windows == Pool::kAdaptive ? 1 : static_cast<int32_t>(op.dilation[2]);
  const int32_t width = static_cast<int32_t>(op.x.w);
  const int32_t row_places = op.windows == Pool::kAdaptive ? width : static_cast<int32_t>(op.dilation[1]) * width;
  const int64_t column_step = dilation * kBlock;
  const int64_t plane_step = op.windows == Pool::kAdaptive ? op.x.sd : op.dilation[0] * op.x.sd;
  const int32_t area = static_cast<int32_t>(op.x.h) * width;
  const int32_t plane_places = op.windows == Pool::kAdaptive ? area : static_cast<int32_t>(op.dilation[0]) * area;
  const int taps_d = row.plane.taps, taps_h = kDeep && taps_d == 0 ? 0 : row.window.taps;
  const BlockMask keep = first_channels(lanes);
  for (int64_t ow = 0; ow < op.y.w; ++ow) {
    const int first = columns[ow].first, taps_w = columns[ow].taps;
    const float* x = row.x + row.window.first * op.x.sh + first * kBlock;
    int32_t place = row.plane.first * area + row.window.first * width + first;
    const auto take = [&](int rows, int cols) CNNKERN_LAMBDA {
      return window_max<kIndices>(x, place, rows, cols, row_step, column_step, row_places, dilation);
    };
    Result result{block_set1(-__builtin_inff()), block_set1_i(-1)};
    if (taps_h == 2 && taps_w == 2)
      result = take(2, 2);
    else if (taps_h == 3 && taps_w == 3)
      result = take(3, 3);
    else if (taps_h > 0 && taps_w > 0)
      result = take(taps_h, taps_w);
    for (int d = 1; kDeep && d < taps_d && taps_h > 0 && taps_w > 0; ++d) {
      x += plane_step;
      place += plane_places;
      result = better<kIndices>(result, take(taps_h, taps_w));
    }
    if (lanes < kBlock) {
      result.y = select(keep, result.y, block_zero());
      result.index = select(keep, result.index, block_set1_i(0));
    }
    block_store(row.y + ow * kBlock, result.y);
    if (kIndices) block_store_i(row.indices + ow * kBlock, result.index);
  }
}

int candidates(const Op& op, const Machine& machine, Variant* out) {
  const Pool& pool = op.pool;
  if (!is_blocked_pool(pool)) return 0;
  const double taps =
      pool.windows == Pool::kAdaptive ? 1 : static_cast<double>(pool.kernel[0] * pool.kernel[1] * pool.kernel[2]);
  out[0] = Variant{};
  out[0].ns = pool_ns(machine, elements(pool.x) + 2 * elements(pool.y), pool.y, taps);
  return 1;
}

void prepare(const Op& op, const Variant&, Work* work, void* table) {
  const Pool& pool = op.pool;
  work->phases = 1;
  work->units[0] = pool.y.n * blocks_of(pool.y.c) * pool.y.d * pool.y.h;
  work->table_bytes = window_count(pool) * static_cast<int64_t>(sizeof(Window));
  if (table) fill_windows(pool, static_cast<Window*>(table));
}

template <bool kIndices, bool kDeep>
void run_rows(const Pool& op, WindowTable windows, int64_t first, int64_t last, const Context& context) {
  const float* x = static_cast<const float*>(context.args[Pool::kIn]);
  float* y = static_cast<float*>(context.args[Pool::kOut]);
  int32_t* indices = static_cast<int32_t*>(context.args[Pool::kIndices]);
  const int64_t blocks = blocks_of(op.y.c);
  for (int64_t unit = first; unit < last; ++unit) {
    const RowUnit at = row_unit<kDeep>(op.y, blocks, unit);
    const int lanes = static_cast<int>(least(kBlock, op.y.c - at.block * kBlock));
    const Window plane = windows.planes[at.d];
    Row row{at_block(op.x, x, at.n, at.block, plane.first, 0, 0), at_block(op.y, y, at.n, at.block, at.d, at.h, 0),
            nullptr, plane, windows.rows[at.h]};
    if (kIndices) row.indices = at_block(op.indices, indices, at.n, at.block, at.d, at.h, 0);
    pool_row<kIndices, kDeep>(op, row, windows.columns, lanes);
  }
}

void run(const Prepared& prepared, int, int64_t first, int64_t last, const Context& context) {
  const Pool& op = prepared.op.pool;
  const WindowTable windows = window_table(op, prepared.table);
  const bool deep = op.y.d > 1 || windows.planes[0].taps != 1;
  if (op.indices.present)
    (deep ? run_rows<true, true> : run_rows<true, false>)(op, windows, first, last, context);
  else
    (deep ? run_rows<false, true> : run_rows<false, false>)(op, windows, first, last, context);
}

}  // namespace

extern const Kernel max_pool2d_blocked;
const Kernel max_pool2d_blocked = {"blocked", OpKind::kMaxPool2d, candidates, prepare, nullptr, run};

}  // namespace CNNKERN_NAMESPACE
