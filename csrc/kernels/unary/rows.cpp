// SPDX-License-Identifier: BSD-3-Clause
// y = f(x), element by element, in either layout: the tensor is a few long rows, and blocks that are only partly in use
// are emptied again after f (sigmoid(0) is 0.5). Limited by memory, the transcendental functions too once threads share
// it. Measured, one core (Zen 5, AVX-512, from the last cache): relu 50 to 110 bytes/ns; exp 0.17, sigmoid 0.22, log
// 0.22, tanh 0.33, silu 0.23, mish 0.26, gelu 0.40, softplus 0.43, power 1.1 ns per element (AVX2: twice that; scalar:
// ten times).
#include "simd/activation.hpp"
#include "simd/axes.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

template <class F>
CNNKERN_INLINE void map(const float* x, float* y, int64_t n, F f) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(y + i, f(load(x + i)));
  if (i < n) store_n(y + i, f(load_n(x + i, static_cast<int>(n - i))), static_cast<int>(n - i));
}

template <class F>
void map_rows(const Axes<2>& axes, int64_t first, int64_t last, const float* x, float* y, F f) {
  for_rows(axes, first, last, [&](const int64_t* offset, int64_t n, bool tail) CNNKERN_LAMBDA {
    map(x + offset[0], y + offset[1], n, f);
    if (tail) empty_tail(y + offset[1], n, axes.tail);
  });
}

Axes<2> axes_of_op(const Unary& op) {
  const Tensor* const tensors[2] = {&op.x, &op.y};
  return axes_of(op.y, tensors);
}

int candidates(const Op& op, const Machine& machine, Variant* out) {
  const Unary& unary = op.unary;
  if (unary.x.layout != unary.y.layout || unary.function > Function::kPower) return 0;
  const Axes<2> axes = axes_of_op(unary);
  if (axes.stride[0][0] != 1 || axes.stride[0][1] != 1) return 0;
  out[0] = Variant{};
  out[0].ns = stream_ns(machine, elements(unary.x) + elements(unary.y));
  return 1;
}

void prepare(const Op& op, const Variant&, Work* work, void*) {
  work->phases = 1;
  work->units[0] = tiles(tiling_of(axes_of_op(op.unary)));
}

void run(const Prepared& prepared, int, int64_t first, int64_t last, const Context& context) {
  const Unary& op = prepared.op.unary;
  const Axes<2> axes = axes_of_op(op);
  const float* x = static_cast<const float*>(context.args[Unary::kX]);
  float* y = static_cast<float*>(context.args[Unary::kY]);
  const Vec alpha = set1(op.alpha), beta = set1(op.beta);
  const auto apply = [&](auto f) CNNKERN_LAMBDA { map_rows(axes, first, last, x, y, f); };
  switch (op.function) {
    case Function::kRelu: return apply([](Vec v) CNNKERN_LAMBDA { return max(zero(), v); });
    case Function::kLeakyRelu:
      return apply([=](Vec v) CNNKERN_LAMBDA { return select(less(zero(), v), v, mul(v, alpha)); });
    case Function::kSigmoid: return apply([](Vec v) CNNKERN_LAMBDA { return sigmoid(v); });
    case Function::kTanh: return apply([](Vec v) CNNKERN_LAMBDA { return tanh(v); });
    case Function::kClamp: return apply([=](Vec v) CNNKERN_LAMBDA { return min(beta, max(alpha, v)); });
    case Function::kNegate: return apply([](Vec v) CNNKERN_LAMBDA { return mul(v, set1(-1.0f)); });
    case Function::kExp: return apply([](Vec v) CNNKERN_LAMBDA { return exp(v); });
    case Function::kLog: return apply([](Vec v) CNNKERN_LAMBDA { return log(v); });
    case Function::kSqrt: return apply([](Vec v) CNNKERN_LAMBDA { return sqrt(v); });
    case Function::kSquare: return apply([](Vec v) CNNKERN_LAMBDA { return mul(v, v); });
    case Function::kElu: return apply([=](Vec v) CNNKERN_LAMBDA { return elu(v, op.alpha, op.beta, op.gamma); });
    case Function::kSilu: return apply([](Vec v) CNNKERN_LAMBDA { return silu(v); });
    case Function::kHardSwish: return apply([](Vec v) CNNKERN_LAMBDA { return hard_swish(v); });
    case Function::kHardSigmoid: return apply([](Vec v) CNNKERN_LAMBDA { return hard_sigmoid(v); });
    case Function::kGelu: return apply([](Vec v) CNNKERN_LAMBDA { return gelu(v); });
    case Function::kGeluTanh: return apply([](Vec v) CNNKERN_LAMBDA { return gelu_tanh(v); });
    case Function::kMish: return apply([](Vec v) CNNKERN_LAMBDA { return mish(v); });
    case Function::kLogSigmoid: return apply([](Vec v) CNNKERN_LAMBDA { return log_sigmoid(v); });
    case Function::kSoftsign: return apply([](Vec v) CNNKERN_LAMBDA { return soft_sign(v); });
    case Function::kSoftplus: return apply([=](Vec v) CNNKERN_LAMBDA { return soft_plus(v, op.alpha, op.beta); });
    case Function::kHardShrink: return apply([=](Vec v) CNNKERN_LAMBDA { return hard_shrink(v, op.alpha); });
    case Function::kSoftShrink: return apply([=](Vec v) CNNKERN_LAMBDA { return soft_shrink(v, op.alpha); });
    case Function::kThreshold: return apply([=](Vec v) CNNKERN_LAMBDA { return threshold(v, op.alpha, op.beta); });
    case Function::kAbs: return apply([](Vec v) CNNKERN_LAMBDA { return abs(v); });
    case Function::kPower: return apply([=](Vec v) CNNKERN_LAMBDA { return power(v, op.alpha); });
    default: return apply([=](Vec v) CNNKERN_LAMBDA { return fma(v, alpha, beta); });
  }
}

}  // namespace

extern const Kernel unary_rows;
const Kernel unary_rows = {"rows", OpKind::kUnary, candidates, prepare, nullptr, run};

}  // namespace CNNKERN_NAMESPACE
