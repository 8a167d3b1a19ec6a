// SPDX-License-Identifier: BSD-3-Clause
// The register tile of the packed matrix product: up to kTileRows rows by two vectors of columns, one broadcast and two
// FMAs per row and step. A scalar of the left matrix is broadcast, a vector of the right one loaded.
//
// Registers: AVX-512 14 x 2 sums + 2 loads + 1 broadcast = 31 of 32; AVX2 and scalar 6 x 2 + 2 + 1 = 15 of 16.
// Rows are not padded: M rows are cut into panels of nearly equal height and there is a tile for each height.
#pragma once
#include "simd/transpose.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

constexpr int kTileRows = kRegisters == 32 ? 14 : 6;
constexpr int kTileCols = 2 * kLanes;
// Steps of one register sum. Longer reductions add up several of them: the rounding error of one long sum grows with
// its length (2e-5 after 25,000 terms), and the few additions cost nothing.
constexpr int64_t kTileDepth = 512;

// The rows [0, m) in panels of at most kTileRows.
struct Panels {
  int64_t count, base, extra;
  int64_t start(int64_t i) const { return i * base + (i < extra ? i : extra); }
  int rows(int64_t i) const { return static_cast<int>(base + (i < extra)); }
};
CNNKERN_INLINE Panels panels_of(int64_t m) {
  const int64_t count = (m + kTileRows - 1) / kTileRows;
  return {count, m / count, m % count};
}

// c = act(a b + start + bias + residual) for the `columns` first columns.
struct Tile {
  const float* a;  // [depth][rows], or rows at a fixed distance
  const float* b;  // [depth][b_step]
  int64_t b_step = kTileCols;
  int64_t depth;
  int columns;  // 1 .. kTileCols
  float* c;     // [rows][c_step]
  int64_t c_step;
  const float* start;  // [rows][start_step] or null
  int64_t start_step;
  const float* row_bias;     // [rows] or null
  const float* column_bias;  // [columns] or null
  const float* residual;     // [rows][residual_step] or null
  int64_t residual_step;
  const Epilogue* epilogue;  // null: no activation
};

// The left matrix is packed side by side, a[k * kRows + row], or, with a distance, as rows, a[row * kDistance + k].
template <int kRows, int kVectors, int kDistance>
CNNKERN_INLINE void multiply_block(const float* a, const float* b, int64_t depth, int64_t b_step, Vec* sum) {
  unroll<kRows * kVectors>([&](auto i) CNNKERN_LAMBDA { sum[i] = zero(); });
  for (int64_t k = 0; k < depth; ++k) {
    Vec right[kVectors];
    unroll<kVectors>([&](auto v) CNNKERN_LAMBDA { right[v] = load(b + v * kLanes); });
    unroll<kRows>([&](auto r) CNNKERN_LAMBDA {
      const Vec left = set1(a[r * (kDistance ? kDistance : 1)]);
      unroll<kVectors>([&](auto v)
                           CNNKERN_LAMBDA { sum[r * kVectors + v] = fma(left, right[v], sum[r * kVectors + v]); });
    });
    a += kDistance ? 1 : kRows;
    b += b_step;
  }
}

template <int kVectors>
CNNKERN_INLINE Vec load_column(const float* p, int v, int last) {
  return v == kVectors - 1 && last < kLanes ? load_n(p + v * kLanes, last) : load(p + v * kLanes);
}

template <int kRows, int kVectors, int kDistance>
void tile_kernel(const Tile& t) {
  const int last = t.columns - (kVectors - 1) * kLanes;  // columns in the last vector
  Vec sum[kRows * kVectors];
  float partial[kRows * kVectors * kLanes];
  const float* a = t.a;
  const float* b = t.b;
  int64_t left = t.depth;
  for (bool first = true;; first = false) {
    const int64_t depth = left < kTileDepth ? left : kTileDepth;
    multiply_block<kRows, kVectors, kDistance>(a, b, depth, t.b_step, sum);
    if (!first)
      unroll<kRows * kVectors>([&](auto i) CNNKERN_LAMBDA { sum[i] = add(load(partial + i * kLanes), sum[i]); });
    left -= depth;
    if (left == 0) break;
    unroll<kRows * kVectors>([&](auto i) CNNKERN_LAMBDA { store(partial + i * kLanes, sum[i]); });
    a += depth * (kDistance ? 1 : kRows);
    b += depth * t.b_step;
  }
  const auto each = [&](auto&& change) CNNKERN_LAMBDA {
    unroll<kRows * kVectors>([&](auto i) CNNKERN_LAMBDA { sum[i] = change(sum[i], i / kVectors, i % kVectors); });
  };
  if (t.start)
    each([&](Vec x, int r, int v)
             CNNKERN_LAMBDA { return add(load_column<kVectors>(t.start + r * t.start_step, v, last), x); });
  if (t.row_bias) each([&](Vec x, int r, int) CNNKERN_LAMBDA { return add(x, set1(t.row_bias[r])); });
  if (t.column_bias)
    each([&](Vec x, int, int v) CNNKERN_LAMBDA { return add(x, load_column<kVectors>(t.column_bias, v, last)); });
  if (t.residual)
    each([&](Vec x, int r, int v)
             CNNKERN_LAMBDA { return add(x, load_column<kVectors>(t.residual + r * t.residual_step, v, last)); });
  // activate() with the choice made once, not once per vector.
  switch (t.epilogue ? t.epilogue->activation : Activation::kNone) {
    case Activation::kNone: break;
    case Activation::kRelu: each([&](Vec x, int, int) CNNKERN_LAMBDA { return max(zero(), x); }); break;
    case Activation::kLeakyRelu:
    case Activation::kClamp: each([&](Vec x, int, int) CNNKERN_LAMBDA { return activate(*t.epilogue, x); }); break;
    default:  // sums stay in memory: the calls would spill them one by one
      unroll<kRows * kVectors>([&](auto i) CNNKERN_LAMBDA { store(partial + i * kLanes, sum[i]); });
      activate_stored(t.epilogue->activation, {partial, 1, 0, kRows * kVectors, kLanes}, kLanes);
      unroll<kRows * kVectors>([&](auto i) CNNKERN_LAMBDA { sum[i] = load(partial + i * kLanes); });
  }
  unroll<kRows>([&](auto r) CNNKERN_LAMBDA {
    float* row = t.c + r * t.c_step;
    unroll<kVectors - 1>([&](auto v) CNNKERN_LAMBDA { store(row + v * kLanes, sum[r * kVectors + v]); });
    const Vec end = sum[r * kVectors + kVectors - 1];
    if (last == kLanes)
      store(row + (kVectors - 1) * kLanes, end);
    else
      store_n(row + (kVectors - 1) * kLanes, end, last);
  });
}

using TileKernel = void (*)(const Tile&);

// The tile for every height and for one or two vectors of columns.
template <int kDistance, class Heights>
struct TileTable;
template <int kDistance, int... kRow>
struct TileTable<kDistance, std::integer_sequence<int, kRow...>> {
  static constexpr TileKernel kKernels[2][kTileRows] = {{tile_kernel<kRow + 1, 1, kDistance>...},
                                                        {tile_kernel<kRow + 1, 2, kDistance>...}};
};
template <int kDistance = 0>
CNNKERN_INLINE void run_tile(int rows, const Tile& t) {
  TileTable<kDistance, std::make_integer_sequence<int, kTileRows>>::kKernels[t.columns > kLanes][rows - 1](t);
}

typedef float Quad __attribute__((vector_size(16)));

// to[k * to_step + r] = from[r * from_step + k] for 4 x 4 elements.
CNNKERN_INLINE void transpose_4x4(const float* from, int64_t from_step, float* to, int64_t to_step) {
  Quad row[4];
  unroll<4>([&](auto i) CNNKERN_LAMBDA { __builtin_memcpy(&row[i], from + i * from_step, sizeof(Quad)); });
  const Quad a = __builtin_shufflevector(row[0], row[1], 0, 4, 1, 5);
  const Quad b = __builtin_shufflevector(row[0], row[1], 2, 6, 3, 7);
  const Quad c = __builtin_shufflevector(row[2], row[3], 0, 4, 1, 5);
  const Quad d = __builtin_shufflevector(row[2], row[3], 2, 6, 3, 7);
  row[0] = __builtin_shufflevector(a, c, 0, 1, 4, 5), row[1] = __builtin_shufflevector(a, c, 2, 3, 6, 7);
  row[2] = __builtin_shufflevector(b, d, 0, 1, 4, 5), row[3] = __builtin_shufflevector(b, d, 2, 3, 6, 7);
  unroll<4>([&](auto i) CNNKERN_LAMBDA { __builtin_memcpy(to + i * to_step, &row[i], sizeof(Quad)); });
}
// The same for kLanes x kLanes elements.
CNNKERN_INLINE void transpose_lanes(const float* from, int64_t from_step, float* to, int64_t to_step) {
  Vec row[kLanes];
  unroll<kLanes>([&](auto i) CNNKERN_LAMBDA { row[i] = load(from + i * from_step); });
  transpose(row);
  unroll<kLanes>([&](auto i) CNNKERN_LAMBDA { store(to + i * to_step, row[i]); });
}

// Squares of kSize x kSize; the last one of a row or column overlaps the one before it.
template <int kSize>
CNNKERN_INLINE void transpose_squares(const float* from, int64_t from_step, int64_t rows, int64_t depth, float* to,
                                      int64_t to_step) {
  for (int64_t k = 0; k < depth; k += kSize) {
    const int64_t k0 = least(k, depth - kSize);
    for (int64_t r = 0; r < rows; r += kSize) {
      const int64_t r0 = least(r, rows - kSize);
      if constexpr (kSize == 4)
        transpose_4x4(from + r0 * from_step + k0, from_step, to + k0 * to_step + r0, to_step);
      else
        transpose_lanes(from + r0 * from_step + k0, from_step, to + k0 * to_step + r0, to_step);
    }
  }
}

// to[k * to_step + r] = from[r * from_step + k]: rows that are contiguous in memory, side by side.
[[maybe_unused]] static void pack_transposed(const float* from, int64_t from_step, int64_t rows, int64_t depth,
                                             float* to, int64_t to_step) {
  if (rows >= kLanes && depth >= kLanes) return transpose_squares<kLanes>(from, from_step, rows, depth, to, to_step);
  if (rows >= 4 && depth >= 4) return transpose_squares<4>(from, from_step, rows, depth, to, to_step);
  for (int64_t k = 0; k < depth; ++k)
    for (int64_t r = 0; r < rows; ++r) to[k * to_step + r] = from[r * from_step + k];
}

// to[k * to_step + r] = from[k * from_step + r].
CNNKERN_INLINE void copy_rows(const float* from, int64_t from_step, int64_t rows, int64_t depth, float* to,
                              int64_t to_step) {
  for (int64_t k = 0; k < depth; ++k, from += from_step, to += to_step) {
    int64_t r = 0;
    for (; r + kLanes <= rows; r += kLanes) store(to + r, load(from + r));
    for (; r < rows; ++r) to[r] = from[r];
  }
}

}  // namespace
}  // namespace CNNKERN_NAMESPACE
