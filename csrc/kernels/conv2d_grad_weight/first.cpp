// SPDX-License-Identifier: BSD-3-Clause
// dw[o, c, t] = sum over images and pixels p of dy[n, o, p] x[n, c, p * stride - padding + t * dilation] where x is a plain
// map of few channels (an image) and dy a blocked one. Taps take the place that channels have in simd/weight_tile.hpp: those
// of a row of the kernel lie side by side in x. Any kernel, stride and padding.
//
// Phase 0: units are parts of the rows of dy. A part walks its rows band by band: the input rows that a band needs are
// copied with their padding (simd/input_rows.hpp), then the register tile of some rows of the kernel (runs) and one or two
// blocks of outputs walks the pixels of the band. Phase 1: a unit adds the parts of a block of outputs, in order.
//
// Zen 4, two threads, 16 images of 224x224, 3 -> 64, 7x7 of stride 2: 17 ms, im2col 27 with the copy of dy that it needs.
#include "simd/input_rows.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

constexpr int64_t kMostChannels = 4;
constexpr int64_t kBandBytes = 96 << 10;  // of copied rows and of two blocks of dy: they stay in L2
constexpr int64_t kWantedParts = 16;
constexpr int64_t kMostBytes = 4 << 20;  // of a single row's input: beyond, another algorithm

constexpr int kSums = kRegisters == 32 ? 24 : 12 / kVecs;  // blocks of them in registers
constexpr int kTileMost = kRegisters == 32 ? 2 : 1;        // blocks of outputs in a tile
constexpr int kMostWidth = kSums < 8 ? kSums : 8;          // taps of a run in a tile
constexpr int kMostRuns = 4;                               // their pointers must fit registers too

constexpr int runs_beside(int width, int blocks) {
  const int room = kSums / (width * blocks);
  return room > kMostRuns ? kMostRuns : room < 1 ? 1 : room;
}

// Stands at the start of the table, then the offset of every run.
struct Plan {
  InputRows input;                    // of one band
  int64_t band;                       // output rows of a band
  int64_t rows, parts;                // of dy in all
  int64_t blocks, runs, width, taps;  // runs: rows of the kernel in all channels
  int64_t pieces;                     // that a run is cut into
  int64_t part_floats;
};

Plan make_plan(const Conv& c) {
  Plan p{};
  p.blocks = blocks_of(c.y.c);
  p.width = c.w.w, p.runs = c.x.c * c.w.h, p.taps = p.runs * p.width;
  p.pieces = (p.width + kMostWidth - 1) / kMostWidth;
  p.rows = c.y.n * c.y.h;
  p.parts = least(p.rows, kWantedParts);
  p.band = c.y.h;
  while (p.band > 1 &&
         copied_bytes(c, input_rows(c, p.band)) + p.band * c.y.w * kTileMost * kBlock * kFloat > kBandBytes)
    --p.band;
  p.input = input_rows(c, p.band);
  p.part_floats = p.blocks * kBlock * p.taps;
  return p;
}

int candidates(const Op& op, const Machine& machine, Variant* out) {
  const Conv& c = op.conv;
  if (c.x.layout != Layout::kPlain || c.y.layout != Layout::kBlocked || c.groups != 1 || c.x.c > kMostChannels)
    return 0;
  if (c.w.d != 1 || c.x.d != 1 || c.y.d != 1 || c.padding[0] != 0 || c.dilation[2] != 1) return 0;
  const Plan p = make_plan(c);
  if (copied_bytes(c, input_rows(c, 1)) > kMostBytes) return 0;
  const double pixels = static_cast<double>(p.rows * c.y.w);
  double slots = 0;
  for (int64_t block = 0; block < p.blocks; block += kTileMost) {
    const int64_t blocks = least(kTileMost, p.blocks - block);
    for (int64_t piece = 0; piece < p.pieces; ++piece) {
      const int64_t width = span_of(p.width, p.pieces, piece).size;
      const int64_t runs = runs_beside(static_cast<int>(width), static_cast<int>(blocks));
      const int64_t work = most(most(runs * width * blocks * kVecs, 8), runs * width + blocks * kVecs);
      slots += pixels * static_cast<double>(work * ((p.runs + runs - 1) / runs));
    }
  }
  const double bytes = 4.0 * static_cast<double>(c.x.n * c.x.c * c.x.h * c.x.w) + map_bytes(c.y);
  const double copied = static_cast<double>(copied_bytes(c, p.input) * ((p.rows + p.band - 1) / p.band));
  *out = {0,
          0,
          {},
          static_cast<float>(1.1 * slots * 2 * kLanes / (machine.flops_per_ns * machine.threads) +
                             copying_ns(copied, machine) + 0.5 * traffic_ns(bytes, machine) + 2000)};
  return 1;
}

void prepare(const Op& op, const Variant&, Work* work, void* table) {
  const Conv& c = op.conv;
  const Plan p = make_plan(c);
  *work = {};
  work->phases = 2;
  work->units[0] = p.parts;
  work->units[1] = p.blocks;
  work->shared_bytes = p.parts * p.part_floats * kFloat;
  work->scratch_bytes = copied_bytes(c, p.input);
  work->table_bytes = static_cast<int64_t>(sizeof(Plan)) + p.runs * static_cast<int64_t>(sizeof(int32_t));
  if (!table) return;
  *static_cast<Plan*>(table) = p;
  int32_t* offset = reinterpret_cast<int32_t*>(static_cast<Plan*>(table) + 1);
  for (int64_t channel = 0; channel < c.x.c; ++channel)
    for (int64_t row = 0; row < c.w.h; ++row)
      *offset++ = static_cast<int32_t>((channel * p.input.rows + row * c.dilation[1]) * p.input.width);
}

struct RunArgs {
  const float* x;  // of the first pixel, without the offset of a run
  const int32_t* offset;
  const float* dy;
  int64_t rows, columns;
  int64_t x_row, x_step, dy_row, dy_block;
  float* dw;       // [run][tap][kBlocks][16]
  int64_t dw_run;  // floats from run to run
};
using RunFunction = void (*)(const RunArgs&);

template <int kRuns, int kWidth, int kBlocks>
void run_tile(const RunArgs& a) {
  Block sum[kRuns][kWidth][kBlocks];
  const auto each = [&](auto&& body) CNNKERN_LAMBDA {
    unroll<kRuns>([&](auto r) CNNKERN_LAMBDA {
      unroll<kWidth>([&](auto s) CNNKERN_LAMBDA { unroll<kBlocks>([&](auto b) CNNKERN_LAMBDA { body(r, s, b); }); });
    });
  };
  each([&](auto r, auto s, auto b)
           CNNKERN_LAMBDA { sum[r][s][b] = block_load(a.dw + r * a.dw_run + (s * kBlocks + b) * kBlock); });
  for (int64_t row = 0; row < a.rows; ++row) {
    const float* run[kRuns];
    unroll<kRuns>([&](auto r) CNNKERN_LAMBDA { run[r] = a.x + row * a.x_row + a.offset[r]; });
    const float* dy = a.dy + row * a.dy_row;
    const int64_t step = a.x_step, dy_block = a.dy_block;
    for (int64_t left = a.columns; left > 0; --left, dy += kBlock) {
      Block gradient[kBlocks];
      unroll<kBlocks>([&](auto b) CNNKERN_LAMBDA { gradient[b] = block_load(dy + b * dy_block); });
      unroll<kRuns>([&](auto r) CNNKERN_LAMBDA {
        unroll<kWidth>([&](auto s) CNNKERN_LAMBDA {
          const Vec value = set1(run[r][s]);
          unroll<kBlocks>([&](auto b) CNNKERN_LAMBDA {
            unroll<kVecs>([&](auto v)
                              CNNKERN_LAMBDA { sum[r][s][b].v[v] = fma(gradient[b].v[v], value, sum[r][s][b].v[v]); });
          });
        });
        run[r] += step;
      });
    }
  }
  each([&](auto r, auto s, auto b)
           CNNKERN_LAMBDA { block_store(a.dw + r * a.dw_run + (s * kBlocks + b) * kBlock, sum[r][s][b]); });
}

template <int kBlocks, class Sequence>
struct Tiles;
template <int kBlocks, int... kIndex>
struct Tiles<kBlocks, std::integer_sequence<int, kIndex...>> {
  static constexpr RunFunction kMany[] = {run_tile<runs_beside(kIndex + 1, kBlocks), kIndex + 1, kBlocks>...};
  static constexpr RunFunction kOne[] = {run_tile<1, kIndex + 1, kBlocks>...};
};

RunFunction run_function(int64_t width, int64_t blocks, bool many) {
  using Widths = std::make_integer_sequence<int, kMostWidth>;
  if constexpr (kTileMost == 2)
    if (blocks == 2) return (many ? Tiles<2, Widths>::kMany : Tiles<2, Widths>::kOne)[width - 1];
  return (many ? Tiles<1, Widths>::kMany : Tiles<1, Widths>::kOne)[width - 1];
}

// A band of output rows of image n from row h on, whose input rows stand in `copied`, into partial sums.
void add_band(const Conv& c, const Plan& p, const float* copied, const float* dy, int64_t n, int64_t h, int64_t rows,
              float* partial) {
  const int32_t* const offsets = reinterpret_cast<const int32_t*>(&p + 1);
  RunArgs a{};
  a.rows = rows, a.columns = c.y.w;
  a.x_row = c.stride[1] * p.input.width, a.x_step = c.stride[2];
  a.dy_row = c.y.sh, a.dy_block = c.y.sc;
  for (int64_t block = 0; block < p.blocks; block += kTileMost) {
    const int64_t blocks = least(kTileMost, p.blocks - block);
    a.dy = at_block(c.y, dy, n, block, 0, h, 0);
    a.dw_run = p.width * blocks * kBlock;
    for (int64_t piece = 0; piece < p.pieces; ++piece) {
      const Span span = span_of(p.width, p.pieces, piece);
      const int64_t many = runs_beside(static_cast<int>(span.size), static_cast<int>(blocks));
      a.x = copied + span.start;
      for (int64_t run = 0; run < p.runs;) {
        const int64_t runs = p.runs - run >= many ? many : 1;
        a.offset = offsets + run;
        a.dw = partial + block * kBlock * p.taps + run * a.dw_run + span.start * blocks * kBlock;
        run_function(span.size, blocks, runs == many)(a);
        run += runs;
      }
    }
  }
}

void add_part(const Conv& c, const Plan& p, int64_t part, const float* x, const float* dy, float* copied,
              float* partial) {
  for (int64_t i = 0; i < p.part_floats; i += kBlock) block_store(partial + i, block_zero());
  const Span span = span_of(p.rows, p.parts, part);
  for (int64_t row = span.start; row < span.start + span.size;) {
    const int64_t n = row / c.y.h, h = row % c.y.h;
    const int64_t rows = least(least(p.band, c.y.h - h), span.start + span.size - row);
    copy_input_rows(c, p.input, x, n, 0, h, rows, copied);
    add_band(c, p, copied, dy, n, h, rows, partial);
    row += rows;
  }
}

// One block of outputs: all parts, in order.
void write_block(const Conv& c, const Plan& p, int64_t block, const float* parts, float* dw) {
  const int64_t first = block / kTileMost * kTileMost, blocks = least(kTileMost, p.blocks - first);
  const int64_t lanes = least(kBlock, c.y.c - block * kBlock);
  dw += block * kBlock * p.taps;
  for (int64_t tap = 0; tap < p.taps; ++tap) {
    const float* from = parts + first * kBlock * p.taps + (tap * blocks + block - first) * kBlock;
    Block sum = block_load(from);
    for (int64_t part = 1; part < p.parts; ++part) sum = add(sum, block_load(from + part * p.part_floats));
    float values[kBlock];
    block_store(values, sum);
    for (int64_t lane = 0; lane < lanes; ++lane) dw[lane * p.taps + tap] = values[lane];
  }
}

void run(const Prepared& prepared, int phase, int64_t first, int64_t last, const Context& context) {
  const Conv& c = prepared.op.conv;
  const Plan& p = *static_cast<const Plan*>(prepared.table);
  float* const parts = static_cast<float*>(context.shared);
  for (int64_t unit = first; unit < last; ++unit) {
    if (phase == 0)
      add_part(c, p, unit, static_cast<const float*>(context.args[Conv::kGwX]),
               static_cast<const float*>(context.args[Conv::kGwDy]), static_cast<float*>(context.scratch),
               parts + unit * p.part_floats);
    else
      write_block(c, p, unit, parts, static_cast<float*>(context.args[Conv::kGwDw]));
  }
}

}  // namespace

extern const Kernel conv2d_grad_weight_first;
const Kernel conv2d_grad_weight_first = {"first", OpKind::kConv2dGradWeight, candidates, prepare, nullptr, run};

}  // namespace CNNKERN_NAMESPACE
