// SPDX-License-Identifier: BSD-3-Clause
// The 3x3 convolution of stride 1 by Winograd's minimal filtering, F(kM x kM, 3 x 3), on blocked maps: kSize^2
// ("frequencies") matrix products of (tiles x channels) with (channels x outputs) between a transform of the input and
// one of the result, instead of nine products per pixel: 2.25 (kM = 2) or 4 times fewer multiplications.
//
// Tiles of all images are numbered in a row and taken in groups. Two orders: by tiles (one phase: a unit transforms its
// group into scratch, multiplies, transforms back) or by channels (two phases: all transformed inputs are shared, then a
// unit is a panel of output channels of a group, so that large weights are read once). The products are those of
// simd/conv_tile.hpp with tiles in the place of pixels. Bias, residual and activation are applied in the output transform.
//
// The result differs from that of direct summation by rounding: measured in tests/test_winograd.py. A value that is not
// finite reaches every pixel of the tiles that read it.
#pragma once
#include "simd/conv_geometry.hpp"
#include "simd/conv_sweep.hpp"
#include "simd/winograd.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

enum WinogradOrder { kByTiles, kByChannels };

// What follows from the operation and a variant. `in` and `out` are the maps of the forward direction.
struct WinogradPlan {
  Tensor in, out, residual;
  int64_t top, left;             // padding before
  int64_t rows, columns, tiles;  // tiles of an image; of all images
  int64_t group, groups;         // tiles of a group
  int64_t in_blocks, out_blocks;
  int64_t panels, chunk;                       // panels of kTileBlocks blocks; panels whose products are kept at once
  int64_t steps;                               // of four input channels
  int64_t input_frequency, product_frequency;  // floats between frequencies of a group's transformed input and products
  int64_t filter_frequency;                    // floats between frequencies of the packed filters
  WinogradOrder order;
};

constexpr int64_t odd_lines(int64_t floats) { return floats / kBlock % 2 == 0 ? floats + kBlock : floats; }

template <int kM>
CNNKERN_INLINE WinogradPlan winograd_plan(const Conv& c, int64_t group, WinogradOrder order) {
  WinogradPlan p{};
  p.in = c.x, p.out = c.y, p.residual = c.residual;
  p.top = c.padding[1], p.left = c.padding[2];
  p.rows = (p.out.h + kM - 1) / kM, p.columns = (p.out.w + kM - 1) / kM;
  p.tiles = p.out.n * p.rows * p.columns;
  p.group = group;
  p.groups = (p.tiles + group - 1) / group;
  p.in_blocks = blocks_of(p.in.c), p.out_blocks = blocks_of(p.out.c);
  p.panels = (p.out_blocks + kTileBlocks - 1) / kTileBlocks;
  p.order = order;
  // By tiles, products of so many panels that they and the transformed input stay in L2 together.
  constexpr int64_t kFrequencies = Winograd<kM>::kSize * Winograd<kM>::kSize;
  const int64_t panel_bytes = kFrequencies * group * kTileBlocks * kBlock * 4;
  p.chunk = order == kByChannels ? 1 : least(p.panels, most(1, (384 << 10) / panel_bytes));
  p.steps = (p.in.c + kStepChannels - 1) / kStepChannels;
  p.input_frequency = odd_lines(p.in_blocks * group * kBlock);
  p.product_frequency = odd_lines(p.chunk * kTileBlocks * group * kBlock);
  p.filter_frequency = p.steps * kStepChannels * p.out_blocks * kBlock;
  return p;
}

CNNKERN_INLINE bool winograd_serves(const Conv& c) {
  for (int i = 1; i < 3; ++i)
    if (c.stride[i] != 1 || c.dilation[i] != 1) return false;
  return c.x.layout == Layout::kBlocked && c.y.layout == Layout::kBlocked && is_blocked(c.residual) && c.groups == 1 &&
         c.w.h == 3 && c.w.w == 3 && c.w.d == 1 && c.x.d == 1 && c.y.d == 1 && c.padding[0] == 0 &&
         border_suffices(c) && offsets_fit(c.x);
}

// Nanoseconds of all nominal threads: the products, the transforms (loads and stores of 16 channels, nearly all of them
// in L2), and the filters, which come in once per group where they do not fit beside what a group works on; half of
// their time is hidden behind the products.
template <int kM>
CNNKERN_INLINE double winograd_ns(const WinogradPlan& p, const Machine& machine) {
  constexpr int64_t kFrequencies = Winograd<kM>::kSize * Winograd<kM>::kSize;
  Sweep s{};
  s.step = kStepChannels, s.steps = p.steps;
  const auto products = [&](int64_t tiles) {
    const int64_t spans = tiles_of(tiles);
    double slots = 0;
    for (int64_t i = 0; i < spans; ++i) {
      const int64_t size = span_of(tiles, spans, i).size;
      slots += static_cast<double>(p.out_blocks / kTileBlocks) * tile_slots(s, size, kTileBlocks);
      if (p.out_blocks % kTileBlocks) slots += tile_slots(s, size, p.out_blocks % kTileBlocks);
    }
    return slots * kFrequencies * 2 * kLanes / machine.flops_per_ns;
  };
  const double block_ns = 64 / machine.l2_bytes_per_ns;
  const double in_ns = block_ns * static_cast<double>(2 * kFrequencies * p.in_blocks);
  const double out_ns = block_ns * static_cast<double>((2 * kFrequencies + 2 * kM * kM) * p.out_blocks);
  const double filter_bytes = 4.0 * static_cast<double>(kFrequencies * p.filter_frequency);
  const double work_bytes = 4.0 * static_cast<double>(kFrequencies * (p.input_frequency + p.product_frequency));
  const double cache = static_cast<double>(machine.l2_bytes);
  const double maps = 0.5 * traffic_ns(map_bytes(p.in) + map_bytes(p.out) + map_bytes(p.residual), machine);
  const auto share_of = [&](int64_t units) {  // of whole units for the busiest thread
    return static_cast<double>((units + machine.threads - 1) / machine.threads);
  };
  if (p.order == kByTiles) {
    const bool stays = filter_bytes + work_bytes < 1.5 * cache;
    const double reads = stays ? 1.0 : share_of(p.groups);
    const double unit = products(p.group) + static_cast<double>(p.group) * (in_ns + out_ns);
    const double rest = p.tiles % p.group ? static_cast<double>(p.tiles % p.group) / static_cast<double>(p.group) : 1.0;
    const double units = p.groups % machine.threads == 1 ? share_of(p.groups) - 1 + rest : share_of(p.groups);
    return units * unit + 0.5 * reads * filter_bytes / (machine.memory_bytes_per_ns / machine.threads) + maps + 2000;
  }
  const double transforms = static_cast<double>(p.tiles) * (1.5 * in_ns + out_ns) / machine.threads;
  const double unit = products(p.group) / static_cast<double>(p.panels);
  const double shared = 4.0 * static_cast<double>(kFrequencies * p.input_frequency * p.groups);
  // The transformed input is read once more by every panel, from L2 or from what lies beyond it.
  const double panel_reads = static_cast<double>(p.panels) * shared /
                             (shared < cache ? 3 * machine.l2_bytes_per_ns : machine.memory_bytes_per_ns);
  return share_of(p.groups * p.panels) * unit + transforms + 0.5 * panel_reads / machine.threads +
         0.5 * filter_bytes / machine.memory_bytes_per_ns + maps + 4000;
}

// The best group for each order.
template <int kM>
CNNKERN_INLINE int winograd_candidates(const Conv& c, const Machine& machine, Variant* out) {
  if (!winograd_serves(c)) return 0;
  int count = 0;
  for (const WinogradOrder order : {kByTiles, kByChannels}) {
    double best = 0;
    const int64_t tiles = winograd_plan<kM>(c, 1, order).tiles;
    for (int64_t multiple = 1; multiple <= 10; ++multiple) {
      int64_t group = multiple * kTilePixels;
      // Groups of equal size, not many full ones and a small rest.
      group = least(group, tiles);
      const int64_t groups = (tiles + group - 1) / group;
      group = (tiles + groups - 1) / groups;
      const double ns = winograd_ns<kM>(winograd_plan<kM>(c, group, order), machine);
      if (multiple > 1 && ns >= best) continue;
      best = ns;
      out[count] = {kM, order, {static_cast<int32_t>(group)}, static_cast<float>(ns)};
    }
    ++count;
  }
  return count;
}

template <int kM>
CNNKERN_INLINE void winograd_prepare(const Conv& c, const Variant& variant, Work* work, void* table) {
  constexpr int64_t kFrequencies = Winograd<kM>::kSize * Winograd<kM>::kSize;
  const WinogradPlan p = winograd_plan<kM>(c, variant.p[0], static_cast<WinogradOrder>(variant.order));
  *work = {};
  const int64_t input = kFrequencies * p.input_frequency * 4, products = kFrequencies * p.product_frequency * 4;
  if (p.order == kByTiles) {
    work->phases = 1;
    work->units[0] = p.groups;
    work->scratch_bytes = input + products;
  } else {
    work->phases = 2;
    work->units[0] = p.groups * p.in_blocks;
    work->units[1] = p.groups * p.panels;
    work->shared_bytes = input * p.groups;
    work->scratch_bytes = products;
  }
  work->packed_bytes = kFrequencies * p.filter_frequency * 4;
  work->pack_units = p.out_blocks;
  work->table_bytes = static_cast<int64_t>(sizeof(WinogradPlan)) + p.steps * static_cast<int64_t>(sizeof(int32_t));
  if (!table) return;
  *static_cast<WinogradPlan*>(table) = p;
  int32_t* offset = reinterpret_cast<int32_t*>(static_cast<WinogradPlan*>(table) + 1);
  for (int64_t i = 0; i < p.steps; ++i)
    *offset++ = static_cast<int32_t>(i / 4 * p.group * kBlock + i % 4 * kStepChannels);
}

// One block of output channels: [frequency][panel][step][4 channels][blocks of the panel][16]. filter(o, c) points at
// the nine taps of an output and an input channel, `tap_step` floats apart.
template <int kM, class Filter>
CNNKERN_INLINE void winograd_pack(const WinogradPlan& p, int64_t block, Filter&& filter, int64_t tap_step,
                                  float* packed) {
  const int64_t panel = block / kTileBlocks, width = least(kTileBlocks, p.out_blocks - panel * kTileBlocks);
  float* const start = packed + p.steps * kStepChannels * panel * kTileBlocks * kBlock + block % kTileBlocks * kBlock;
  const int64_t lanes = least(kBlock, p.out.c - block * kBlock);
  for (int64_t c = 0; c < p.steps * kStepChannels; ++c) {
    double g[3][3][kBlock] = {};
    if (c < p.in.c)
      for (int64_t o = 0; o < lanes; ++o) {
        const float* const taps = filter(block * kBlock + o, c);
        for (int t = 0; t < 9; ++t) g[t / 3][t % 3][o] = taps[t * tap_step];
      }
    transform_filter<kM>(g, start + c * width * kBlock, p.filter_frequency);
  }
}

// Where tile `index` lies.
template <int kM> struct WinogradTile {
  int64_t n, h, w;  // first output pixel
  WinogradTile(const WinogradPlan& p, int64_t index)
      : n(index / (p.rows * p.columns)), h(index / p.columns % p.rows * kM), w(index % p.columns * kM) {}
};

// The transformed input of `count` tiles from `first` on and channel blocks [from, to).
template <int kM>
void winograd_input(const WinogradPlan& p, const float* x, int64_t first, int64_t count, int64_t from, int64_t to,
                    float* transformed) {
  constexpr int kSize = Winograd<kM>::kSize;
  // Channel block by channel block: neighbouring tiles then read on along six rows, which the hardware prefetches.
  for (int64_t block = from; block < to; ++block) {
    for (int64_t i = 0; i < count; ++i) {
      const WinogradTile<kM> tile(p, first + i);
      const int64_t h = tile.h - p.top, w = tile.w - p.left;
      const int64_t rows = p.in.h + p.in.after[1] - h, columns = p.in.w + p.in.after[2] - w;
      const bool whole = rows >= kSize && columns >= kSize;
      const float* const corner = at_block(p.in, x, tile.n, block, 0, h, w);
      float* const target = transformed + (block * p.group + i) * kBlock;
      for (int v = 0; v < kVecs; ++v) {
        if (whole)
          transform_input<kM, true>(corner + v * kLanes, p.in.sh, rows, columns, target + v * kLanes,
                                    p.input_frequency);
        else
          transform_input<kM, false>(corner + v * kLanes, p.in.sh, rows, columns, target + v * kLanes,
                                     p.input_frequency);
      }
    }
  }
}

// The products of `count` tiles with panels [from, to), all frequencies.
template <int kM>
void winograd_products(const WinogradPlan& p, const float* transformed, const float* packed, int64_t count,
                       int64_t from, int64_t to, const int32_t* offsets, float* products) {
  TileArgs a{};
  a.x_step = a.y_step = kBlock;
  a.offset = offsets;
  a.steps = p.steps;
  a.y_block = p.group * kBlock;
  const int64_t spans = tiles_of(count);
  constexpr int kFrequencies = Winograd<kM>::kSize * Winograd<kM>::kSize;
  for (int frequency = 0; frequency < kFrequencies; ++frequency) {
    for (int64_t panel = from; panel < to; ++panel) {
      const int64_t block = panel * kTileBlocks, blocks = least(kTileBlocks, p.out_blocks - block);
      a.w = packed + frequency * p.filter_frequency + p.steps * kStepChannels * block * kBlock;
      a.lanes = blocks * kBlock;
      for (int64_t i = 0; i < spans; ++i) {
        const Span span = span_of(count, spans, i);
        a.x = transformed + frequency * p.input_frequency + span.start * kBlock;
        a.y =
            products + frequency * p.product_frequency + ((block - from * kTileBlocks) * p.group + span.start) * kBlock;
        tile_function<kStepChannels>(span.size, blocks)(a);
      }
    }
  }
}

struct WinogradResult {
  const float* bias;
  const float* residual;
  float* y;
  Epilogue epilogue;
};

// The result of `count` tiles from `first` on and panels [from, to).
template <int kM>
void winograd_output(const WinogradPlan& p, const float* products, int64_t first, int64_t count, int64_t from,
                     int64_t to, const WinogradResult& result) {
  const int64_t last_block = least(to * kTileBlocks, p.out_blocks);
  for (int64_t block = from * kTileBlocks; block < last_block; ++block) {
    const int lanes = static_cast<int>(least(kBlock, p.out.c - block * kBlock));
    for (int64_t i = 0; i < count; ++i) {
      const WinogradTile<kM> tile(p, first + i);
      const int64_t rows = p.out.h - tile.h, columns = p.out.w - tile.w;
      float* const y = at_block(p.out, result.y, tile.n, block, 0, tile.h, tile.w);
      const float* const residual =
          result.residual ? at_block(p.residual, result.residual, tile.n, block, 0, tile.h, tile.w) : nullptr;
      const float* const from_products = products + ((block - from * kTileBlocks) * p.group + i) * kBlock;
      for (int v = 0; v < kVecs; ++v) {
        const int used = lanes_of(lanes, v);
        const Vec bias = result.bias ? load_n(result.bias + block * kBlock + v * kLanes, used) : zero();
        transform_output<kM>(
            from_products + v * kLanes, p.product_frequency, [&](int64_t r, int64_t s, Vec value) CNNKERN_LAMBDA {
              if (r >= rows || s >= columns) return;
              value = add(value, bias);
              if (residual) value = add(value, load(residual + r * p.residual.sh + s * kBlock + v * kLanes));
              float* const pixel = y + r * p.out.sh + s * kBlock + v * kLanes;
              store(pixel, is_long(result.epilogue.activation) ? value : activate(result.epilogue, value));
              if (used < kLanes) store(pixel, load_n(pixel, used));
            });
        if (is_long(result.epilogue.activation))
          for (int64_t r = 0; r < least(rows, kM); ++r)
            activate_stored(result.epilogue.activation, y + r * p.out.sh + v * kLanes, least(columns, kM), kBlock,
                            used);
      }
    }
  }
}

template <int kM>
CNNKERN_INLINE void winograd_run(const Prepared& prepared, int phase, int64_t first, int64_t last,
                                 const Context& context, const float* x, const WinogradResult& result) {
  constexpr int64_t kFrequencies = Winograd<kM>::kSize * Winograd<kM>::kSize;
  const WinogradPlan& p = *static_cast<const WinogradPlan*>(prepared.table);
  const int32_t* const offsets = reinterpret_cast<const int32_t*>(&p + 1);
  const float* const packed = static_cast<const float*>(context.packed);
  float* const scratch = static_cast<float*>(context.scratch);
  const int64_t input_floats = kFrequencies * p.input_frequency;
  if (p.order == kByTiles) {
    float* const products = scratch + input_floats;
    for (int64_t unit = first; unit < last; ++unit) {
      const int64_t tile = unit * p.group, count = least(p.group, p.tiles - tile);
      winograd_input<kM>(p, x, tile, count, 0, p.in_blocks, scratch);
      for (int64_t panel = 0; panel < p.panels; panel += p.chunk) {
        const int64_t end = least(panel + p.chunk, p.panels);
        winograd_products<kM>(p, scratch, packed, count, panel, end, offsets, products);
        winograd_output<kM>(p, products, tile, count, panel, end, result);
      }
    }
    return;
  }
  float* const shared = static_cast<float*>(context.shared);
  for (int64_t unit = first; unit < last; ++unit) {
    const int64_t outer = unit / p.groups, group = unit % p.groups, tile = group * p.group;
    const int64_t count = least(p.group, p.tiles - tile);
    float* const transformed = shared + group * input_floats;
    if (phase == 0) {
      winograd_input<kM>(p, x, tile, count, outer, outer + 1, transformed);
    } else {
      winograd_products<kM>(p, transformed, packed, count, outer, outer + 1, offsets, scratch);
      winograd_output<kM>(p, scratch, tile, count, outer, outer + 1, result);
    }
  }
}

}  // namespace
}  // namespace CNNKERN_NAMESPACE
