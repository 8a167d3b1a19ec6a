// SPDX-License-Identifier: BSD-3-Clause
// The weight gradient of convolutions of stride 1 by Winograd's algorithm backwards: the gradient by the products of each
// frequency is that by the result, transformed; with the transformed input it gives, summed over all tiles, the gradient
// by the transformed filters, and that the one by the filters:
//     dg = G^T [sum over tiles of (B^T d B) * (A dy A^T)] G.
// F(4x4, 3x3): 36 products for 16 pixels and 9 taps, which are 144 otherwise.
//
// Phase 0: units are (part of the tiles, set of output blocks). A unit transforms a chunk of its tiles at a time and adds
// the products of each frequency, of simd/weight_tile.hpp with tiles in the place of pixels, to sums of its own. Phase 1:
// units are (set, block of input channels): the sums of all parts, in order, and the filters that they make. Where the
// cuts are follows from the shapes alone.
//
// Transforms that all threads share, each made once, were as fast alone on the machine and three times slower where other
// tenants kept the cores' common cache busy.
#pragma once
#include "simd/weight_tile.hpp"
#include "simd/winograd_maps.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

template <class F> struct WinogradWeights {
  static constexpr int64_t kSize = F::kSize, kFrequencies = kSize * kSize, kTaps = F::kTaps * F::kTaps;
  static constexpr int64_t kChunkBytes = 3 << 20;  // of transforms: they leave L2 in order and come back in order
  static constexpr int64_t kChunkTiles = 256;
  static constexpr int64_t kPartTiles = 64;  // a part of fewer would spend its time on adding parts
  static constexpr int64_t kSumBytes = 24 << 20, kMostParts = 16;
  static constexpr int64_t kWantedUnits = 16;
  static constexpr int64_t kSetBlocks = 4;  // the input is transformed anew for each set

  struct Plan : WinogradMaps {
    int64_t parts, sets;                           // of the tiles, of the output blocks
    int64_t chunk;                                 // tiles that are transformed together
    int64_t x_frequency, dy_frequency, frequency;  // floats between frequencies: of both transforms, of their products
    int64_t sums;                                  // floats of a part's products
  };

  static Plan make_plan(const Conv& c) {
    Plan p{};
    static_cast<WinogradMaps&>(p) = winograd_maps<F>(c);
    p.frequency = odd_lines(p.in_blocks * kBlock * p.out_blocks * kBlock);
    p.sums = kFrequencies * p.frequency;
    p.parts = least(least(kMostParts, p.tiles / kPartTiles), kSumBytes / (p.sums * kFloat));
    p.parts = most(1, p.parts);
    p.sets = least(most(1, p.out_blocks / kSetBlocks), (kWantedUnits + p.parts - 1) / p.parts);
    const int64_t set_blocks = (p.out_blocks + p.sets - 1) / p.sets;
    const int64_t tile_bytes = kFrequencies * (p.in_blocks + set_blocks) * kBlock * kFloat;
    p.chunk = most(1, least(least(kChunkTiles, kChunkBytes / tile_bytes), (p.tiles + p.parts - 1) / p.parts));
    p.x_frequency = odd_lines(p.in_blocks * p.chunk * kBlock);
    p.dy_frequency = odd_lines(set_blocks * p.chunk * kBlock);
    return p;
  }

  static Span set_of(const Plan& p, int64_t set) { return span_of(p.out_blocks, p.sets, set); }

  // body(first block, blocks) for the output tiles of a set.
  template <class Body>
  static CNNKERN_LAMBDA void for_output_tiles(const Span& set, Body&& body) {
    const int64_t tiles = (set.size + kWeightBlocks - 1) / kWeightBlocks;
    for (int64_t i = 0; i < tiles; ++i) {
      const Span tile = span_of(set.size, tiles, i);
      body(Span{set.start + tile.start, tile.size});
    }
  }

  static double predict(const Conv& c, const Plan& p, const Machine& machine) {
    const double tiles = static_cast<double>(p.tiles), channels = static_cast<double>(p.in_blocks * kBlock);
    double slots = 0;
    for (int64_t set = 0; set < p.sets; ++set)
      for_output_tiles(set_of(p, set), [&](const Span& tile) {
        const int64_t vectors = tile.size * kVecs;
        const int64_t work = most(most(vectors * kWeightChannels, 8), vectors + kWeightChannels);
        slots += kFrequencies * tiles * static_cast<double>(work) * channels / kWeightChannels;
      });
    // Of each frequency of a tile and a block, and of each sum and part: loads and stores, nearly all of them in L2.
    constexpr double kTransformSlots = 10.0 * kVecs, kSumSlots = 6.0 * kVecs;
    slots += kTransformSlots * kFrequencies * tiles * static_cast<double>(p.in_blocks * p.sets + p.out_blocks);
    slots += kSumSlots * kFrequencies * channels * static_cast<double>(p.out_blocks * (p.parts + 1));
    const double units = static_cast<double>(p.parts * p.sets);
    const double turns = __builtin_ceil(units / machine.threads) * machine.threads / units;
    const double bytes =
        map_bytes(c.x) * static_cast<double>(p.sets) + map_bytes(c.y) + 2 * 4.0 * static_cast<double>(p.parts * p.sums);
    return turns * slots * 2 * kLanes / (machine.flops_per_ns * machine.threads) + 0.5 * traffic_ns(bytes, machine) +
           2000;
  }

  static int candidates(const Op& op, const Machine& machine, Variant* out) {
    const Conv& c = op.conv;
    if (!winograd_serves<F>(c)) return 0;
    *out = {F::kOutputs, 0, {}, static_cast<float>(predict(c, make_plan(c), machine))};
    return 1;
  }

  static void prepare(const Op& op, const Variant&, Work* work, void* table) {
    const Plan p = make_plan(op.conv);
    *work = {};
    work->phases = 2;
    work->units[0] = p.parts * p.sets;
    work->units[1] = p.sets * p.in_blocks;
    work->shared_bytes = p.parts * p.sums * kFloat;
    work->scratch_bytes = most(kFrequencies * (p.x_frequency + p.dy_frequency) * kFloat,
                               kTaps * kBlock * kWeightBlocks * kBlock * kFloat);
    work->table_bytes = sizeof(Plan);
    if (table) *static_cast<Plan*>(table) = p;
  }

  // Products of one output tile and all input channels at one frequency, over `count` tiles:
  // [channel][blocks of the output tile][16].
  static void multiply(const Plan& p, const float* x, const float* dy, int64_t blocks, int64_t count, bool first,
                       float* dw) {
    const Row row{0, 0};
    WeightTileArgs a{};
    a.rows = &row;
    a.row_count = 1;
    a.columns = count;
    a.x_step = kBlock;
    a.dy = dy;
    a.dy_block = p.chunk * kBlock;
    a.first = first;
    for (int64_t block = 0; block < p.in_blocks; ++block) {
      const int64_t channels = least(kBlock, p.in.c - block * kBlock);
      const int64_t tiles = (channels + kWeightChannels - 1) / kWeightChannels;
      a.x_ahead = block + 1 < p.in_blocks ? p.chunk * kBlock : 0;
      for (int64_t i = 0; i < tiles; ++i) {
        const Span span = span_of(channels, tiles, i);
        a.x = x + block * p.chunk * kBlock + span.start;
        a.dw = dw + (block * kBlock + span.start) * blocks * kBlock;
        weight_tile_function(span.size, blocks)(a);
        a.x_ahead = 0;
      }
    }
  }

  // One chunk of tiles: both transforms, and the products of all frequencies with a set of output blocks.
  static void add_chunk(const Plan& p, const float* x, const float* dy, const Span& set, int64_t tile, int64_t count,
                        bool first, float* transformed, float* sums) {
    float* const dy_transformed = transformed + kFrequencies * p.x_frequency;
    for (int64_t block = 0; block < p.in_blocks; ++block)
      for (int64_t i = 0; i < count; ++i)
        winograd_input<F>(p, x, block, tile + i, transformed + (block * p.chunk + i) * kBlock, kSize * p.x_frequency,
                          p.x_frequency);
    for (int64_t block = 0; block < set.size; ++block)
      for (int64_t i = 0; i < count; ++i)
        winograd_output_gradient<F>(p, dy, set.start + block, tile + i, dy_transformed + (block * p.chunk + i) * kBlock,
                                    kSize * p.dy_frequency, p.dy_frequency);
    for (int64_t frequency = 0; frequency < kFrequencies; ++frequency)
      for_output_tiles(set, [&](const Span& output) {
        multiply(p, transformed + frequency * p.x_frequency,
                 dy_transformed + frequency * p.dy_frequency + (output.start - set.start) * p.chunk * kBlock,
                 output.size, count, first, sums + frequency * p.frequency + sums_offset(p, output));
      });
  }

  static int64_t sums_offset(const Plan& p, const Span& output) { return output.start * p.in_blocks * kBlock * kBlock; }

  // The filters of an output tile and a channel block.
  static void write(const Plan& p, const Span& output, int64_t block, const float* sums, float* piece, float* dw) {
    const int64_t row = output.size * kBlock, channels = least(kBlock, p.in.c - block * kBlock);
    sums += sums_offset(p, output) + block * kBlock * row;
    for (int64_t i = 0; i < channels * row; i += kLanes)
      transform_square<kSize, F::kTaps>([](const Vec* t, Vec* g) CNNKERN_LAMBDA { F::filter_gradient(t, g); },
                                        [&](auto r, auto s) CNNKERN_LAMBDA {
                                          const float* const first = sums + (r * kSize + s) * p.frequency + i;
                                          Vec sum = load(first);
                                          for (int64_t part = 1; part < p.parts; ++part)
                                            sum = add(sum, load(first + part * p.sums));
                                          return sum;
                                        },
                                        [&](auto r, auto s, Vec value) CNNKERN_LAMBDA {
                                          const float weight = static_cast<float>(F::kTap[r] * F::kTap[s]);
                                          store(piece + (r * F::kTaps + s) * kBlock * row + i,
                                                mul(set1(weight), value));
                                        });
    const int64_t filter = p.in.c * kTaps, lanes = least(row, p.out.c - output.start * kBlock);
    write_filters(piece, row, kTaps, channels * kTaps, lanes,
                  dw + output.start * kBlock * filter + block * kBlock * kTaps, filter);
  }

  static void run(const Prepared& prepared, int phase, int64_t first, int64_t last, const Context& context) {
    const Plan& p = *static_cast<const Plan*>(prepared.table);
    const auto argument = [&](int i) { return static_cast<float*>(context.args[i]); };
    float *const sums = static_cast<float*>(context.shared), *const scratch = static_cast<float*>(context.scratch);
    for (int64_t unit = first; unit < last; ++unit) {
      if (phase == 1) {
        for_output_tiles(set_of(p, unit / p.in_blocks), [&](const Span& output) {
          write(p, output, unit % p.in_blocks, sums, scratch, argument(Conv::kGwDw));
        });
        continue;
      }
      const Span part = span_of(p.tiles, p.parts, unit / p.sets), set = set_of(p, unit % p.sets);
      const int64_t chunks = (part.size + p.chunk - 1) / p.chunk;
      for (int64_t i = 0; i < chunks; ++i) {
        const Span chunk = span_of(part.size, chunks, i);
        add_chunk(p, argument(Conv::kGwX), argument(Conv::kGwDy), set, part.start + chunk.start, chunk.size, i == 0,
                  scratch, sums + unit / p.sets * p.sums);
      }
    }
  }
};

}  // namespace
}  // namespace CNNKERN_NAMESPACE
