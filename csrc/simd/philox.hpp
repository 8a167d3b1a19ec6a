// SPDX-License-Identifier: BSD-3-Clause
// Philox-4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011): a counter of four words and a
// key of two become four random words, so that any element's number can be made anywhere, in any order. kLanes counters
// at once.
#pragma once
#include "simd/simd.hpp"

namespace CNNKERN_NAMESPACE {

struct PhiloxKey { uint32_t seed, node, step; };

constexpr int kPhiloxWords = 4 * kLanes;  // made at once

constexpr uint32_t kPhiloxMultiplier0 = 0xD2511F53u, kPhiloxMultiplier1 = 0xCD9E8D57u;
constexpr uint32_t kPhiloxStep0 = 0x9E3779B9u,
                   kPhiloxStep1 = 0xBB67AE85u;  // the golden ratio and sqrt(3) - 1, in 32 bits
constexpr int kPhiloxRounds = 10;

#if defined(__AVX2__)
// The high and low halves of a * m, unsigned.
CNNKERN_INLINE void multiply_wide(VecI a, uint32_t m, VecI& high, VecI& low) {
#if defined(__AVX512F__)
  const __m512i by = _mm512_set1_epi32(static_cast<int32_t>(m));
  const __m512i even = _mm512_mul_epu32(a.v, by), odd = _mm512_mul_epu32(_mm512_srli_epi64(a.v, 32), by);
  high.v = _mm512_mask_blend_epi32(0xaaaa, _mm512_srli_epi64(even, 32), odd);
  low.v = _mm512_mask_blend_epi32(0xaaaa, even, _mm512_slli_epi64(odd, 32));
#else
  const __m256i by = _mm256_set1_epi32(static_cast<int32_t>(m));
  const __m256i even = _mm256_mul_epu32(a.v, by), odd = _mm256_mul_epu32(_mm256_srli_epi64(a.v, 32), by);
  high.v = _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xaa);
  low.v = _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xaa);
#endif
}

// Words 0 .. 3 of kLanes counters -> the four words of one counter beside each other, inside each 128-bit lane.
CNNKERN_INLINE void interleave(VecI (&w)[4]) {
#if defined(__AVX512F__)
  const __m512i a = _mm512_unpacklo_epi32(w[0].v, w[1].v), b = _mm512_unpackhi_epi32(w[0].v, w[1].v);
  const __m512i c = _mm512_unpacklo_epi32(w[2].v, w[3].v), d = _mm512_unpackhi_epi32(w[2].v, w[3].v);
  w[0].v = _mm512_unpacklo_epi64(a, c), w[1].v = _mm512_unpackhi_epi64(a, c);
  w[2].v = _mm512_unpacklo_epi64(b, d), w[3].v = _mm512_unpackhi_epi64(b, d);
#else
  const __m256i a = _mm256_unpacklo_epi32(w[0].v, w[1].v), b = _mm256_unpackhi_epi32(w[0].v, w[1].v);
  const __m256i c = _mm256_unpacklo_epi32(w[2].v, w[3].v), d = _mm256_unpackhi_epi32(w[2].v, w[3].v);
  w[0].v = _mm256_unpacklo_epi64(a, c), w[1].v = _mm256_unpackhi_epi64(a, c);
  w[2].v = _mm256_unpacklo_epi64(b, d), w[3].v = _mm256_unpackhi_epi64(b, d);
#endif
}

// Words first .. first + kPhiloxWords - 1 of the sequence, in order; first is a multiple of kPhiloxWords. Word i is
// word i % 4 of counter (i / 4 low, i / 4 high, step, 0) under the key (seed, node).
CNNKERN_INLINE void philox(const PhiloxKey& key, int64_t first, VecI (&w)[4]) {
  // The lane that interleave() takes to place k holds counter k.
  constexpr int kSquares = kLanes / 4;
  int32_t order[kLanes];
  for (int i = 0; i < kLanes; ++i) order[i] = i % 4 * kSquares + i / 4;
  const uint64_t counter = static_cast<uint64_t>(first) / 4;
  w[0] = add(set1_i(static_cast<int32_t>(counter & 0xffffffffu)), load_i(order));
  w[1] = set1_i(static_cast<int32_t>(counter >> 32));
  w[2] = set1_i(static_cast<int32_t>(key.step));
  w[3] = set1_i(0);
  uint32_t key0 = key.seed, key1 = key.node;
  for (int round = 0; round < kPhiloxRounds; ++round) {
    VecI high0, low0, high1, low1;
    multiply_wide(w[0], kPhiloxMultiplier0, high0, low0);
    multiply_wide(w[2], kPhiloxMultiplier1, high1, low1);
    w[0] = bit_xor(bit_xor(high1, w[1]), set1_i(static_cast<int32_t>(key0)));
    w[1] = low1;
    w[2] = bit_xor(bit_xor(high0, w[3]), set1_i(static_cast<int32_t>(key1)));
    w[3] = low0;
    key0 += kPhiloxStep0;
    key1 += kPhiloxStep1;
  }
  interleave(w);
}
#else
// The same, one counter after the other: multiplications to 64 bits are scalar here.
CNNKERN_INLINE void philox(const PhiloxKey& key, int64_t first, VecI (&w)[4]) {
  for (int k = 0; k < 4; ++k) {
    const uint64_t counter = static_cast<uint64_t>(first) / 4 + static_cast<uint64_t>(k);
    uint32_t c0 = static_cast<uint32_t>(counter), c1 = static_cast<uint32_t>(counter >> 32), c2 = key.step, c3 = 0;
    uint32_t key0 = key.seed, key1 = key.node;
    for (int round = 0; round < kPhiloxRounds; ++round) {
      const uint64_t product0 = static_cast<uint64_t>(c0) * kPhiloxMultiplier0;
      const uint64_t product1 = static_cast<uint64_t>(c2) * kPhiloxMultiplier1;
      c0 = static_cast<uint32_t>(product1 >> 32) ^ c1 ^ key0;
      c1 = static_cast<uint32_t>(product1);
      c2 = static_cast<uint32_t>(product0 >> 32) ^ c3 ^ key1;
      c3 = static_cast<uint32_t>(product0);
      key0 += kPhiloxStep0;
      key1 += kPhiloxStep1;
    }
    w[k].v =
        Int4{static_cast<int32_t>(c0), static_cast<int32_t>(c1), static_cast<int32_t>(c2), static_cast<int32_t>(c3)};
  }
}
#endif

// Numbers of [0, 1), multiples of 2^-24, from the upper bits of random words.
CNNKERN_INLINE Vec uniform_of(VecI words) { return mul(to_float(shift_right<8>(words)), set1(5.9604644775390625e-8f)); }

}  // namespace CNNKERN_NAMESPACE
