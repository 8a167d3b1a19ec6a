// SPDX-License-Identifier: BSD-3-Clause
// One vector of 16 floats in an AVX-512 register. The same functions stand in avx2.hpp and scalar.hpp.
#pragma once
#include <immintrin.h>

#include <cstdint>

#define CNNKERN_INLINE static inline __attribute__((always_inline))

namespace cnnkern::avx512 {

constexpr int kLanes = 16;
constexpr int kRegisters = 32;

struct Vec { __m512 v; };
struct VecI { __m512i v; };
struct Mask { __mmask16 v; };

CNNKERN_INLINE Vec zero() { return {_mm512_setzero_ps()}; }
CNNKERN_INLINE Vec set1(float x) { return {_mm512_set1_ps(x)}; }
CNNKERN_INLINE Vec load(const float* p) { return {_mm512_loadu_ps(p)}; }
CNNKERN_INLINE void store(float* p, Vec a) { _mm512_storeu_ps(p, a.v); }
// The first n lanes (0 <= n <= kLanes); the others read as zero and are not touched in memory.
// Past the caches; p is aligned to a vector.
CNNKERN_INLINE void stream(float* p, Vec a) { _mm512_stream_ps(p, a.v); }
CNNKERN_INLINE Vec load_n(const float* p, int n) {
  return {_mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << n) - 1), p)};
}
CNNKERN_INLINE void store_n(float* p, Vec a, int n) {
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << n) - 1), a.v);
}

CNNKERN_INLINE Vec add(Vec a, Vec b) { return {_mm512_add_ps(a.v, b.v)}; }
CNNKERN_INLINE Vec sub(Vec a, Vec b) { return {_mm512_sub_ps(a.v, b.v)}; }
CNNKERN_INLINE Vec mul(Vec a, Vec b) { return {_mm512_mul_ps(a.v, b.v)}; }
CNNKERN_INLINE Vec div(Vec a, Vec b) { return {_mm512_div_ps(a.v, b.v)}; }
CNNKERN_INLINE Vec sqrt(Vec a) { return {_mm512_sqrt_ps(a.v)}; }
CNNKERN_INLINE Vec fma(Vec a, Vec b, Vec c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }    // a b + c
CNNKERN_INLINE Vec fnma(Vec a, Vec b, Vec c) { return {_mm512_fnmadd_ps(a.v, b.v, c.v)}; }  // c - a b
// As the instructions: where either operand is NaN the second one is returned. max(zero(), x) keeps a NaN of x.
CNNKERN_INLINE Vec max(Vec a, Vec b) { return {_mm512_max_ps(a.v, b.v)}; }
CNNKERN_INLINE Vec min(Vec a, Vec b) { return {_mm512_min_ps(a.v, b.v)}; }
CNNKERN_INLINE Vec round(Vec a) { return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}; }

CNNKERN_INLINE Mask less(Vec a, Vec b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ)}; }
CNNKERN_INLINE Mask less_equal(Vec a, Vec b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LE_OQ)}; }
CNNKERN_INLINE Mask is_nan(Vec a) { return {_mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q)}; }
CNNKERN_INLINE Mask equal(VecI a, VecI b) { return {_mm512_cmpeq_epi32_mask(a.v, b.v)}; }
CNNKERN_INLINE Mask both(Mask a, Mask b) { return {static_cast<__mmask16>(a.v & b.v)}; }
CNNKERN_INLINE Mask either(Mask a, Mask b) { return {static_cast<__mmask16>(a.v | b.v)}; }
CNNKERN_INLINE Mask invert(Mask a) { return {static_cast<__mmask16>(~a.v)}; }
CNNKERN_INLINE bool any(Mask a) { return a.v != 0; }
CNNKERN_INLINE Vec select(Mask m, Vec yes, Vec no) { return {_mm512_mask_blend_ps(m.v, no.v, yes.v)}; }
CNNKERN_INLINE VecI select(Mask m, VecI yes, VecI no) { return {_mm512_mask_blend_epi32(m.v, no.v, yes.v)}; }

CNNKERN_INLINE VecI set1_i(int32_t x) { return {_mm512_set1_epi32(x)}; }
CNNKERN_INLINE VecI load_i(const int32_t* p) { return {_mm512_loadu_si512(p)}; }
CNNKERN_INLINE void store_i(int32_t* p, VecI a) { _mm512_storeu_si512(p, a.v); }
CNNKERN_INLINE VecI add(VecI a, VecI b) { return {_mm512_add_epi32(a.v, b.v)}; }
CNNKERN_INLINE VecI sub(VecI a, VecI b) { return {_mm512_sub_epi32(a.v, b.v)}; }
CNNKERN_INLINE VecI bit_and(VecI a, VecI b) { return {_mm512_and_si512(a.v, b.v)}; }
CNNKERN_INLINE VecI bit_or(VecI a, VecI b) { return {_mm512_or_si512(a.v, b.v)}; }
CNNKERN_INLINE VecI bit_xor(VecI a, VecI b) { return {_mm512_xor_si512(a.v, b.v)}; }
template <int kBits> CNNKERN_INLINE VecI shift_left(VecI a) { return {_mm512_slli_epi32(a.v, kBits)}; }
template <int kBits> CNNKERN_INLINE VecI shift_right(VecI a) { return {_mm512_srli_epi32(a.v, kBits)}; }  // logical
CNNKERN_INLINE VecI to_int(Vec a) { return {_mm512_cvtps_epi32(a.v)}; }  // to nearest even
CNNKERN_INLINE Vec to_float(VecI a) { return {_mm512_cvtepi32_ps(a.v)}; }
CNNKERN_INLINE VecI as_int(Vec a) { return {_mm512_castps_si512(a.v)}; }
CNNKERN_INLINE Vec as_float(VecI a) { return {_mm512_castsi512_ps(a.v)}; }

// Elements 0, 2, 4, ... of the two vectors side by side.
CNNKERN_INLINE Vec even(Vec a, Vec b) {
  const __m512i index = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  return {_mm512_permutex2var_ps(a.v, index, b.v)};
}

CNNKERN_INLINE float reduce_add(Vec a) { return _mm512_reduce_add_ps(a.v); }

}  // namespace cnnkern::avx512
