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

CNNKERN_INLINE Vec abs(Vec x) { return as_float(bit_and(as_int(x), set1_i(0x7fffffff))); }

// e^x - 1, within 3 ulp: a polynomial where the difference would cancel.
CNNKERN_INLINE Vec expm1(Vec x) {
  Vec q = set1(2.751830380e-6f);
  q = fma(q, x, set1(2.535596650e-5f));
  q = fma(q, x, set1(1.984764676e-4f));
  q = fma(q, x, set1(1.388549339e-3f));
  q = fma(q, x, set1(8.333292790e-3f));
  q = fma(q, x, set1(4.166672751e-2f));
  q = fma(q, x, set1(1.666666716e-1f));
  q = fma(q, x, set1(0.5f));
  return select(less(abs(x), set1(1.0f)), fma(mul(x, x), q, x), sub(exp(x), set1(1.0f)));
}

// log(1 + x) for 0 <= x <= 1, within 2 ulp: 2 artanh(s) with s = x / (2 + x).
CNNKERN_INLINE Vec log1p(Vec x) {
  const Vec s = div(x, add(set1(2.0f), x)), z = mul(s, s);
  Vec q = set1(2.800678313e-1f);
  q = fma(q, z, set1(2.800302505e-1f));
  q = fma(q, z, set1(4.002143741e-1f));
  q = fma(q, z, set1(6.666641831e-1f));
  return fma(mul(q, z), s, add(s, s));
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

// The normal distribution at x: `below` is the probability of a smaller number, `density` is e^(-x^2 / 2) / sqrt(2 pi).
// below(-a) = e^(-a^2 / 2) R(a), a > 0, keeps its relative precision where 1 + erf would cancel: within 5 ulp, without
// fused multiply-adds within a^2 / 2 ulp. R is a polynomial in (a - 4) / (a + 4), over a + 4.
struct Normal { Vec below, density; };
CNNKERN_INLINE Normal normal(Vec x) {
  const Vec a = min(set1(14.0f), abs(x));  // e^-98 is 0
  const Vec square = mul(a, a), rest = fma(a, a, sub(zero(), square)), half = set1(-0.5f);
  Vec bell = exp(mul(half, square));
  bell = fma(mul(half, rest), bell, bell);
  const Vec r = div(set1(1.0f), add(a, set1(4.0f))), v = mul(sub(a, set1(4.0f)), r);
  Vec p = set1(-9.504197078e-5f);
  p = fma(p, v, set1(2.402149548e-4f));
  p = fma(p, v, set1(1.566661638e-3f));
  p = fma(p, v, set1(-3.552775597e-3f));
  p = fma(p, v, set1(-7.531121373e-3f));
  p = fma(p, v, set1(6.041274220e-2f));
  p = fma(p, v, set1(-1.865222901e-1f));
  p = fma(p, v, set1(3.871362209e-1f));
  p = fma(p, v, set1(-6.078966260e-1f));
  p = fma(p, v, set1(7.552851439e-1f));
  const Vec tail = mul(mul(p, r), bell);
  return {select(less(zero(), x), sub(set1(1.0f), tail), tail), mul(bell, set1(0.3989422804f))};
}

// product + rest = a b exactly, with or without fused multiply-adds: halves of 12 bits (Dekker, 1971).
struct Twofold { Vec value, rest; };
CNNKERN_INLINE Twofold product(Vec a, Vec b) {
  const VecI upper = set1_i(static_cast<int32_t>(0xfffff000u));
  const Vec a1 = as_float(bit_and(as_int(a), upper)), a2 = sub(a, a1);
  const Vec b1 = as_float(bit_and(as_int(b), upper)), b2 = sub(b, b1), p = mul(a, b);
  return {p, add(add(add(sub(mul(a1, b1), p), mul(a1, b2)), mul(a2, b1)), mul(a2, b2))};
}

// log(x) for positive, finite x as a sum of two floats, to about 2^-30: 2 artanh(s) + k ln 2, s = (m - 1) / (m + 1).
CNNKERN_INLINE Twofold precise_log(Vec x) {
  constexpr int32_t kRootHalf = 0x3f3504f3, kOne = 0x3f800000;
  const VecI bits = as_int(x);
  const VecI k = sub(shift_right<23>(add(bits, set1_i(kOne - kRootHalf))), set1_i(127));
  const Vec f = sub(as_float(sub(bits, shift_left<23>(k))), set1(1.0f)), two = set1(2.0f);
  const Vec d = add(two, f), d_rest = sub(f, sub(d, two)), s = div(f, d);
  const Twofold back = product(s, d);
  const Vec s_rest = div(sub(sub(sub(f, back.value), back.rest), mul(s, d_rest)), d);
  const Vec z = mul(s, s), exponent = to_float(k);
  Vec q = set1(2.987202704e-1f);
  q = fma(q, z, set1(3.997755647e-1f));
  q = fma(q, z, set1(6.666677594e-1f));
  const Vec tail = fma(mul(q, z), s, fma(exponent, set1(-2.12194440e-4f), add(s_rest, s_rest)));
  const Vec high = mul(exponent, set1(0.693359375f)), low = add(s, s), sum = add(high, low);
  const Vec rest = add(sub(low, sub(sum, high)), tail), value = add(sum, rest);
  return {value, sub(rest, sub(value, sum))};
}

constexpr float kLargestPlainPower = 4;  // up to here whole powers are products

// x^p for one p, as in IEEE 754; the powers 1/2 and -1/2 are a square root (NaN at -infinity). Within 3 ulp.
CNNKERN_INLINE Vec power(Vec x, float p) {
  const float size = p < 0 ? -p : p, whole = __builtin_floorf(size);
  const Vec one = set1(1.0f);
  if (size == 0.5f) return p > 0 ? sqrt(x) : div(one, sqrt(x));
  if (size == whole && size <= kLargestPlainPower) {
    Vec y = one;
    for (float i = 0; i < size; ++i) y = mul(y, x);
    return p < 0 ? div(one, y) : y;
  }
  const Vec a = abs(x), infinite = set1(__builtin_inff());
  const Twofold l = precise_log(a), t = product(l.value, set1(p));
  Vec y = exp(t.value);
  y = mul(y, add(one, fma(l.rest, set1(p), t.rest)));
  y = select(less(abs(t.value), set1(87.0f)), y, select(less(t.value, zero()), zero(), infinite));
  y = select(less(a, set1(1.17549435e-38f)), p > 0 ? zero() : infinite, y);
  y = select(less_equal(infinite, a), p > 0 ? infinite : zero(), y);
  const bool odd = size == whole && size < 16777216.0f && (static_cast<int32_t>(size) & 1);
  const VecI sign = bit_and(as_int(x), set1_i(static_cast<int32_t>(0x80000000u)));
  if (odd) y = as_float(bit_or(as_int(y), sign));
  if (size != whole) y = select(both(less(x, zero()), less(a, infinite)), set1(__builtin_nanf("")), y);
  return select(is_nan(x), x, y);
}

}  // namespace CNNKERN_NAMESPACE
