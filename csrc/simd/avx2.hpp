// SPDX-License-Identifier: BSD-3-Clause
// One vector of 8 floats in an AVX2 register, with FMA. The same functions stand in avx512.hpp and scalar.hpp.
#pragma once
#include <immintrin.h>

#include <cstdint>

#define CNNKERN_INLINE static inline __attribute__((always_inline))

namespace cnnkern::avx2 {

constexpr int kLanes = 8;
constexpr int kRegisters = 16;

struct Vec { __m256 v; };
struct VecI { __m256i v; };
struct Mask { __m256 v; };

CNNKERN_INLINE __m256i first_lanes(int n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

CNNKERN_INLINE Vec zero() { return {_mm256_setzero_ps()}; }
CNNKERN_INLINE Vec set1(float x) { return {_mm256_set1_ps(x)}; }
CNNKERN_INLINE Vec load(const float* p) { return {_mm256_loadu_ps(p)}; }
CNNKERN_INLINE void store(float* p, Vec a) { _mm256_storeu_ps(p, a.v); }
// Past the caches; p is aligned to a vector.
CNNKERN_INLINE void stream(float* p, Vec a) { _mm256_stream_ps(p, a.v); }
CNNKERN_INLINE Vec load_n(const float* p, int n) { return {_mm256_maskload_ps(p, first_lanes(n))}; }
CNNKERN_INLINE void store_n(float* p, Vec a, int n) { _mm256_maskstore_ps(p, first_lanes(n), a.v); }

CNNKERN_INLINE Vec add(Vec a, Vec b) { return {_mm256_add_ps(a.v, b.v)}; }
CNNKERN_INLINE Vec sub(Vec a, Vec b) { return {_mm256_sub_ps(a.v, b.v)}; }
CNNKERN_INLINE Vec mul(Vec a, Vec b) { return {_mm256_mul_ps(a.v, b.v)}; }
CNNKERN_INLINE Vec div(Vec a, Vec b) { return {_mm256_div_ps(a.v, b.v)}; }
CNNKERN_INLINE Vec sqrt(Vec a) { return {_mm256_sqrt_ps(a.v)}; }
CNNKERN_INLINE Vec fma(Vec a, Vec b, Vec c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
CNNKERN_INLINE Vec fnma(Vec a, Vec b, Vec c) { return {_mm256_fnmadd_ps(a.v, b.v, c.v)}; }
CNNKERN_INLINE Vec max(Vec a, Vec b) { return {_mm256_max_ps(a.v, b.v)}; }
CNNKERN_INLINE Vec min(Vec a, Vec b) { return {_mm256_min_ps(a.v, b.v)}; }
CNNKERN_INLINE Vec round(Vec a) { return {_mm256_round_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}; }

CNNKERN_INLINE Mask less(Vec a, Vec b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_LT_OQ)}; }
CNNKERN_INLINE Mask less_equal(Vec a, Vec b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_LE_OQ)}; }
CNNKERN_INLINE Mask is_nan(Vec a) { return {_mm256_cmp_ps(a.v, a.v, _CMP_UNORD_Q)}; }
CNNKERN_INLINE Mask equal(VecI a, VecI b) { return {_mm256_castsi256_ps(_mm256_cmpeq_epi32(a.v, b.v))}; }
CNNKERN_INLINE Mask both(Mask a, Mask b) { return {_mm256_and_ps(a.v, b.v)}; }
CNNKERN_INLINE Mask either(Mask a, Mask b) { return {_mm256_or_ps(a.v, b.v)}; }
CNNKERN_INLINE Mask invert(Mask a) { return {_mm256_xor_ps(a.v, _mm256_castsi256_ps(_mm256_set1_epi32(-1)))}; }
CNNKERN_INLINE bool any(Mask a) { return _mm256_movemask_ps(a.v) != 0; }
CNNKERN_INLINE Vec select(Mask m, Vec yes, Vec no) { return {_mm256_blendv_ps(no.v, yes.v, m.v)}; }
CNNKERN_INLINE VecI select(Mask m, VecI yes, VecI no) {
  return {_mm256_castps_si256(_mm256_blendv_ps(_mm256_castsi256_ps(no.v), _mm256_castsi256_ps(yes.v), m.v))};
}

CNNKERN_INLINE VecI set1_i(int32_t x) { return {_mm256_set1_epi32(x)}; }
CNNKERN_INLINE VecI load_i(const int32_t* p) { return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))}; }
CNNKERN_INLINE void store_i(int32_t* p, VecI a) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), a.v); }
CNNKERN_INLINE VecI add(VecI a, VecI b) { return {_mm256_add_epi32(a.v, b.v)}; }
CNNKERN_INLINE VecI sub(VecI a, VecI b) { return {_mm256_sub_epi32(a.v, b.v)}; }
CNNKERN_INLINE VecI bit_and(VecI a, VecI b) { return {_mm256_and_si256(a.v, b.v)}; }
CNNKERN_INLINE VecI bit_or(VecI a, VecI b) { return {_mm256_or_si256(a.v, b.v)}; }
CNNKERN_INLINE VecI bit_xor(VecI a, VecI b) { return {_mm256_xor_si256(a.v, b.v)}; }
template <int kBits> CNNKERN_INLINE VecI shift_left(VecI a) { return {_mm256_slli_epi32(a.v, kBits)}; }
template <int kBits> CNNKERN_INLINE VecI shift_right(VecI a) { return {_mm256_srli_epi32(a.v, kBits)}; }
CNNKERN_INLINE VecI to_int(Vec a) { return {_mm256_cvtps_epi32(a.v)}; }
CNNKERN_INLINE Vec to_float(VecI a) { return {_mm256_cvtepi32_ps(a.v)}; }
CNNKERN_INLINE VecI as_int(Vec a) { return {_mm256_castps_si256(a.v)}; }
CNNKERN_INLINE Vec as_float(VecI a) { return {_mm256_castsi256_ps(a.v)}; }

CNNKERN_INLINE Vec even(Vec a, Vec b) {
  const __m256d pairs = _mm256_castps_pd(_mm256_shuffle_ps(a.v, b.v, 0x88));  // a0 a2 b0 b2 a4 a6 b4 b6
  return {_mm256_castpd_ps(_mm256_permute4x64_pd(pairs, 0xd8))};
}

CNNKERN_INLINE float reduce_add(Vec a) {
  __m128 half = _mm_add_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
  half = _mm_add_ps(half, _mm_movehl_ps(half, half));
  return _mm_cvtss_f32(_mm_add_ss(half, _mm_movehdup_ps(half)));
}

}  // namespace cnnkern::avx2
