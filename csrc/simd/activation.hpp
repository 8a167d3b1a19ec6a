// SPDX-License-Identifier: BSD-3-Clause
// Activations and their slopes, both from x. Written so that nothing cancels and nothing overflows on the way to a finite
// result; infinities and NaN go where they go in float64 arithmetic.
#pragma once
#include "simd/logistic.hpp"
#include "simd/math.hpp"

namespace CNNKERN_NAMESPACE {

CNNKERN_INLINE Vec clamp(Vec x, float low, float high) { return min(set1(high), max(set1(low), x)); }
// True where x is at most `size` away from 0; not for NaN.
CNNKERN_INLINE Mask within(Vec x, float size) { return less_equal(abs(x), set1(size)); }

CNNKERN_INLINE Vec elu(Vec x, float alpha, float beta, float gamma) {
  return select(less(zero(), x), mul(x, set1(beta)), mul(expm1(mul(x, set1(gamma))), set1(alpha * beta)));
}
CNNKERN_INLINE Vec elu_slope(Vec x, float alpha, float beta, float gamma) {
  return select(less_equal(x, zero()), mul(exp(mul(x, set1(gamma))), set1(alpha * beta * gamma)), set1(beta));
}

// sigmoid(x) and 1 - sigmoid(x), which a difference would round away.
struct Logistic { Vec below, above; };
CNNKERN_INLINE Logistic logistic(Vec x) {
  const Vec e = exp(sub(zero(), abs(x))), large = div(set1(1.0f), add(set1(1.0f), e)), small = mul(e, large);
  const Mask negative = less(x, zero());
  return {select(negative, small, large), select(negative, large, small)};
}

CNNKERN_INLINE Vec silu(Vec x) { return div(x, add(set1(1.0f), exp(sub(zero(), x)))); }
CNNKERN_INLINE Vec silu_slope(Vec x) {
  const Logistic s = logistic(x);
  return mul(s.below, fma(x, s.above, set1(1.0f)));
}

constexpr float kSixth = 1.0f / 6;
CNNKERN_INLINE Vec hard_sigmoid(Vec x) { return mul(clamp(add(x, set1(3.0f)), 0, 6), set1(kSixth)); }
CNNKERN_INLINE Vec hard_sigmoid_slope(Vec x) { return select(less(abs(x), set1(3.0f)), set1(kSixth), zero()); }
CNNKERN_INLINE Vec hard_swish(Vec x) { return mul(x, hard_sigmoid(x)); }
CNNKERN_INLINE Vec hard_swish_slope(Vec x) {  // 1 for NaN, as in PyTorch
  const Vec between = fma(x, set1(1.0f / 3), set1(0.5f));
  return select(less_equal(x, set1(-3.0f)), zero(), select(less(x, set1(3.0f)), between, set1(1.0f)));
}

CNNKERN_INLINE Vec gelu(Vec x) { return mul(x, normal(x).below); }
CNNKERN_INLINE Vec gelu_slope(Vec x) {
  const Normal at = normal(x);
  return fma(x, at.density, at.below);
}

// (1 + tanh(u)) / 2 = sigmoid(2 u), u = sqrt(2 / pi) (x + 0.044715 x^3)
constexpr float kTwoRoots = 1.5957691216f, kCubic = 0.044715f;
CNNKERN_INLINE Vec gelu_tanh(Vec x) {
  const Vec u = mul(mul(x, set1(kTwoRoots)), fma(mul(x, x), set1(kCubic), set1(1.0f)));
  return mul(x, sigmoid(u));
}
CNNKERN_INLINE Vec gelu_tanh_slope(Vec x) {
  const Vec square = mul(x, x), one = set1(1.0f);
  const Logistic s = logistic(mul(mul(x, set1(kTwoRoots)), fma(square, set1(kCubic), one)));
  const Vec inner = mul(fma(square, set1(3 * kCubic), one), set1(kTwoRoots));
  return fma(mul(x, mul(s.below, s.above)), inner, s.below);
}

// With e = e^x and n = e (e + 2): tanh(log(1 + e)) = n / (n + 2). From 40 on the quotient is 1 in float.
CNNKERN_INLINE Vec mish(Vec x) {
  const Vec e = exp(min(set1(40.0f), x)), n = mul(e, add(e, set1(2.0f)));
  return mul(x, div(n, add(n, set1(2.0f))));
}
CNNKERN_INLINE Vec mish_slope(Vec x) {
  const Vec e = exp(min(set1(40.0f), x)), n = mul(e, add(e, set1(2.0f))), below = add(n, set1(2.0f));
  const Vec steep = div(mul(mul(set1(4.0f), e), add(e, set1(1.0f))), mul(below, below));
  return fma(x, steep, div(n, below));
}

CNNKERN_INLINE Vec log_sigmoid(Vec x) { return sub(min(zero(), x), log1p(exp(sub(zero(), abs(x))))); }
CNNKERN_INLINE Vec log_sigmoid_slope(Vec x) { return div(set1(1.0f), add(set1(1.0f), exp(x))); }

CNNKERN_INLINE Vec soft_sign(Vec x) { return div(x, add(set1(1.0f), abs(x))); }
CNNKERN_INLINE Vec soft_sign_slope(Vec x) {
  const Vec below = add(set1(1.0f), abs(x));
  return div(set1(1.0f), mul(below, below));
}

CNNKERN_INLINE Vec soft_plus(Vec x, float alpha, float beta) {
  const Vec z = mul(x, set1(alpha)), y = add(max(zero(), z), log1p(exp(sub(zero(), abs(z)))));
  return select(less(set1(beta), z), x, div(y, set1(alpha)));
}
CNNKERN_INLINE Vec soft_plus_slope(Vec x, float alpha, float beta) {
  const Vec z = mul(x, set1(alpha));
  return select(less(set1(beta), z), set1(1.0f), sigmoid(z));
}

CNNKERN_INLINE Vec hard_shrink(Vec x, float alpha) { return select(within(x, alpha), zero(), x); }
CNNKERN_INLINE Vec soft_shrink(Vec x, float alpha) { return sub(x, clamp(x, -alpha, alpha)); }
CNNKERN_INLINE Vec threshold(Vec x, float alpha, float beta) {
  return select(less_equal(x, set1(alpha)), set1(beta), x);
}
CNNKERN_INLINE Vec power_slope(Vec x, float alpha) {
  return alpha == 0 ? zero() : mul(set1(alpha), power(x, alpha - 1));
}

CNNKERN_INLINE Vec quick_silu(Vec x) { return mul(x, quick_sigmoid(x)); }

// body(f) with the activation f as a type.
template <class Body>
CNNKERN_INLINE void with_long_activation(Activation activation, Body&& body) {
  switch (activation) {
    case Activation::kSilu: return body([](Vec x) CNNKERN_LAMBDA { return quick_silu(x); });
    case Activation::kHardSwish: return body([](Vec x) CNNKERN_LAMBDA { return hard_swish(x); });
    case Activation::kSigmoid: return body([](Vec x) CNNKERN_LAMBDA { return select(is_nan(x), x, quick_sigmoid(x)); });
    default: return body([](Vec x) CNNKERN_LAMBDA { return hard_sigmoid(x); });
  }
}

[[maybe_unused]] __attribute__((noinline)) static Vec activate_long(Activation activation, Vec x) {
  with_long_activation(activation, [&](auto&& function) CNNKERN_LAMBDA { x = function(x); });
  return x;
}

// `rows` x `pixels` stored vectors of kLanes channels, row_step and `step` floats apart.
struct Stored {
  float* y;
  int64_t rows, row_step, pixels, step;
};

// Of each vector the lanes from `lanes` on become zero. A whole tile at a time: the constants are loaded once, and the
// vectors, independent of each other, hide each other's latency.
[[maybe_unused]] __attribute__((noinline)) static void activate_stored(Activation activation, const Stored& stored,
                                                                       int lanes) {
  with_long_activation(activation, [&](auto&& function) CNNKERN_LAMBDA {
    for (int64_t r = 0; r < stored.rows; ++r) {
      float* y = stored.y + r * stored.row_step;
      for (int64_t p = 0; p < stored.pixels; ++p, y += stored.step) store(y, function(load(y)));
    }
  });
  if (lanes == kLanes) return;
  for (int64_t r = 0; r < stored.rows; ++r)
    for (int64_t p = 0; p < stored.pixels; ++p) {
      float* const y = stored.y + r * stored.row_step + p * stored.step;
      store(y, load_n(y, lanes));
    }
}

}  // namespace CNNKERN_NAMESPACE
