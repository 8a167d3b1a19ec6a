// SPDX-License-Identifier: BSD-3-Clause
// conv2d_grad_input by im2col: dx(c, i) = sum over (o, tap) of w(o, c, tap) dy(o, (i + padding - tap * dilation) / stride),
// over the taps where the division has no remainder and meets a pixel.
//
// Gathers, never scatters, so nothing is added twice or in another order. Input pixels whose position has the same remainder
// by the stride form a phase: they meet the same taps, and their outputs lie side by side, so that each phase is a
// convolution of stride 1 over dy with fewer taps (the 3x3 kernel of stride 2 falls into 1, 2, 2 and 4). Plain layout; panels
// of 32 (AVX-512) pixels of a phase by 14 input channels, as in conv2d. Serves every shape.
// Measured (AVX-512, batch 8, percent of the FMA peak on one core): 3x3 64>64 at 56x56 79, 128>128 at 28x28 77, with stride 2
// 68; 1x1 73 to 90, with stride 2 47 (three of four pixels are zeros to be written).
#include "simd/patch_product.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

// One remainder along one axis. Its taps are first_tap, first_tap + tap_step, ...; `before` counts those of the
// remainders before this one.
struct AxisPhase {
  PatchAxis patch;
  int64_t first_tap, tap_step, before;
};

int64_t size_along(const Tensor& t, int axis) { return axis == 0 ? t.d : axis == 1 ? t.h : t.w; }
int64_t phases_along(const Conv& c, int axis) { return least(c.stride[axis], size_along(c.x, axis)); }

int64_t greatest_divisor(int64_t a, int64_t b) {
  while (b != 0) {
    const int64_t rest = a % b;
    a = b, b = rest;
  }
  return a;
}

AxisPhase axis_phase(const Conv& c, int axis, int64_t remainder) {
  const int64_t taps = size_along(c.w, axis), stride = c.stride[axis], dilation = c.dilation[axis];
  const int64_t size = size_along(c.x, axis), position = remainder + c.padding[axis];
  const int64_t divisor = greatest_divisor(stride, dilation);
  AxisPhase phase{};
  phase.patch = {size_along(c.y, axis), (size - remainder + stride - 1) / stride, 1, 0, 0, -dilation / divisor};
  phase.tap_step = stride / divisor;
  for (int64_t tap = 0; tap < least(taps, phase.tap_step); ++tap) {
    if ((position - tap * dilation) % stride != 0) continue;
    phase.first_tap = tap;
    phase.patch.first = (position - tap * dilation) / stride;
    phase.patch.taps = (taps - tap + phase.tap_step - 1) / phase.tap_step;
    break;
  }
  return phase;
}

// The phases of planes, those of rows, those of columns.
void fill_table(const Conv& c, AxisPhase* table) {
  for (int axis = 0; axis < 3; ++axis) {
    int64_t before = 0;
    for (int64_t i = 0; i < phases_along(c, axis); ++i) {
      *table = axis_phase(c, axis, i);
      table->before = before;
      before += table->patch.taps;
      ++table;
    }
  }
}

struct Phase {
  AxisPhase d, h, w;
  int64_t plane, row, column;  // of its first pixel
  int64_t taps() const { return d.patch.taps * h.patch.taps * w.patch.taps; }
};

int64_t phase_count(const Conv& c) { return phases_along(c, 0) * phases_along(c, 1) * phases_along(c, 2); }
int64_t rows_of(const Conv& c) { return c.w.c; }                // input channels of a group
int64_t outputs_of(const Conv& c) { return c.w.n / c.groups; }  // output channels of a group
int64_t area_of(const Conv& c) { return c.w.d * c.w.h * c.w.w; }

Phase phase_at(const Conv& c, const AxisPhase* table, int64_t index) {
  const int64_t planes = phases_along(c, 0), rows = phases_along(c, 1), columns = phases_along(c, 2);
  const int64_t plane = index / columns / rows, row = index / columns % rows, column = index % columns;
  return {table[plane], table[planes + row], table[planes + rows + column], plane, row, column};
}

// Where the packed weights of a phase begin: behind those of the phases before it.
int64_t packed_start(const Conv& c, const AxisPhase* table, const Phase& phase) {
  const AxisPhase* const last_h = table + phases_along(c, 0) + phases_along(c, 1) - 1;
  const AxisPhase* const last_w = last_h + phases_along(c, 2);
  const int64_t along_h = last_h->before + last_h->patch.taps;  // taps of all phases of rows
  const int64_t along_w = last_w->before + last_w->patch.taps;  // and of columns
  const int64_t in_plane = phase.h.before * along_w + phase.h.patch.taps * phase.w.before;
  return (phase.d.before * along_h * along_w + phase.d.patch.taps * in_plane) * c.w.n * c.w.c;
}

// The largest phase decides how the work of all of them divides.
PatchSplit split_of(const Conv& c) {
  int64_t taps = 1, pixels = 1;
  for (int axis = 0; axis < 3; ++axis) {
    const int64_t step = c.stride[axis] / greatest_divisor(c.stride[axis], c.dilation[axis]);
    taps *= (size_along(c.w, axis) + step - 1) / step;
    pixels *= (size_along(c.x, axis) + c.stride[axis] - 1) / c.stride[axis];
  }
  return patch_split(rows_of(c), outputs_of(c) * taps, c.x.n * pixels);
}

int candidates(const Op& op, const Machine& machine, Variant* out) {
  const Conv& c = op.conv;
  if (!is_plain(c.x) || !is_plain(c.y) || !is_plain(c.residual) || !is_plain(c.gate)) return 0;
  // Each tap belongs to one phase.
  const double depth = static_cast<double>(outputs_of(c) * area_of(c)) / static_cast<double>(phase_count(c));
  out[0] = Variant{};
  out[0].ns = patch_product_ns(machine, rows_of(c), depth, c.x.n * c.x.d * c.x.h * c.x.w, c.groups);
  if (c.stride[2] > 1) {  // stored one by one
    constexpr double kStoreNs = 0.8;
    const double pixels = static_cast<double>(c.x.n * c.x.c) * static_cast<double>(c.x.d * c.x.h * c.x.w);
    out[0].ns += static_cast<float>(kStoreNs * pixels / machine.threads);
  }
  return 1;
}

void prepare(const Op& op, const Variant&, Work* work, void* table) {
  const Conv& c = op.conv;
  const PatchSplit split = split_of(c);
  *work = Work{};
  work->phases = 1;
  work->units[0] = c.groups * split.units * phase_count(c);
  work->scratch_bytes = split.scratch_bytes;
  work->packed_bytes = c.w.n * c.w.c * area_of(c) * 4;
  work->pack_units = c.groups * panels_of(rows_of(c)).count;
  work->table_bytes =
      (phases_along(c, 0) + phases_along(c, 1) + phases_along(c, 2)) * static_cast<int64_t>(sizeof(AxisPhase));
  if (table) fill_table(c, static_cast<AxisPhase*>(table));
}

// The taps of a phase of one output channel, [tap][input channel], `height` input channels from `from` on.
float* pack_taps(const Conv& c, const Phase& phase, const float* from, int height, float* to) {
  const int64_t area = area_of(c);
  for (int64_t d = 0; d < phase.d.patch.taps; ++d)
    for (int64_t h = 0; h < phase.h.patch.taps; ++h)
      for (int64_t w = 0; w < phase.w.patch.taps; ++w) {
        const int64_t plane = phase.d.first_tap + d * phase.d.tap_step, row = phase.h.first_tap + h * phase.h.tap_step;
        const int64_t tap = (plane * c.w.h + row) * c.w.w + phase.w.first_tap + w * phase.w.tap_step;
        for (int r = 0; r < height; ++r) *to++ = from[r * area + tap];
      }
  return to;
}

// A unit is a panel of input channels, in all phases: [phase][group][panel][output channel, tap][input channel].
void pack(const Prepared& prepared, int64_t first, int64_t last, const float* weight, void* packed) {
  const Conv& c = prepared.op.conv;
  const AxisPhase* table = static_cast<const AxisPhase*>(prepared.table);
  const Panels panels = panels_of(rows_of(c));
  const int64_t area = area_of(c);
  for (int64_t unit = first; unit < last; ++unit) {
    const int64_t group = unit / panels.count, row = panels.start(unit % panels.count);
    const int height = panels.rows(unit % panels.count);
    const float* from = weight + group * outputs_of(c) * c.w.c * area + row * area;
    for (int64_t index = 0; index < phase_count(c); ++index) {
      const Phase phase = phase_at(c, table, index);
      float* to = static_cast<float*>(packed) + packed_start(c, table, phase) +
                  (group * rows_of(c) + row) * outputs_of(c) * phase.taps();
      for (int64_t o = 0; o < outputs_of(c); ++o) to = pack_taps(c, phase, from + o * c.w.c * area, height, to);
    }
  }
}

// Units [begin, end) of one group in one phase.
void run_phase(const Prepared& prepared, const PatchSplit& split, int64_t index, int64_t group, int64_t begin,
               int64_t end, const Context& context) {
  const Conv& c = prepared.op.conv;
  const AxisPhase* table = static_cast<const AxisPhase*>(prepared.table);
  const Phase phase = phase_at(c, table, index);
  static constexpr Epilogue kNothing{};
  PatchProduct p{};
  p.map = {phase.d.patch, phase.h.patch, phase.w.patch, c.y.sn, c.y.sc, c.y.sd, c.y.sh};
  p.m = rows_of(c);
  p.depth = outputs_of(c) * phase.taps();
  p.columns = c.x.n * p.map.pixels();
  p.weight = static_cast<const float*>(context.packed) + packed_start(c, table, phase) + group * p.m * p.depth;
  p.x = static_cast<const float*>(context.args[Conv::kGiDy]) + group * outputs_of(c) * c.y.sc;
  // Every stride-th pixel of a map like dx, from the first one of the phase and the group on.
  const auto pixels = [&](const Tensor& t, int argument, PixelMap& map) {
    const bool one_plane = phase.d.patch.count == 1 || (c.stride[0] == 1 && c.stride[1] == 1);
    map = {t.sn, t.sc, c.stride[1] * t.sh, c.stride[2], one_plane ? 0 : phase.h.patch.count, c.stride[0] * t.sd};
    float* const start = static_cast<float*>(context.args[argument]);
    return start ? start + group * p.m * t.sc + phase.plane * t.sd + phase.row * t.sh + phase.column : nullptr;
  };
  p.y = pixels(c.x, Conv::kGiDx, p.to);
  p.residual = pixels(c.residual, Conv::kGiResidual, p.residual_from);
  p.gate = pixels(c.gate, Conv::kGiGate, p.gate_from);
  p.epilogue = &kNothing;
  flatten(p);
  // Smaller phases than the largest have fewer panels of columns.
  if (!split.by_weights) end = least(end, p.column_panels());
  if (begin < end) multiply_units(p, split, begin, end, static_cast<float*>(context.scratch));
}

// Phases are innermost, since they cost differently: any range of units has its share of each. A range is run phase by
// phase.
void run(const Prepared& prepared, int, int64_t first, int64_t last, const Context& context) {
  const Conv& c = prepared.op.conv;
  const PatchSplit split = split_of(c);
  const int64_t phases = phase_count(c);
  for (int64_t index = 0; index < phases; ++index) {
    const int64_t panel_end = (last - index + phases - 1) / phases;
    for (int64_t panel = (first - index + phases - 1) / phases; panel < panel_end;) {
      const int64_t group = panel / split.units, begin = panel % split.units;
      const int64_t end = least(split.units, begin + panel_end - panel);
      run_phase(prepared, split, index, group, begin, end, context);
      panel += end - begin;
    }
  }
}

}  // namespace

extern const Kernel conv2d_grad_input_im2col;
const Kernel conv2d_grad_input_im2col = {"im2col", OpKind::kConv2dGradInput, candidates, prepare, pack, run};

}  // namespace CNNKERN_NAMESPACE
