// SPDX-License-Identifier: BSD-3-Clause
// The direct convolution that reads a plain map of few channels (an image) and writes a blocked one:
//   y[n, o, p] = act(bias[o] + residual[n, o, p]
//                    + sum over c and taps t of x[n, c, p * stride - padding + t * dilation] w[o, c, t]).
// Blocks of 16 channels of the image would be mostly zeros. A unit is a band of output rows, computed from a copy of the
// input rows that it needs (simd/input_rows.hpp): any kernel, stride and dilation.
//
// Registers: simd/conv_tile.hpp. Weights: [panel][c, t][blocks of the panel][16]. Zen 5, 3 -> 64, 7x7 of stride 2 at
// 224x224: 90 to 94% of the FMA peak with AVX-512 and AVX2; 3x3 of stride 1: 81 to 86%.
#include "simd/input_rows.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

constexpr int64_t kMostChannels = 8;
constexpr int64_t kBandRows = 8;          // more share no more of their input rows to speak of
constexpr int64_t kBandBytes = 64 << 10;  // of copied rows: they stay in L2, and mostly in L1
constexpr int64_t kMostBytes = 4 << 20;   // of a single row's input: beyond, another algorithm
constexpr int64_t kWantedUnits = 32;

// Stands at the start of the table, then the offsets.
struct Plan {
  Sweep sweep;          // of one band
  InputRows input;      // of one band
  int64_t band, bands;  // output rows of a band, bands of a plane
};

Plan make_plan(const Conv& c) {
  Plan p{};
  const int64_t planes = c.y.n * c.y.d;
  p.band = most(1, least(least(kBandRows, c.y.h), planes * c.y.h / kWantedUnits));
  while (p.band > 1 && copied_bytes(c, input_rows(c, p.band)) > kBandBytes) --p.band;
  p.bands = (c.y.h + p.band - 1) / p.band;
  p.input = input_rows(c, p.band);

  const int64_t one[3] = {1, 1, 1};
  Sweep& s = p.sweep;
  s.n = s.d = 1, s.h = p.band, s.w = c.y.w;
  read_input_rows(c, p.input, s);
  far_result(s, c.y, c.epilogue);
  s.y = sweep_map(c.y, s.lanes, one);
  s.residual = sweep_map(c.residual, s.lanes, one);
  return p;
}

int candidates(const Op& op, const Machine& machine, Variant* out) {
  const Conv& c = op.conv;
  if (c.x.layout != Layout::kPlain || c.y.layout != Layout::kBlocked || !is_blocked(c.residual)) return 0;
  if (c.groups != 1 || c.x.c > kMostChannels) return 0;
  const Plan p = make_plan(c);
  const double copied = static_cast<double>(copied_bytes(c, p.input));
  if (copied > static_cast<double>(kMostBytes)) return 0;
  const double bands = static_cast<double>(c.y.n * c.y.d * p.bands);
  const double bytes = 4.0 * static_cast<double>(c.x.n * c.x.c) * static_cast<double>(c.x.d * c.x.h * c.x.w) +
                       map_bytes(c.y) + map_bytes(c.residual);
  const double copying = copying_ns(bands * copied, machine);
  const double rows =
      static_cast<double>(c.y.h) / static_cast<double>(p.bands * p.band);  // the last band may be smaller
  *out = {0,
          0,
          {},
          static_cast<float>(bands * rows * sweep_ns(p.sweep, machine) + copying + 0.5 * traffic_ns(bytes, machine) +
                             1000)};
  return 1;
}

void prepare(const Op& op, const Variant&, Work* work, void* table) {
  const Conv& c = op.conv;
  const Plan p = make_plan(c);
  *work = {};
  work->phases = 1;
  work->units[0] = c.y.n * c.y.d * p.bands;
  work->packed_bytes = p.sweep.packed_size * static_cast<int64_t>(sizeof(float));
  work->pack_units = p.sweep.blocks;
  work->scratch_bytes = copied_bytes(c, p.input);
  work->table_bytes = static_cast<int64_t>(sizeof(Plan)) + p.sweep.steps * static_cast<int64_t>(sizeof(int32_t));
  if (!table) return;
  *static_cast<Plan*>(table) = p;
  fill_row_offsets(c, p.input, reinterpret_cast<int32_t*>(static_cast<Plan*>(table) + 1));
}

void pack(const Prepared& prepared, int64_t first, int64_t last, const float* weight, void* packed) {
  pack_row_weights(static_cast<const Plan*>(prepared.table)->sweep, first, last, weight, static_cast<float*>(packed));
}

void run(const Prepared& prepared, int, int64_t first, int64_t last, const Context& context) {
  const Conv& c = prepared.op.conv;
  const Plan& p = *static_cast<const Plan*>(prepared.table);
  const Sweep& s = p.sweep;
  const auto argument = [&](int i) { return static_cast<float*>(context.args[i]); };
  float* const scratch = static_cast<float*>(context.scratch);
  TileArgs a = tile_args(s, reinterpret_cast<const int32_t*>(&p + 1), c.epilogue);
  for (int64_t unit = first; unit < last; ++unit) {
    const int64_t h = unit % p.bands * p.band, d = unit / p.bands % c.y.d, n = unit / (p.bands * c.y.d);
    const int64_t rows = least(p.band, c.y.h - h);
    copy_input_rows(c, p.input, argument(Conv::kX), n, d, h, rows, scratch);
    const float* const residual = argument(Conv::kResidual);
    const SweepPointers pointers = {scratch, static_cast<const float*>(context.packed), argument(Conv::kBias),
                                    residual ? at_block(c.residual, residual, n, 0, d, h, 0) : nullptr,
                                    at_block(c.y, argument(Conv::kY), n, 0, d, h, 0)};
    for_tiles(s, a, pointers, 0, 0, rows * s.row_tiles,
              [&](int64_t pixels) CNNKERN_LAMBDA { run_panels<1>(s, a, pointers, 0, 0, s.panels, pixels); });
  }
}

}  // namespace

extern const Kernel conv2d_first;
const Kernel conv2d_first = {"first", OpKind::kConv2d, candidates, prepare, pack, run};

}  // namespace CNNKERN_NAMESPACE
