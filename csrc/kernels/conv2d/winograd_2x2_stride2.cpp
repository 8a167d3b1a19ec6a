// SPDX-License-Identifier: BSD-3-Clause
// 3x3 convolutions of stride 2 by F(2x2, 2x2) on their even pixels: see simd/winograd_conv.hpp and simd/winograd.hpp.
// 128 channels to 28x28 on two threads: 349 us, direct 417; 256 to 14x14: 390 and 485; 512 to 7x7: 611 and 563.
// F(4x4, 2x2) in its place: 8% faster on the first, 19% slower on the second.
#include "simd/winograd_conv.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

using Scheme = Winograd<2, 3, 2>;

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

extern const Kernel conv2d_winograd_2x2_stride2;
const Kernel conv2d_winograd_2x2_stride2 = {"winograd_2x2_stride2", OpKind::kConv2d, candidates, prepare, pack, run};

}  // namespace CNNKERN_NAMESPACE
