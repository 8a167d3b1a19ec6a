// SPDX-License-Identifier: BSD-3-Clause
// How fast memory can be read: units of 64 KiB of y, `steps` times over, nothing but loads and additions. What benchmarks call the bandwidth of a cache or of memory; chosen by name only.
// Layout: none. Measured, two cores (Zen 5, AVX-512): 425 bytes/ns from L2 (one stream: 295), 250 from L3, 60 from memory.
#include "simd/simd.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

constexpr int64_t kUnit = 16384;  // floats
constexpr int kSums = 8;          // one chain of additions would halve the rate

int candidates(const Op&, const Machine&, Variant* out) {
  out[0] = {};
  out[0].ns = 2e9f;  // never before the multiply-adds
  return 1;
}

void prepare(const Op& op, const Variant&, Work* work, void*) {
  work->phases = 1;
  work->units[0] = (op.peak.units + kUnit - 1) / kUnit;
}

Vec read(const float* x) {
  Vec sum[kSums];
  unroll<kSums>([&](auto i) CNNKERN_LAMBDA { sum[i] = zero(); });
  for (int64_t at = 0; at < kUnit; at += kSums * kLanes)
    unroll<kSums>([&](auto i) CNNKERN_LAMBDA { sum[i] = add(sum[i], load(x + at + i * kLanes)); });
  Vec all = zero();
  unroll<kSums>([&](auto i) CNNKERN_LAMBDA { all = add(all, sum[i]); });
  return all;
}

void run(const Prepared& prepared, int, int64_t first, int64_t last, const Context& context) {
  float* y = static_cast<float*>(context.args[Peak::kY]);
  for (int64_t step = 0; step < prepared.op.peak.steps; ++step)
    for (int64_t unit = first; unit < last; ++unit) {
      if ((unit + 1) * kUnit > prepared.op.peak.units) continue;  // whole units only
      const Vec sum = read(y + unit * kUnit);
      // Keeps the loads alive, and the numbers finite.
      y[unit * kUnit] = reduce_add(mul(sum, set1(1e-30f)));
    }
}

}  // namespace

extern const Kernel peak_read;
const Kernel peak_read = {"read", OpKind::kPeak, candidates, prepare, nullptr, run};

}  // namespace CNNKERN_NAMESPACE
