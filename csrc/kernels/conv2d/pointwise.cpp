// SPDX-License-Identifier: BSD-3-Clause
// y[n, o, p] = act(bias[o] + residual[n, o, p] + sum over c of x[n, c, p * stride] w[o, c]): the 1x1 convolution on
// blocked maps, a matrix product whose rows are pixels. Where no map has a border and the stride is 1, the pixels of an
// image are one long row, so that maps of any width fill the register tile (49 pixels of a 7x7 map: 13 + 12 + 12 + 12);
// otherwise rows stay rows, as in direct.cpp. Groups of whole channel blocks.
//
// Registers: simd/conv_tile.hpp; blocking: simd/conv_sweep.hpp. Zen 5, ResNet-50's 1x1 layers, batch 1, weights from
// memory: 94 to 98% of the FMA peak on one core with AVX-512, 90 to 95% on two inside the network (2048 -> 512 at 7x7,
// whose panels take a quarter of L2 each, 75 to 80%); 92 to 96% with AVX2.
#include "simd/conv_forward.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

int candidates(const Op& op, const Machine& machine, Variant* out) {
  const Conv& c = op.conv;
  if (!is_pointwise(c) || !forward_serves(c)) return 0;
  // Slightly less than direct.cpp where both do the same, so that the choice is definite.
  *out = {0, 0, {}, forward_ns(pointwise_sweep(c), c, machine) - 100};
  return 1;
}

void prepare(const Op& op, const Variant&, Work* work, void* table) {
  const Sweep s = pointwise_sweep(op.conv);
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

extern const Kernel conv2d_pointwise;
const Kernel conv2d_pointwise = {"pointwise", OpKind::kConv2d, candidates, prepare, pack, run};

}  // namespace CNNKERN_NAMESPACE
