// SPDX-License-Identifier: BSD-3-Clause
// The transpose of kLanes vectors in registers: what a reorder between the plain and the blocked layout is made of.
#pragma once
#include "simd/simd.hpp"

namespace CNNKERN_NAMESPACE {

// r[i] lane j becomes r[j] lane i. Interleaving pairs twice transposes every 4x4 square inside its 128-bit lane; the
// squares themselves are then moved as wholes.
#if defined(__AVX512F__)
CNNKERN_INLINE void transpose(Vec (&r)[kLanes]) {
  __m512 square[16];
  unroll<4>([&](auto i) CNNKERN_LAMBDA {
    const __m512 a = _mm512_unpacklo_ps(r[4 * i].v, r[4 * i + 1].v), b = _mm512_unpackhi_ps(r[4 * i].v, r[4 * i + 1].v);
    const __m512 c = _mm512_unpacklo_ps(r[4 * i + 2].v, r[4 * i + 3].v);
    const __m512 d = _mm512_unpackhi_ps(r[4 * i + 2].v, r[4 * i + 3].v);
    square[i] = _mm512_shuffle_ps(a, c, 0x44);
    square[4 + i] = _mm512_shuffle_ps(a, c, 0xee);
    square[8 + i] = _mm512_shuffle_ps(b, d, 0x44);
    square[12 + i] = _mm512_shuffle_ps(b, d, 0xee);
  });
  unroll<4>([&](auto i)
                CNNKERN_LAMBDA {  // square[4 i + k] holds rows 4 k .. 4 k + 3 of columns i, 4 + i, 8 + i, 12 + i
                  const __m512 a = _mm512_shuffle_f32x4(square[4 * i], square[4 * i + 1], 0x88);
                  const __m512 b = _mm512_shuffle_f32x4(square[4 * i], square[4 * i + 1], 0xdd);
                  const __m512 c = _mm512_shuffle_f32x4(square[4 * i + 2], square[4 * i + 3], 0x88);
                  const __m512 d = _mm512_shuffle_f32x4(square[4 * i + 2], square[4 * i + 3], 0xdd);
                  r[i].v = _mm512_shuffle_f32x4(a, c, 0x88);
                  r[4 + i].v = _mm512_shuffle_f32x4(b, d, 0x88);
                  r[8 + i].v = _mm512_shuffle_f32x4(a, c, 0xdd);
                  r[12 + i].v = _mm512_shuffle_f32x4(b, d, 0xdd);
                });
}
#elif defined(__AVX2__)
CNNKERN_INLINE void transpose(Vec (&r)[kLanes]) {
  __m256 square[8];
  unroll<2>([&](auto i) CNNKERN_LAMBDA {
    const __m256 a = _mm256_unpacklo_ps(r[4 * i].v, r[4 * i + 1].v), b = _mm256_unpackhi_ps(r[4 * i].v, r[4 * i + 1].v);
    const __m256 c = _mm256_unpacklo_ps(r[4 * i + 2].v, r[4 * i + 3].v);
    const __m256 d = _mm256_unpackhi_ps(r[4 * i + 2].v, r[4 * i + 3].v);
    square[i] = _mm256_shuffle_ps(a, c, 0x44);
    square[2 + i] = _mm256_shuffle_ps(a, c, 0xee);
    square[4 + i] = _mm256_shuffle_ps(b, d, 0x44);
    square[6 + i] = _mm256_shuffle_ps(b, d, 0xee);
  });
  unroll<4>([&](auto i) CNNKERN_LAMBDA {
    r[i].v = _mm256_permute2f128_ps(square[2 * i], square[2 * i + 1], 0x20);
    r[4 + i].v = _mm256_permute2f128_ps(square[2 * i], square[2 * i + 1], 0x31);
  });
}
#else
CNNKERN_INLINE void transpose(Vec (&r)[kLanes]) {
  const Float4 a = __builtin_shufflevector(r[0].v, r[1].v, 0, 4, 1, 5),
               b = __builtin_shufflevector(r[0].v, r[1].v, 2, 6, 3, 7);
  const Float4 c = __builtin_shufflevector(r[2].v, r[3].v, 0, 4, 1, 5),
               d = __builtin_shufflevector(r[2].v, r[3].v, 2, 6, 3, 7);
  r[0].v = __builtin_shufflevector(a, c, 0, 1, 4, 5);
  r[1].v = __builtin_shufflevector(a, c, 2, 3, 6, 7);
  r[2].v = __builtin_shufflevector(b, d, 0, 1, 4, 5);
  r[3].v = __builtin_shufflevector(b, d, 2, 3, 6, 7);
}
#endif

// y[j][i] = x[i][j] for `rows` i and `columns` j, at most kLanes of each.
CNNKERN_INLINE void transpose_part(const float* x, int64_t x_stride, float* y, int64_t y_stride, int rows,
                                   int columns) {
  Vec r[kLanes];
  if (columns == kLanes && rows == kLanes) {
    unroll<kLanes>([&](auto i) CNNKERN_LAMBDA { r[i] = load(x + i * x_stride); });
    transpose(r);
    unroll<kLanes>([&](auto j) CNNKERN_LAMBDA { store(y + j * y_stride, r[j]); });
    return;
  }
  unroll<kLanes>([&](auto i) CNNKERN_LAMBDA { r[i] = i < rows ? load_n(x + i * x_stride, columns) : zero(); });
  transpose(r);
  unroll<kLanes>([&](auto j) CNNKERN_LAMBDA {
    if (j < columns) store_n(y + j * y_stride, r[j], rows);
  });
}

}  // namespace CNNKERN_NAMESPACE
