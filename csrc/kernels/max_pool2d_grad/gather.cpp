// SPDX-License-Identifier: BSD-3-Clause
// dx = at each pixel, the sum of dy over the windows whose index names it, in the order of the windows. Gathering
// instead of scattering: every pixel is written once, no zeroing, and the sum does not depend on threads. Blocked
// layout, one input row of one channel block per unit; a pixel belongs to few windows (2.25 on average for 3x3 at
// stride 2), which the tables give.
// Measured, one core (Zen 5, AVX-512, from the last cache): 3x3 at stride 2: 38 bytes/ns, 2x2: 63.
#include "simd/window.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

int candidates(const Op& op, const Machine& machine, Variant* out) {
  const Pool& pool = op.pool;
  if (!is_blocked_pool(pool) || !pool.indices.present) return 0;
  double windows = 1;
  for (int i = 0; i < 3 && pool.windows != Pool::kAdaptive; ++i)
    windows *= 1 + static_cast<double>((pool.kernel[i] - 1) * pool.dilation[i]) / static_cast<double>(pool.stride[i]);
  out[0] = Variant{};
  out[0].ns = pool_ns(machine, elements(pool.x) + 2 * elements(pool.y), pool.x, windows);
  return 1;
}

void prepare(const Op& op, const Variant&, Work* work, void* table) {
  const Pool& pool = op.pool;
  work->phases = 1;
  work->units[0] = pool.x.n * blocks_of(pool.x.c) * pool.x.d * pool.x.h;
  work->table_bytes = span_count(pool) * static_cast<int64_t>(sizeof(Span));
  if (table) fill_spans(pool, static_cast<Span*>(table));
}

CNNKERN_INLINE Block gather(const float* dy, int64_t dy_row, const int32_t* indices, int64_t index_row, int rows,
                            int columns, int32_t place) {
  const BlockI here = block_set1_i(place);
  Block sum = block_zero();
  for (int r = 0; r < rows; ++r) {
    for (int s = 0; s < columns; ++s) {
      const BlockMask mine = equal(block_load_i(indices + r * index_row + s * kBlock), here);
      sum = add(sum, select(mine, block_load(dy + r * dy_row + s * kBlock), block_zero()));
    }
  }
  return sum;
}

template <bool kDeep>
void run_rows(const Pool& op, const SpanTable& spans, int64_t first, int64_t last, const Context& context) {
  const float* dy = static_cast<const float*>(context.args[Pool::kMaxGradDy]);
  const int32_t* indices = static_cast<const int32_t*>(context.args[Pool::kMaxGradIndices]);
  float* dx = static_cast<float*>(context.args[Pool::kMaxGradDx]);
  const int64_t blocks = blocks_of(op.x.c);
  for (int64_t unit = first; unit < last; ++unit) {
    const RowUnit at = row_unit<kDeep>(op.x, blocks, unit);
    const Span planes = spans.planes[at.d], rows = spans.rows[at.h];
    const float* dy_row = at_block(op.y, dy, at.n, at.block, planes.first, rows.first, 0);
    const int32_t* index_row = at_block(op.indices, indices, at.n, at.block, planes.first, rows.first, 0);
    float* to = at_block(op.x, dx, at.n, at.block, at.d, at.h, 0);
    const int first_rows = kDeep && planes.count == 0 ? 0 : rows.count;
    for (int64_t w = 0; w < op.x.w; ++w) {
      const Span columns = spans.columns[w];
      const int64_t offset = static_cast<int64_t>(columns.first) * kBlock;
      const int32_t place = static_cast<int32_t>((at.d * op.x.h + at.h) * op.x.w + w);
      const auto take = [&](int d, int r, int s) CNNKERN_LAMBDA {
        return gather(dy_row + d * op.y.sd + offset, op.y.sh, index_row + d * op.indices.sd + offset, op.indices.sh, r,
                      s, place);
      };
      Block sum = first_rows == 1 && columns.count == 1 ? take(0, 1, 1) : take(0, first_rows, columns.count);
      for (int d = 1; kDeep && d < planes.count; ++d) sum = add(sum, take(d, rows.count, columns.count));
      block_store(to + w * kBlock, sum);
    }
  }
}

void run(const Prepared& prepared, int, int64_t first, int64_t last, const Context& context) {
  const Pool& op = prepared.op.pool;
  const SpanTable spans = span_table(op, prepared.table);
  const bool deep = op.x.d > 1 || spans.planes[0].count != 1;
  (deep ? run_rows<true> : run_rows<false>)(op, spans, first, last, context);
}

}  // namespace

extern const Kernel max_pool2d_grad_gather;
const Kernel max_pool2d_grad_gather = {"gather", OpKind::kMaxPool2dGrad, candidates, prepare, nullptr, run};

}  // namespace CNNKERN_NAMESPACE
