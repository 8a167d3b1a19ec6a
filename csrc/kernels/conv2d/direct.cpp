// SPDX-License-Identifier: BSD-3-Clause
//   y[n, o, p] = act(bias[o] + residual[n, o, p]
//                    + sum over c and taps t of x[n, c, p * stride - padding + t * dilation] w[o, c, t])
// on blocked maps, without a copy of the input: the register tile of simd/conv_tile.hpp reads it in place, and the
// physical zero border stands for the padding. Any kernel, stride and dilation; groups of whole channel blocks.
//
// Wins wherever there are channels enough to fill vectors and no algorithm with fewer multiplications applies.
// Registers: simd/conv_tile.hpp; blocking: simd/conv_sweep.hpp. Zen 5, ResNet-50's 3x3 layers, batch 1 and 8, one and
// two threads: 95 to 100% of the FMA peak with AVX-512, 94% with AVX2; 77% at 7x7, whose panel alone takes half of L2.
#include "simd/conv_forward.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

Sweep make_sweep(const Conv& c) {
  Sweep s = forward_sweep(c);
  complete_sweep(s);
  return s;
}

int candidates(const Op& op, const Machine& machine, Variant* out) {
  if (!forward_serves(op.conv)) return 0;
  *out = {0, 0, {}, forward_ns(make_sweep(op.conv), op.conv, machine)};
  return 1;
}

void prepare(const Op& op, const Variant&, Work* work, void* table) {
  const Sweep s = make_sweep(op.conv);
  forward_work(s, work);
  if (table) forward_table(s, op.conv, table);
}

void pack(const Prepared& prepared, int64_t first, int64_t last, const float* weight, void* packed) {
  forward_pack(prepared, first, last, weight, packed);
}

void run(const Prepared& prepared, int, int64_t first, int64_t last, const Context& context) {
  forward_run(prepared, first, last, context);
}

}  // namespace

extern const Kernel conv2d_direct;
const Kernel conv2d_direct = {"direct", OpKind::kConv2d, candidates, prepare, pack, run};

}  // namespace CNNKERN_NAMESPACE
