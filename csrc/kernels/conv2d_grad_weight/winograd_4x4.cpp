// SPDX-License-Identifier: BSD-3-Clause
// The weight gradient of 3x3 convolutions of stride 1 by F(4x4, 3x3) backwards: the gradient by the products of each
// frequency is that by the result, transformed; with the transformed input it gives, summed over all tiles, the gradient
// by the transformed filters, and that the one by the filters:
//     dg = G^T [sum over tiles of (B^T d B) * (A dy A^T)] G.
// 36 products for 16 pixels and 9 taps, which are 144 otherwise.
//
// The tiles are cut into parts whose transforms stay in L3. Phases 0, 2, ..: the transforms of a part, units are a few
// neighbouring tiles. Phases 1, 3, ..: the products of a part, added to those before; a unit is a frequency and an output
// tile of simd/weight_tile.hpp, with tiles in the place of pixels. Last phase: the filters of an output tile and a channel
// block. Cuts follow from the shapes alone.
#include "simd/weight_tile.hpp"
#include "simd/winograd_maps.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

using Scheme = Winograd<4, 3>;
constexpr int64_t kSize = Scheme::kSize, kFrequencies = kSize * kSize, kTaps = Scheme::kTaps * Scheme::kTaps;
constexpr int64_t kPartBytes = 16 << 20;  // of transforms
constexpr int64_t kMostParts = (kMaxPhases - 1) / 2;
constexpr int64_t kUnitTiles = 8;     // transformed together
constexpr int64_t kChunkTiles = 256;  // of one call of the register tile

struct Plan : WinogradMaps {
  int64_t parts, part;                           // tiles of a part
  int64_t output_tiles;                          // of kWeightBlocks blocks or fewer
  int64_t x_frequency, dy_frequency, frequency;  // floats between frequencies: of both transforms, of their products
  int64_t x_block, dy_block;                     // floats between blocks
  int64_t all() const { return kFrequencies * (x_frequency + dy_frequency + frequency); }
};

Plan make_plan(const Conv& c) {
  Plan p{};
  static_cast<WinogradMaps&>(p) = winograd_maps<Scheme>(c);
  const int64_t tile_bytes = kFrequencies * (p.in_blocks + p.out_blocks) * kBlock * kFloat;
  p.parts = least(kMostParts, (p.tiles * tile_bytes + kPartBytes - 1) / kPartBytes);
  p.part = (p.tiles + p.parts - 1) / p.parts;
  p.parts = (p.tiles + p.part - 1) / p.part;
  p.output_tiles = (p.out_blocks + kWeightBlocks - 1) / kWeightBlocks;
  p.x_block = p.dy_block = p.part * kBlock;
  p.x_frequency = odd_lines(p.in_blocks * p.x_block);
  p.dy_frequency = odd_lines(p.out_blocks * p.dy_block);
  p.frequency = odd_lines(p.in_blocks * kBlock * p.out_blocks * kBlock);
  return p;
}

double predict(const Conv& c, const Plan& p, const Machine& machine) {
  const double tiles = static_cast<double>(p.tiles), blocks = static_cast<double>(p.in_blocks + p.out_blocks);
  const double channels = static_cast<double>(p.in_blocks * kBlock);
  double slots = 0;
  for (int64_t tile = 0; tile < p.output_tiles; ++tile) {
    const int64_t vectors = span_of(p.out_blocks, p.output_tiles, tile).size * kVecs;
    const int64_t work = most(most(vectors * kWeightChannels, 8), vectors + kWeightChannels);
    slots += kFrequencies * tiles * static_cast<double>(work) * channels / kWeightChannels;
  }
  constexpr double kTransformSlots = 8;  // of each frequency of a tile and a block, mostly loads and stores
  slots += kTransformSlots * kVecs * kFrequencies * tiles * blocks;
  slots += 2 * kTransformSlots * kVecs * kFrequencies * channels * static_cast<double>(p.out_blocks);
  const double bytes = 2 * 4.0 * static_cast<double>(p.all()) + map_bytes(c.x) + map_bytes(c.y);
  return slots * 2 * kLanes / (machine.flops_per_ns * machine.threads) + 0.5 * traffic_ns(bytes, machine) +
         2000 * static_cast<double>(p.parts + 1);
}

int candidates(const Op& op, const Machine& machine, Variant* out) {
  const Conv& c = op.conv;
  if (!winograd_serves<Scheme>(c)) return 0;
  *out = {Scheme::kOutputs, 0, {}, static_cast<float>(predict(c, make_plan(c), machine))};
  return 1;
}

void prepare(const Op& op, const Variant&, Work* work, void* table) {
  const Plan p = make_plan(op.conv);
  *work = {};
  work->phases = static_cast<int32_t>(2 * p.parts + 1);
  for (int64_t part = 0; part < p.parts; ++part) {
    const int64_t count = least(p.part, p.tiles - part * p.part);
    work->units[2 * part] = (count + kUnitTiles - 1) / kUnitTiles;
    work->units[2 * part + 1] = kFrequencies * p.output_tiles;
  }
  work->units[2 * p.parts] = p.output_tiles * p.in_blocks;
  work->shared_bytes = p.all() * kFloat;
  work->scratch_bytes = kTaps * kBlock * kWeightBlocks * kBlock * kFloat;
  work->table_bytes = sizeof(Plan);
  if (table) *static_cast<Plan*>(table) = p;
}

// Both transforms of `count` tiles, of which `first` is the number in the part and `tile` that in all.
void transform(const Plan& p, const float* x, const float* dy, int64_t first, int64_t tile, int64_t count, float* to) {
  float* const dy_to = to + kFrequencies * p.x_frequency;
  for (int64_t block = 0; block < p.in_blocks; ++block)
    for (int64_t i = 0; i < count; ++i)
      winograd_input<Scheme>(p, x, block, tile + i, to + block * p.x_block + (first + i) * kBlock,
                             kSize * p.x_frequency, p.x_frequency);
  for (int64_t block = 0; block < p.out_blocks; ++block)
    for (int64_t i = 0; i < count; ++i)
      winograd_output_gradient<Scheme>(p, dy, block, tile + i, dy_to + block * p.dy_block + (first + i) * kBlock,
                                       kSize * p.dy_frequency, p.dy_frequency);
}

// Products of one output tile and all input channels at one frequency, over the `count` tiles of a part:
// [channel][blocks of the output tile][16].
void multiply(const Plan& p, const float* x, const float* dy, const Span& tile, int64_t count, bool first, float* dw) {
  const Row row{0, 0};
  WeightTileArgs a{};
  a.rows = &row;
  a.row_count = 1;
  a.x_step = kBlock;
  a.dy_block = p.dy_block;
  for (int64_t begin = 0; begin < count; begin += kChunkTiles) {
    a.columns = least(kChunkTiles, count - begin);
    a.dy = dy + tile.start * p.dy_block + begin * kBlock;
    a.first = first && begin == 0;
    for (int64_t block = 0; block < p.in_blocks; ++block) {
      const int64_t channels = least(kBlock, p.in.c - block * kBlock);
      const int64_t tiles = (channels + kWeightChannels - 1) / kWeightChannels;
      const float* const from = x + block * p.x_block + begin * kBlock;
      a.x_ahead = block + 1 < p.in_blocks ? p.x_block : 0;
      for (int64_t i = 0; i < tiles; ++i) {
        const Span span = span_of(channels, tiles, i);
        a.x = from + span.start;
        a.dw = dw + (block * kBlock + span.start) * tile.size * kBlock;
        weight_tile_function(span.size, tile.size)(a);
        a.x_ahead = 0;
      }
    }
  }
}

// The filters of an output tile and a channel block, from the products of all frequencies.
void write(const Plan& p, const Span& tile, int64_t block, const float* products, float* piece, float* dw) {
  const int64_t row = tile.size * kBlock, channels = least(kBlock, p.in.c - block * kBlock);
  products += tile.start * p.in_blocks * kBlock * kBlock + block * kBlock * row;
  for (int64_t i = 0; i < channels * row; i += kLanes)
    transform_square<kSize, Scheme::kTaps>(
        [](const Vec* t, Vec* g) CNNKERN_LAMBDA { Scheme::filter_gradient(t, g); },
        [&](auto r, auto s) CNNKERN_LAMBDA { return load(products + (r * kSize + s) * p.frequency + i); },
        [&](auto r, auto s, Vec value) CNNKERN_LAMBDA {
          const float weight = static_cast<float>(Scheme::kTap[r] * Scheme::kTap[s]);
          store(piece + (r * Scheme::kTaps + s) * kBlock * row + i, mul(set1(weight), value));
        });
  const int64_t filter = p.in.c * kTaps, lanes = least(row, p.out.c - tile.start * kBlock);
  write_filters(piece, row, kTaps, channels * kTaps, lanes, dw + tile.start * kBlock * filter + block * kBlock * kTaps,
                filter);
}

void run(const Prepared& prepared, int phase, int64_t first, int64_t last, const Context& context) {
  const Plan& p = *static_cast<const Plan*>(prepared.table);
  float* const x = static_cast<float*>(context.shared);
  float* const dy = x + kFrequencies * p.x_frequency;
  float* const products = dy + kFrequencies * p.dy_frequency;
  const int64_t part = phase / 2, begin = part * p.part, count = least(p.part, p.tiles - begin);
  for (int64_t unit = first; unit < last; ++unit) {
    if (phase == 2 * p.parts) {
      write(p, span_of(p.out_blocks, p.output_tiles, unit / p.in_blocks), unit % p.in_blocks, products,
            static_cast<float*>(context.scratch), static_cast<float*>(context.args[Conv::kGwDw]));
    } else if (phase % 2 == 0) {
      const int64_t tile = unit * kUnitTiles;
      transform(p, static_cast<const float*>(context.args[Conv::kGwX]),
                static_cast<const float*>(context.args[Conv::kGwDy]), tile, begin + tile,
                least(kUnitTiles, count - tile), x);
    } else {
      const int64_t frequency = unit / p.output_tiles;
      const Span tile = span_of(p.out_blocks, p.output_tiles, unit % p.output_tiles);
      multiply(p, x + frequency * p.x_frequency, dy + frequency * p.dy_frequency, tile, count, part == 0,
               products + frequency * p.frequency + tile.start * p.in_blocks * kBlock * kBlock);
    }
  }
}

}  // namespace

extern const Kernel conv2d_grad_weight_winograd_4x4;
const Kernel conv2d_grad_weight_winograd_4x4 = {
    "winograd_4x4", OpKind::kConv2dGradWeight, candidates, prepare, nullptr, run};

}  // namespace CNNKERN_NAMESPACE
