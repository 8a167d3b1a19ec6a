// SPDX-License-Identifier: BSD-3-Clause
// dx = dy f'(.), element by element, in either layout; `saved` is x or y, whichever gives the derivative more cheaply.
// Unused lanes of the last block are emptied: a formula may divide by zero there. Limited by memory: three streams, 0.12
// ns per element; with exp in it two to four times that (Zen 5, AVX-512, one core, from the last cache: silu 0.29, gelu
// 0.44).
#include "simd/activation.hpp"
#include "simd/axes.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

template <class F>
CNNKERN_INLINE void map(const float* dy, const float* saved, float* dx, int64_t n, F f) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(dx + i, f(load(dy + i), load(saved + i)));
  if (i < n) {
    const int rest = static_cast<int>(n - i);
    store_n(dx + i, f(load_n(dy + i, rest), load_n(saved + i, rest)), rest);
  }
}

template <class F>
void map_rows(const Axes<3>& axes, int64_t first, int64_t last, const float* dy, const float* saved, float* dx, F f) {
  for_rows(axes, first, last, [&](const int64_t* offset, int64_t n, bool tail) CNNKERN_LAMBDA {
    map(dy + offset[0], saved + offset[1], dx + offset[2], n, f);
    if (tail) empty_tail(dx + offset[2], n, axes.tail);
  });
}

// The derivative of a negative or a scaled number needs no operation of its own.
bool serves(Function function) {
  return function <= Function::kPower && function != Function::kNegate && function != Function::kScale;
}

Axes<3> axes_of_op(const Unary& op) {
  const Tensor* const tensors[3] = {op.dy.present ? &op.dy : &op.y, &op.x, &op.y};
  return axes_of(op.y, tensors);
}

int candidates(const Op& op, const Machine& machine, Variant* out) {
  const Unary& unary = op.unary;
  if (unary.x.layout != unary.y.layout || (unary.dy.present && unary.dy.layout != unary.y.layout)) return 0;
  if (!serves(unary.function)) return 0;
  const Axes<3> axes = axes_of_op(unary);
  for (int t = 0; t < 3; ++t)
    if (axes.stride[0][t] != 1) return 0;
  out[0] = Variant{};
  out[0].ns = stream_ns(machine, 3 * elements(unary.y));
  return 1;
}

void prepare(const Op& op, const Variant&, Work* work, void*) {
  work->phases = 1;
  work->units[0] = tiles(tiling_of(axes_of_op(op.unary)));
}

void run(const Prepared& prepared, int, int64_t first, int64_t last, const Context& context) {
  const Unary& op = prepared.op.unary;
  const Axes<3> axes = axes_of_op(op);
  const float* dy = static_cast<const float*>(context.args[Unary::kDy]);
  const float* saved = static_cast<const float*>(context.args[Unary::kSaved]);
  float* dx = static_cast<float*>(context.args[Unary::kDx]);
  const Vec alpha = set1(op.alpha), beta = set1(op.beta), one = set1(1.0f);
  const auto times = [&](auto slope) CNNKERN_LAMBDA {
    map_rows(axes, first, last, dy, saved, dx, [=](Vec d, Vec x) CNNKERN_LAMBDA { return mul(d, slope(x)); });
  };
  const auto apply = [&](auto f) CNNKERN_LAMBDA { map_rows(axes, first, last, dy, saved, dx, f); };
  switch (op.function) {
    case Function::kRelu:  // NaN in x lets dy pass, as in PyTorch
      return apply([](Vec d, Vec x) CNNKERN_LAMBDA { return select(less_equal(x, zero()), zero(), d); });
    case Function::kLeakyRelu:
      return apply([=](Vec d, Vec x) CNNKERN_LAMBDA { return select(less(zero(), x), d, mul(d, alpha)); });
    case Function::kClamp:  // 0 at the ends, as in PyTorch's hardtanh; NaN lets dy pass
      return apply([=](Vec d, Vec x)
                       CNNKERN_LAMBDA { return select(either(less_equal(x, alpha), less_equal(beta, x)), zero(), d); });
    case Function::kSigmoid: return apply([=](Vec d, Vec y) CNNKERN_LAMBDA { return mul(d, mul(y, sub(one, y))); });
    case Function::kTanh: return apply([=](Vec d, Vec y) CNNKERN_LAMBDA { return mul(d, fnma(y, y, one)); });
    case Function::kExp: return apply([](Vec d, Vec y) CNNKERN_LAMBDA { return mul(d, y); });
    case Function::kLog: return apply([](Vec d, Vec x) CNNKERN_LAMBDA { return div(d, x); });
    case Function::kSqrt: return apply([](Vec d, Vec y) CNNKERN_LAMBDA { return div(d, add(y, y)); });
    case Function::kElu: return times([=](Vec x) CNNKERN_LAMBDA { return elu_slope(x, op.alpha, op.beta, op.gamma); });
    case Function::kSilu: return times([](Vec x) CNNKERN_LAMBDA { return silu_slope(x); });
    case Function::kHardSwish: return times([](Vec x) CNNKERN_LAMBDA { return hard_swish_slope(x); });
    case Function::kHardSigmoid: return times([](Vec x) CNNKERN_LAMBDA { return hard_sigmoid_slope(x); });
    case Function::kGelu: return times([](Vec x) CNNKERN_LAMBDA { return gelu_slope(x); });
    case Function::kGeluTanh: return times([](Vec x) CNNKERN_LAMBDA { return gelu_tanh_slope(x); });
    case Function::kMish: return times([](Vec x) CNNKERN_LAMBDA { return mish_slope(x); });
    case Function::kLogSigmoid: return times([](Vec x) CNNKERN_LAMBDA { return log_sigmoid_slope(x); });
    case Function::kSoftsign: return times([](Vec x) CNNKERN_LAMBDA { return soft_sign_slope(x); });
    case Function::kSoftplus: return times([=](Vec x) CNNKERN_LAMBDA { return soft_plus_slope(x, op.alpha, op.beta); });
    case Function::kHardShrink:
    case Function::kSoftShrink:  // 0 at the ends too; NaN lets dy pass
      return apply([=](Vec d, Vec x) CNNKERN_LAMBDA { return select(within(x, op.alpha), zero(), d); });
    case Function::kThreshold:
      return apply([=](Vec d, Vec x) CNNKERN_LAMBDA { return select(less_equal(x, alpha), zero(), d); });
    case Function::kAbs:
      return apply([](Vec d, Vec x) CNNKERN_LAMBDA {
        return select(less(zero(), x), d, select(less(x, zero()), sub(zero(), d), zero()));
      });
    case Function::kPower: return times([=](Vec x) CNNKERN_LAMBDA { return power_slope(x, op.alpha); });
    default: return apply([](Vec d, Vec x) CNNKERN_LAMBDA { return mul(d, add(x, x)); });
  }
}

}  // namespace

extern const Kernel unary_grad_rows;
const Kernel unary_grad_rows = {"rows", OpKind::kUnaryGrad, candidates, prepare, nullptr, run};

}  // namespace CNNKERN_NAMESPACE
