// SPDX-License-Identifier: BSD-3-Clause
// Winograd's algorithm for few tiles: filters are transformed in registers, on their way from memory to the products. A
// row of frequencies times kTiles tiles of 16 output channels stays in registers while one loop walks the input
// channels: nine taps are loaded and become a row of filters by a few additions, which meet kSize * kTiles broadcast
// inputs. So weights are read as they are, nine floats instead of 36 or 81, and nothing is written but the result. For
// F(4x4, 3x3) and four tiles, 24 sums, that is 21.5 ns for a channel and 16 outputs: 80% of the machine's
// multiply-adds.
//
// AVX2 registers hold two tiles, which is half of what it could multiply: no gain.
#pragma once
#include "simd/winograd_maps.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

// F: of simd/winograd.hpp; kTiles: tiles of a set, whose products stay in registers.
template <class F, int kTiles> struct WinogradRows {
  static constexpr int kSize = F::kSize, kTaps = 9;
  static constexpr int64_t kTapFloats = kTaps * kBlock;
  // Floats of one block of channels of one row of a set of transformed tiles, [column][tile][16], and of their
  // products.
  static constexpr int64_t kRowFloats = kSize * kTiles * kBlock;
  // Sets whose transformed inputs a unit works on: of 256 channels and 16 tiles of F(4x4, 3x3) they are half of L2.
  static constexpr int64_t kMostSets = 16 / kTiles;
  // Input channels walked at a time: their taps are read kSize times from L1 while those of the next slice come in.
  // 7x7x512: 217 us, with 128 channels 255. Adding up the slices' sums also makes the rounding error less than half.
  static constexpr int64_t kSlice = 32;

  struct Plan : WinogradMaps {
    int64_t group, groups;  // tiles of a group, a multiple of kTiles
    int64_t sets;           // of kTiles
  };

  static Plan plan_of(const Conv& c, int64_t group) {
    Plan p{};
    static_cast<WinogradMaps&>(p) = winograd_maps<F>(c);
    p.group = group;
    p.sets = group / kTiles;
    p.groups = (p.tiles + p.group - 1) / p.group;
    return p;
  }

  // In multiplications of a vector: a set of tiles of a channel and a block (its loads are what takes longest), each
  // transform of a tile and a block.
  static constexpr double kSetSlots = kSize * (kSize * kTiles + 7), kInputSlots = 10.0 * kSize * kSize;
  static constexpr double kOutputSlots = 8.0 * kSize * kSize;

  static double predict(const Plan& p, const Machine& machine) {
    const double units = static_cast<double>((p.groups * p.out_blocks + machine.threads - 1) / machine.threads);
    const double sets = static_cast<double>(p.sets);
    const double started = __builtin_ceil(units / static_cast<double>(p.out_blocks));
    const double slots = units * sets * (kSetSlots * static_cast<double>(p.channels) + kTiles * kOutputSlots) +
                         started * sets * kTiles * kInputSlots * static_cast<double>(p.in_blocks);
    const double maps = map_bytes(p.in) + map_bytes(p.out) + map_bytes(p.residual);
    // Three quarters of the filters' time is hidden. Threads with groups of their own read all of them.
    const double readers = static_cast<double>(least(p.groups, machine.threads));
    const double bytes = maps + 0.5 * readers * 4.0 * static_cast<double>(winograd_packed_floats<F>(p));
    return slots * 2 * kLanes / machine.flops_per_ns + 0.5 * traffic_ns(bytes, machine) + 2000;
  }

  // The number of groups of the least predicted time.
  static int candidates(const Op& op, const Machine& machine, Variant* out) {
    const Conv& c = op.conv;
    if (!winograd_serves<F>(c)) return 0;
    const int64_t sets = (winograd_maps<F>(c).tiles + kTiles - 1) / kTiles;
    const int64_t fewest = (sets + kMostSets - 1) / kMostSets;
    for (int64_t groups = fewest; groups < fewest + 4 && groups <= sets; ++groups) {
      const int64_t group = (sets + groups - 1) / groups * kTiles;
      const double ns = predict(plan_of(c, group), machine);
      if (groups == fewest || ns < static_cast<double>(out->ns))
        *out = {F::kOutputs, 0, {static_cast<int32_t>(group)}, static_cast<float>(ns)};
    }
    return 1;
  }

  static void prepare(const Op& op, const Variant& variant, Work* work, void* table) {
    const Plan p = plan_of(op.conv, variant.p[0]);
    *work = {};
    work->phases = 1;
    work->units[0] = p.groups * p.out_blocks;
    work->scratch_bytes = kSize * p.sets * (p.in_blocks + 1) * kRowFloats * 4;
    work->packed_bytes = winograd_packed_floats<F>(p) * 4;
    work->pack_units = p.out_blocks;
    work->table_bytes = sizeof(Plan);
    if (table) *static_cast<Plan*>(table) = p;
  }

  static void pack(const Prepared& prepared, int64_t first, int64_t last, const float* weight, void* packed) {
    const Plan& p = *static_cast<const Plan*>(prepared.table);
    for (int64_t block = first; block < last; ++block) winograd_pack<F>(p, block, weight, static_cast<float*>(packed));
  }

  // Taps that will be read soon: `lines` of them are fetched with every 16 channels.
  struct Ahead {
    const char* next;
    int64_t lines;
    CNNKERN_LAMBDA void fetch() {
      for (int64_t line = 0; line < lines; ++line, next += 64) __builtin_prefetch(next, 0, 3);
    }
  };

  // [set][row][block][column][tile][16]. Where the last tile does not end a set it stands for the missing ones too.
  // Meanwhile the first taps come in.
  static void inputs(const Plan& p, const float* x, int64_t first, int64_t count, const float* w, float* transformed) {
    const int64_t row = p.in_blocks * kRowFloats;
    Ahead ahead{reinterpret_cast<const char*>(w), least(kSlice, p.channels) * kTaps / p.in_blocks};
    for (int64_t block = 0; block < p.in_blocks; ++block) {
      ahead.fetch();
      for (int64_t i = 0; i < (count + kTiles - 1) / kTiles * kTiles; ++i)
        winograd_input<F>(p, x, block, first + least(i, count - 1),
                          transformed + i / kTiles * kSize * row + block * kRowFloats + i % kTiles * kBlock, row,
                          kTiles * kBlock);
    }
  }

  // One row of the filter's transform, of three taps one below the other.
  template <int kRow> CNNKERN_INLINE Vec filter_row(const float* tap) {
    Vec taps[3], rows[F::kFilters];
    unroll<3>([&](auto i) CNNKERN_LAMBDA { taps[i] = load(tap + i * 3 * kBlock); });
    F::filter(taps, rows);
    return rows[filter_of<F>(kRow)];
  }

  // One row of frequencies over some input channels: the products of a set with 16 output channels, added to what
  // stands in `sums` already unless `first`.
  template <int kRow>
  static void row_products(const float* x, const float* w, int64_t channels, bool first, Ahead& ahead, float* sums) {
    Vec sum[kSize][kTiles];
    unroll<kSize * kTiles>([&](auto i) CNNKERN_LAMBDA { sum[i / kTiles][i % kTiles] = zero(); });
    for (; channels > 0; channels -= kBlock, x += kRowFloats) {
      ahead.fetch();
      const float* const end = x + least(kBlock, channels);
      for (const float* pixel = x; pixel != end; ++pixel, w += kTapFloats) {
        Vec half[3], filter[F::kFilters];
        unroll<3>([&](auto i) CNNKERN_LAMBDA { half[i] = filter_row<kRow>(w + i * kBlock); });
        F::filter(half, filter);
        unroll<kSize>([&](auto column) CNNKERN_LAMBDA {
          unroll<kTiles>([&](auto tile) CNNKERN_LAMBDA {
            sum[column][tile] =
                fma(filter[filter_of<F>(column)], set1(pixel[(column * kTiles + tile) * kBlock]), sum[column][tile]);
          });
        });
      }
    }
    unroll<kSize * kTiles>([&](auto i) CNNKERN_LAMBDA {
      Vec& one = sum[i / kTiles][i % kTiles];
      if (!first) one = add(one, load(sums + i * kBlock));
      store(sums + i * kBlock, one);
    });
  }

  // The products of a group with 16 output channels; `last`: nothing will be read after these taps.
  static void products(const Plan& p, const float* transformed, const float* w, int64_t sets, bool last, float* sums) {
    const int64_t row = p.in_blocks * kRowFloats;
    for (int64_t start = 0; start < p.channels; start += kSlice) {
      const int64_t count = least(kSlice, p.channels - start), after = least(kSlice, p.channels - start - count);
      const int64_t passes = kSize * sets * blocks_of(count);
      const int64_t lines = kTaps * (after > 0 ? after : last ? 0 : least(kSlice, p.channels));
      const float* const taps = w + start * kTapFloats;
      Ahead ahead{reinterpret_cast<const char*>(taps + count * kTapFloats), (lines + passes - 1) / passes};
      for (int64_t set = 0; set < sets; ++set) {
        const float* const x = transformed + set * kSize * row + start / kBlock * kRowFloats;
        float* const to = sums + set * kSize * kRowFloats;
        unroll<kSize>([&](auto i) CNNKERN_LAMBDA {
          row_products<i>(x + i * row, taps, count, start == 0, ahead, to + i * kRowFloats);
        });
      }
    }
  }

  static void run(const Prepared& prepared, int, int64_t first, int64_t last, const Context& context) {
    const Plan& p = *static_cast<const Plan*>(prepared.table);
    const auto argument = [&](int i) { return static_cast<float*>(context.args[i]); };
    const WinogradResult result = {argument(Conv::kBias), argument(Conv::kResidual), nullptr, argument(Conv::kY),
                                   prepared.op.conv.epilogue};
    float* const transformed = static_cast<float*>(context.scratch);
    float* const sums = transformed + kSize * p.sets * p.in_blocks * kRowFloats;
    for (int64_t unit = first; unit < last; ++unit) {
      const int64_t block = unit % p.out_blocks, tile = unit / p.out_blocks * p.group;
      const int64_t count = least(p.group, p.tiles - tile);
      const float* const w = static_cast<const float*>(context.packed) + block * p.channels * kTapFloats;
      if (unit == first || block == 0) inputs(p, argument(Conv::kX), tile, count, w, transformed);
      products(p, transformed, w, (count + kTiles - 1) / kTiles, unit + 1 == last || block + 1 == p.out_blocks, sums);
      for (int64_t i = 0; i < count; ++i)
        winograd_output<F>(p, sums + (i / kTiles * kSize * kRowFloats) + i % kTiles * kBlock, kTiles * kBlock, tile + i,
                           block, result);
    }
  }
};

}  // namespace
}  // namespace CNNKERN_NAMESPACE
