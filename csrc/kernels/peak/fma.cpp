// SPDX-License-Identifier: BSD-3-Clause
// The multiply-add peak of one core: independent chains in registers, no memory. What benchmarks call 100%.
// Layout: none. Register budget: all but two, so that the latency of an addition (4 cycles, 2 ports) is hidden.
#include "simd/simd.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

constexpr int kChains = kRegisters - 4;

int candidates(const Op&, const Machine&, Variant* out) {
  out[0] = {};
  out[0].ns = 1e9f;  // always worth all threads
  return 1;
}

void prepare(const Op& op, const Variant&, Work* work, void*) {
  work->phases = 1;
  work->units[0] = op.peak.units;
}

void run(const Prepared& prepared, int, int64_t first, int64_t last, const Context& context) {
  float* y = static_cast<float*>(context.args[Peak::kY]);
  for (int64_t unit = first; unit < last; ++unit) {
    Vec sum[kChains];
    unroll<kChains>([&](auto i) CNNKERN_LAMBDA { sum[i] = set1(static_cast<float>(i) * 1e-3f); });
    const Vec a = set1(0.999f), b = set1(1e-3f);
    for (int64_t step = 0; step < prepared.op.peak.steps; ++step)
      unroll<kChains>([&](auto i) CNNKERN_LAMBDA { sum[i] = fma(sum[i], a, b); });
    Vec all = zero();
    unroll<kChains>([&](auto i) CNNKERN_LAMBDA { all = add(all, sum[i]); });
    // The sums lie near 1; what they add is lost in the number of operations, but keeps the loop alive.
    y[unit] = static_cast<float>(prepared.op.peak.steps) * (2 * kChains * kLanes) + 1e-30f * reduce_add(all);
  }
}

}  // namespace

extern const Kernel peak_fma;
const Kernel peak_fma = {"fma", OpKind::kPeak, candidates, prepare, nullptr, run};

}  // namespace CNNKERN_NAMESPACE
