// SPDX-License-Identifier: BSD-3-Clause
// The gradient by the input of a convolution of stride 1 is a convolution of dy with turned filters, outputs and inputs in
// each other's place: by Winograd's algorithm, see simd/winograd_conv.hpp.
#pragma once
#include "simd/winograd_conv.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

template <class F> struct WinogradTurned {
  // The convolution that gives dx.
  static Conv turned(const Conv& c) {
    Conv t = c;
    t.x = c.y, t.y = c.x;
    t.w.n = c.w.c, t.w.c = c.w.n;
    t.bias = {};
    t.epilogue = {};
    for (int i = 1; i < 3; ++i) t.padding[i] = F::kTaps - 1 - c.padding[i];
    return t;
  }

  static int candidates(const Op& op, const Machine& machine, Variant* out) {
    for (int i = 1; i < 3; ++i)
      if (op.conv.padding[i] >= F::kTaps) return 0;
    return winograd_candidates<F>(turned(op.conv), machine, out);
  }

  static void prepare(const Op& op, const Variant& variant, Work* work, void* table) {
    winograd_prepare<F>(turned(op.conv), variant, work, table);
  }

  static void pack(const Prepared& prepared, int64_t first, int64_t last, const float* weight, void* packed) {
    const WinogradPlan& p = *static_cast<const WinogradPlan*>(prepared.table);
    for (int64_t block = first; block < last; ++block)
      winograd_pack_turned<F>(p, block, weight, static_cast<float*>(packed));
  }

  static void run(const Prepared& prepared, int, int64_t first, int64_t last, const Context& context) {
    const WinogradPlan& p = *static_cast<const WinogradPlan*>(prepared.table);
    const auto argument = [&](int i) { return static_cast<float*>(context.args[i]); };
    const WinogradResult result = {nullptr, argument(Conv::kGiResidual), argument(Conv::kGiGate), argument(Conv::kGiDx),
                                   Epilogue{}};
    winograd_units<F>(p, argument(Conv::kGiDy), result, first, last, context);
  }
};

}  // namespace
}  // namespace CNNKERN_NAMESPACE
