// SPDX-License-Identifier: BSD-3-Clause
// The logistic function for the epilogues of convolutions, where it is in the way of multiply-adds: 1 / (1 + 2^t) with
// t = -x log2 e rounded once, as if x had been off by half an ulp. Absolute error below 1.3e-7, relative to itself far
// below 0 up to |x| 6e-8. Far out 0 and 1.
#pragma once
#include "simd/simd.hpp"

namespace CNNKERN_NAMESPACE {

constexpr float kMinusLog2e = -1.44269504f;
constexpr float kFarOut = 87.9f;  // both 1 / (1 + 2^t) and its complement are denormal here, which is flushed to 0

#if defined(__AVX512F__)
// 2^t = 2^whole 2^(k / 32) 2^f, 0 <= f < 1/32: the middle factor from two registers, the last a polynomial of degree 2.
// NaN becomes 1. Zen 5: with the product by x and the memory 4.9 cycles a vector; one Newton step on the reciprocal of
// 14 bits instead of the division 5.6, a polynomial of degree 5 instead of the table 6.2, exp() of simd.hpp 14.
CNNKERN_INLINE Vec quick_sigmoid(Vec x) {
  const __m512 low = _mm512_setr_ps(1.00000000f, 1.02189720f, 1.04427385f, 1.06714046f, 1.09050775f, 1.11438680f,
                                    1.13878870f, 1.16372490f, 1.18920720f, 1.21524739f, 1.24185789f, 1.26905107f,
                                    1.29683959f, 1.32523668f, 1.35425556f, 1.38390994f);
  const __m512 high = _mm512_setr_ps(1.41421366f, 1.44518089f, 1.47682619f, 1.50916445f, 1.54221094f, 1.57598090f,
                                     1.61049044f, 1.64575553f, 1.68179286f, 1.71861935f, 1.75625229f, 1.79470921f,
                                     1.83400822f, 1.87416768f, 1.91520667f, 1.95714426f);
  const __m512 magic = _mm512_set1_ps(393216.0f);  // 1.5 * 2^18: an ulp is 1/32, k the last five bits
  const __m512 inside = _mm512_range_ps(x.v, _mm512_set1_ps(kFarOut), 2);  // the smaller size, the sign of x
  const __m512 t = _mm512_mul_ps(inside, _mm512_set1_ps(kMinusLog2e));
  const __m512 s = _mm512_add_round_ps(t, magic, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
  const Vec f{_mm512_sub_ps(t, _mm512_sub_ps(s, magic))};
  const Vec scale{_mm512_scalef_ps(_mm512_permutex2var_ps(low, _mm512_castps_si512(s), high), t)};
  const Vec one = set1(1.0f), p = fma(fma(f, set1(2.42840618e-1f), set1(6.93116546e-1f)), f, one);
  return div(one, fma(scale, p, one));
}
#else
// 2^t = 2^n 2^f, |f| <= 1/2: a polynomial of degree 6, and n as the exponent of a factor. NaN stays NaN. Zen 5, AVX2: 6 to
// 7 cycles a vector, exp() of simd.hpp 14. A degree less added up to 1.4e-5 in EfficientNet-B7.
CNNKERN_INLINE Vec quick_sigmoid(Vec x) {
  const Vec one = set1(1.0f), magic = set1(12582912.0f + 127);  // 1.5 * 2^23: the last eight bits are n + 127
  const Vec t = mul(min(set1(kFarOut), max(set1(-kFarOut), x)), set1(kMinusLog2e));
  const Vec s = add(t, magic), f = sub(t, sub(s, magic)), scale = as_float(shift_left<23>(as_int(s)));
  Vec p = set1(1.53533591e-4f);
  p = fma(p, f, set1(1.33988754e-3f));
  p = fma(p, f, set1(9.61843738e-3f));
  p = fma(p, f, set1(5.55033247e-2f));
  p = fma(p, f, set1(2.40226479e-1f));
  p = fma(p, f, set1(6.93147203e-1f));
  p = fma(p, f, one);
  return div(one, fma(p, scale, one));
}
#endif

}  // namespace CNNKERN_NAMESPACE
