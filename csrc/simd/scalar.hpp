// SPDX-License-Identifier: BSD-3-Clause
// One vector of 4 floats in the compiler's own vector type: runs on any CPU, at the flags of the baseline, without FMA.
// The same functions stand in avx512.hpp and avx2.hpp.
#pragma once
#include <cstdint>

#define CNNKERN_INLINE static inline __attribute__((always_inline))

namespace cnnkern::scalar {

constexpr int kLanes = 4;
constexpr int kRegisters = 16;

typedef float Float4 __attribute__((vector_size(16)));
typedef int32_t Int4 __attribute__((vector_size(16)));
typedef uint32_t Unsigned4 __attribute__((vector_size(16)));

struct Vec { Float4 v; };
struct VecI { Int4 v; };
struct Mask { Int4 v; };  // -1 where true

CNNKERN_INLINE Vec zero() { return {Float4{0, 0, 0, 0}}; }
CNNKERN_INLINE Vec set1(float x) { return {Float4{x, x, x, x}}; }
CNNKERN_INLINE Vec load(const float* p) {
  Vec a;
  __builtin_memcpy(&a.v, p, sizeof(a.v));
  return a;
}
CNNKERN_INLINE void store(float* p, Vec a) { __builtin_memcpy(p, &a.v, sizeof(a.v)); }
CNNKERN_INLINE void stream(float* p, Vec a) { store(p, a); }
CNNKERN_INLINE Vec load_n(const float* p, int n) {
  Vec a = zero();
  for (int i = 0; i < n; ++i) a.v[i] = p[i];
  return a;
}
CNNKERN_INLINE void store_n(float* p, Vec a, int n) {
  for (int i = 0; i < n; ++i) p[i] = a.v[i];
}

CNNKERN_INLINE Vec add(Vec a, Vec b) { return {a.v + b.v}; }
CNNKERN_INLINE Vec sub(Vec a, Vec b) { return {a.v - b.v}; }
CNNKERN_INLINE Vec mul(Vec a, Vec b) { return {a.v * b.v}; }
CNNKERN_INLINE Vec div(Vec a, Vec b) { return {a.v / b.v}; }
CNNKERN_INLINE Vec sqrt(Vec a) {
  for (int i = 0; i < kLanes; ++i) a.v[i] = __builtin_sqrtf(a.v[i]);
  return a;
}
CNNKERN_INLINE Vec fma(Vec a, Vec b, Vec c) { return {a.v * b.v + c.v}; }
CNNKERN_INLINE Vec fnma(Vec a, Vec b, Vec c) { return {c.v - a.v * b.v}; }

CNNKERN_INLINE Mask less(Vec a, Vec b) { return {a.v < b.v}; }
CNNKERN_INLINE Mask less_equal(Vec a, Vec b) { return {a.v <= b.v}; }
CNNKERN_INLINE Mask is_nan(Vec a) { return {a.v != a.v}; }
CNNKERN_INLINE Mask equal(VecI a, VecI b) { return {a.v == b.v}; }
CNNKERN_INLINE Mask both(Mask a, Mask b) { return {a.v & b.v}; }
CNNKERN_INLINE Mask either(Mask a, Mask b) { return {a.v | b.v}; }
CNNKERN_INLINE Mask invert(Mask a) { return {~a.v}; }
CNNKERN_INLINE bool any(Mask a) { return (a.v[0] | a.v[1] | a.v[2] | a.v[3]) != 0; }
CNNKERN_INLINE Vec select(Mask m, Vec yes, Vec no) { return {(Float4)(((Int4)yes.v & m.v) | ((Int4)no.v & ~m.v))}; }
CNNKERN_INLINE VecI select(Mask m, VecI yes, VecI no) { return {(yes.v & m.v) | (no.v & ~m.v)}; }
CNNKERN_INLINE Vec max(Vec a, Vec b) { return select(Mask{a.v > b.v}, a, b); }
CNNKERN_INLINE Vec min(Vec a, Vec b) { return select(Mask{a.v < b.v}, a, b); }

CNNKERN_INLINE VecI set1_i(int32_t x) { return {Int4{x, x, x, x}}; }
CNNKERN_INLINE VecI load_i(const int32_t* p) {
  VecI a;
  __builtin_memcpy(&a.v, p, sizeof(a.v));
  return a;
}
CNNKERN_INLINE void store_i(int32_t* p, VecI a) { __builtin_memcpy(p, &a.v, sizeof(a.v)); }
CNNKERN_INLINE VecI add(VecI a, VecI b) { return {(Int4)((Unsigned4)a.v + (Unsigned4)b.v)}; }
CNNKERN_INLINE VecI sub(VecI a, VecI b) { return {(Int4)((Unsigned4)a.v - (Unsigned4)b.v)}; }
CNNKERN_INLINE VecI bit_and(VecI a, VecI b) { return {a.v & b.v}; }
CNNKERN_INLINE VecI bit_or(VecI a, VecI b) { return {a.v | b.v}; }
CNNKERN_INLINE VecI bit_xor(VecI a, VecI b) { return {a.v ^ b.v}; }
template <int kBits> CNNKERN_INLINE VecI shift_left(VecI a) { return {(Int4)((Unsigned4)a.v << kBits)}; }
template <int kBits> CNNKERN_INLINE VecI shift_right(VecI a) { return {(Int4)((Unsigned4)a.v >> kBits)}; }
CNNKERN_INLINE VecI as_int(Vec a) { return {(Int4)a.v}; }
CNNKERN_INLINE Vec as_float(VecI a) { return {(Float4)a.v}; }
// To nearest even by adding and taking away 1.5 * 2^23: exact below 2^22, above which a float of interest is whole anyway.
CNNKERN_INLINE Vec round(Vec a) {
  const Float4 magic = set1(12582912.0f).v;
  const Mask small{(Float4)((Int4)a.v & set1_i(0x7fffffff).v) < set1(4194304.0f).v};
  return select(small, Vec{(a.v + magic) - magic}, a);
}
CNNKERN_INLINE VecI to_int(Vec a) { return {__builtin_convertvector(round(a).v, Int4)}; }
CNNKERN_INLINE Vec to_float(VecI a) { return {__builtin_convertvector(a.v, Float4)}; }

CNNKERN_INLINE Vec even(Vec a, Vec b) { return {Float4{a.v[0], a.v[2], b.v[0], b.v[2]}}; }

CNNKERN_INLINE float reduce_add(Vec a) { return (a.v[0] + a.v[2]) + (a.v[1] + a.v[3]); }

}  // namespace cnnkern::scalar
