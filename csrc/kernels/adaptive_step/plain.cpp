// SPDX-License-Identifier: BSD-3-Clause
// One step of AdaGrad (Duchi et al., 2011: keep 1, take 1) or RMSProp (Tieleman and Hinton, 2012: keep a, take 1 - a), in
// place; keep and take come with the learning rate:
//   g = gradient + weight_decay parameter;  square = keep square + take g^2;  d = g / (sqrt(square) + eps)
//   parameter -= learning_rate d            with a buffer: buffer = momentum buffer + d, parameter -= learning_rate buffer
// Limited by memory (five streams, seven with a buffer) and by one root and one division per element.
// Measured, one core (Zen 5, AVX-512, from the last cache): 165 bytes/ns, 149 with a buffer.
#include "simd/axes.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

constexpr int64_t kUnit = 4096;  // elements

int candidates(const Op& op, const Machine& machine, Variant* out) {
  out[0] = Variant{};
  out[0].ns = stream_ns(machine, (op.optimizer.has_buffer ? 7.0 : 5.0) * static_cast<double>(op.optimizer.count));
  return 1;
}

void prepare(const Op& op, const Variant&, Work* work, void*) {
  work->phases = 1;
  work->units[0] = (op.optimizer.count + kUnit - 1) / kUnit;
}

struct Step { Vec rate, keep, take, decay, eps, momentum; };

template <bool kBuffer>
CNNKERN_INLINE Vec update(const Step& step, Vec parameter, Vec gradient, Vec& square, Vec& buffer) {
  const Vec g = fma(step.decay, parameter, gradient);
  square = fma(step.keep, square, mul(step.take, mul(g, g)));
  const Vec direction = div(g, add(sqrt(square), step.eps));
  if (!kBuffer) return fnma(step.rate, direction, parameter);
  buffer = fma(step.momentum, buffer, direction);
  return fnma(step.rate, buffer, parameter);
}

template <bool kBuffer>
void run_range(const Step& step, int64_t begin, int64_t end, float* parameter, const float* gradient, float* square,
               float* buffer) {
  int64_t i = begin;
  for (; i + kLanes <= end; i += kLanes) {
    Vec s = load(square + i), b = kBuffer ? load(buffer + i) : zero();
    store(parameter + i, update<kBuffer>(step, load(parameter + i), load(gradient + i), s, b));
    store(square + i, s);
    if (kBuffer) store(buffer + i, b);
  }
  if (i >= end) return;
  const int rest = static_cast<int>(end - i);
  Vec s = load_n(square + i, rest), b = kBuffer ? load_n(buffer + i, rest) : zero();
  store_n(parameter + i, update<kBuffer>(step, load_n(parameter + i, rest), load_n(gradient + i, rest), s, b), rest);
  store_n(square + i, s, rest);
  if (kBuffer) store_n(buffer + i, b, rest);
}

void run(const Prepared& prepared, int, int64_t first, int64_t last, const Context& context) {
  const Optimizer& op = prepared.op.optimizer;
  const auto argument = [&](int i) CNNKERN_LAMBDA { return static_cast<float*>(context.args[i]); };
  const float* hyper = argument(Optimizer::kDHyper);
  const Step step{set1(hyper[0]),        set1(hyper[1]), set1(hyper[2]),
                  set1(op.weight_decay), set1(op.eps),   set1(op.momentum)};
  float *parameter = argument(Optimizer::kDParameter), *square = argument(Optimizer::kDSquare);
  const float* gradient = argument(Optimizer::kDGradient);
  const int64_t begin = first * kUnit, end = least(op.count, last * kUnit);
  if (op.has_buffer)
    run_range<true>(step, begin, end, parameter, gradient, square, argument(Optimizer::kDBuffer));
  else
    run_range<false>(step, begin, end, parameter, gradient, square, nullptr);
}

}  // namespace

extern const Kernel adaptive_step_plain;
const Kernel adaptive_step_plain = {"plain", OpKind::kAdaptiveStep, candidates, prepare, nullptr, run};

}  // namespace CNNKERN_NAMESPACE
