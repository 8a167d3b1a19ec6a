// SPDX-License-Identifier: BSD-3-Clause
// 3x3 convolutions of stride 1 by F(4x4, 3x3): see simd/winograd_conv.hpp and simd/winograd.hpp.
#include "simd/winograd_conv.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

constexpr int kOutputs = 4;

int candidates(const Op& op, const Machine& machine, Variant* out) {
  return winograd_candidates<kOutputs>(op.conv, machine, out);
}

void prepare(const Op& op, const Variant& variant, Work* work, void* table) {
  winograd_prepare<kOutputs>(op.conv, variant, work, table);
}

void pack(const Prepared& prepared, int64_t first, int64_t last, const float* weight, void* packed) {
  const WinogradPlan& p = *static_cast<const WinogradPlan*>(prepared.table);
  const auto filter = [&](int64_t o, int64_t c) { return weight + (o * p.in.c + c) * 9; };
  for (int64_t block = first; block < last; ++block)
    winograd_pack<kOutputs>(p, block, filter, 1, static_cast<float*>(packed));
}

void run(const Prepared& prepared, int phase, int64_t first, int64_t last, const Context& context) {
  const auto argument = [&](int i) { return static_cast<float*>(context.args[i]); };
  winograd_run<kOutputs>(
      prepared, phase, first, last, context, argument(Conv::kX),
      {argument(Conv::kBias), argument(Conv::kResidual), argument(Conv::kY), prepared.op.conv.epilogue});
}

}  // namespace

extern const Kernel conv2d_winograd_4x4;
const Kernel conv2d_winograd_4x4 = {"winograd_4x4", OpKind::kConv2d, candidates, prepare, pack, run};

}  // namespace CNNKERN_NAMESPACE
