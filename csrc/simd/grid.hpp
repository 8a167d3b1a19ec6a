// SPDX-License-Identifier: BSD-3-Clause
// Where a grid reads a map: for a chunk of places the offsets and weights of their taps, and the weights' slopes along
// the grid's coordinates. Coordinates are computed in double, so that what they lose against float64 is not seen. A place
// beyond the map, not a number or infinite reads nothing that is not there.
#pragma once
#include "simd/axes.hpp"

namespace CNNKERN_NAMESPACE {

constexpr int kChunk = 64;     // places of one unit: the tables of a bicubic chunk fill about a first cache
constexpr int kMostTaps = 16;  // 4 x 4, or 2 x 2 x 2

struct GridTaps {
  int32_t inside[kMostTaps][kChunk];  // 0: beyond the map; the offset is then 0
  int32_t offset[kMostTaps][kChunk];
  float weight[kMostTaps][kChunk];
  float slope[3][kMostTaps][kChunk];  // d weight / d x, y, z of the grid
};

// The taps of one place along one axis.
struct AxisTaps {
  int64_t at[4];  // -1: beyond the map
  double weight[4], slope[4];
};

CNNKERN_INLINE double clipped(double u, double highest) { return u > highest ? highest : u > 0 ? u : 0; }

// The coordinate u in pixels, mirrored at the edges into the map; *slope becomes the slope of the result along u.
CNNKERN_INLINE double reflected(double u, double size, bool align, double* slope) {
  const double low = align ? 0 : -0.5, span = align ? size - 1 : size;
  if (span == 0) {
    *slope = 0;
    return 0;
  }
  const double v = u < low ? low - u : u - low;
  const double flips = __builtin_floor(v / span), extra = v - flips * span;
  const bool odd = flips - 2 * __builtin_floor(flips / 2) != 0;
  *slope = (u < low) != odd ? -1 : 1;
  return (odd ? span - extra : extra) + low;
}

CNNKERN_INLINE double padded(double u, double size, const GridSample& op, double* slope) {
  *slope = 1;
  if (op.padding == 0) return u;
  if (op.padding == 2) u = reflected(u, size, op.align_corners, slope);
  if (!(u > 0 && u < size - 1)) *slope = 0;
  return clipped(u, size - 1);
}

CNNKERN_INLINE int64_t pixel(double u, double size) { return u >= 0 && u < size ? static_cast<int64_t>(u) : -1; }

// Keys (1981) with a = -0.75, and its derivative, at the distances t + 1, t, 1 - t, 2 - t.
CNNKERN_INLINE void cubic_weights(double t, AxisTaps* taps) {
  constexpr double a = -0.75;
  for (int i = 0; i < 4; ++i) {
    const double s = i < 2 ? t + 1 - i : i - 1 - t, sign = i < 2 ? 1 : -1;
    const bool near = i == 1 || i == 2;
    taps->weight[i] = near ? ((a + 2) * s - (a + 3)) * s * s + 1 : ((a * s - 5 * a) * s + 8 * a) * s - 4 * a;
    taps->slope[i] = sign * (near ? (3 * (a + 2) * s - 2 * (a + 3)) * s : (3 * a * s - 10 * a) * s + 8 * a);
  }
}

// Where g, -1 .. 1, reads an axis of `pixels`.
CNNKERN_INLINE void axis_taps(const GridSample& op, float g, int64_t pixels, AxisTaps* taps) {
  constexpr double kFar = 1099511627776.0;  // 2^40: farther away nothing changes but rounding
  const double size = static_cast<double>(pixels), from = g == g ? g : -1;
  double u = op.align_corners ? (from + 1) / 2 * (size - 1) : ((from + 1) * size - 1) / 2, slope, ignored;
  u = u < -kFar ? -kFar : u > kFar ? kFar : u;
  const double scale = (op.align_corners ? size - 1 : size) / 2;
  if (op.taps == 4) {
    const double floor = __builtin_floor(u);
    cubic_weights(u - floor, taps);
    for (int i = 0; i < 4; ++i) {
      taps->at[i] = pixel(padded(floor + i - 1, size, op, &ignored), size);
      taps->slope[i] *= scale;
    }
    return;
  }
  u = padded(u, size, op, &slope);
  const double floor = __builtin_floor(u), t = u - floor;
  if (op.taps == 1) {
    const bool odd = floor - 2 * __builtin_floor(floor / 2) != 0;
    taps->at[0] = pixel(t > 0.5 || (t == 0.5 && odd) ? floor + 1 : floor, size);  // a half goes to the even pixel
    taps->weight[0] = 1, taps->slope[0] = 0;
    return;
  }
  for (int i = 0; i < 2; ++i) taps->at[i] = pixel(floor + i, size);
  taps->weight[0] = 1 - t, taps->weight[1] = t;
  taps->slope[0] = -scale * slope, taps->slope[1] = scale * slope;
}

// Taps of one place of all axes.
CNNKERN_INLINE int tap_count(const GridSample& op) { return op.taps * op.taps * (op.grid.w == 3 ? op.taps : 1); }
CNNKERN_INLINE int64_t chunks_of(const GridSample& op) { return (op.grid.c + kChunk - 1) / kChunk; }

// The taps of places first .. first + n - 1 of an image, with the slopes of their weights if wanted. A function of its own: inlined into the loops over channels it
// would take their registers.
inline void find_taps(const GridSample& op, const float* grid, int64_t first, int64_t n, bool slopes, GridTaps* found) {
  const int axes = static_cast<int>(op.grid.w);
  const int64_t size[3] = {op.x.w, op.x.h, op.x.d}, stride[3] = {1, op.x.sh, op.x.sd};
  AxisTaps taps[3]{};
  taps[2].weight[0] = 1;  // the depth of an image
  for (int64_t i = 0; i < n; ++i) {
    const float* const g = grid + (first + i) * op.grid.sc;
    for (int a = 0; a < axes; ++a) axis_taps(op, g[a], size[a], &taps[a]);
    int tap = 0;
    for (int d = 0; d < (axes == 3 ? op.taps : 1); ++d)
      for (int h = 0; h < op.taps; ++h)
        for (int w = 0; w < op.taps; ++w, ++tap) {
          const int64_t x = taps[0].at[w], y = taps[1].at[h], z = taps[2].at[d];
          const bool inside = x >= 0 && y >= 0 && z >= 0;
          const double wx = taps[0].weight[w], wy = taps[1].weight[h], wz = taps[2].weight[d];
          found->inside[tap][i] = inside;
          found->offset[tap][i] = inside ? static_cast<int32_t>(x * stride[0] + y * stride[1] + z * stride[2]) : 0;
          found->weight[tap][i] = static_cast<float>(wx * wy * wz);
          if (!slopes) continue;
          found->slope[0][tap][i] = static_cast<float>(taps[0].slope[w] * wy * wz);
          found->slope[1][tap][i] = static_cast<float>(wx * taps[1].slope[h] * wz);
          found->slope[2][tap][i] = static_cast<float>(wx * wy * taps[2].slope[d]);
        }
  }
}

// body(count) with the number of taps as a type.
template <class Body>
CNNKERN_INLINE void with_tap_count(const GridSample& op, Body&& body) {
  switch (tap_count(op)) {
    case 1: return body(std::integral_constant<int, 1>{});
    case 4: return body(std::integral_constant<int, 4>{});
    case 8: return body(std::integral_constant<int, 8>{});
    default: return body(std::integral_constant<int, 16>{});
  }
}

// Time of finding the taps of all places and of reading them from each channel.
CNNKERN_INLINE float grid_ns(const GridSample& op, const Machine& machine, double tap_ns) {
  const double places = static_cast<double>(op.grid.n) * static_cast<double>(op.grid.c);
  const double each = 20.0 + 4 * tap_count(op) + tap_ns * tap_count(op) * static_cast<double>(op.x.c);
  return stream_ns(machine, elements(op.x) + elements(op.y)) + static_cast<float>(places * each / machine.threads);
}

}  // namespace CNNKERN_NAMESPACE
