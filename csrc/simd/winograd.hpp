// SPDX-License-Identifier: BSD-3-Clause
// The transforms of Winograd's minimal filtering F(kM x kM, kR x kR) (Winograd, 1980; for convolutions Lavin and Gray,
// 2015): y = A^T [(G g G^T) * (B^T d B)] A, tile by tile, in one dimension applied to rows and then to columns.
//
// F(2, 3) interpolates at 0, 1, -1 and infinity; F(4, 3) and F(2, 5) at 0, +-sqrt(2), +-sqrt(1/2) and infinity, whose
// rounding error is less than half of that of the integers up to 2. B is that of the points' Lagrange basis, the same
// for all that share the points. What G is beyond sums and doublings is moved elsewhere, because filters are
// transformed while the convolution runs: weights of the taps (kTap) into the packed filters, in double precision,
// once; the denominators into A, where they cost nothing.
#pragma once
#include "simd/simd.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

// kFilters: filters that differ, of kSize; kStride: of the convolution.
template <int kM, int kR, int kStep = 1> struct Winograd;

template <> struct Winograd<2, 3> {
  static constexpr int kOutputs = 2, kTaps = 3, kSize = 4, kFilters = 4, kStride = 1;
  static constexpr double kTap[3] = {1, 1, 1};
  CNNKERN_INLINE void filter(const Vec* g, Vec* t) {
    const Vec even = add(g[0], g[2]);
    t[0] = g[0];
    t[1] = add(even, g[1]);
    t[2] = sub(even, g[1]);
    t[3] = g[2];
  }
  CNNKERN_INLINE void input(const Vec* d, Vec* t) {
    t[0] = sub(d[0], d[2]);
    t[1] = add(d[2], d[1]);
    t[2] = sub(d[2], d[1]);
    t[3] = sub(d[3], d[1]);
  }
  CNNKERN_INLINE void output(const Vec* t, Vec* y) {
    const Vec half = set1(0.5f);
    y[0] = fma(half, add(t[1], t[2]), t[0]);
    y[1] = fma(half, sub(t[1], t[2]), t[3]);
  }
};

// The input's side of the six points.
struct SixPoints {
  CNNKERN_INLINE void input(const Vec* d, Vec* t) {
    const Vec root = set1(1.41421356f), half_root = set1(0.70710678f), c = set1(2.5f), half = set1(0.5f);
    t[0] = fnma(c, d[2], add(d[0], d[4]));
    t[5] = fnma(c, d[3], add(d[1], d[5]));
    const Vec even = fnma(half, d[2], d[4]), odd = sub(mul(root, d[3]), mul(half_root, d[1]));
    t[1] = add(even, odd);
    t[2] = sub(even, odd);
    const Vec even2 = fnma(set1(2.0f), d[2], d[4]), odd2 = sub(mul(half_root, d[3]), mul(root, d[1]));
    t[3] = add(even2, odd2);
    t[4] = sub(even2, odd2);
  }
  // The gradient by t from what it is at the points in pairs, and at 0 and infinity.
  CNNKERN_INLINE void spread(Vec first, Vec even, Vec odd, Vec even2, Vec odd2, Vec last, Vec* t) {
    t[0] = first;
    t[1] = add(even, odd);
    t[2] = sub(even, odd);
    t[3] = sub(zero(), add(even2, odd2));
    t[4] = sub(odd2, even2);
    t[5] = last;
  }
};

template <> struct Winograd<4, 3> : SixPoints {
  static constexpr int kOutputs = 4, kTaps = 3, kSize = 6, kFilters = 6, kStride = 1;
  static constexpr double kTap[3] = {1, 1.41421356237309504880, 1};
  // (1, a, a^2) for each point a, up to the factors 1, 1, 1, 1/2, 1/2, 1.
  CNNKERN_INLINE void filter(const Vec* g, Vec* t) {
    const Vec two = set1(2.0f), even = fma(two, g[2], g[0]), even2 = fma(two, g[0], g[2]);
    t[0] = g[0];
    t[1] = add(even, g[1]);
    t[2] = sub(even, g[1]);
    t[3] = add(even2, g[1]);
    t[4] = sub(even2, g[1]);
    t[5] = g[2];
  }
  CNNKERN_INLINE void output(const Vec* t, Vec* y) {
    const Vec sum = add(t[1], t[2]), difference = sub(t[1], t[2]), sum2 = add(t[3], t[4]),
              difference2 = sub(t[3], t[4]);
    // The factors 1/6 and -1/3 are those of the points' denominators M'(a), M(x) = x (x^2 - 2) (x^2 - 1/2).
    y[0] = fma(set1(1.0f / 6), sum, fnma(set1(1.0f / 3), sum2, t[0]));
    y[1] = fnma(set1(0.70710678f / 3), difference2, mul(set1(1.41421356f / 6), difference));
    y[2] = fnma(set1(0.5f / 3), sum2, mul(set1(2.0f / 6), sum));
    y[3] = fma(set1(2.82842712f / 6), difference, fnma(set1(0.35355339f / 3), difference2, t[5]));
  }
  // The same two backwards: what a gradient by y is by t, and one by t by g.
  CNNKERN_INLINE void output_gradient(const Vec* y, Vec* t) {
    const Vec even = fma(set1(2.0f / 6), y[2], mul(set1(1.0f / 6), y[0]));
    const Vec odd = fma(set1(2.82842712f / 6), y[3], mul(set1(1.41421356f / 6), y[1]));
    const Vec even2 = fma(set1(0.5f / 3), y[2], mul(set1(1.0f / 3), y[0]));
    const Vec odd2 = fma(set1(0.35355339f / 3), y[3], mul(set1(0.70710678f / 3), y[1]));
    spread(y[0], even, odd, even2, odd2, y[3], t);
  }
  CNNKERN_INLINE void filter_gradient(const Vec* t, Vec* g) {
    const Vec two = set1(2.0f), sum = add(t[1], t[2]), sum2 = add(t[3], t[4]);
    g[0] = add(t[0], fma(two, sum2, sum));
    g[1] = add(sub(t[1], t[2]), sub(t[3], t[4]));
    g[2] = add(t[5], fma(two, sum, sum2));
  }
};

template <> struct Winograd<2, 5> : SixPoints {
  static constexpr int kOutputs = 2, kTaps = 5, kSize = 6, kFilters = 6, kStride = 1;
  static constexpr double kTap[5] = {1, 1.41421356237309504880, 1, 1.41421356237309504880, 1};
  // (1, a, .., a^4), up to the factors 1, 1, 1, 1/4, 1/4, 1.
  CNNKERN_INLINE void filter(const Vec* g, Vec* t) {
    const Vec two = set1(2.0f), four = set1(4.0f);
    const Vec even = fma(four, g[4], fma(two, g[2], g[0])), odd = fma(two, g[3], g[1]);
    const Vec even2 = fma(four, g[0], fma(two, g[2], g[4])), odd2 = fma(two, g[1], g[3]);
    t[0] = g[0];
    t[1] = add(even, odd);
    t[2] = sub(even, odd);
    t[3] = add(even2, odd2);
    t[4] = sub(even2, odd2);
    t[5] = g[4];
  }
  CNNKERN_INLINE void output(const Vec* t, Vec* y) {
    const Vec sixth = set1(1.0f / 6);
    y[0] = fma(sixth, sub(add(t[1], t[2]), add(t[3], t[4])), t[0]);
    y[1] = fma(set1(1.41421356f / 6), sub(t[1], t[2]), fnma(set1(0.70710678f / 6), sub(t[3], t[4]), t[5]));
  }
  CNNKERN_INLINE void output_gradient(const Vec* y, Vec* t) {
    const Vec even = mul(set1(1.0f / 6), y[0]), odd = mul(set1(1.41421356f / 6), y[1]);
    const Vec odd2 = mul(set1(0.70710678f / 6), y[1]);
    spread(y[0], even, odd, even, odd2, y[1], t);
  }
  CNNKERN_INLINE void filter_gradient(const Vec* t, Vec* g) {
    const Vec two = set1(2.0f), four = set1(4.0f);
    const Vec sum = add(t[1], t[2]), difference = sub(t[1], t[2]);
    const Vec sum2 = add(t[3], t[4]), difference2 = sub(t[3], t[4]);
    g[0] = add(t[0], fma(four, sum2, sum));
    g[1] = fma(two, difference2, difference);
    g[2] = mul(two, add(sum, sum2));
    g[3] = fma(two, difference, difference2);
    g[4] = add(t[5], fma(four, sum, sum2));
  }
};

// Stride 2: even pixels meet the outer two taps by F(kM, 2), odd ones meet the tap in the middle as they are. F(2, 2)
// interpolates at 0, 1 and infinity: 25 products of 36, for a few additions. F(4, 2) interpolates at 0, 1, -1, 1/2 and
// infinity: 81 of 144.
template <> struct Winograd<2, 3, 2> {
  static constexpr int kOutputs = 2, kTaps = 3, kSize = 5, kFilters = 4, kStride = 2;
  static constexpr double kTap[3] = {1, 1, 1};
  CNNKERN_INLINE void input(const Vec* d, Vec* t) {
    t[0] = sub(d[0], d[2]);
    t[1] = d[2];
    t[2] = sub(d[4], d[2]);
    t[3] = d[1];
    t[4] = d[3];
  }
  CNNKERN_INLINE void filter(const Vec* g, Vec* t) {
    t[0] = g[0];
    t[1] = add(g[0], g[2]);
    t[2] = g[2];
    t[3] = g[1];
  }
  CNNKERN_INLINE void output(const Vec* t, Vec* y) {
    y[0] = add(add(t[0], t[1]), t[3]);
    y[1] = add(add(t[1], t[2]), t[4]);
  }
};

template <> struct Winograd<4, 3, 2> {
  static constexpr int kOutputs = 4, kTaps = 3, kSize = 9, kFilters = 6, kStride = 2;
  static constexpr double kTap[3] = {1, 1, 1};
  CNNKERN_INLINE void input(const Vec* d, Vec* t) {
    const Vec half = set1(0.5f), outer = sub(d[6], d[2]);
    t[0] = fma(set1(2.0f), outer, sub(d[0], d[4]));
    t[1] = fma(half, sub(d[4], d[2]), d[6]);
    t[2] = fnma(set1(1.5f), d[4], fma(half, d[2], d[6]));
    t[3] = outer;
    t[4] = fnma(half, outer, sub(d[8], d[4]));
    unroll<4>([&](auto i) CNNKERN_LAMBDA { t[5 + i] = d[2 * i + 1]; });
  }
  CNNKERN_INLINE void filter(const Vec* g, Vec* t) {
    t[0] = g[0];
    t[1] = add(g[0], g[2]);
    t[2] = sub(g[0], g[2]);
    t[3] = fma(set1(0.5f), g[2], g[0]);
    t[4] = g[2];
    t[5] = g[1];
  }
  CNNKERN_INLINE void output(const Vec* t, Vec* y) {
    // The points' denominators M'(a), M(x) = x (x^2 - 1) (x - 1/2), are 1/2 (in t[0] already), 1, -3 and -3/8.
    const Vec third = set1(1.0f / 3), sum = fnma(third, t[2], t[1]), difference = fma(third, t[2], t[1]);
    y[0] = add(add(t[0], t[5]), fnma(set1(8.0f / 3), t[3], sum));
    y[1] = add(t[6], fnma(set1(4.0f / 3), t[3], difference));
    y[2] = add(t[7], fnma(set1(2.0f / 3), t[3], sum));
    y[3] = add(add(t[4], t[8]), fnma(third, t[3], difference));
  }
};

// The filter of frequency `i` of kSize: the last one serves all that remain.
template <class F> CNNKERN_INLINE constexpr int filter_of(int i) { return i < F::kFilters ? i : F::kFilters - 1; }

// A square of kFrom x kFrom vectors, get(i, j), becomes one of kTo x kTo: put(i, j, value). apply(from, to) does it in one
// dimension: rows, then columns.
template <int kFrom, int kTo, class Apply, class Get, class Put>
CNNKERN_INLINE void transform_square(Apply&& apply, Get&& get, Put&& put) {
  Vec half[kFrom][kTo];
  unroll<kFrom>([&](auto i) CNNKERN_LAMBDA {
    Vec d[kFrom];
    unroll<kFrom>([&](auto j) CNNKERN_LAMBDA { d[j] = get(i, j); });
    apply(d, half[i]);
  });
  unroll<kTo>([&](auto j) CNNKERN_LAMBDA {
    Vec d[kFrom], t[kTo];
    unroll<kFrom>([&](auto i) CNNKERN_LAMBDA { d[i] = half[i][j]; });
    apply(d, t);
    unroll<kTo>([&](auto i) CNNKERN_LAMBDA { put(i, j, t[i]); });
  });
}

// One tile of kFrom x kFrom pixels of kLanes channels; rows and columns from `rows` and `columns` on are zeros that memory
// does not hold. to[i * row + j * column] receives its transform.
template <int kFrom, int kTo, bool kWhole, class Apply>
CNNKERN_INLINE void transform_pixels(Apply&& apply, const float* x, int64_t row_step, int64_t rows, int64_t columns,
                                     float* to, int64_t row, int64_t column) {
  transform_square<kFrom, kTo>(
      apply,
      [&](auto i, auto j)
          CNNKERN_LAMBDA { return kWhole || (i < rows && j < columns) ? load(x + i * row_step + j * kBlock) : zero(); },
      [&](auto i, auto j, Vec value) CNNKERN_LAMBDA { store(to + i * row + j * column, value); });
}

// from[(i * kSize + j) * frequency] becomes kM x kM pixels of kLanes channels; write(i, j, value) gets each.
template <class F, class Write>
CNNKERN_INLINE void transform_output(const float* from, int64_t frequency, Write&& write) {
  constexpr int kSize = F::kSize, kM = F::kOutputs;
  Vec half[kM][kSize];
  unroll<kSize>([&](auto j) CNNKERN_LAMBDA {
    Vec t[kSize], y[kM];
    unroll<kSize>([&](auto i) CNNKERN_LAMBDA { t[i] = load(from + (i * kSize + j) * frequency); });
    F::output(t, y);
    unroll<kM>([&](auto i) CNNKERN_LAMBDA { half[i][j] = y[i]; });
  });
  unroll<kM>([&](auto i) CNNKERN_LAMBDA {
    Vec y[kM];
    F::output(half[i], y);
    unroll<kM>([&](auto j) CNNKERN_LAMBDA { write(i, j, y[j]); });
  });
}

// The taps g[kTaps][kTaps] of kLanes output channels, weighted by kTap and kBlock floats apart, become
// to[(i * kFilters + j) * frequency].
template <class F>
CNNKERN_INLINE void transform_filter(const float* g, float* to, int64_t frequency) {
  constexpr int kFilters = F::kFilters, kTaps = F::kTaps;
  Vec half[kTaps][kFilters];
  unroll<kTaps>([&](auto s) CNNKERN_LAMBDA {
    Vec column[kTaps];
    unroll<kTaps>([&](auto r) CNNKERN_LAMBDA { column[r] = load(g + (r * kTaps + s) * kBlock); });
    F::filter(column, half[s]);
  });
  unroll<kFilters>([&](auto i) CNNKERN_LAMBDA {
    Vec row[kTaps], t[kFilters];
    unroll<kTaps>([&](auto s) CNNKERN_LAMBDA { row[s] = half[s][i]; });
    F::filter(row, t);
    unroll<kFilters>([&](auto j) CNNKERN_LAMBDA { store(to + (i * kFilters + j) * frequency, t[j]); });
  });
}

}  // namespace
}  // namespace CNNKERN_NAMESPACE
