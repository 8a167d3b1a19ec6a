// SPDX-License-Identifier: BSD-3-Clause
// dx = at each pixel, the sum of dy / elements over the windows that it belongs to, in the order of the windows.
// Blocked layout, one input row of one channel block per unit. Where all windows of a pixel count the same number of
// elements (all but the rim) the sum is divided once, and pixels that share their windows share the result: a global
// average is a fill.
// Measured, one core (Zen 5, AVX-512, from the last cache): 3x3 at stride 2: 39 bytes/ns, 2x2: 63, global 50 to 100.
#include "simd/window.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

// The tables: spans of the input, then windows of the output.
struct Tables {
  SpanTable spans;
  WindowTable windows;
};

int candidates(const Op& op, const Machine& machine, Variant* out) {
  const Pool& pool = op.pool;
  if (!is_blocked_pool(pool)) return 0;
  double windows = 1;
  for (int i = 0; i < 3 && pool.windows != Pool::kAdaptive; ++i)
    windows *= 1 + static_cast<double>(pool.kernel[i] - 1) / static_cast<double>(pool.stride[i]);
  out[0] = Variant{};
  out[0].ns = pool_ns(machine, elements(pool.x) + elements(pool.y), pool.x, windows);
  return 1;
}

void prepare(const Op& op, const Variant&, Work* work, void* table) {
  const Pool& pool = op.pool;
  work->phases = 1;
  work->units[0] = pool.x.n * blocks_of(pool.x.c) * pool.x.d * pool.x.h;
  work->table_bytes =
      span_count(pool) * static_cast<int64_t>(sizeof(Span)) + window_count(pool) * static_cast<int64_t>(sizeof(Window));
  if (!table) return;
  Span* spans = static_cast<Span*>(table);
  fill_spans(pool, spans);
  fill_windows(pool, reinterpret_cast<Window*>(spans + span_count(pool)));
}

// The windows of the box, each divided by its own number of elements.
template <bool kDeep>
Block uneven_sum(const Pool& op, WindowTable windows, const float* dy, Span plane, Span row, Span column) {
  Block sum = block_zero();
  for (int d = 0; d < (kDeep ? plane.count : 1); ++d) {
    for (int r = 0; r < row.count; ++r) {
      const float lines = static_cast<float>(windows.planes[plane.first + d].elements) *
                          static_cast<float>(windows.rows[row.first + r].elements);
      for (int s = 0; s < column.count; ++s) {
        const float elements = lines * static_cast<float>(windows.columns[column.first + s].elements);
        sum = add(sum, div(block_load(dy + d * op.y.sd + r * op.y.sh + s * kBlock), block_set1(elements)));
      }
    }
  }
  return sum;
}

// `sum` and the windows that lie in one plane of dy.
CNNKERN_INLINE Block add_plane(Block sum, const Pool& op, const float* dy, Span row, Span column) {
  for (int r = 0; r < row.count; ++r)
    for (int s = 0; s < column.count; ++s) sum = add(sum, block_load(dy + r * op.y.sh + s * kBlock));
  return sum;
}

template <bool kDeep>
CNNKERN_INLINE Block even_sum(const Pool& op, const float* dy, Span plane, Span row, Span column, float elements) {
  Block sum = block_zero();
  if constexpr (kDeep)
    for (int d = 0; d < plane.count; ++d) sum = add_plane(sum, op, dy + d * op.y.sd, row, column);
  else
    sum = add_plane(sum, op, dy, row, column);
  return div(sum, block_set1(elements));
}

// dy: the first row of the windows of this input row.
template <bool kDeep>
CNNKERN_INLINE void spread_row(const Pool& op, Tables tables, const float* dy, Span plane, Span row, float* dx) {
  const int64_t lines = static_cast<int64_t>(plane.elements) * row.elements;
  Block value = block_zero();
  Span before{-1, -1, -1};
  for (int64_t w = 0; w < op.x.w; ++w) {
    const Span column = tables.spans.columns[w];
    if (column.first != before.first || column.count != before.count) {
      const float* from = dy + static_cast<int64_t>(column.first) * kBlock;
      if (op.divisor)
        value = even_sum<kDeep>(op, from, plane, row, column, static_cast<float>(op.divisor));
      else if (lines && column.elements)
        value = even_sum<kDeep>(op, from, plane, row, column,
                                static_cast<float>(lines) * static_cast<float>(column.elements));
      else
        value = uneven_sum<kDeep>(op, tables.windows, from, plane, row, column);
      before = column;
    }
    block_store(dx + w * kBlock, value);
  }
}

template <bool kDeep>
void run_rows(const Pool& op, Tables tables, int64_t first, int64_t last, const Context& context) {
  const float* dy = static_cast<const float*>(context.args[Pool::kIn]);
  float* dx = static_cast<float*>(context.args[Pool::kOut]);
  const int64_t blocks = blocks_of(op.x.c);
  for (int64_t unit = first; unit < last; ++unit) {
    const RowUnit at = row_unit<kDeep>(op.x, blocks, unit);
    const Span plane = tables.spans.planes[at.d], row = tables.spans.rows[at.h];
    const float* from = at_block(op.y, dy, at.n, at.block, plane.first, row.first, 0);
    spread_row<kDeep>(op, tables, from, plane, row, at_block(op.x, dx, at.n, at.block, at.d, at.h, 0));
  }
}

void run(const Prepared& prepared, int, int64_t first, int64_t last, const Context& context) {
  const Pool& op = prepared.op.pool;
  const Span* spans = static_cast<const Span*>(prepared.table);
  const Tables tables{span_table(op, spans), window_table(op, spans + span_count(op))};
  const bool deep = op.x.d > 1 || tables.spans.planes[0].count != 1;
  (deep ? run_rows<true> : run_rows<false>)(op, tables, first, last, context);
}

}  // namespace

extern const Kernel avg_pool2d_grad_gather;
const Kernel avg_pool2d_grad_gather = {"gather", OpKind::kAvgPool2dGrad, candidates, prepare, nullptr, run};

}  // namespace CNNKERN_NAMESPACE
