// SPDX-License-Identifier: BSD-3-Clause
// The register tile of the weight gradient on blocked maps: kBlocks blocks of output channels in the lanes times
// kChannels input channels, broadcast, stay in registers while one flat loop walks the pixels of a list of rows,
//     dw[c][o] += x[pixel][c] * dy[pixel][o].
// AVX-512: 8 x 3 = 24 accumulators, 3 of dy, 1 of x; AVX2 and scalar: 12 accumulators of one block. The rows come from
// a table, so that small maps of many images make one long reduction: a loop over rows around one over pixels spills,
// and a 7x7 map alone would load and store the accumulators after every 49 pixels. The prefetches raise 1x1 256 -> 64
// at 56x56 from 57% of the FMA peak to 80%: its first pass over new pixels needs a line every eight cycles.
#pragma once
#include "simd/conv_geometry.hpp"
#include "simd/transpose.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

// Where a row of output pixels starts, in elements: under the first tap in x, and in dy. Channel block 0 of the group
// 0.
struct Row { int64_t x, dy; };

constexpr int kWeightBlocks = kRegisters == 32 ? 3 : 1;
constexpr int kWeightChannels = kRegisters == 32 ? 8 : 12 / kVecs;

struct WeightTileArgs {
  const float* x;   // first channel, tap
  const float* dy;  // first output block
  const Row* rows;
  int64_t row_count, columns;
  int64_t x_step;  // elements between neighbouring pixels
  int64_t dy_block;
  int64_t x_ahead, dy_ahead;  // elements from what is read to what will be read next and is to come into L2 meanwhile
  float* dw;                  // [kChannels][kBlocks][16]
  bool first;                 // starts from zero instead of dw
};
using WeightTileFunction = void (*)(const WeightTileArgs&);

template <int kChannels, int kBlocks>
void weight_tile(const WeightTileArgs& a) {
  Block acc[kChannels][kBlocks];
  unroll<kChannels>([&](auto c) CNNKERN_LAMBDA {
    unroll<kBlocks>([&](auto b) CNNKERN_LAMBDA {
      acc[c][b] = a.first ? block_zero() : block_load(a.dw + (c * kBlocks + b) * kBlock);
    });
  });
  const Row* row = a.rows;
  const float* x = a.x + row->x;
  const float* dy = a.dy + row->dy;
  float* const dw = a.dw;
  const int64_t columns = a.columns, x_step = a.x_step, dy_block = a.dy_block, x_ahead = a.x_ahead,
                dy_ahead = a.dy_ahead;
  int64_t column = columns;
  for (int64_t left = a.row_count * columns;;) {
    __builtin_prefetch(x + x_ahead, 0, 2);
    Block gradient[kBlocks];
    unroll<kBlocks>([&](auto b) CNNKERN_LAMBDA {
      gradient[b] = block_load(dy + b * dy_block);
      __builtin_prefetch(dy + b * dy_block + dy_ahead, 0, 2);
    });
    unroll<kChannels>([&](auto c) CNNKERN_LAMBDA {
      const Vec value = set1(x[c]);
      unroll<kBlocks>([&](auto b) CNNKERN_LAMBDA {
        unroll<kVecs>([&](auto v) CNNKERN_LAMBDA { acc[c][b].v[v] = fma(gradient[b].v[v], value, acc[c][b].v[v]); });
      });
    });
    if (--left == 0) break;
    x += x_step;
    dy += kBlock;
    if (--column == 0) {
      ++row;
      x = a.x + row->x;
      dy = a.dy + row->dy;
      column = columns;
    }
  }
  unroll<kChannels>([&](auto c) CNNKERN_LAMBDA {
    unroll<kBlocks>([&](auto b) CNNKERN_LAMBDA { block_store(dw + (c * kBlocks + b) * kBlock, acc[c][b]); });
  });
}

template <int kBlocks, class Sequence>
struct WeightTileTable;
template <int kBlocks, int... kIndex>
struct WeightTileTable<kBlocks, std::integer_sequence<int, kIndex...>> {
  static constexpr WeightTileFunction kTiles[] = {weight_tile<kIndex + 1, kBlocks>...};
};

CNNKERN_INLINE WeightTileFunction weight_tile_function(int64_t channels, int64_t blocks) {
  using Channels = std::make_integer_sequence<int, kWeightChannels>;
  if constexpr (kWeightBlocks == 3) {
    if (blocks == 3) return WeightTileTable<3, Channels>::kTiles[channels - 1];
    if (blocks == 2) return WeightTileTable<2, Channels>::kTiles[channels - 1];
  }
  return WeightTileTable<1, Channels>::kTiles[channels - 1];
}

// All rows of dy, image by image, or 16 images at a time where they are in lanes.
CNNKERN_INLINE void fill_rows(const Conv& c, Row* rows) {
  const int64_t images = c.y.layout == Layout::kLanes ? c.y.n / kBlock : c.y.n;
  for (int64_t n = 0; n < images; ++n)
    for (int64_t d = 0; d < c.y.d; ++d)
      for (int64_t h = 0; h < c.y.h; ++h) {
        const int64_t plane = d * c.stride[0] - c.padding[0], line = h * c.stride[1] - c.padding[1];
        *rows++ = {n * c.x.sn + plane * c.x.sd + line * c.x.sh - c.padding[2] * kBlock,
                   n * c.y.sn + d * c.y.sd + h * c.y.sh};
      }
}

// Writes sums [tap][16 channels][row of outputs] of a channel block as OIHW: `elements` of each of `lanes` filters, which
// lie `filter` apart. Squares of kLanes outputs x kLanes elements of a filter are transposed in registers.
CNNKERN_INLINE void write_filters(const float* piece, int64_t row, int64_t taps, int64_t elements, int64_t lanes,
                                  float* dw, int64_t filter) {
  for (int64_t lane = 0; lane < lanes; lane += kLanes)
    for (int64_t j = 0; j < elements; j += kLanes) {
      const int count = static_cast<int>(least(kLanes, elements - j));
      Vec r[kLanes];
      unroll<kLanes>([&](auto k) CNNKERN_LAMBDA {
        const int64_t element = j + least(k, count - 1), channel = element / taps, tap = element % taps;
        r[k] = load(piece + (tap * kBlock + channel) * row + lane);
      });
      transpose(r);
      unroll<kLanes>([&](auto i) CNNKERN_LAMBDA {
        if (lane + i < lanes) store_n(dw + (lane + i) * filter + j, r[i], count);
      });
    }
}

}  // namespace
}  // namespace CNNKERN_NAMESPACE
