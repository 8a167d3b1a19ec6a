// SPDX-License-Identifier: BSD-3-Clause
// y = numbers of [0, 1), each a function of (seed, step, node) and of its place in plain order: the numbers that dropout
// compares with p. Plain only. Limited by the ten rounds of Philox, as dropout is: 0.33 ns per element (Zen 5, AVX-512,
// one core; AVX2: 0.74).
#include "simd/philox.hpp"

#include "simd/axes.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

constexpr int64_t kUnit = 64 * kPhiloxWords;

int candidates(const Op& op, const Machine& machine, Variant* out) {
  const Tensor& y = op.dropout.y;
  if (y.layout != Layout::kPlain || y.sh != y.w || y.sd != y.sh * y.h || y.sc != y.sd * y.d || y.sn != y.sc * y.c)
    return 0;
  out[0] = Variant{};
  out[0].ns =
      stream_ns(machine, elements(y)) + static_cast<float>(60 * elements(y) / (machine.flops_per_ns * machine.threads));
  return 1;
}

int64_t count_of(const Tensor& y) { return y.n * y.c * y.d * y.h * y.w; }

void prepare(const Op& op, const Variant&, Work* work, void*) {
  work->phases = 1;
  work->units[0] = (count_of(op.dropout.y) + kUnit - 1) / kUnit;
}

void run(const Prepared& prepared, int, int64_t first, int64_t last, const Context& context) {
  const Dropout& op = prepared.op.dropout;
  const int32_t* rng = static_cast<const int32_t*>(context.args[0]);
  float* y = static_cast<float*>(context.args[1]);
  const PhiloxKey key{static_cast<uint32_t>(rng[0]), op.node, static_cast<uint32_t>(rng[1])};
  const int64_t end = least(count_of(op.y), last * kUnit);
  for (int64_t i = first * kUnit; i < end; i += kPhiloxWords) {
    VecI words[4];
    philox(key, i, words);
    for (int k = 0; k < 4; ++k) {
      const int64_t at = i + k * kLanes, left = end - at;
      if (left >= kLanes)
        store(y + at, uniform_of(words[k]));
      else if (left > 0)
        store_n(y + at, uniform_of(words[k]), static_cast<int>(left));
    }
  }
}

}  // namespace

extern const Kernel uniform_philox;
const Kernel uniform_philox = {"philox", OpKind::kUniform, candidates, prepare, nullptr, run};

}  // namespace CNNKERN_NAMESPACE
