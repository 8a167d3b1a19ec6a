// SPDX-License-Identifier: BSD-3-Clause
// A sweep of the register tile over a regular grid of output pixels and all output channels: what the direct
// convolution, the pointwise one and the gradient by the input (one sweep per output phase) have in common. Weights are
// packed as [conv group][panel][step][4 channels][blocks of the panel][16]; a panel is the kTileBlocks output blocks of
// one tile.
//
// Units are (conv group, part of the output channels, pixel tile); whole parts that follow each other are one piece of
// work. A piece is walked chunk by chunk: as many panels as stay in L2 serve all its tiles before the next come in,
// and while they do, the next ones are prefetched.
#pragma once
#include "simd/conv_geometry.hpp"
#include "simd/conv_tile.hpp"
#include "simd/transpose.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

// How a map is walked, in elements. `start` is the offset of output pixel (0, 0, 0, 0) from the map's origin.
struct SweepMap { int64_t start, group, block, n, d, h, w; };

struct Sweep {
  int64_t n, d, h, w;  // output pixels
  SweepMap x, y, residual, gate;
  int64_t groups, lanes, reduction;  // conv groups; output and input channels of each
  int64_t taps;
  int64_t row_tiles, tiles;  // pixel tiles of a row, of everything
  int64_t blocks, panels;    // per conv group
  int64_t steps, step;       // steps of the reduction, input channels of each: kStepChannels or 1
  int64_t chunk, parts;      // panels walked together; parts of the output channels that are units of their own
  int64_t by_channels;       // units that follow each other are tiles of one part; else parts of one tile
  int64_t units;
  int64_t far_pixels, far_result, streams;  // of the maps that leave the caches: see TileArgs
  int64_t packed, packed_size;              // floats before this sweep's weights, and of them
  int64_t offsets;                          // entries before this sweep's offsets
};

struct SweepPointers {
  const float* x;
  const float* packed;
  const float* bias;
  const float* residual;
  float* y;
  const char* next = nullptr;  // weights of the next step, or null
  const float* gate = nullptr;
};

constexpr int64_t kFloat = sizeof(float);
constexpr int64_t kStepChannels = 4;
// Half of L2: the other half is for the pixels that stream by. One panel at a time over all pixels instead: equal where
// the maps fit L2, up to 8% slower where they do not.
constexpr int64_t kChunkBytes = 512 << 10;
// Fewer pixel tiles than this and panels become units too, and come in one after the other, each prefetched while the
// one before serves all tiles (7x7 maps: 10 to 25% faster on one core). Parts of several panels that do not divide them
// evenly left one of two threads with 9/16 of a 14x14 layer.
constexpr int64_t kFewTiles = 32;
// Fewer pixels than this and a thread gets output channels rather than pixels: half of the weights then come into each
// of two cores (7x7 maps: 10 to 30% faster; 14x14 maps 5% slower, since half of the pixels then lie in the other core).
constexpr int64_t kFewPixels = 112;
// Maps above this are fetched ahead. Smaller ones come from the last cache fast enough, and fetching them costs
// instructions: 7% of 16 > 96 channels at 112x112.
constexpr double kFarBytes = 5 << 20;

CNNKERN_INLINE int64_t quarters_of(int64_t channels) { return (channels + kStepChannels - 1) / kStepChannels; }
CNNKERN_INLINE int64_t panel_floats(const Sweep& s, int64_t blocks) { return s.steps * s.step * blocks * kBlock; }

// Blocks of the panel that holds `block`; where the packed weights of a block start (unit = group * blocks + block).
CNNKERN_INLINE int64_t panel_width(const Sweep& s, int64_t block) {
  return least(kTileBlocks, s.blocks - block / kTileBlocks * kTileBlocks);
}
CNNKERN_INLINE int64_t packed_block(const Sweep& s, int64_t unit) {
  const int64_t inside = unit % s.blocks % kTileBlocks;
  return s.packed + panel_floats(s, unit - inside) + inside * kBlock;
}

// Channels of the block of reduced channels that starts at c, with those that fill up its last step.
CNNKERN_INLINE int64_t padded_channels(const Sweep& s, int64_t c) {
  return quarters_of(least(kBlock, s.reduction - c)) * kStepChannels;
}

// Zeros for the channels that only fill up a step.
CNNKERN_INLINE void clear_channels(float* packed, int64_t taps, int64_t channels, int64_t padded, int64_t row) {
  for (int64_t tap = 0; tap < taps; ++tap)
    for (int64_t channel = channels; channel < padded; ++channel)
      block_store(packed + (tap * padded + channel) * row, block_zero());
}

// All pixels of an image as one row: see is_flat.
CNNKERN_INLINE void flatten(Sweep& s) {
  s.w *= s.d * s.h;
  s.d = s.h = 1;
}

// Fills what follows from the grid, the channels and the taps.
CNNKERN_INLINE void complete_sweep(Sweep& s, int64_t step = kStepChannels) {
  s.step = step;
  s.steps = s.taps * ((s.reduction + step - 1) / step);
  s.row_tiles = tiles_of(s.w);
  s.tiles = s.n * s.d * s.h * s.row_tiles;
  s.blocks = blocks_of(s.lanes);
  s.panels = (s.blocks + kTileBlocks - 1) / kTileBlocks;
  const int64_t fit = kChunkBytes / most(1, panel_floats(s, kTileBlocks) * kFloat);
  const bool few = s.tiles < kFewTiles;
  s.chunk = few ? 1 : least(most(fit, 1), s.panels);
  s.parts = few ? s.panels : 1;
  s.by_channels = s.tiles * kTilePixels < kFewPixels;
  s.units = s.groups * s.parts * s.tiles;
  s.packed_size = s.groups * panel_floats(s, s.blocks);
}

// offsets[step] for taps in the order of tap_offset(0), tap_offset(1), ...: channel block, tap, quarter of the block.
template <class TapOffset>
CNNKERN_INLINE void fill_offsets(const Sweep& s, TapOffset&& tap_offset, int32_t* offsets) {
  for (int64_t c = 0; c < s.reduction; c += kBlock) {
    const int64_t quarters = quarters_of(least(kBlock, s.reduction - c));
    for (int64_t tap = 0; tap < s.taps; ++tap)
      for (int64_t q = 0; q < quarters; ++q)
        *offsets++ = static_cast<int32_t>(c / kBlock * s.x.block + tap_offset(tap) + q * kStepChannels);
  }
}

// Columns of up to 16 rows that lie `stride` apart become blocks: column j goes to place(j), or nowhere if that is
// null. Lanes from `rows` on become zero.
template <class Place>
CNNKERN_INLINE void transpose_rows(const float* from, int64_t stride, int64_t rows, int64_t columns, Place&& place) {
  for (int64_t j = 0; j < columns; j += kLanes) {
    const int count = static_cast<int>(least(kLanes, columns - j));
    float* target[kLanes];
    for (int k = 0; k < count; ++k) target[k] = place(j + k);
    for (int lane = 0; lane < kBlock; lane += kLanes) {
      Vec r[kLanes];
      const float* const corner = from + lane * stride + j;
      if (lane + kLanes <= rows && count == kLanes) {
        unroll<kLanes>([&](auto i) CNNKERN_LAMBDA { r[i] = load(corner + i * stride); });
      } else {
        unroll<kLanes>([&](auto i)
                           CNNKERN_LAMBDA { r[i] = lane + i < rows ? load_n(corner + i * stride, count) : zero(); });
      }
      transpose(r);
      unroll<kLanes>([&](auto k) CNNKERN_LAMBDA {
        if (k < count && target[k]) store(target[k] + lane, r[k]);
      });
    }
  }
}

// Packs one block of output channels (unit = group * blocks + block) from weights in which the taps of a reduced
// channel and the reduced channels of a lane are contiguous.
CNNKERN_INLINE void pack_lanes(const Sweep& s, int64_t unit, const float* weight, float* packed) {
  const int64_t block = unit % s.blocks, row = panel_width(s, block) * kBlock;
  const int64_t lanes = least(kBlock, s.lanes - block * kBlock), stride = s.reduction * s.taps;
  weight += (unit / s.blocks * s.lanes + block * kBlock) * stride;
  packed += packed_block(s, unit);
  for (int64_t c = 0; c < s.reduction; c += kBlock) {
    const int64_t channels = least(kBlock, s.reduction - c), padded = padded_channels(s, c);
    const auto place = [&](int64_t j) { return packed + (j % s.taps * padded + j / s.taps) * row; };
    transpose_rows(weight + c * s.taps, stride, lanes, channels * s.taps, place);
    clear_channels(packed, s.taps, channels, padded, row);
    packed += s.taps * padded * row;
  }
}

// The panels [first, last) of one conv group on one pixel tile, which is number `tile` of those they serve. `next`:
// weights that are prefetched meanwhile, a piece per tile of as many bytes as these panels have, or null.
template <int kStep>
CNNKERN_INLINE void run_panels(const Sweep& s, TileArgs& a, const SweepPointers& p, int64_t group, int64_t first,
                               int64_t last, int64_t pixels, int64_t tile = 0, const char* next = nullptr) {
  float* const y = a.y;
  const float *const residual = a.residual, *const gate = a.gate;
  const int64_t piece = s.steps * kPrefetchBytes, bytes = panel_floats(s, kTileBlocks) * kFloat;
  const bool wanted = next && tile >= 0 && tile < kPrefetchPieces;
  for (int64_t panel = first; panel < last; ++panel) {
    const int64_t block = panel * kTileBlocks, blocks = least(kTileBlocks, s.blocks - block);
    a.w = p.packed + s.packed + panel_floats(s, group * s.blocks + block);
    a.lanes = s.lanes - block * kBlock;
    a.bias = p.bias ? p.bias + group * s.lanes + block * kBlock : nullptr;
    a.y = y + block * s.y.block;
    a.residual = residual ? residual + block * s.residual.block : nullptr;
    a.gate = gate ? gate + block * s.gate.block : nullptr;
    a.prefetch = wanted ? next + (panel - first) * bytes + tile * piece : nullptr;
    a.far_pixels = s.far_pixels && panel + 1 == last;
    run_tile<kStep>(a, pixels, blocks);
  }
  a.y = y;
  a.residual = residual;
  a.gate = gate;
}

// body(pixels) for each of the pixel tiles [first, last) of one conv group, with the pointers of `a` on its first
// pixel.
template <class Body>
CNNKERN_INLINE void for_tiles(const Sweep& s, TileArgs& a, const SweepPointers& p, int64_t group, int64_t first,
                              int64_t last, Body&& body) {
  int64_t tile = first % s.row_tiles, h = first / s.row_tiles % s.h, d = first / (s.row_tiles * s.h) % s.d;
  int64_t n = first / (s.row_tiles * s.h * s.d);
  for (int64_t i = first; i < last; ++i) {
    const Span span = span_of(s.w, s.row_tiles, tile);
    const auto place = [&](const SweepMap& m) CNNKERN_LAMBDA {
      return m.start + group * m.group + n * m.n + d * m.d + h * m.h + span.start * m.w;
    };
    a.x = p.x + place(s.x);
    a.y = p.y + place(s.y);
    a.residual = p.residual ? p.residual + place(s.residual) : nullptr;
    a.gate = p.gate ? p.gate + place(s.gate) : nullptr;
    body(span.size);
    if (++tile < s.row_tiles) continue;
    tile = 0;
    if (++h < s.h) continue;
    h = 0;
    if (++d < s.d) continue;
    d = 0;
    ++n;
  }
}

// What is the same for all tiles.
CNNKERN_INLINE TileArgs tile_args(const Sweep& s, const int32_t* offsets, const Epilogue& epilogue) {
  TileArgs a{};
  a.x_step = s.x.w;
  a.offset = offsets + s.offsets;
  a.steps = s.steps;
  a.y_step = s.y.w;
  a.y_block = s.y.block;
  a.residual_step = s.residual.w;
  a.residual_block = s.residual.block;
  a.gate_step = s.gate.w;
  a.gate_block = s.gate.block;
  a.far_result = s.far_result;
  a.streams = s.streams;
  a.epilogue = epilogue;
  return a;
}

// What a range of units starts with: tiles [begin, end) with panels [panel, panel_end).
struct SweepPiece { int64_t group, begin, end, panel, panel_end, units; };

CNNKERN_INLINE SweepPiece first_piece(const Sweep& s, int64_t first, int64_t last) {
  // The inner axis of the units is taken whole, and as much of the outer one as the range reaches; or a part of it.
  const int64_t inner = s.by_channels ? s.tiles : s.parts, outer = s.by_channels ? s.parts : s.tiles;
  const int64_t place = first / inner % outer, begin = first % inner;
  const int64_t whole = begin == 0 ? least((last - first) / inner, outer - place) : 0;
  const int64_t count = most(whole, 1), end = whole ? inner : least(inner, begin + last - first);
  SweepPiece piece{first / (s.parts * s.tiles), begin, end, place, place + count, count * (end - begin)};
  if (!s.by_channels) piece = {piece.group, place, place + count, begin, end, piece.units};
  piece.panel = piece.panel * s.panels / s.parts;
  piece.panel_end = piece.panel_end * s.panels / s.parts;
  return piece;
}

// body(first panel, last panel, weights to prefetch meanwhile) for the chunks of a piece.
template <class Body>
CNNKERN_INLINE void for_chunks(const Sweep& s, const SweepPointers& p, const SweepPiece& piece, Body&& body) {
  for (int64_t panel = piece.panel; panel < piece.panel_end; panel += s.chunk) {
    const int64_t end = least(panel + s.chunk, piece.panel_end), next = piece.group * s.blocks + end * kTileBlocks;
    body(panel, end,
         end < piece.panel_end ? reinterpret_cast<const char*>(p.packed + s.packed + panel_floats(s, next)) : p.next);
  }
}

// Units [first, last) of this sweep, counted from its own first one.
CNNKERN_INLINE void run_sweep(const Sweep& s, const int32_t* offsets, const Epilogue& epilogue, const SweepPointers& p,
                              int64_t first, int64_t last) {
  TileArgs a = tile_args(s, offsets, epilogue);
  while (first < last) {
    const SweepPiece piece = first_piece(s, first, last);
    for_chunks(s, p, piece, [&](int64_t panel, int64_t chunk_end, const char* next) CNNKERN_LAMBDA {
      // The last chunk prefetches for the next step, with its last tiles.
      int64_t tile = chunk_end < piece.panel_end ? 0 : piece.begin - piece.end + kPrefetchPieces;
      for_tiles(s, a, p, piece.group, piece.begin, piece.end, [&](int64_t pixels) CNNKERN_LAMBDA {
        run_panels<kStepChannels>(s, a, p, piece.group, panel, chunk_end, pixels, tile++, next);
      });
    });
    first += piece.units;
  }
}

// Strides of a blocked map for output pixels that lie `step` of its pixels apart.
CNNKERN_INLINE SweepMap sweep_map(const Tensor& t, int64_t group_channels, const int64_t* step) {
  return {0, group_channels / kBlock * t.sc, t.sc, t.sn, step[0] * t.sd, step[1] * t.sh, step[2] * kBlock};
}

// Time of the arithmetic of one tile, in multiplications of a vector: the longest of these, the latency of one and the
// loads, and about 60 for what surrounds the loop (pointers, bias, epilogue, stores).
CNNKERN_INLINE double tile_slots(const Sweep& s, int64_t pixels, int64_t blocks) {
  const int64_t vectors = blocks * kVecs, work = most(most(pixels * vectors, 8), pixels + vectors);
  return static_cast<double>(work * s.steps * s.step + 60);
}

// How the result is written.
CNNKERN_INLINE void far_result(Sweep& s, const Tensor& result, const Epilogue& epilogue) {
  s.streams = is_streamed(result) && !is_long(epilogue.activation);
  s.far_result = !s.streams && map_bytes(result) > kFarBytes;
}

// Nanoseconds of all nominal threads for the arithmetic of a sweep.
CNNKERN_INLINE double sweep_ns(const Sweep& s, const Machine& machine) {
  const int64_t narrow = s.w / s.row_tiles, wider = s.w % s.row_tiles;  // some tiles are a pixel wider
  const int64_t full = s.blocks / kTileBlocks, rest = s.blocks % kTileBlocks;
  const auto row_slots = [&](int64_t blocks) {
    return static_cast<double>(wider) * tile_slots(s, narrow + 1, blocks) +
           static_cast<double>(s.row_tiles - wider) * tile_slots(s, narrow, blocks);
  };
  const double slots = static_cast<double>(full) * row_slots(kTileBlocks) + (rest ? row_slots(rest) : 0.0);
  const double rows = static_cast<double>(s.groups * s.n * s.d * s.h);
  return rows * slots * 2 * kLanes / (machine.flops_per_ns * machine.threads);
}

}  // namespace
}  // namespace CNNKERN_NAMESPACE
