// SPDX-License-Identifier: BSD-3-Clause
// dw[o, c, t] = sum over images and pixels p of dy[n, o, p] x[n, c, p * stride - padding + t * dilation] on blocked
// maps, into plain weights. Any kernel, stride and dilation; groups of whole channel blocks; x has the border of the
// forward direction.
//
// Phase 0: units are (part of the rows, group, set of output tiles, set of channel blocks). A unit walks its rows in
// chunks: the output tile's piece of dy stays near while all input channels and taps pass by; its partial dw stays in
// L2. Phase 1: the parts are added in order and written out as OIHW; a single part is written at the end of its unit
// instead. Where the cuts are follows from the shapes alone, so the bits do not depend on the threads.
//
// Registers: simd/weight_tile.hpp. Zen 5, ResNet-50's layers at 56x56 and 28x28, batch 8, one and two threads: 86 to
// 94% of the FMA peak with AVX-512, 84 to 90% with AVX2; 3x3x512 at 7x7: 77%.
#include "simd/conv_geometry.hpp"
#include "simd/weight_tile.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

constexpr int64_t kSetBytes = 128 << 10;    // of partial dw in L2 at a time; twice as much is up to 10% slower
constexpr int64_t kChunkPixels = 512;       // per call of the tile: the accumulators go to L2 and back once in so many
constexpr int64_t kWantedUnits = 16;        // to keep eight threads busy evenly
constexpr int64_t kPartPixels = 512;        // a part of fewer would spend its time on adding parts
constexpr int64_t kSharedBytes = 64 << 20;  // of all parts together

struct Plan {
  int64_t groups, taps;
  int64_t channels, blocks;        // input channels of a group and their blocks
  int64_t outputs, output_blocks;  // output channels of a group and their blocks
  int64_t tiles;                   // output tiles of a group: kWeightBlocks blocks or fewer
  int64_t set_blocks, set_tiles;   // channel blocks and output tiles of a unit
  int64_t block_sets, tile_sets, sets;
  int64_t rows, chunk, parts;  // rows of dy in all, in a chunk; parts that they are cut into
  int64_t set_floats;          // partial dw of a unit
};

// Floats of partial dw for one channel block and one output block.
int64_t pair_floats(const Plan& p) { return p.taps * kBlock * kBlock; }

// The sets that bring x and dy in least often, of those whose partial dw stays in L2.
void choose_sets(const Conv& c, Plan& p) {
  const int64_t pairs = most(1, kSetBytes / (pair_floats(p) * kWeightBlocks * static_cast<int64_t>(sizeof(float))));
  double least_bytes = 0;
  for (int64_t blocks = 1; blocks <= least(p.blocks, pairs); ++blocks) {
    const int64_t tiles = least(p.tiles, pairs / blocks);
    const int64_t block_sets = (p.blocks + blocks - 1) / blocks, tile_sets = (p.tiles + tiles - 1) / tiles;
    const double bytes =
        static_cast<double>(block_sets) * map_bytes(c.y) + static_cast<double>(tile_sets) * map_bytes(c.x);
    if (blocks > 1 && bytes >= least_bytes) continue;
    least_bytes = bytes;
    p.set_blocks = (p.blocks + block_sets - 1) / block_sets, p.set_tiles = (p.tiles + tile_sets - 1) / tile_sets;
    p.block_sets = (p.blocks + p.set_blocks - 1) / p.set_blocks,
    p.tile_sets = (p.tiles + p.set_tiles - 1) / p.set_tiles;
  }
}

Plan make_plan(const Conv& c) {
  Plan p{};
  p.groups = c.groups, p.taps = taps_of(c);
  p.channels = c.w.c, p.blocks = blocks_of(p.channels);
  p.outputs = c.w.n / c.groups, p.output_blocks = blocks_of(p.outputs);
  p.tiles = (p.output_blocks + kWeightBlocks - 1) / kWeightBlocks;
  choose_sets(c, p);
  p.rows = c.y.n * c.y.d * c.y.h;
  p.chunk = most(1, kChunkPixels / c.y.w);
  p.sets = p.groups * p.block_sets * p.tile_sets;
  p.set_floats = p.set_tiles * kWeightBlocks * p.set_blocks * pair_floats(p);
  const int64_t most_parts =
      most(1, least(p.rows * c.y.w / kPartPixels,
                    kSharedBytes / (p.sets * p.set_floats * static_cast<int64_t>(sizeof(float)))));
  p.parts = (kWantedUnits + p.sets - 1) / p.sets;
  p.parts += p.parts * p.sets % 2;  // an even number of units divides better
  p.parts = least(least(p.parts, most_parts), p.rows);
  return p;
}

double plan_ns(const Conv& c, const Plan& p, const Machine& machine) {
  double slots = 0;
  const double pixels = static_cast<double>(p.rows * c.y.w);
  const int64_t channel_tiles = (kBlock + kWeightChannels - 1) / kWeightChannels;
  for (int64_t tile = 0; tile < p.tiles; ++tile) {
    const int64_t vectors = span_of(p.output_blocks, p.tiles, tile).size * kVecs;
    const int64_t channels = least(kWeightChannels, p.channels);
    const int64_t work = most(most(vectors * channels, 8), vectors + channels);
    slots += pixels * static_cast<double>(work * channel_tiles) * static_cast<double>(p.blocks * p.taps);
  }
  slots *= static_cast<double>(p.groups) * (1.0 + 16.0 / static_cast<double>(p.chunk * c.y.w));
  const double sums = 4.0 * static_cast<double>(p.sets * p.set_floats * (p.parts > 1 ? 2 * p.parts + 1 : 1));
  const double bytes =
      map_bytes(c.x) * static_cast<double>(p.tile_sets) + map_bytes(c.y) * static_cast<double>(p.block_sets);
  return slots * 2 * kLanes / (machine.flops_per_ns * machine.threads) + traffic_ns(0.3 * bytes + 0.5 * sums, machine);
}

int candidates(const Op& op, const Machine& machine, Variant* out) {
  const Conv& c = op.conv;
  if (c.x.layout != Layout::kBlocked || c.y.layout != Layout::kBlocked || !groups_fit_blocks(c)) return 0;
  if (!border_suffices(c)) return 0;
  *out = {0, 0, {}, static_cast<float>(plan_ns(c, make_plan(c), machine) + 2000)};
  return 1;
}

void prepare(const Op& op, const Variant&, Work* work, void* table) {
  const Plan p = make_plan(op.conv);
  *work = {};
  const int64_t set_bytes = p.set_floats * static_cast<int64_t>(sizeof(float));
  work->phases = p.parts > 1 ? 2 : 1;
  work->units[0] = p.parts * p.sets;
  if (p.parts > 1) {
    work->units[1] = p.groups * p.tiles * p.blocks;
    work->shared_bytes = p.parts * p.sets * set_bytes;
  } else {
    work->scratch_bytes = set_bytes;
  }
  work->table_bytes = static_cast<int64_t>(sizeof(Plan)) + p.rows * static_cast<int64_t>(sizeof(Row));
  if (!table) return;
  *static_cast<Plan*>(table) = p;
  fill_rows(op.conv, reinterpret_cast<Row*>(static_cast<Plan*>(table) + 1));
}

// What a unit of phase 0 covers, and where in its buffer the partial dw of an output tile and a channel block stands:
// [tap][16 channels][blocks of the tile][16].
struct UnitRange { int64_t part, group, block, block_end, tile, tile_end; };

UnitRange unit_range(const Plan& p, int64_t unit) {
  const int64_t block = unit % p.block_sets * p.set_blocks, tile = unit / p.block_sets % p.tile_sets * p.set_tiles;
  const int64_t outer = unit / (p.block_sets * p.tile_sets);
  return {outer / p.groups,
          outer % p.groups,
          block,
          least(p.blocks, block + p.set_blocks),
          tile,
          least(p.tiles, tile + p.set_tiles)};
}

int64_t piece_offset(const Plan& p, const UnitRange& u, const Span& tile, int64_t block) {
  const int64_t first_output = span_of(p.output_blocks, p.tiles, u.tile).start;
  return ((tile.start - first_output) * p.set_blocks + (block - u.block) * tile.size) * pair_floats(p);
}

// One chunk of rows for one output tile and one channel block: all its channels, all taps.
void add_chunk(const Conv& c, const Plan& p, WeightTileArgs& a, const Span& tile, int64_t channels, float* piece) {
  const float* const x = a.x;
  const int64_t tiles = (channels + kWeightChannels - 1) / kWeightChannels;
  for (int64_t tap = 0; tap < p.taps; ++tap)
    for (int64_t i = 0; i < tiles; ++i) {
      const Span span = span_of(channels, tiles, i);
      a.x = x + tap_offset(c, tap) + span.start;
      a.dw = piece + (tap * kBlock + span.start) * tile.size * kBlock;
      weight_tile_function(span.size, tile.size)(a);
      a.x_ahead = a.dy_ahead = 0;  // one pass brings the next ones in
    }
}

void run_unit(const Conv& c, const Plan& p, const Row* rows, int64_t unit, const float* x, const float* dy,
              float* partial) {
  const UnitRange u = unit_range(p, unit);
  const Span part = span_of(p.rows, p.parts, u.part);
  const int64_t first_output = span_of(p.output_blocks, p.tiles, u.tile).start;
  WeightTileArgs a{};
  a.columns = c.y.w;
  a.x_step = c.stride[2] * kBlock;
  a.dy_block = c.y.sc;
  for (int64_t row = 0; row < part.size; row += p.chunk) {
    a.rows = rows + part.start + row;
    a.row_count = least(p.chunk, part.size - row);
    a.first = row == 0;
    const bool more = row + p.chunk < part.size;
    const Row next = more ? Row{a.rows[p.chunk].x - a.rows->x, a.rows[p.chunk].dy - a.rows->dy} : Row{0, 0};
    for (int64_t t = u.tile; t < u.tile_end; ++t) {
      const Span tile = span_of(p.output_blocks, p.tiles, t);
      a.dy = dy + (u.group * p.output_blocks + tile.start) * c.y.sc;
      for (int64_t block = u.block; block < u.block_end; ++block) {
        a.x = x + (u.group * p.blocks + block) * c.x.sc;
        if (block + 1 < u.block_end) {  // next comes this chunk's next block of x
          a.x_ahead = t == u.tile ? c.x.sc : 0;
        } else if (t + 1 < u.tile_end) {  // or its next tile of dy
          a.dy_ahead = tile.size * c.y.sc;
        } else if (more) {  // or the next chunk
          a.x_ahead = next.x - (block - u.block) * c.x.sc;
          a.dy_ahead = next.dy - (tile.start - first_output) * c.y.sc;
        }
        float* const piece = partial + piece_offset(p, u, tile, block);
        add_chunk(c, p, a, tile, least(kBlock, p.channels - block * kBlock), piece);
      }
    }
  }
}

// Writes the sum of one output tile and channel block.
void write_piece(const Plan& p, int64_t group, const Span& tile, int64_t block, const float* piece, float* dw) {
  const int64_t filter = p.channels * p.taps;
  const int64_t elements = least(kBlock, p.channels - block * kBlock) * p.taps;
  const int64_t lanes = least(tile.size * kBlock, p.outputs - tile.start * kBlock);
  dw += (group * p.outputs + tile.start * kBlock) * filter + block * kBlock * p.taps;
  write_filters(piece, tile.size * kBlock, p.taps, elements, lanes, dw, filter);
}

void write_unit(const Plan& p, int64_t unit, const float* partial, float* dw) {
  const UnitRange u = unit_range(p, unit);
  for (int64_t t = u.tile; t < u.tile_end; ++t) {
    const Span tile = span_of(p.output_blocks, p.tiles, t);
    for (int64_t block = u.block; block < u.block_end; ++block)
      write_piece(p, u.group, tile, block, partial + piece_offset(p, u, tile, block), dw);
  }
}

// Phase 1: adds the parts of one output tile and channel block (unit = (group, tile, block)) into the first of them.
void add_parts(const Plan& p, int64_t unit, float* shared, float* dw) {
  const int64_t block = unit % p.blocks, t = unit / p.blocks % p.tiles, group = unit / (p.blocks * p.tiles);
  const Span tile = span_of(p.output_blocks, p.tiles, t);
  const int64_t set = (group * p.tile_sets + t / p.set_tiles) * p.block_sets + block / p.set_blocks;
  float* const piece = shared + set * p.set_floats + piece_offset(p, unit_range(p, set), tile, block);
  const int64_t channels = least(kBlock, p.channels - block * kBlock), row = tile.size * kBlock;
  for (int64_t part = 1; part < p.parts; ++part) {
    const float* const other = piece + part * p.sets * p.set_floats;
    for (int64_t tap = 0; tap < p.taps; ++tap)
      for (int64_t i = tap * kBlock * row; i < (tap * kBlock + channels) * row; i += kBlock)
        block_store(piece + i, add(block_load(piece + i), block_load(other + i)));
  }
  write_piece(p, group, tile, block, piece, dw);
}

void run(const Prepared& prepared, int phase, int64_t first, int64_t last, const Context& context) {
  const Conv& c = prepared.op.conv;
  const Plan& p = *static_cast<const Plan*>(prepared.table);
  const Row* const rows = reinterpret_cast<const Row*>(&p + 1);
  const float* const x = static_cast<const float*>(context.args[Conv::kGwX]);
  const float* const dy = static_cast<const float*>(context.args[Conv::kGwDy]);
  float* const dw = static_cast<float*>(context.args[Conv::kGwDw]);
  float* const shared = static_cast<float*>(context.shared);
  float* const scratch = static_cast<float*>(context.scratch);
  for (int64_t unit = first; unit < last; ++unit) {
    if (phase == 1) {
      add_parts(p, unit, shared, dw);
    } else if (p.parts > 1) {
      run_unit(c, p, rows, unit, x, dy, shared + unit * p.set_floats);
    } else {
      run_unit(c, p, rows, unit, x, dy, scratch);
      write_unit(p, unit, scratch, dw);
    }
  }
}

}  // namespace

extern const Kernel conv2d_grad_weight_direct;
const Kernel conv2d_grad_weight_direct = {"direct", OpKind::kConv2dGradWeight, candidates, prepare, nullptr, run};

}  // namespace CNNKERN_NAMESPACE
