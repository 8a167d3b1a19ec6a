// SPDX-License-Identifier: BSD-3-Clause
// Unpooling: dx = dy at the places that the indices name, 0 elsewhere; where several name one place, the last counts,
// or their sum (the gradient of windows that lie anywhere).
// The indices are the caller's and need not come from windows: any that lies outside is left out. Plain layout, one map
// of one image per unit. Limited by memory: a fill, and as many scattered stores as dy has elements.
#include "simd/window.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

int candidates(const Op& op, const Machine& machine, Variant* out) {
  const Pool& pool = op.pool;
  if ((pool.windows != Pool::kByIndex && pool.windows != Pool::kAddByIndex) || !is_plain(pool.x) || !is_plain(pool.y) ||
      !is_plain(pool.indices))
    return 0;
  out[0] = Variant{};
  out[0].ns = stream_ns(machine, elements(pool.x) + 3 * elements(pool.y));
  return 1;
}

void prepare(const Op& op, const Variant&, Work* work, void*) {
  work->phases = 1;
  work->units[0] = op.pool.x.n * op.pool.x.c;
}

void run(const Prepared& prepared, int, int64_t first, int64_t last, const Context& context) {
  const Pool& op = prepared.op.pool;
  const float* dy = static_cast<const float*>(context.args[Pool::kMaxGradDy]);
  const int32_t* indices = static_cast<const int32_t*>(context.args[Pool::kMaxGradIndices]);
  float* dx = static_cast<float*>(context.args[Pool::kMaxGradDx]);
  const int64_t pixels = op.x.d * op.x.h * op.x.w, values = op.y.d * op.y.h * op.y.w;
  for (int64_t unit = first; unit < last; ++unit) {
    float* const to = dx + unit * pixels;
    for (int64_t i = 0; i < pixels; ++i) to[i] = 0;
    for (int64_t i = unit * values; i < (unit + 1) * values; ++i)
      if (indices[i] >= 0 && indices[i] < pixels)
        to[indices[i]] = op.windows == Pool::kAddByIndex ? to[indices[i]] + dy[i] : dy[i];
  }
}

}  // namespace

extern const Kernel max_pool2d_grad_scatter;
const Kernel max_pool2d_grad_scatter = {"scatter", OpKind::kMaxPool2dGrad, candidates, prepare, nullptr, run};

}  // namespace CNNKERN_NAMESPACE
