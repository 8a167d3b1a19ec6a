// SPDX-License-Identifier: BSD-3-Clause
// 5x5 convolutions of stride 1 by F(2x2, 5x5): see simd/winograd_conv.hpp and simd/winograd.hpp.
#include "simd/winograd_conv.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

using Scheme = Winograd<2, 5>;

int candidates(const Op& op, const Machine& machine, Variant* out) {
  return winograd_candidates<Scheme>(op.conv, machine, out);
}

void prepare(const Op& op, const Variant& variant, Work* work, void* table) {
  winograd_prepare<Scheme>(op.conv, variant, work, table);
}

void pack(const Prepared& prepared, int64_t first, int64_t last, const float* weight, void* packed) {
  const WinogradPlan& p = *static_cast<const WinogradPlan*>(prepared.table);
  for (int64_t block = first; block < last; ++block)
    winograd_pack<Scheme>(p, block, weight, static_cast<float*>(packed));
}

void run(const Prepared& prepared, int, int64_t first, int64_t last, const Context& context) {
  winograd_run<Scheme>(prepared, first, last, context);
}

}  // namespace

extern const Kernel conv2d_winograd_2x2_5x5;
const Kernel conv2d_winograd_2x2_5x5 = {"winograd_2x2_5x5", OpKind::kConv2d, candidates, prepare, pack, run};

}  // namespace CNNKERN_NAMESPACE
