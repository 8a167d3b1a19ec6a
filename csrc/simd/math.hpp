// SPDX-License-Identifier: BSD-3-Clause
// Elementary functions on vectors, beyond exp of simd.hpp. The polynomials are minimax fits of the relative error,
// found by linear programming on Chebyshev points; the error that they leave is below 1e-8.
#pragma once
#include "simd/simd.hpp"

namespace CNNKERN_NAMESPACE {

// Natural logarithm, within 1 ulp. x = 2^k m with m in [sqrt(1/2), sqrt(2)), then a polynomial in f = m - 1, and k ln 2
// in two parts. -infinity at 0 (and at denormals, which are flushed), NaN below.
CNNKERN_INLINE Vec log(Vec x) {
  constexpr int32_t kRootHalf = 0x3f3504f3, kOne = 0x3f800000;
  const VecI bits = as_int(x);
  const VecI k = sub(shift_right<23>(add(bits, set1_i(kOne - kRootHalf))), set1_i(127));
  const Vec f = sub(as_float(sub(bits, shift_left<23>(k))), set1(1.0f));
  const Vec exponent = to_float(k);
  Vec q = set1(6.746650882e-2f);
  q = fma(q, f, set1(-1.167565520e-1f));
  q = fma(q, f, set1(1.188815884e-1f));
  q = fma(q, f, set1(-1.240558797e-1f));
  q = fma(q, f, set1(1.421955276e-1f));
  q = fma(q, f, set1(-1.666799594e-1f));
  q = fma(q, f, set1(2.000211864e-1f));
  q = fma(q, f, set1(-2.500000960e-1f));
  q = fma(q, f, set1(3.333331260e-1f));
  const Vec square = mul(f, f);
  Vec y = mul(mul(q, f), square);
  y = fma(exponent, set1(-2.12194440e-4f), y);  // ln 2 = 0.693359375 - 0.000212194440
  y = fma(set1(-0.5f), square, y);
  y = fma(exponent, set1(0.693359375f), add(f, y));
  y = select(less(x, set1(1.17549435e-38f)), set1(-__builtin_inff()), y);
  y = select(less(x, zero()), set1(__builtin_nanf("")), y);
  y = select(less_equal(set1(__builtin_inff()), x), x, y);
  return select(is_nan(x), x, y);
}

// 1 / (1 + e^-x), within 4 ulp.
CNNKERN_INLINE Vec sigmoid(Vec x) {
  const Vec one = set1(1.0f);
  return div(one, add(one, exp(sub(zero(), x))));
}

// Within 2 ulp. An odd polynomial near 0, where 1 - 2 / (e^2x + 1) would cancel.
CNNKERN_INLINE Vec tanh(Vec x) {
  const Vec square = mul(x, x);
  Vec p = set1(-5.704975379e-3f);
  p = fma(p, square, set1(2.063907605e-2f));
  p = fma(p, square, set1(-5.373971139e-2f));
  p = fma(p, square, set1(1.333144215e-1f));
  p = fma(p, square, set1(-3.333328194e-1f));
  const Vec near = fma(mul(p, square), x, x);
  const Vec size = max(sub(zero(), x), x);
  const Vec far = sub(set1(1.0f), div(set1(2.0f), add(exp(add(size, size)), set1(1.0f))));
  const Vec signed_far = select(less(x, zero()), sub(zero(), far), far);
  return select(less(size, set1(0.625f)), near, signed_far);
}

}  // namespace CNNKERN_NAMESPACE
