// SPDX-License-Identifier: BSD-3-Clause
// The register tile of the depthwise convolutions: kPixels pixels of one block of channels,
//     acc[p] += x[p * x_step + offset[tap]] * w[tap]      for every tap.
// One load for one multiplication, which is just what the ports can do; the neighbours' columns come from L1.
#pragma once
#include "simd/conv_sweep.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

template <int kPixels>
void depthwise_tile(const TileArgs& a) {
  constexpr int kPointers = (kPixels + 2) / 3;
  Block acc[1][kPixels];
  const Block bias = a.bias ? block_load_n(a.bias, static_cast<int>(a.lanes)) : block_zero();
  unroll<kPixels>([&](auto p) CNNKERN_LAMBDA { acc[0][p] = bias; });
  const int64_t step = a.x_step;
  const float* w = a.w;
  const int32_t* const end = a.offset + a.steps;
  for (const int32_t* offset = a.offset; offset != end; ++offset, w += kBlock) {
    const float* pixel[kPointers];
    pixel[0] = a.x + *offset;
    unroll<kPointers - 1>([&](auto i) CNNKERN_LAMBDA {
      pixel[i + 1] = pixel[i] + 3 * step;
      asm("" : "+r"(pixel[i + 1]));  // as in conv_tile.hpp
    });
    const Block weight = block_load(w);
    unroll<kPixels>(
        [&](auto p) CNNKERN_LAMBDA { acc[0][p] = fma(block_load(pixel[p / 3] + p % 3 * step), weight, acc[0][p]); });
  }
  tile_epilogue<kPixels, 1>(a, acc);
}

template <class Sequence>
struct DepthwiseTable;
template <int... kIndex>
struct DepthwiseTable<std::integer_sequence<int, kIndex...>> {
  static constexpr TileFunction kTiles[] = {depthwise_tile<kIndex + 1>...};
};

// A sweep whose groups are the channel blocks. `taps` and the maps' strides are set; the maps' groups are not.
CNNKERN_INLINE void complete_depthwise(Sweep& s, int64_t channels) {
  s.groups = blocks_of(channels);
  s.lanes = channels;
  s.blocks = 1;
  s.row_tiles = tiles_of(s.w);
  s.tiles = s.n * s.d * s.h * s.row_tiles;
  s.steps = s.taps;
  s.units = s.groups * s.tiles;
  s.packed_size = s.groups * s.taps * kBlock;
  for (SweepMap* m : {&s.x, &s.y, &s.residual}) m->group = m->block;
}

// Packs one block: [tap][16]. tap_index(i): where tap i stands among the kernel's `all_taps`.
template <class TapIndex>
CNNKERN_INLINE void pack_depthwise(const Sweep& s, int64_t block, TapIndex&& tap_index, int64_t all_taps,
                                   const float* weight, float* packed) {
  packed += s.packed + block * s.taps * kBlock;
  for (int64_t tap = 0; tap < s.taps; ++tap)
    for (int64_t lane = 0; lane < kBlock; ++lane) {
      const int64_t channel = block * kBlock + lane;
      packed[tap * kBlock + lane] = channel < s.lanes ? weight[channel * all_taps + tap_index(tap)] : 0.0f;
    }
}

CNNKERN_INLINE void run_depthwise(const Sweep& s, const int32_t* offsets, const Epilogue& epilogue,
                                  const SweepPointers& p, int64_t first, int64_t last) {
  using Table = DepthwiseTable<std::make_integer_sequence<int, kTilePixels>>;
  TileArgs a = tile_args(s, offsets, epilogue);
  while (first < last) {
    const int64_t group = first / s.tiles, begin = first % s.tiles, end = least(s.tiles, begin + last - first);
    a.w = p.packed + s.packed + group * s.taps * kBlock;
    a.lanes = s.lanes - group * kBlock;
    a.bias = p.bias ? p.bias + group * kBlock : nullptr;
    for_tiles(s, a, p, group, begin, end, [&](int64_t pixels) CNNKERN_LAMBDA { Table::kTiles[pixels - 1](a); });
    first += end - begin;
  }
}

// One load per multiplication, and around a tile as much time as 150 of them take (measured).
CNNKERN_INLINE double depthwise_ns(const Sweep& s, const Machine& machine) {
  const double tiles = static_cast<double>(s.groups * s.tiles);
  const double pixels = static_cast<double>(s.w) / static_cast<double>(s.row_tiles) * kVecs;
  const double slots = tiles * static_cast<double>(s.taps) * (pixels < 7 ? 8 : pixels + 1) + 150 * tiles;
  return slots * 2 * kLanes / (machine.flops_per_ns * machine.threads);
}

}  // namespace
}  // namespace CNNKERN_NAMESPACE
