// SPDX-License-Identifier: BSD-3-Clause
// dx = y (dy - sum dy y), with y = softmax(x), over the middle axis of (outer, size, inner), plain and contiguous. One
// unit is a fixed group of positions. Limited by memory.
// Measured, one core (Zen 5, AVX-512, from the last cache): 1000 classes: 110 bytes/ns.
#include "simd/softmax.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

int candidates(const Op& op, const Machine& machine, Variant* out) {
  out[0] = Variant{};
  out[0].ns = softmax_ns(machine, op.softmax, 3);
  return 1;
}

void prepare(const Op& op, const Variant&, Work* work, void*) {
  work->phases = 1;
  work->units[0] = softmax_units(op.softmax);
}

void run(const Prepared& prepared, int, int64_t first, int64_t last, const Context& context) {
  const Softmax& op = prepared.op.softmax;
  const float* dy = static_cast<const float*>(context.args[Softmax::kDy]);
  const float* y = static_cast<const float*>(context.args[Softmax::kSaved]);
  float* dx = static_cast<float*>(context.args[Softmax::kDx]);
  for_groups(op, first, last,
             [&](const Group& group) CNNKERN_LAMBDA { softmax_grad_group<false>(op, group, dy, y, dx); });
}

}  // namespace

extern const Kernel softmax_grad_positions;
const Kernel softmax_grad_positions = {"positions", OpKind::kSoftmaxGrad, candidates, prepare, nullptr, run};

}  // namespace CNNKERN_NAMESPACE
