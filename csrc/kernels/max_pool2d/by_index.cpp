// SPDX-License-Identifier: BSD-3-Clause
// The gradient of unpooling: y = x at the places that the given indices name, 0 where one lies outside. Plain layout, one
// map of one image per unit. Limited by memory.
#include "simd/window.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

int candidates(const Op& op, const Machine& machine, Variant* out) {
  const Pool& pool = op.pool;
  if (pool.windows != Pool::kByIndex || !is_plain(pool.x) || !is_plain(pool.y) || !is_plain(pool.indices)) return 0;
  out[0] = Variant{};
  out[0].ns = stream_ns(machine, 3 * elements(pool.y));
  return 1;
}

void prepare(const Op& op, const Variant&, Work* work, void*) {
  work->phases = 1;
  work->units[0] = op.pool.x.n * op.pool.x.c;
}

void run(const Prepared& prepared, int, int64_t first, int64_t last, const Context& context) {
  const Pool& op = prepared.op.pool;
  const float* x = static_cast<const float*>(context.args[Pool::kIn]);
  float* y = static_cast<float*>(context.args[Pool::kOut]);
  const int32_t* indices = static_cast<const int32_t*>(context.args[Pool::kIndices]);
  const int64_t pixels = op.x.d * op.x.h * op.x.w, values = op.y.d * op.y.h * op.y.w;
  for (int64_t unit = first; unit < last; ++unit) {
    const float* const from = x + unit * pixels;
    for (int64_t i = unit * values; i < (unit + 1) * values; ++i)
      y[i] = indices[i] >= 0 && indices[i] < pixels ? from[indices[i]] : 0;
  }
}

}  // namespace

extern const Kernel max_pool2d_by_index;
const Kernel max_pool2d_by_index = {"by_index", OpKind::kMaxPool2d, candidates, prepare, nullptr, run};

}  // namespace CNNKERN_NAMESPACE
