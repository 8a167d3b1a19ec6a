// SPDX-License-Identifier: BSD-3-Clause
// The gradient by the input of 3x3 convolutions of stride 1 is one of dy with turned filters, outputs and inputs in each
// other's place: by F(4x4, 3x3), see simd/winograd_conv.hpp and simd/winograd.hpp.
#include "simd/winograd_conv.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

using Scheme = Winograd<4, 3>;

// The convolution that gives dx.
Conv turned(const Conv& c) {
  Conv t = c;
  t.x = c.y, t.y = c.x;
  t.w.n = c.w.c, t.w.c = c.w.n;
  t.bias = t.residual = {};
  t.epilogue = {};
  for (int i = 1; i < 3; ++i) t.padding[i] = Scheme::kTaps - 1 - c.padding[i];
  return t;
}

int candidates(const Op& op, const Machine& machine, Variant* out) {
  for (int i = 1; i < 3; ++i)
    if (op.conv.padding[i] >= Scheme::kTaps) return 0;
  return winograd_candidates<Scheme>(turned(op.conv), machine, out);
}

void prepare(const Op& op, const Variant& variant, Work* work, void* table) {
  winograd_prepare<Scheme>(turned(op.conv), variant, work, table);
}

void pack(const Prepared& prepared, int64_t first, int64_t last, const float* weight, void* packed) {
  const WinogradPlan& p = *static_cast<const WinogradPlan*>(prepared.table);
  for (int64_t block = first; block < last; ++block)
    winograd_pack_turned<Scheme>(p, block, weight, static_cast<float*>(packed));
}

void run(const Prepared& prepared, int, int64_t first, int64_t last, const Context& context) {
  const WinogradPlan& p = *static_cast<const WinogradPlan*>(prepared.table);
  const WinogradResult result = {nullptr, nullptr, static_cast<float*>(context.args[Conv::kGiDx]), Epilogue{}};
  winograd_units<Scheme>(p, static_cast<const float*>(context.args[Conv::kGiDy]), result, first, last, context);
}

}  // namespace

extern const Kernel conv2d_grad_input_winograd_4x4;
const Kernel conv2d_grad_input_winograd_4x4 = {
    "winograd_4x4", OpKind::kConv2dGradInput, candidates, prepare, pack, run};

}  // namespace CNNKERN_NAMESPACE
