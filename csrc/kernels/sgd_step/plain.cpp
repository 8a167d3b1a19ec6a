// SPDX-License-Identifier: BSD-3-Clause
// One step of stochastic gradient descent, in place, as PyTorch takes it:
//   g = gradient + weight_decay parameter;  buffer = first step ? g : momentum buffer + (1 - dampening) g
//   parameter -= learning_rate (nesterov ? g + momentum buffer : buffer)          without a buffer: learning_rate g
// Limited by memory: five streams.
// Measured, one core (Zen 5, AVX-512, from the last cache): 116 bytes/ns.
#include "simd/axes.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

constexpr int64_t kUnit = 4096;  // elements

int candidates(const Op& op, const Machine& machine, Variant* out) {
  out[0] = Variant{};
  out[0].ns = stream_ns(machine, (op.optimizer.has_buffer ? 5.0 : 3.0) * static_cast<double>(op.optimizer.count));
  return 1;
}

void prepare(const Op& op, const Variant&, Work* work, void*) {
  work->phases = 1;
  work->units[0] = (op.optimizer.count + kUnit - 1) / kUnit;
}

struct Step { Vec rate, decay, momentum, fresh; };

template <bool kBuffer>
CNNKERN_INLINE Vec update(const Step& step, bool first, bool nesterov, Vec parameter, Vec gradient, Vec& buffer) {
  const Vec g = fma(step.decay, parameter, gradient);
  if (!kBuffer) return fnma(step.rate, g, parameter);
  buffer = first ? g : fma(step.momentum, buffer, mul(step.fresh, g));
  return fnma(step.rate, nesterov ? fma(step.momentum, buffer, g) : buffer, parameter);
}

template <bool kBuffer>
void run_range(const Optimizer& op, int64_t begin, int64_t end, float* parameter, const float* gradient, float* buffer,
               const float* hyper) {
  const Step step{set1(hyper[0]), set1(op.weight_decay), set1(op.momentum), set1(1.0f - op.dampening)};
  const bool first = hyper[1] != 0, nesterov = op.nesterov;
  int64_t i = begin;
  for (; i + kLanes <= end; i += kLanes) {
    Vec b = kBuffer ? load(buffer + i) : zero();
    store(parameter + i, update<kBuffer>(step, first, nesterov, load(parameter + i), load(gradient + i), b));
    if (kBuffer) store(buffer + i, b);
  }
  if (i == end) return;
  const int rest = static_cast<int>(end - i);
  Vec b = kBuffer ? load_n(buffer + i, rest) : zero();
  const Vec p = update<kBuffer>(step, first, nesterov, load_n(parameter + i, rest), load_n(gradient + i, rest), b);
  store_n(parameter + i, p, rest);
  if (kBuffer) store_n(buffer + i, b, rest);
}

void run(const Prepared& prepared, int, int64_t first, int64_t last, const Context& context) {
  const Optimizer& op = prepared.op.optimizer;
  float* parameter = static_cast<float*>(context.args[Optimizer::kParameter]);
  const float* gradient = static_cast<const float*>(context.args[Optimizer::kGradient]);
  float* buffer = static_cast<float*>(context.args[Optimizer::kBuffer]);
  const float* hyper = static_cast<const float*>(context.args[Optimizer::kHyper]);
  const int64_t begin = first * kUnit, end = least(op.count, last * kUnit);
  if (op.has_buffer)
    run_range<true>(op, begin, end, parameter, gradient, buffer, hyper);
  else
    run_range<false>(op, begin, end, parameter, gradient, nullptr, hyper);
}

}  // namespace

extern const Kernel sgd_step_plain;
const Kernel sgd_step_plain = {"plain", OpKind::kSgdStep, candidates, prepare, nullptr, run};

}  // namespace CNNKERN_NAMESPACE
