// SPDX-License-Identifier: BSD-3-Clause
// dx = at each pixel, the sum of dy / elements over the windows that it belongs to, in the order of the windows.
// Blocked layout, one input row of one channel block per unit. Where all windows of a pixel count the same number of
// elements (all but the rim) the sum is divided once, and pixels that share their windows share the result: a global
// average is a fill.
// Measured, one core (Zen 5, AVX-512, from the last cache): 3x3 at stride 2: 39 bytes/ns, 2x2: 63, global 50 to 100.
#include "simd/window.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

// The tables: spans of the input rows, of the input columns, then windows of the output rows and columns.
struct Tables {
  const Span *rows, *columns;
  const Window *row_windows, *column_windows;
};

int candidates(const Op& op, const Machine& machine, Variant* out) {
  const Pool& pool = op.pool;
  if (!is_blocked_pool(pool)) return 0;
  double windows = 1;
  for (int i = 1; i < 3 && !pool.adaptive; ++i)
    windows *= 1 + static_cast<double>(pool.kernel[i] - 1) / static_cast<double>(pool.stride[i]);
  out[0] = Variant{};
  out[0].ns = pool_ns(machine, elements(pool.x) + elements(pool.y), pool.x, windows);
  return 1;
}

void prepare(const Op& op, const Variant&, Work* work, void* table) {
  const Pool& pool = op.pool;
  work->phases = 1;
  work->units[0] = pool.x.n * blocks_of(pool.x.c) * pool.x.h;
  work->table_bytes = (pool.x.h + pool.x.w) * static_cast<int64_t>(sizeof(Span)) +
                      (pool.y.h + pool.y.w) * static_cast<int64_t>(sizeof(Window));
  if (!table) return;
  Span* spans = static_cast<Span*>(table);
  for (int64_t i = 0; i < pool.x.h; ++i) spans[i] = span_of(pool, 1, i);
  for (int64_t i = 0; i < pool.x.w; ++i) spans[pool.x.h + i] = span_of(pool, 2, i);
  Window* windows = reinterpret_cast<Window*>(spans + pool.x.h + pool.x.w);
  for (int64_t i = 0; i < pool.y.h; ++i) windows[i] = window_of(pool, 1, i);
  for (int64_t i = 0; i < pool.y.w; ++i) windows[pool.y.h + i] = window_of(pool, 2, i);
}

// The windows of the rectangle, each divided by its own number of elements.
Block uneven_sum(const Pool& op, const float* dy, const Window* rows, const Window* columns, Span row, Span column) {
  Block sum = block_zero();
  for (int r = 0; r < row.count; ++r) {
    for (int s = 0; s < column.count; ++s) {
      const float elements = static_cast<float>(rows[r].elements) * static_cast<float>(columns[s].elements);
      sum = add(sum, div(block_load(dy + r * op.y.sh + s * kBlock), block_set1(elements)));
    }
  }
  return sum;
}

CNNKERN_INLINE Block even_sum(const Pool& op, const float* dy, Span row, Span column, float elements) {
  Block sum = block_zero();
  for (int r = 0; r < row.count; ++r)
    for (int s = 0; s < column.count; ++s) sum = add(sum, block_load(dy + r * op.y.sh + s * kBlock));
  return div(sum, block_set1(elements));
}

// dy: the first row of the windows of this input row.
CNNKERN_INLINE void spread_row(const Pool& op, const Tables& tables, const float* dy, Span row, float* dx) {
  Block value = block_zero();
  Span before{-1, -1, -1};
  for (int64_t w = 0; w < op.x.w; ++w) {
    const Span column = tables.columns[w];
    if (column.first != before.first || column.count != before.count) {
      const float* from = dy + static_cast<int64_t>(column.first) * kBlock;
      if (op.divisor)
        value = even_sum(op, from, row, column, static_cast<float>(op.divisor));
      else if (row.elements && column.elements)
        value = even_sum(op, from, row, column, static_cast<float>(row.elements) * static_cast<float>(column.elements));
      else
        value = uneven_sum(op, from, tables.row_windows + row.first, tables.column_windows + column.first, row, column);
      before = column;
    }
    block_store(dx + w * kBlock, value);
  }
}

void run(const Prepared& prepared, int, int64_t first, int64_t last, const Context& context) {
  const Pool& op = prepared.op.pool;
  Tables tables;
  tables.rows = static_cast<const Span*>(prepared.table);
  tables.columns = tables.rows + op.x.h;
  tables.row_windows = reinterpret_cast<const Window*>(tables.columns + op.x.w);
  tables.column_windows = tables.row_windows + op.y.h;
  const float* dy = static_cast<const float*>(context.args[Pool::kIn]);
  float* dx = static_cast<float*>(context.args[Pool::kOut]);
  const int64_t blocks = blocks_of(op.x.c);
  for (int64_t unit = first; unit < last; ++unit) {
    const int64_t h = unit % op.x.h, block = unit / op.x.h % blocks, n = unit / (op.x.h * blocks);
    const Span row = tables.rows[h];
    spread_row(op, tables, at_block(op.y, dy, n, block, 0, row.first, 0), row, at_block(op.x, dx, n, block, 0, h, 0));
  }
}

}  // namespace

extern const Kernel avg_pool2d_grad_gather;
const Kernel avg_pool2d_grad_gather = {"gather", OpKind::kAvgPool2dGrad, candidates, prepare, nullptr, run};

}  // namespace CNNKERN_NAMESPACE
