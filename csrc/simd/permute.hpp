// SPDX-License-Identifier: BSD-3-Clause
// Lanes of one vector in another order.
#pragma once
#include "simd/simd.hpp"

namespace CNNKERN_NAMESPACE {

// Lane i becomes what lane index[i] was; 0 <= index[i] < kLanes.
CNNKERN_INLINE Vec permute(Vec a, VecI index) {
#if defined(__AVX512F__)
  return {_mm512_permutexvar_ps(index.v, a.v)};
#elif defined(__AVX2__)
  return {_mm256_permutevar8x32_ps(a.v, index.v)};
#else
  Vec moved;
  for (int i = 0; i < kLanes; ++i) moved.v[i] = a.v[index.v[i] & (kLanes - 1)];
  return moved;
#endif
}

}  // namespace CNNKERN_NAMESPACE
