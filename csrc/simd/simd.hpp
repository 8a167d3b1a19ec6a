// SPDX-License-Identifier: BSD-3-Clause
// The vector type of the instruction set that this file is being compiled for, and what can be built on any of them:
// Block (16 channels of one pixel, the unit of the blocked layout), compile-time unrolling, exp, epilogues.
// CMake defines CNNKERN_ISA (avx512, avx2 or scalar) for every kernel object.
#pragma once
#include <utility>

#define CNNKERN_STRING_(x) #x
#define CNNKERN_STRING(x) CNNKERN_STRING_(x)
#include CNNKERN_STRING(simd/CNNKERN_ISA.hpp)

#include "core/kernel.hpp"

// Every kernel file opens this namespace and stays in it: a name shared by objects of different flags would let the
// linker keep the AVX-512 copy for everybody.
#define CNNKERN_NAMESPACE cnnkern::CNNKERN_ISA
#define CNNKERN_LAMBDA __attribute__((always_inline))

namespace CNNKERN_NAMESPACE {

constexpr int kVecs = kBlock / kLanes;  // vectors of one block

// body(0), body(1), ... with the index as a type: arrays indexed by it become registers early enough for GCC not to
// spill.
template <class Body, int... kIndex>
CNNKERN_INLINE void unroll_sequence(Body&& body, std::integer_sequence<int, kIndex...>) {
  (body(std::integral_constant<int, kIndex>{}), ...);
}
template <int kCount, class Body>
CNNKERN_INLINE void unroll(Body&& body) {
  unroll_sequence(body, std::make_integer_sequence<int, kCount>{});
}

struct Block { Vec v[kVecs]; };
struct BlockI { VecI v[kVecs]; };
struct BlockMask { Mask v[kVecs]; };

// A function on blocks is the function on vectors, vector by vector.
#define CNNKERN_EACH(Result, expression)                                  \
  Result result;                                                          \
  unroll<kVecs>([&](auto i) CNNKERN_LAMBDA { result.v[i] = expression; }); \
  return result;

CNNKERN_INLINE Block block_zero() { CNNKERN_EACH(Block, zero()) }
CNNKERN_INLINE Block block_set1(float x) { CNNKERN_EACH(Block, set1(x)) }
CNNKERN_INLINE Block block_load(const float* p) { CNNKERN_EACH(Block, load(p + i * kLanes)) }
CNNKERN_INLINE void block_store(float* p, Block a) {
  unroll<kVecs>([&](auto i) CNNKERN_LAMBDA { store(p + i * kLanes, a.v[i]); });
}
// Past the caches: for maps that leave them anyway, whose lines would be read only to be overwritten. What was streamed is
// visible to others behind the next barrier. p is aligned to a vector, as pixels of blocked maps are.
CNNKERN_INLINE void block_stream(float* p, Block a) {
  unroll<kVecs>([&](auto i) CNNKERN_LAMBDA { stream(p + i * kLanes, a.v[i]); });
}
CNNKERN_INLINE int lanes_of(int n, int vec) {
  const int left = n - vec * kLanes;
  return left < 0 ? 0 : left > kLanes ? kLanes : left;
}
// The first n channels (0 <= n <= 16); the others read as zero and are not touched in memory.
CNNKERN_INLINE Block block_load_n(const float* p, int n) { CNNKERN_EACH(Block, load_n(p + i * kLanes, lanes_of(n, i))) }
CNNKERN_INLINE void block_store_n(float* p, Block a, int n) {
  unroll<kVecs>([&](auto i) CNNKERN_LAMBDA { store_n(p + i * kLanes, a.v[i], lanes_of(n, i)); });
}
CNNKERN_INLINE Block add(Block a, Block b) { CNNKERN_EACH(Block, add(a.v[i], b.v[i])) }
CNNKERN_INLINE Block sub(Block a, Block b) { CNNKERN_EACH(Block, sub(a.v[i], b.v[i])) }
CNNKERN_INLINE Block mul(Block a, Block b) { CNNKERN_EACH(Block, mul(a.v[i], b.v[i])) }
CNNKERN_INLINE Block div(Block a, Block b) { CNNKERN_EACH(Block, div(a.v[i], b.v[i])) }
CNNKERN_INLINE Block sqrt(Block a) { CNNKERN_EACH(Block, sqrt(a.v[i])) }
CNNKERN_INLINE Block max(Block a, Block b) { CNNKERN_EACH(Block, max(a.v[i], b.v[i])) }
CNNKERN_INLINE Block min(Block a, Block b) { CNNKERN_EACH(Block, min(a.v[i], b.v[i])) }
CNNKERN_INLINE Block fma(Block a, Block b, Block c) { CNNKERN_EACH(Block, fma(a.v[i], b.v[i], c.v[i])) }
CNNKERN_INLINE Block fnma(Block a, Block b, Block c) { CNNKERN_EACH(Block, fnma(a.v[i], b.v[i], c.v[i])) }
CNNKERN_INLINE BlockMask less(Block a, Block b) { CNNKERN_EACH(BlockMask, less(a.v[i], b.v[i])) }
CNNKERN_INLINE BlockMask is_nan(Block a) { CNNKERN_EACH(BlockMask, is_nan(a.v[i])) }
CNNKERN_INLINE BlockMask either(BlockMask a, BlockMask b) { CNNKERN_EACH(BlockMask, either(a.v[i], b.v[i])) }
CNNKERN_INLINE BlockMask both(BlockMask a, BlockMask b) { CNNKERN_EACH(BlockMask, both(a.v[i], b.v[i])) }
CNNKERN_INLINE BlockMask invert(BlockMask a) { CNNKERN_EACH(BlockMask, invert(a.v[i])) }
CNNKERN_INLINE Block select(BlockMask m, Block yes, Block no) {
  CNNKERN_EACH(Block, select(m.v[i], yes.v[i], no.v[i]))
}
CNNKERN_INLINE BlockI select(BlockMask m, BlockI yes, BlockI no) {
  CNNKERN_EACH(BlockI, select(m.v[i], yes.v[i], no.v[i]))
}
// The gradient d of a ReLU's result as that by its input x, which may be the result as well; NaN in x lets d pass.
CNNKERN_INLINE Vec relu_slope(Vec d, Vec x) { return select(less_equal(x, zero()), zero(), d); }
CNNKERN_INLINE Block relu_slope(Block d, Block x) { CNNKERN_EACH(Block, relu_slope(d.v[i], x.v[i])) }
CNNKERN_INLINE BlockI block_set1_i(int32_t x) { CNNKERN_EACH(BlockI, set1_i(x)) }
CNNKERN_INLINE BlockI block_load_i(const int32_t* p) { CNNKERN_EACH(BlockI, load_i(p + i * kLanes)) }
CNNKERN_INLINE void block_store_i(int32_t* p, BlockI a) {
  unroll<kVecs>([&](auto i) CNNKERN_LAMBDA { store_i(p + i * kLanes, a.v[i]); });
}
CNNKERN_INLINE BlockMask equal(BlockI a, BlockI b) { CNNKERN_EACH(BlockMask, equal(a.v[i], b.v[i])) }

// e^x. Reduction by multiples of ln 2 (Cody and Waite, 1980), then a minimax polynomial of degree 6: within 1.5 ulp. 0
// below -87.3 (denormals are flushed anyway), infinity above 88.7; NaN stays NaN.
CNNKERN_INLINE Vec exp(Vec x) {
  const Vec low = set1(-87.33654f), high = set1(88.72283f);
  Vec t = min(high, max(low, x));
  const Vec k = round(mul(t, set1(1.44269504f)));
  t = fnma(k, set1(0.693359375f), t);
  t = fnma(k, set1(-2.12194440e-4f), t);
  Vec p = set1(1.3814561631e-3f);
  p = fma(p, t, set1(8.3687353344e-3f));
  p = fma(p, t, set1(4.1668389805e-2f));
  p = fma(p, t, set1(1.6666520480e-1f));
  p = fma(p, t, set1(4.9999993438e-1f));
  p = fma(p, mul(t, t), add(t, set1(1.0f)));
  // 2^k as a product, since k = 128 has no float of its own; + 256 keeps the halved number positive.
  const VecI n = to_int(k);
  const VecI first = sub(shift_right<1>(add(n, set1_i(256))), set1_i(128));
  const VecI second = sub(n, first);
  p = mul(p, as_float(shift_left<23>(add(first, set1_i(127)))));
  p = mul(p, as_float(shift_left<23>(add(second, set1_i(127)))));
  p = select(less(high, x), set1(__builtin_inff()), p);
  p = select(less(x, low), zero(), p);
  return select(is_nan(x), x, p);
}
CNNKERN_INLINE Block exp(Block a) { CNNKERN_EACH(Block, exp(a.v[i])) }

// Activations of more than an instruction or two (defined in simd/activation.hpp): a call, which would spill a tile's
// accumulators, so tiles store first and then go over what they stored.
CNNKERN_INLINE bool is_long(Activation activation) { return activation > Activation::kClamp; }
static Vec activate_long(Activation activation, Vec x);

CNNKERN_INLINE Vec activate(const Epilogue& e, Vec x) {
  switch (e.activation) {
    case Activation::kRelu: return max(zero(), x);
    case Activation::kLeakyRelu: return select(less(x, zero()), mul(x, set1(e.slope)), x);
    case Activation::kClamp: return min(set1(e.high), max(set1(e.low), x));
    case Activation::kNone: return x;
    default: return activate_long(e.activation, x);
  }
}
CNNKERN_INLINE Block activate(const Epilogue& e, Block a) { CNNKERN_EACH(Block, activate(e, a.v[i])) }

// Pointer to pixel (n, block, d, h, w) of a blocked tensor.
template <class Element>
CNNKERN_INLINE Element* at_block(const Tensor& t, Element* p, int64_t n, int64_t block, int64_t d, int64_t h, int64_t w) {
  return p + n * t.sn + block * t.sc + d * t.sd + h * t.sh + w * kBlock;
}
// Pointer to element (n, c, d, h, w) of a plain tensor.
template <class Element>
CNNKERN_INLINE Element* at(const Tensor& t, Element* p, int64_t n, int64_t c, int64_t d, int64_t h, int64_t w) {
  return p + n * t.sn + c * t.sc + d * t.sd + h * t.sh + w;
}
// Blocked maps larger than this are streamed, if nothing of what is written has to be read again (lanes that become zero).
constexpr double kStreamBytes = 16 << 20;
CNNKERN_INLINE bool is_streamed(const Tensor& t) {
  return t.layout == Layout::kBlocked && t.c % kBlock == 0 &&
         4.0 * static_cast<double>(t.n * t.c) * static_cast<double>(t.d * t.h * t.w) > kStreamBytes;
}
CNNKERN_INLINE int64_t blocks_of(int64_t channels) { return (channels + kBlock - 1) / kBlock; }
CNNKERN_INLINE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
CNNKERN_INLINE int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }
// True for an argument that was left out as well.
CNNKERN_INLINE bool is_plain(const Tensor& t) { return !t.present || t.layout == Layout::kPlain; }
CNNKERN_INLINE bool is_blocked(const Tensor& t) { return !t.present || t.layout == Layout::kBlocked; }
CNNKERN_INLINE bool is_in_lanes(const Tensor& t) { return !t.present || t.layout == Layout::kLanes; }

}  // namespace CNNKERN_NAMESPACE

#include "simd/activation.hpp"
