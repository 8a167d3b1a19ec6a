// SPDX-License-Identifier: BSD-3-Clause
// One step of Adam (Kingma and Ba, 2015), in place; c1 = 1 - beta1^t, c2 = 1 - beta2^t come with the learning rate:
//   g = gradient + weight_decay parameter, or, decoupled (AdamW), parameter *= 1 - learning_rate weight_decay
//   m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2
//   parameter -= learning_rate / c1 m / (sqrt(v / c2) + eps)
// Limited by memory (seven streams) and by one root and one division per element.
// Measured, one core (Zen 5, AVX-512, from the last cache): 82 bytes/ns.
#include "simd/axes.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

constexpr int64_t kUnit = 4096;  // elements

int candidates(const Op& op, const Machine& machine, Variant* out) {
  out[0] = Variant{};
  out[0].ns = stream_ns(machine, 7.0 * static_cast<double>(op.optimizer.count));
  return 1;
}

void prepare(const Op& op, const Variant&, Work* work, void*) {
  work->phases = 1;
  work->units[0] = (op.optimizer.count + kUnit - 1) / kUnit;
}

struct Step { Vec beta1, rest1, beta2, rest2, decay, keep, rate, root, eps; };

CNNKERN_INLINE Step step_of(const Optimizer& op, const float* hyper) {
  const double rate = static_cast<double>(hyper[0]), decay = static_cast<double>(op.weight_decay);
  const auto number = [](double x) CNNKERN_LAMBDA { return set1(static_cast<float>(x)); };
  return {number(op.beta1),
          number(1 - op.beta1),
          number(op.beta2),
          number(1 - op.beta2),
          number(op.decoupled ? 0 : decay),
          number(op.decoupled ? 1 - rate * decay : 1),
          number(rate / static_cast<double>(hyper[1])),
          number(1 / __builtin_sqrt(static_cast<double>(hyper[2]))),
          set1(op.eps)};
}

CNNKERN_INLINE Vec update(const Step& step, Vec parameter, Vec gradient, Vec& m, Vec& v) {
  const Vec g = fma(step.decay, parameter, gradient);
  m = fma(step.beta1, m, mul(step.rest1, g));
  v = fma(step.beta2, v, mul(step.rest2, mul(g, g)));
  const Vec direction = div(m, fma(sqrt(v), step.root, step.eps));
  return fnma(step.rate, direction, mul(parameter, step.keep));
}

void run(const Prepared& prepared, int, int64_t first, int64_t last, const Context& context) {
  const Optimizer& op = prepared.op.optimizer;
  const auto argument = [&](int i) CNNKERN_LAMBDA { return static_cast<float*>(context.args[i]); };
  float* parameter = argument(Optimizer::kAParameter);
  const float* gradient = argument(Optimizer::kAGradient);
  float *m = argument(Optimizer::kAM), *v = argument(Optimizer::kAV);
  const Step step = step_of(op, argument(Optimizer::kAHyper));
  const int64_t end = least(op.count, last * kUnit);
  int64_t i = first * kUnit;
  for (; i + kLanes <= end; i += kLanes) {
    Vec new_m = load(m + i), new_v = load(v + i);
    store(parameter + i, update(step, load(parameter + i), load(gradient + i), new_m, new_v));
    store(m + i, new_m);
    store(v + i, new_v);
  }
  if (i >= end) return;
  const int rest = static_cast<int>(end - i);
  Vec new_m = load_n(m + i, rest), new_v = load_n(v + i, rest);
  store_n(parameter + i, update(step, load_n(parameter + i, rest), load_n(gradient + i, rest), new_m, new_v), rest);
  store_n(m + i, new_m, rest);
  store_n(v + i, new_v, rest);
}

}  // namespace

extern const Kernel adam_step_plain;
const Kernel adam_step_plain = {"plain", OpKind::kAdamStep, candidates, prepare, nullptr, run};

}  // namespace CNNKERN_NAMESPACE
