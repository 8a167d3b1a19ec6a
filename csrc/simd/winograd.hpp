// SPDX-License-Identifier: BSD-3-Clause
// The transforms of Winograd's minimal filtering F(kM x kM, 3 x 3) (Winograd, 1980; for convolutions Lavin and Gray,
// 2015): y = A^T [(G g G^T) * (B^T d B)] A, tile by tile, in one dimension applied to rows and then to columns.
//
// F(2) interpolates at 0, 1, -1 and infinity; F(4) at 0, +-sqrt(2), +-sqrt(1/2) and infinity, whose rounding error is
// less than half of that of the integers up to 2. B and A are those of the points' Lagrange basis with the denominators
// moved into G, where they are applied in double precision, once.
#pragma once
#include "simd/simd.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

template <int kM> struct Winograd;

template <> struct Winograd<2> {
  static constexpr int kSize = 4;
  static constexpr double kFilter[kSize][3] = {{-1, 0, 0}, {0.5, 0.5, 0.5}, {0.5, -0.5, 0.5}, {0, 0, 1}};
  CNNKERN_INLINE void input(const Vec* d, Vec* t) {
    t[0] = sub(d[2], d[0]);
    t[1] = add(d[2], d[1]);
    t[2] = sub(d[2], d[1]);
    t[3] = sub(d[3], d[1]);
  }
  CNNKERN_INLINE void output(const Vec* t, Vec* y) {
    y[0] = add(t[0], add(t[1], t[2]));
    y[1] = add(sub(t[1], t[2]), t[3]);
  }
};

template <> struct Winograd<4> {
  static constexpr int kSize = 6;
  static constexpr double kRoot = 1.41421356237309504880;  // of 2
  // A row (1, a, a^2) / M'(a) for each point a, with M(x) = x (x^2 - 2) (x^2 - 1/2); the last one for infinity.
  static constexpr double kFilter[kSize][3] = {{1, 0, 0},
                                               {1.0 / 6, kRoot / 6, 2.0 / 6},
                                               {1.0 / 6, -kRoot / 6, 2.0 / 6},
                                               {-2.0 / 3, -kRoot / 3, -1.0 / 3},
                                               {-2.0 / 3, kRoot / 3, -1.0 / 3},
                                               {0, 0, 1}};
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
  CNNKERN_INLINE void output(const Vec* t, Vec* y) {
    const Vec sum = add(t[1], t[2]), difference = sub(t[1], t[2]), sum2 = add(t[3], t[4]),
              difference2 = sub(t[3], t[4]);
    y[0] = add(t[0], add(sum, sum2));
    y[1] = fma(set1(1.41421356f), difference, mul(set1(0.70710678f), difference2));
    y[2] = fma(set1(2.0f), sum, mul(set1(0.5f), sum2));
    y[3] = fma(set1(2.82842712f), difference, fma(set1(0.35355339f), difference2, t[5]));
  }
};

// One tile of kSize x kSize pixels (rows and columns from `rows` and `columns` on are zeros that memory does not hold)
// of kLanes channels; to[(i * kSize + j) * frequency] receives its transform.
template <int kM, bool kWhole>
CNNKERN_INLINE void transform_input(const float* x, int64_t row_step, int64_t rows, int64_t columns, float* to,
                                    int64_t frequency) {
  constexpr int kSize = Winograd<kM>::kSize;
  Vec half[kSize][kSize];
  unroll<kSize>([&](auto i) CNNKERN_LAMBDA {
    Vec d[kSize];
    unroll<kSize>([&](auto j) CNNKERN_LAMBDA {
      d[j] = kWhole || (i < rows && j < columns) ? load(x + i * row_step + j * kBlock) : zero();
    });
    Winograd<kM>::input(d, half[i]);
  });
  unroll<kSize>([&](auto j) CNNKERN_LAMBDA {
    Vec d[kSize], t[kSize];
    unroll<kSize>([&](auto i) CNNKERN_LAMBDA { d[i] = half[i][j]; });
    Winograd<kM>::input(d, t);
    unroll<kSize>([&](auto i) CNNKERN_LAMBDA { store(to + (i * kSize + j) * frequency, t[i]); });
  });
}

// from[(i * kSize + j) * frequency] becomes kM x kM pixels of kLanes channels; write(i, j, value) gets each.
template <int kM, class Write>
CNNKERN_INLINE void transform_output(const float* from, int64_t frequency, Write&& write) {
  constexpr int kSize = Winograd<kM>::kSize;
  Vec half[kM][kSize];
  unroll<kSize>([&](auto j) CNNKERN_LAMBDA {
    Vec t[kSize], y[kM];
    unroll<kSize>([&](auto i) CNNKERN_LAMBDA { t[i] = load(from + (i * kSize + j) * frequency); });
    Winograd<kM>::output(t, y);
    unroll<kM>([&](auto i) CNNKERN_LAMBDA { half[i][j] = y[i]; });
  });
  unroll<kM>([&](auto i) CNNKERN_LAMBDA {
    Vec y[kM];
    Winograd<kM>::output(half[i], y);
    unroll<kM>([&](auto j) CNNKERN_LAMBDA { write(i, j, y[j]); });
  });
}

// The filters g[3][3][16] of 16 output channels (in doubles) become to[(i * kSize + j) * frequency] of 16 floats each.
template <int kM>
CNNKERN_INLINE void transform_filter(const double (*g)[3][kBlock], float* to, int64_t frequency) {
  constexpr int kSize = Winograd<kM>::kSize;
  double half[kSize][3][kBlock];
  for (int i = 0; i < kSize; ++i)
    for (int s = 0; s < 3; ++s)
      for (int o = 0; o < kBlock; ++o) {
        const double* row = Winograd<kM>::kFilter[i];
        half[i][s][o] = row[0] * g[0][s][o] + row[1] * g[1][s][o] + row[2] * g[2][s][o];
      }
  for (int i = 0; i < kSize; ++i)
    for (int j = 0; j < kSize; ++j)
      for (int o = 0; o < kBlock; ++o) {
        const double* row = Winograd<kM>::kFilter[j];
        to[(i * kSize + j) * frequency + o] =
            static_cast<float>(row[0] * half[i][0][o] + row[1] * half[i][1][o] + row[2] * half[i][2][o]);
      }
}

}  // namespace
}  // namespace CNNKERN_NAMESPACE
