// SPDX-License-Identifier: BSD-3-Clause
// The activation of an epilogue, or its gradient, as a function that a loop gets: the choice is made once, not once per
// vector.
#pragma once
#include "simd/activation.hpp"

namespace CNNKERN_NAMESPACE {

// body(f) with f(x) = act(x).
template <class Body>
CNNKERN_INLINE void with_activation(const Epilogue& e, Body&& body) {
  const float low = e.low, high = e.high, slope = e.slope;
  switch (e.activation) {
    case Activation::kNone: return body([](Block x) CNNKERN_LAMBDA { return x; });
    case Activation::kRelu: return body([](Block x) CNNKERN_LAMBDA { CNNKERN_EACH(Block, max(zero(), x.v[i])) });
    case Activation::kLeakyRelu:
      return body([=](Block x) CNNKERN_LAMBDA {
        CNNKERN_EACH(Block, select(less(x.v[i], zero()), mul(x.v[i], set1(slope)), x.v[i]))
      });
    case Activation::kClamp: return body([=](Block x) CNNKERN_LAMBDA { CNNKERN_EACH(Block, clamp(x.v[i], low, high)) });
    case Activation::kSilu: return body([](Block x) CNNKERN_LAMBDA { CNNKERN_EACH(Block, silu(x.v[i])) });
    case Activation::kHardSwish: return body([](Block x) CNNKERN_LAMBDA { CNNKERN_EACH(Block, hard_swish(x.v[i])) });
    case Activation::kSigmoid: return body([](Block x) CNNKERN_LAMBDA { CNNKERN_EACH(Block, sigmoid(x.v[i])) });
    default: return body([](Block x) CNNKERN_LAMBDA { CNNKERN_EACH(Block, hard_sigmoid(x.v[i])) });
  }
}

// body(f) with f(d, x) = d act'(x). As the operations *_grad: at the ends of relu and clamp 0, and NaN lets d pass.
template <class Body>
CNNKERN_INLINE void with_slope(const Epilogue& e, Body&& body) {
  const float low = e.low, high = e.high, slope = e.slope;
  switch (e.activation) {
    case Activation::kNone: return body([](Block d, Block) CNNKERN_LAMBDA { return d; });
    case Activation::kRelu: return body([](Block d, Block x) CNNKERN_LAMBDA { return relu_slope(d, x); });
    case Activation::kLeakyRelu:
      return body([=](Block d, Block x) CNNKERN_LAMBDA {
        CNNKERN_EACH(Block, select(less(zero(), x.v[i]), d.v[i], mul(d.v[i], set1(slope))))
      });
    case Activation::kClamp:
      return body([=](Block d, Block x) CNNKERN_LAMBDA {
        CNNKERN_EACH(Block,
                     select(either(less_equal(x.v[i], set1(low)), less_equal(set1(high), x.v[i])), zero(), d.v[i]))
      });
    case Activation::kSilu:
      return body([](Block d, Block x) CNNKERN_LAMBDA { CNNKERN_EACH(Block, mul(d.v[i], silu_slope(x.v[i]))) });
    case Activation::kHardSwish:
      return body([](Block d, Block x) CNNKERN_LAMBDA { CNNKERN_EACH(Block, mul(d.v[i], hard_swish_slope(x.v[i]))) });
    case Activation::kSigmoid:
      return body([](Block d, Block x) CNNKERN_LAMBDA {
        CNNKERN_EACH(Block, mul(d.v[i], mul(logistic(x.v[i]).below, logistic(x.v[i]).above)))
      });
    default:
      return body([](Block d, Block x) CNNKERN_LAMBDA { CNNKERN_EACH(Block, mul(d.v[i], hard_sigmoid_slope(x.v[i]))) });
  }
}

}  // namespace CNNKERN_NAMESPACE
