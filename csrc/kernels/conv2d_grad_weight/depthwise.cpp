// SPDX-License-Identifier: BSD-3-Clause
// dw[c, t] = sum over images and pixels p of dy[n, c, p] x[n, c, p * stride - padding + t * dilation] on blocked maps:
// groups = input channels = output channels. Channels stay in the lanes, one accumulator per tap.
//
// Phase 0: units are (channel block, part of the rows), partial sums go to shared memory; phase 1 adds the parts in
// order. Registers: as many taps at a time as there are accumulators (AVX-512 14, AVX2 6, scalar 3), one of dy; x from
// memory.
#include "simd/conv_geometry.hpp"
#include "simd/weight_tile.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

constexpr int kTapTile = kRegisters == 32 ? 14 : 12 / kVecs;
constexpr int64_t kWantedUnits = 16;   // to keep eight threads busy evenly
constexpr int64_t kPartPixels = 1024;  // a part of fewer would spend its time on adding parts

struct Plan { int64_t taps, tap_tiles, blocks, rows, parts; };

Plan make_plan(const Conv& c) {
  Plan p{};
  p.taps = taps_of(c);
  p.tap_tiles = (p.taps + kTapTile - 1) / kTapTile;
  p.blocks = blocks_of(c.x.c);
  p.rows = c.y.n * c.y.d * c.y.h;
  p.parts = (kWantedUnits + p.blocks - 1) / p.blocks;
  p.parts += p.parts * p.blocks % 2;
  p.parts = most(1, least(least(p.parts, p.rows), p.rows * c.y.w / kPartPixels));
  return p;
}

struct TapTileArgs {
  const float* x;
  const float* dy;
  const Row* rows;
  int64_t row_count, columns, x_step;
  const int64_t* offset;  // of the taps in x
  float* dw;              // [tap][16]
};

template <int kTaps>
void tap_tile(const TapTileArgs& a) {
  Block acc[kTaps];
  unroll<kTaps>([&](auto t) CNNKERN_LAMBDA { acc[t] = block_zero(); });
  const Row* row = a.rows;
  const float* x = a.x + row->x;
  const float* dy = a.dy + row->dy;
  int64_t column = a.columns;
  for (int64_t left = a.row_count * a.columns;;) {
    const Block gradient = block_load(dy);
    unroll<kTaps>([&](auto t) CNNKERN_LAMBDA { acc[t] = fma(block_load(x + a.offset[t]), gradient, acc[t]); });
    if (--left == 0) break;
    x += a.x_step;
    dy += kBlock;
    if (--column == 0) {
      ++row;
      x = a.x + row->x;
      dy = a.dy + row->dy;
      column = a.columns;
    }
  }
  unroll<kTaps>([&](auto t) CNNKERN_LAMBDA { block_store(a.dw + t * kBlock, acc[t]); });
}

template <class Sequence>
struct TapTileTable;
template <int... kIndex>
struct TapTileTable<std::integer_sequence<int, kIndex...>> {
  static constexpr void (*kTiles[])(const TapTileArgs&) = {tap_tile<kIndex + 1>...};
};

int candidates(const Op& op, const Machine& machine, Variant* out) {
  const Conv& c = op.conv;
  if (c.x.layout != Layout::kBlocked || c.y.layout != Layout::kBlocked) return 0;
  if (c.groups != c.x.c || c.groups != c.y.c || !border_suffices(c)) return 0;
  const Plan p = make_plan(c);
  const double pixels = static_cast<double>(p.rows * c.y.w * p.blocks);
  const double slots = pixels * static_cast<double>(most(p.taps * kVecs + p.tap_tiles, 8 * p.tap_tiles));
  const double compute = slots * 2 * kLanes / (machine.flops_per_ns * machine.threads);
  const double bytes = traffic_ns(map_bytes(c.x) + map_bytes(c.y), machine);
  *out = {0, 0, {}, static_cast<float>(most_ns(compute, bytes) + 2000)};
  return 1;
}

void prepare(const Op& op, const Variant&, Work* work, void* table) {
  const Plan p = make_plan(op.conv);
  *work = {};
  work->phases = 2;
  work->units[0] = p.blocks * p.parts;
  work->units[1] = p.blocks;
  work->shared_bytes = p.parts * p.blocks * p.taps * kBlock * static_cast<int64_t>(sizeof(float));
  work->table_bytes = static_cast<int64_t>(sizeof(Plan)) + p.rows * static_cast<int64_t>(sizeof(Row)) +
                      p.taps * static_cast<int64_t>(sizeof(int64_t));
  if (!table) return;
  *static_cast<Plan*>(table) = p;
  Row* const rows = reinterpret_cast<Row*>(static_cast<Plan*>(table) + 1);
  fill_rows(op.conv, rows);
  int64_t* const offsets = reinterpret_cast<int64_t*>(rows + p.rows);
  for (int64_t tap = 0; tap < p.taps; ++tap) offsets[tap] = tap_offset(op.conv, tap);
}

void run_unit(const Conv& c, const Plan& p, int64_t unit, const float* x, const float* dy, float* shared) {
  using Table = TapTileTable<std::make_integer_sequence<int, kTapTile>>;
  const int64_t block = unit % p.blocks;
  const Span part = span_of(p.rows, p.parts, unit / p.blocks);
  const Row* const rows = reinterpret_cast<const Row*>(&p + 1);
  const int64_t* const offsets = reinterpret_cast<const int64_t*>(rows + p.rows);
  TapTileArgs a{x + block * c.x.sc, dy + block * c.y.sc, nullptr, 0, c.y.w, c.stride[2] * kBlock, nullptr, nullptr};
  a.rows = rows + part.start;
  a.row_count = part.size;
  for (int64_t i = 0; i < p.tap_tiles; ++i) {
    const Span taps = span_of(p.taps, p.tap_tiles, i);
    a.offset = offsets + taps.start;
    a.dw = shared + (unit * p.taps + taps.start) * kBlock;
    Table::kTiles[taps.size - 1](a);
  }
}

// Adds the parts of one channel block and writes them as [channel][tap].
void write_block(const Conv& c, const Plan& p, int64_t block, const float* shared, float* dw) {
  const int64_t channels = least(kBlock, c.x.c - block * kBlock);
  for (int64_t tap = 0; tap < p.taps; ++tap) {
    Block sum = block_load(shared + (block * p.taps + tap) * kBlock);
    for (int64_t part = 1; part < p.parts; ++part)
      sum = add(sum, block_load(shared + ((part * p.blocks + block) * p.taps + tap) * kBlock));
    float lanes[kBlock];
    block_store(lanes, sum);
    for (int64_t lane = 0; lane < channels; ++lane) dw[(block * kBlock + lane) * p.taps + tap] = lanes[lane];
  }
}

void run(const Prepared& prepared, int phase, int64_t first, int64_t last, const Context& context) {
  const Conv& c = prepared.op.conv;
  const Plan& p = *static_cast<const Plan*>(prepared.table);
  const auto argument = [&](int i) { return static_cast<float*>(context.args[i]); };
  float* const shared = static_cast<float*>(context.shared);
  for (int64_t unit = first; unit < last; ++unit) {
    if (phase == 0)
      run_unit(c, p, unit, argument(Conv::kGwX), argument(Conv::kGwDy), shared);
    else
      write_block(c, p, unit, shared, argument(Conv::kGwDw));
  }
}

}  // namespace

extern const Kernel conv2d_grad_weight_depthwise;
const Kernel conv2d_grad_weight_depthwise = {"depthwise", OpKind::kConv2dGradWeight, candidates, prepare, nullptr, run};

}  // namespace CNNKERN_NAMESPACE
