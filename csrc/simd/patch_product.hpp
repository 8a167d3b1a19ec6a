// SPDX-License-Identifier: BSD-3-Clause
// Packed weights times patch matrix: what the convolution and its input gradient have in common.
// y(m, q) = act(sum over k of weight(m, k) patch(k, q) + bias(m) + residual(m, q)), m an output channel, q an output
// pixel of any image, k an input channel and tap; 0 where there is a gate(m, q) that is not positive. Panels of columns are
// packed in scratch, each for its whole depth.
#pragma once
#include "simd/gemm_tile.hpp"
#include "simd/patch.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

constexpr int64_t kPackPanels = kMaxPatchColumns / kTileCols;  // packed together

// Where pixel (image, row, column) of output channel m lies. Rows are counted through all planes; rows = 0: those of all
// planes lie at equal distances.
struct PixelMap {
  int64_t sn, sc, sh, sw;
  int64_t rows, sd;  // rows of a plane, distance of planes
  int64_t line(int64_t row) const { return rows == 0 ? row * sh : row / rows * sd + row % rows * sh; }
  template <class Element>
  Element* at(Element* p, int64_t image, int64_t m, int64_t row, int64_t column) const {
    return p + image * sn + m * sc + line(row) + column * sw;
  }
};

struct PatchProduct {
  PatchMap map;
  int64_t m, depth, columns;  // depth: channels times taps; columns: images times pixels
  const float* weight;        // packed panels of rows, see pack_transposed
  const float* x;
  float* y;
  PixelMap to;
  const float* bias;      // [m] or null
  const float* residual;  // or null
  PixelMap residual_from;
  const float* gate;  // or null
  PixelMap gate_from;
  const Epilogue* epilogue;

  int64_t channels() const { return map.taps() > 0 ? depth / map.taps() : 0; }
  int64_t column_panels() const { return (columns + kTileCols - 1) / kTileCols; }
  // Pixels of an image lie one behind the other, so that a row of a tile is stored as it is.
  bool contiguous() const {
    const auto is_one = [&](const PixelMap& m) { return m.sw == 1 && m.rows == 0 && m.sh == map.w.count; };
    return is_one(to) && (!residual || is_one(residual_from)) && (!gate || is_one(gate_from));
  }
};

// With a flat map the output's rows are one as well.
CNNKERN_INLINE void flatten(PatchProduct& p) {
  if (p.contiguous() && flatten(p.map)) p.to.sh = p.residual_from.sh = p.gate_from.sh = p.map.w.count;
}

// A panel of packed columns, with the vector behind it that pack_patches() may overwrite.
CNNKERN_INLINE int64_t column_panel_floats(int64_t depth) { return depth * kTileCols + kLanes; }

// Whether a panel of columns is multiplied where it lies in the input: the patch matrix of a flat map is the input
// itself. Packing costs as much as multiplying by 8 rows or so, hence the limit; and where channels lie a multiple of
// many cache lines apart, their lines evict each other.
CNNKERN_INLINE bool in_place(const PatchProduct& p, int64_t panel) {
  constexpr int64_t kMostRows = 128, kAliasFloats = 128;
  const PatchAxis &d = p.map.d, &h = p.map.h, &w = p.map.w;
  const bool flat = d.count == 1 && d.taps == 1 && d.first == 0 && h.count == 1 && h.taps == 1 && h.first == 0 &&
                    w.taps == 1 && w.step == 1 && w.first == 0;
  if (!flat || w.size != w.count || p.m > kMostRows || p.map.sc % kAliasFloats == 0) return false;
  return panel * kTileCols % w.count + kTileCols <= w.count && (panel + 1) * kTileCols <= p.columns;
}

// The first n of the pixels that lie `step` apart.
CNNKERN_INLINE Vec load_pixels(const float* from, int64_t step, int n) {
  if (step == 1) return load_n(from, n);
  float lane[kLanes] = {};
  for (int j = 0; j < n; ++j) lane[j] = from[j * step];
  return load(lane);
}

// Stores columns of a finished product, at any distance from one another.
CNNKERN_INLINE void store_pixels(const PatchProduct& p, const float* sum, int64_t m, int64_t image, int64_t row,
                                 int64_t column, int length) {
  float* y = p.to.at(p.y, image, m, row, column);
  const float* residual = p.residual ? p.residual_from.at(p.residual, image, m, row, column) : nullptr;
  const float* gate = p.gate ? p.gate_from.at(p.gate, image, m, row, column) : nullptr;
  const Vec bias = set1(p.bias ? p.bias[m] : 0.0f);
  for (int i = 0; i < length; i += kLanes) {
    const int n = length - i < kLanes ? length - i : kLanes;
    Vec v = add(load_n(sum + i, n), bias);
    if (residual) v = add(v, load_pixels(residual + i * p.residual_from.sw, p.residual_from.sw, n));
    if (gate) v = relu_slope(v, load_pixels(gate + i * p.gate_from.sw, p.gate_from.sw, n));
    v = activate(*p.epilogue, v);
    if (p.to.sw == 1) {
      store_n(y + i, v, n);
      continue;
    }
    float lane[kLanes];
    store(lane, v);
    for (int j = 0; j < n; ++j) y[(i + j) * p.to.sw] = lane[j];
  }
}

// Panel `a` of the weights by one panel of columns.
CNNKERN_INLINE void multiply_panel(const PatchProduct& p, const Panels& rows, int64_t a, int64_t panel,
                                   const float* packed) {
  const int64_t m = rows.start(a), q = panel * kTileCols, pixels = p.map.pixels();
  const int height = rows.rows(a);
  const int columns = static_cast<int>(least(kTileCols, p.columns - q));
  Tile tile{};
  tile.a = p.weight + m * p.depth;
  tile.b = packed;
  if (in_place(p, panel)) {
    tile.b = p.x + q / pixels * p.map.sn + q % pixels;
    tile.b_step = p.map.sc;
  }
  tile.depth = p.depth;
  tile.columns = columns;
  const int64_t image = q / pixels, pixel = q % pixels;
  if (!p.gate && p.contiguous() && pixel + columns <= pixels) {
    tile.c = p.to.at(p.y, image, m, 0, pixel);
    tile.c_step = p.to.sc;
    tile.row_bias = p.bias ? p.bias + m : nullptr;
    if (p.residual) {
      tile.residual = p.residual_from.at(p.residual, image, m, 0, pixel);
      tile.residual_step = p.residual_from.sc;
    }
    tile.epilogue = p.epilogue;
    run_tile(height, tile);
    return;
  }
  float sums[kTileRows * kTileCols];
  tile.c = sums;
  tile.c_step = kTileCols;
  run_tile(height, tile);
  const bool flat = p.contiguous();
  each_run(q, columns, flat ? 1 : p.map.rows(), flat ? pixels : p.map.w.count,
           [&](int64_t n, int64_t row, int64_t column, int first, int length) CNNKERN_LAMBDA {
             for (int r = 0; r < height; ++r)
               store_pixels(p, sums + r * kTileCols + first, m + r, n, row, column, length);
           });
}

// Packs panels [first, first + count) of the columns.
CNNKERN_INLINE void pack_columns(const PatchProduct& p, int64_t first, int64_t count, float* to) {
  const int64_t panel_floats = column_panel_floats(p.depth);
  const PatchPanels panels{kTileCols, static_cast<int>(panel_floats), kTileCols};
  for (int64_t i = 0; i < count; i += kPackPanels) {
    const int64_t end = least(count, i + kPackPanels), q = (first + i) * kTileCols;
    bool needed = false;
    for (int64_t panel = first + i; panel < first + end; ++panel) needed |= !in_place(p, panel);
    if (!needed) continue;
    const int columns = static_cast<int>(least((end - i) * kTileCols, p.columns - q));
    pack_patches(p.map, p.x, q, columns, 0, p.depth, to + i * panel_floats, panels);
  }
}

// Panels [a, a_end) of the weights by panels [b, b_end) of the columns, `group` of these at a time in scratch.
static void multiply_patches(const PatchProduct& p, int64_t a, int64_t a_end, int64_t b, int64_t b_end, int64_t group,
                             float* scratch) {
  const Panels rows = panels_of(p.m);
  const int64_t panel_floats = column_panel_floats(p.depth);
  for (; b < b_end; b += group) {
    const int64_t count = least(group, b_end - b);
    pack_columns(p, b, count, scratch);
    const int64_t q = (b + count) * kTileCols, q_end = least(p.columns, least(b + count + group, b_end) * kTileCols);
    Prefetch ahead = prefetch_columns(p.map, p.x, p.channels(), q, q_end, (a_end - a) * count);
    for (int64_t row = a; row < a_end; ++row)
      for (int64_t i = 0; i < count; ++i) {
        ahead.next();
        multiply_panel(p, rows, row, b + i, scratch + i * panel_floats);
      }
  }
}

// How the work of such a product divides: by panels of columns, or, where these are few, by panels of weights.
struct PatchSplit {
  bool by_weights;
  int64_t units;  // of each group of channels
  int64_t group;  // panels of columns in scratch
  int64_t scratch_bytes;
};
CNNKERN_INLINE PatchSplit patch_split(int64_t m, int64_t depth, int64_t columns) {
  // Packed columns and weights share the second-level cache; larger weights pass through it.
  constexpr int64_t kTogether = 768 << 10, kLeast = 256 << 10;
  constexpr int64_t kFew = 16, kWholeBytes = 4 << 20;
  const int64_t panels = (columns + kTileCols - 1) / kTileCols, bytes = column_panel_floats(depth) * 4;
  PatchSplit split;
  split.by_weights = panels < kFew && panels_of(m).count > 1 && panels * bytes <= kWholeBytes;
  split.units = split.by_weights ? panels_of(m).count : panels;
  const int64_t room = most(kLeast, kTogether - m * depth * 4);
  split.group = split.by_weights ? panels : most(1, least(kPackPanels, room / bytes));
  split.scratch_bytes = split.group * bytes;
  return split;
}

// Units [first, last) of one group.
CNNKERN_INLINE void multiply_units(const PatchProduct& p, const PatchSplit& split, int64_t first, int64_t last,
                                   float* scratch) {
  if (split.by_weights)
    multiply_patches(p, first, last, 0, p.column_panels(), split.group, scratch);
  else
    multiply_patches(p, 0, panels_of(p.m).count, first, last, split.group, scratch);
}

// Predicted time of `groups` products. `depth` may be a mean over phases of different depth.
CNNKERN_INLINE float patch_product_ns(const Machine& machine, int64_t m, double depth, int64_t columns,
                                      int64_t groups) {
  constexpr double kTileShare = 0.95;  // of the FMA peak, tiles of four rows or more
  // Of one core, short runs of pixels included. With few rows nothing hides the packing: 4 to 20 were measured on depthwise
  // and narrow groups.
  const double pack_bytes_per_ns = m < kLanes ? 10 : 50;
  constexpr double kLaunchNs = 2000;
  const double lanes = static_cast<double>((columns + kLanes - 1) / kLanes * kLanes);
  const double size = static_cast<double>(groups) * depth, rows = static_cast<double>(m);
  const double share = kTileShare * (m < 4 ? rows / 4 : 1.0);
  const double multiply = 2 * size * rows * lanes / (machine.flops_per_ns * share);
  const double packing = size * lanes * 4 / pack_bytes_per_ns;
  const double bytes = static_cast<double>(groups) * rows * (depth + static_cast<double>(columns)) * 4;
  return static_cast<float>((multiply + packing) / machine.threads + bytes / machine.memory_bytes_per_ns + kLaunchNs);
}

}  // namespace
}  // namespace CNNKERN_NAMESPACE
