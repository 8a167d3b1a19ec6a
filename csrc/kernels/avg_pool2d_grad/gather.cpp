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
  for (int i = 0; i < 3 && !pool.adaptive; ++i)
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

// Where an input row stands: the windows that its pixels may belong to, along D and along H.
struct Place { Span plane, row; };

// The windows of the box, each divided by its own number of elements.
Block uneven_sum(const Pool& op, const WindowTable& windows, const float* dy, const Place& place, Span column) {
  Block sum = block_zero();
  for (int d = 0; d < place.plane.count; ++d) {
    for (int r = 0; r < place.row.count; ++r) {
      const float lines = static_cast<float>(windows.planes[place.plane.first + d].elements) *
                          static_cast<float>(windows.rows[place.row.first + r].elements);
      for (int s = 0; s < column.count; ++s) {
        const float elements = lines * static_cast<float>(windows.columns[column.first + s].elements);
        sum = add(sum, div(block_load(dy + d * op.y.sd + r * op.y.sh + s * kBlock), block_set1(elements)));
      }
    }
  }
  return sum;
}

CNNKERN_INLINE Block plane_sum(const Pool& op, const float* dy, Span row, Span column) {
  Block sum = block_zero();
  for (int r = 0; r < row.count; ++r)
    for (int s = 0; s < column.count; ++s) sum = add(sum, block_load(dy + r * op.y.sh + s * kBlock));
  return sum;
}

CNNKERN_INLINE Block even_sum(const Pool& op, const float* dy, const Place& place, Span column, float elements) {
  Block sum = block_zero();
  if (place.plane.count > 0) sum = plane_sum(op, dy, place.row, column);
  for (int d = 1; d < place.plane.count; ++d) {
    dy += op.y.sd;
    sum = add(sum, plane_sum(op, dy, place.row, column));
  }
  return div(sum, block_set1(elements));
}

// dy: the first row of the windows of this input row.
CNNKERN_INLINE void spread_row(const Pool& op, const Tables& tables, const float* dy, const Place& place, float* dx) {
  const float lines = static_cast<float>(place.plane.elements) * static_cast<float>(place.row.elements);
  Block value = block_zero();
  Span before{-1, -1, -1};
  for (int64_t w = 0; w < op.x.w; ++w) {
    const Span column = tables.spans.columns[w];
    if (column.first != before.first || column.count != before.count) {
      const float* from = dy + static_cast<int64_t>(column.first) * kBlock;
      if (op.divisor)
        value = even_sum(op, from, place, column, static_cast<float>(op.divisor));
      else if (lines != 0 && column.elements)
        value = even_sum(op, from, place, column, lines * static_cast<float>(column.elements));
      else
        value = uneven_sum(op, tables.windows, from, place, column);
      before = column;
    }
    block_store(dx + w * kBlock, value);
  }
}

void run(const Prepared& prepared, int, int64_t first, int64_t last, const Context& context) {
  const Pool& op = prepared.op.pool;
  const Span* spans = static_cast<const Span*>(prepared.table);
  const Tables tables{span_table(op, spans), window_table(op, spans + span_count(op))};
  const float* dy = static_cast<const float*>(context.args[Pool::kIn]);
  float* dx = static_cast<float*>(context.args[Pool::kOut]);
  const int64_t blocks = blocks_of(op.x.c);
  for (int64_t unit = first; unit < last; ++unit) {
    const int64_t h = unit % op.x.h, d = unit / op.x.h % op.x.d, map = unit / (op.x.h * op.x.d);
    const int64_t block = map % blocks, n = map / blocks;
    const Place place{tables.spans.planes[d], tables.spans.rows[h]};
    const float* from = at_block(op.y, dy, n, block, place.plane.first, place.row.first, 0);
    spread_row(op, tables, from, place, at_block(op.x, dx, n, block, d, h, 0));
  }
}

}  // namespace

extern const Kernel avg_pool2d_grad_gather;
const Kernel avg_pool2d_grad_gather = {"gather", OpKind::kAvgPool2dGrad, candidates, prepare, nullptr, run};

}  // namespace CNNKERN_NAMESPACE
