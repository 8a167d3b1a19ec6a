// SPDX-License-Identifier: BSD-3-Clause
// dw[o, c, t] = sum over images n and pixels p of dy[n, o, p] x[n, c, p * stride - padding + t * dilation] with 16 images in
// the lanes: for few channels, which would leave most lanes of a block empty. No groups.
//
// The rows of dy make one long reduction, cut into fixed parts. A unit of phase 0 is one tile of outputs and taps over one
// part; phase 1 adds the parts in double. Registers: simd/lanes_tile.hpp. Zen 4, one core, LeNet's layers, 128 images: 70%
// (one channel) and 88% of the FMA peak with AVX-512.
#include "simd/lanes_conv.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

constexpr int64_t kPartPixels = 1024;  // the sums of the lanes, at the end of a tile, take 2% of these

// Stands at the start of the table; behind it the rows, and then the offset of each tap of each channel.
struct Plan {
  int64_t outputs, filter;  // filter: taps of all channels
  int64_t output_tiles, tap_tiles;
  int64_t rows, parts;
};

Plan make_plan(const Conv& c) {
  Plan p{};
  p.outputs = c.w.n, p.filter = c.w.c * taps_of(c);
  p.output_tiles = (p.outputs + kLanesWeightOutputs - 1) / kLanesWeightOutputs;
  p.tap_tiles = (p.filter + kLanesWeightTaps - 1) / kLanesWeightTaps;
  p.rows = c.y.n / kBlock * c.y.h;
  p.parts = most(1, least(p.rows, p.rows * c.y.w / kPartPixels));
  return p;
}

int candidates(const Op& op, const Machine& machine, Variant* out) {
  const Conv& c = op.conv;
  if (!lanes_serve(c) || !border_suffices(c) || !lanes_offsets_fit(c.x)) return 0;
  const Plan p = make_plan(c);
  const int64_t tiles = p.parts * p.output_tiles * p.tap_tiles, pixels = p.rows * c.y.w / p.parts;
  const double fill = static_cast<double>(p.outputs * p.filter) /
                      static_cast<double>(p.output_tiles * kLanesWeightOutputs * p.tap_tiles * kLanesWeightTaps);
  // Loads are not all hidden: 15% more where all tiles are full, and what smaller tiles lose.
  const double slots = 1.15 * static_cast<double>(tiles) * (0.5 + 0.5 * fill) *
                       lanes_slots(kLanesWeightOutputs, kLanesWeightTaps, pixels);
  const double bytes = map_bytes(c.x) + map_bytes(c.y);
  *out = {0,
          0,
          {},
          static_cast<float>(slots * 2 * kLanes / (machine.flops_per_ns * machine.threads) +
                             0.5 * traffic_ns(bytes, machine) + 1000)};
  return 1;
}

void prepare(const Op& op, const Variant&, Work* work, void* table) {
  const Conv& c = op.conv;
  const Plan p = make_plan(c);
  *work = {};
  work->phases = p.parts > 1 ? 2 : 1;
  work->units[0] = p.parts * p.output_tiles * p.tap_tiles;
  if (p.parts > 1) {
    work->units[1] = p.outputs;
    work->shared_bytes = p.parts * p.outputs * p.filter * static_cast<int64_t>(sizeof(float));
  }
  work->table_bytes = static_cast<int64_t>(sizeof(Plan)) + p.rows * static_cast<int64_t>(sizeof(Row)) +
                      p.filter * static_cast<int64_t>(sizeof(int32_t));
  if (!table) return;
  *static_cast<Plan*>(table) = p;
  Row* const rows = reinterpret_cast<Row*>(static_cast<Plan*>(table) + 1);
  fill_rows(c, rows);
  int32_t* offset = reinterpret_cast<int32_t*>(rows + p.rows);
  for (int64_t channel = 0; channel < c.w.c; ++channel)
    for (int64_t tap = 0; tap < taps_of(c); ++tap)
      *offset++ = static_cast<int32_t>(channel * c.x.sc + tap_offset(c, tap));
}

void run_unit(const Conv& c, const Plan& p, int64_t unit, const Context& context, float* dw) {
  const Row* const rows = reinterpret_cast<const Row*>(&p + 1);
  const int32_t* const offsets = reinterpret_cast<const int32_t*>(rows + p.rows);
  const Span taps = span_of(p.filter, p.tap_tiles, unit % p.tap_tiles);
  const Span outputs = span_of(p.outputs, p.output_tiles, unit / p.tap_tiles % p.output_tiles);
  const Span part = span_of(p.rows, p.parts, unit / (p.tap_tiles * p.output_tiles));
  LanesWeightArgs a{};
  a.x = static_cast<const float*>(context.args[Conv::kGwX]);
  a.dy = static_cast<const float*>(context.args[Conv::kGwDy]) + outputs.start * c.y.sc;
  a.rows = rows + part.start, a.row_count = part.size;
  a.columns = c.y.w;
  a.x_step = c.stride[2] * kBlock;
  a.dy_channel = c.y.sc;
  a.offset = offsets + taps.start;
  a.dw = dw + outputs.start * p.filter + taps.start;
  a.filter = p.filter;
  lanes_weight_function(outputs.size, taps.size)(a);
}

void run(const Prepared& prepared, int phase, int64_t first, int64_t last, const Context& context) {
  const Conv& c = prepared.op.conv;
  const Plan& p = *static_cast<const Plan*>(prepared.table);
  const int64_t size = p.outputs * p.filter;
  float* const dw = static_cast<float*>(context.args[Conv::kGwDw]);
  float* const shared = static_cast<float*>(context.shared);
  for (int64_t unit = first; unit < last; ++unit) {
    if (phase == 0) {
      const int64_t part = unit / (p.tap_tiles * p.output_tiles);
      run_unit(c, p, unit, context, p.parts > 1 ? shared + part * size : dw);
      continue;
    }
    for (int64_t i = unit * p.filter; i < (unit + 1) * p.filter; ++i) {
      double sum = 0;
      for (int64_t part = 0; part < p.parts; ++part) sum += static_cast<double>(shared[part * size + i]);
      dw[i] = static_cast<float>(sum);
    }
  }
}

}  // namespace

extern const Kernel conv2d_grad_weight_lanes;
const Kernel conv2d_grad_weight_lanes = {"lanes", OpKind::kConv2dGradWeight, candidates, prepare, nullptr, run};

}  // namespace CNNKERN_NAMESPACE
