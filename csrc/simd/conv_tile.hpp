// SPDX-License-Identifier: BSD-3-Clause
// The register tile of the direct convolutions on the blocked layout: kPixels output pixels times kBlocks blocks of 16
// output channels stay in registers while ONE flat loop walks the reduction,
//     acc[p][o] += x[p * x_step + offset[s] + i] * w[s][i][o]      for every step s and i = 0 .. kStep - 1.
// A step is four input channels under one kernel tap, or a single element of a plain map (kStep = 1: the first
// convolution of a network); the table of offsets says where it lies, so one tile serves every
// kernel size, dilation and stride, and the gradient by the input as well. Nested loops over taps made GCC spill the
// accumulators; the flat one keeps them, and a run-time pixel step costs nothing (AVX-512 14 x 2: 275 GFLOP/s of 275
// with the step fixed or not) because every third pixel gets a pointer of its own and the others are reached by scaled
// indices.
#pragma once
#include "simd/simd.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

struct TileArgs {
  const float* x;  // channel 0 of the first pixel under a tap of offset 0
  int64_t x_step;  // elements from one pixel to the next
  const int32_t* offset;
  int64_t steps;      // 0 is allowed: the tile then holds the bias alone
  const float* w;     // [steps][kStep][kBlocks][16]
  const float* bias;  // null: zero
  int64_t lanes;      // output channels that exist from the tile's first one on; those beyond become zero
  float* y;
  int64_t y_step, y_block;
  const float* residual;  // null: none
  int64_t residual_step, residual_block;
  const float* gate;  // null: none; else the result is 0 where this is not positive
  int64_t gate_step, gate_block;
  const char*
      prefetch;  // null: nothing; else what is brought into L2, kPrefetchBytes in every step of more than one channel
  // Of a 1x1 kernel: the pixels after these are wanted next, and not in L2. Prefetching brought 256 > 64 channels at 56x56
  // of 8 images from 77 to 85% of the FMA peak (Zen 4), nothing where maps fit.
  bool far_pixels;
  bool far_result;    // y is not in L2: 64 > 256 channels from 70 to 82%
  bool streams;       // y is written past the caches
  const float* sums;  // null: none; else what is added first: [kBlocks][kPixels][16]
  Epilogue epilogue;
};

using TileFunction = void (*)(const TileArgs&);

// Blocks per tile and the widest tile, from the number of registers. AVX-512: 28 accumulators + 2 weights + 1 pixel of
// 32. AVX2: 12 accumulators of 16. Scalar: 8, because products without FMA need registers of their own (3 pixels, 12
// accumulators: 8% slower).
constexpr int kTileBlocks = kRegisters == 32 ? 2 : 1;
constexpr int kTilePixels = kRegisters == 32 ? 14 : kVecs == 2 ? 6 : 2;
// Products that are added up before their sum goes to those before: the error of a sum of n grows with the root of n, so
// that 3,840 channels had 2.7 times the error that they have in levels.
constexpr int64_t kLevelProducts = 256;
// A quarter of what a step reads of the weights, so that the four tiles of a 7x7 map bring in the next panel.
constexpr int kPrefetchBytes = 128;
constexpr int kPrefetchPieces = 4 * kTileBlocks * kBlock * 4 / kPrefetchBytes;  // of the weights of a step

template <int kPixels, int kBlocks, class Accumulators>
CNNKERN_INLINE void tile_epilogue(const TileArgs& a, Accumulators& acc) {
  if (a.sums) {
    unroll<kBlocks>([&](auto b) CNNKERN_LAMBDA {
      unroll<kPixels>(
          [&](auto p) CNNKERN_LAMBDA { acc[b][p] = add(acc[b][p], block_load(a.sums + (b * kPixels + p) * kBlock)); });
    });
  }
  if (a.residual) {
    unroll<kBlocks>([&](auto b) CNNKERN_LAMBDA {
      unroll<kPixels>([&](auto p) CNNKERN_LAMBDA {
        acc[b][p] = add(acc[b][p], block_load(a.residual + b * a.residual_block + p * a.residual_step));
      });
    });
  }
  if (a.gate) {
    unroll<kBlocks>([&](auto b) CNNKERN_LAMBDA {
      unroll<kPixels>([&](auto p) CNNKERN_LAMBDA {
        acc[b][p] = relu_slope(acc[b][p], block_load(a.gate + b * a.gate_block + p * a.gate_step));
      });
    });
  }
  const Activation activation = a.epilogue.activation;
  if (activation == Activation::kLeakyRelu) {
    const Block slope = block_set1(a.epilogue.slope);
    unroll<kBlocks>([&](auto b) CNNKERN_LAMBDA {
      unroll<kPixels>([&](auto p) CNNKERN_LAMBDA {
        acc[b][p] = select(less(acc[b][p], block_zero()), mul(acc[b][p], slope), acc[b][p]);
      });
    });
  } else if (activation == Activation::kRelu || activation == Activation::kClamp) {  // ReLU clamps to [0, infinity]
    const bool relu = activation == Activation::kRelu;
    const Block low = block_set1(relu ? 0.0f : a.epilogue.low);
    const Block high = block_set1(relu ? __builtin_inff() : a.epilogue.high);
    unroll<kBlocks>([&](auto b) CNNKERN_LAMBDA {
      unroll<kPixels>([&](auto p) CNNKERN_LAMBDA { acc[b][p] = min(high, max(low, acc[b][p])); });
    });
  }
  // What is stored might be the arguments for all that GCC knows: it would read them again for every store.
  float* const y = a.y;
  const int64_t step = a.y_step, block = a.y_block;
  const bool streams = a.streams;
  unroll<kBlocks>([&](auto b) CNNKERN_LAMBDA {
    float* pixel = y + b * block;
    unroll<kPixels>([&](auto p) CNNKERN_LAMBDA {
      if (streams)
        block_stream(pixel + p % 3 * step, acc[b][p]);
      else
        block_store(pixel + p % 3 * step, acc[b][p]);
      if constexpr (p % 3 == 2) pixel += 3 * step;
    });
  });
  if (is_long(activation)) {
    if constexpr (kVecs == 1)
      activate_stored(activation, {a.y, kBlocks, a.y_block, kPixels, a.y_step}, kLanes);
    else
      for (int b = 0; b < kBlocks; ++b)
        activate_stored(activation, {a.y + b * a.y_block, kVecs, kLanes, kPixels, a.y_step}, kLanes);
  }
  // Lanes beyond the last channel are not zero of themselves: infinity times a zero weight is NaN, a clamp may exclude
  // zero.
  if (a.lanes < kBlocks * kBlock) {
    const int lanes = static_cast<int>(a.lanes) - (kBlocks - 1) * kBlock;
    float* const last = a.y + (kBlocks - 1) * a.y_block;
    for (int p = 0; p < kPixels; ++p) block_store(last + p * a.y_step, block_load_n(last + p * a.y_step, lanes));
  }
}

// What the epilogue will read or write of a map like y, fetched while the tile multiplies.
template <int kPixels, int kBlocks>
CNNKERN_INLINE void prefetch_pixels(const float* from, int64_t step, int64_t block) {
  if (!from) return;
  for (int b = 0; b < kBlocks; ++b)
    for (int p = 0; p < kPixels; ++p) __builtin_prefetch(from + b * block + p * step);
}

template <int kStep, int kPixels, int kBlocks>
void conv_tile(const TileArgs& a) {
  constexpr int kPointers = (kPixels + 2) / 3;
  Block acc[kBlocks][kPixels];
  unroll<kBlocks>([&](auto b) CNNKERN_LAMBDA {
    const Block bias =
        a.bias ? block_load_n(a.bias + b * kBlock, static_cast<int>(a.lanes) - b * kBlock) : block_zero();
    unroll<kPixels>([&](auto p) CNNKERN_LAMBDA { acc[b][p] = bias; });
  });
  prefetch_pixels<kPixels, kBlocks>(a.residual, a.residual_step, a.residual_block);
  prefetch_pixels<kPixels, kBlocks>(a.gate, a.gate_step, a.gate_block);
  if (a.far_result) prefetch_pixels<kPixels, kBlocks>(a.y, a.y_step, a.y_block);
  const int64_t step = a.x_step;
  const float* w = a.w;
  const char* prefetch = a.prefetch ? a.prefetch : reinterpret_cast<const char*>(w);
  const int32_t* const end = a.offset + a.steps;
  for (const int32_t* offset = a.offset; offset != end; ++offset) {
    const float* pixel[kPointers];
    pixel[0] = a.x + *offset;
    unroll<kPointers - 1>([&](auto i) CNNKERN_LAMBDA {
      pixel[i + 1] = pixel[i] + 3 * step;
      asm("" : "+r"(pixel[i + 1]));  // else GCC reaches every pixel from the first one and runs out of index registers
    });
    unroll<kStep>([&](auto i) CNNKERN_LAMBDA {
      Block weight[kBlocks];
      unroll<kBlocks>([&](auto b) CNNKERN_LAMBDA { weight[b] = block_load(w + (i * kBlocks + b) * kBlock); });
      unroll<kPixels>([&](auto p) CNNKERN_LAMBDA {
        const Vec value = set1(pixel[p / 3][p % 3 * step + i]);
        unroll<kBlocks>([&](auto b) CNNKERN_LAMBDA {
          unroll<kVecs>([&](auto v) CNNKERN_LAMBDA { acc[b][p].v[v] = fma(weight[b].v[v], value, acc[b][p].v[v]); });
        });
      });
    });
    w += kStep * kBlocks * kBlock;
    if constexpr (kStep > 1) {
      if (a.far_pixels) {  // of 16 pixels of the next tile's channel block, those that belong to this quarter of it
        const float* const next = pixel[0] + (kPixels + (*offset & 12)) * step;
        for (int i = 0; i < 4; ++i) __builtin_prefetch(next + i * step);
      }
      for (int i = 0; i < kPrefetchBytes; i += 64) __builtin_prefetch(prefetch + i, 0, 2);
      prefetch += kPrefetchBytes;
    }
  }
  tile_epilogue<kPixels, kBlocks>(a, acc);
}

template <int kStep, class Sequence> struct TileTable;
template <int kStep, int... kIndex>
struct TileTable<kStep, std::integer_sequence<int, kIndex...>> {
  static constexpr TileFunction kFull[] = {conv_tile<kStep, kIndex + 1, kTileBlocks>...};
  static constexpr TileFunction kSingle[] = {conv_tile<kStep, kIndex + 1, 1>...};
};

template <int kStep>
CNNKERN_INLINE TileFunction tile_function(int64_t pixels, int64_t blocks) {
  using Tiles = TileTable<kStep, std::make_integer_sequence<int, kTilePixels>>;
  return blocks == kTileBlocks ? Tiles::kFull[pixels - 1] : Tiles::kSingle[pixels - 1];
}

// A tile whose reduction is long, level by level: the sums of those before wait in L1. A loop in the tile around its flat
// one made GCC spill (3 to 6% of whole networks); calls take no time that whole networks show.
[[maybe_unused]] __attribute__((noinline)) static void run_levels(TileFunction tile, const TileArgs& whole,
                                                                  int64_t levels, int64_t step_floats, int64_t pixels,
                                                                  int64_t blocks) {
  alignas(64) float sums[kTileBlocks * kTilePixels * kBlock];
  TileArgs a = whole;
  a.steps = (whole.steps + levels - 1) / levels;
  a.bias = a.residual = a.gate = nullptr;
  a.far_result = a.streams = false;
  a.epilogue = Epilogue{};
  a.y = sums, a.y_step = kBlock, a.y_block = pixels * kBlock;
  a.lanes = blocks * kBlock;
  int64_t left = whole.steps;
  for (; left > a.steps; left -= a.steps) {
    tile(a);
    a.sums = sums;
    a.offset += a.steps;
    a.w += a.steps * step_floats;
    if (a.prefetch) a.prefetch += a.steps * kPrefetchBytes;
  }
  TileArgs last = whole;
  last.steps = left, last.sums = sums;
  last.offset = a.offset, last.w = a.w, last.prefetch = a.prefetch;
  tile(last);
}

template <int kStep>
CNNKERN_INLINE void run_tile(const TileArgs& a, int64_t pixels, int64_t blocks) {
  const TileFunction tile = tile_function<kStep>(pixels, blocks);
  const int64_t levels = (a.steps * kStep + kLevelProducts - 1) / kLevelProducts;
  if (levels <= 1)
    tile(a);
  else
    run_levels(tile, a, levels, kStep * blocks * kBlock, pixels, blocks);
}

// A row of `pixels` is covered by this many tiles (span_of says which pixels).
CNNKERN_INLINE int64_t tiles_of(int64_t pixels) { return (pixels + kTilePixels - 1) / kTilePixels; }

}  // namespace
}  // namespace CNNKERN_NAMESPACE
