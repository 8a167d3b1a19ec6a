// SPDX-License-Identifier: BSD-3-Clause
// The gradient by the input as sweeps over dy. Pixel i of dx receives from pixel j of dy under tap t where
//     j * stride - padding + t * dilation = i,
// so the pixels of dx fall into stride (per axis) phases: in phase a, i = a + stride * m, only the taps with
// (a + padding - t * dilation) divisible by the stride hit, and they read dy at m + (a + padding - t * dilation) /
// stride. Every phase is a convolution of stride 1 that writes every stride-th pixel; none multiplies by a zero of
// upsampling.
#pragma once
#include "simd/conv_geometry.hpp"
#include "simd/conv_sweep.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

constexpr int64_t kMaxSweeps = 16;  // stride 4 in two dimensions; larger strides are rare

// Stands at the start of the table; behind it an int32 per tap of every sweep (its index in the weights), a PhaseTap
// per tap of the weights, then the offsets.
struct Phases {
  int64_t count;
  int64_t units;  // unit u is the u-th slice of every sweep, so that threads share light and heavy phases alike
  int64_t packed, taps, all_taps, steps;  // taps: of all sweeps, which may leave out some of the kernel's
  int64_t phase[kMaxSweeps], first_tap[kMaxSweeps];
  Sweep sweep[kMaxSweeps];
};

// Phase number `phase` along the three axes.
struct PhaseStart { int64_t axis[3]; };
CNNKERN_INLINE PhaseStart phase_start(const Conv& c, int64_t phase) {
  const int64_t h = phase / c.stride[2];
  return {{h / c.stride[1], h % c.stride[1], phase % c.stride[2]}};
}

// How far tap number `tap` of the kernel reaches along each axis from pixel 0 of the phase, in pixels of dx.
CNNKERN_INLINE PhaseStart tap_reach(const Conv& c, const PhaseStart& start, int64_t tap) {
  const int64_t at[3] = {tap / (c.w.w * c.w.h), tap / c.w.w % c.w.h, tap % c.w.w};
  PhaseStart reach;
  for (int i = 0; i < 3; ++i) reach.axis[i] = start.axis[i] + c.padding[i] - at[i] * c.dilation[i];
  return reach;
}

// body(tap) for each tap that hits the phase.
template <class Body>
CNNKERN_INLINE void for_phase_taps(const Conv& c, const PhaseStart& start, Body&& body) {
  for (int64_t tap = 0; tap < taps_of(c); ++tap) {
    const PhaseStart reach = tap_reach(c, start, tap);
    if (reach.axis[0] % c.stride[0] == 0 && reach.axis[1] % c.stride[1] == 0 && reach.axis[2] % c.stride[2] == 0)
      body(tap);
  }
}

CNNKERN_INLINE int64_t phase_offset(const Conv& c, const PhaseStart& start, int64_t tap) {
  const PhaseStart reach = tap_reach(c, start, tap);
  return reach.axis[0] / c.stride[0] * c.y.sd + reach.axis[1] / c.stride[1] * c.y.sh +
         reach.axis[2] / c.stride[2] * kBlock;
}

// Whether dy has physical zeros wherever a tap of a pixel of dx leaves it along one of the axes from `axis` on.
CNNKERN_INLINE bool gradient_border_suffices(const Conv& c, int axis = 0) {
  int64_t x[3], y[3], taps[3];
  spatial(c.x, x), spatial(c.y, y), spatial(c.w, taps);
  for (int i = axis; i < 3; ++i) {
    const int64_t lowest = c.padding[i] - (taps[i] - 1) * c.dilation[i], highest = x[i] - 1 + c.padding[i];
    if (lowest < 0 && (-lowest) / c.stride[i] > c.y.before[i]) return false;
    if (highest / c.stride[i] >= y[i] + c.y.after[i]) return false;
  }
  return true;
}

// Fills the sweeps. `complete(sweep)` adds what depends on the tile: conv_sweep's or depthwise_tile's.
template <class Complete>
CNNKERN_INLINE void make_phases(const Conv& c, int64_t group_dy, int64_t group_dx, Complete&& complete,
                                Phases& phases) {
  const int64_t one[3] = {1, 1, 1};
  const int64_t total = c.stride[0] * c.stride[1] * c.stride[2];
  int64_t extent[3];
  spatial(c.x, extent);
  phases.count = phases.units = phases.packed = phases.taps = phases.steps = 0;
  phases.all_taps = taps_of(c);
  for (int64_t phase = 0; phase < total; ++phase) {
    const PhaseStart start = phase_start(c, phase);
    int64_t size[3];
    for (int i = 0; i < 3; ++i) size[i] = (extent[i] - start.axis[i] + c.stride[i] - 1) / c.stride[i];
    if (size[0] <= 0 || size[1] <= 0 || size[2] <= 0) continue;
    Sweep s{};
    s.n = c.x.n, s.d = size[0], s.h = size[1], s.w = size[2];
    for_phase_taps(c, start, [&](int64_t) { ++s.taps; });
    s.x = sweep_map(c.y, group_dy, one);
    const auto result_map = [&](const Tensor& t) {
      SweepMap m = sweep_map(t, group_dx, c.stride);
      m.start = start.axis[0] * t.sd + start.axis[1] * t.sh + start.axis[2] * kBlock;
      return m;
    };
    s.far_pixels = phases.all_taps == 1 && map_bytes(c.y) > kFarBytes;
    far_result(s, c.x, Epilogue{});
    s.y = result_map(c.x), s.residual = result_map(c.residual), s.gate = result_map(c.gate);
    complete(s);
    s.packed = phases.packed;
    s.offsets = phases.steps;
    phases.phase[phases.count] = phase;
    phases.first_tap[phases.count] = phases.taps;
    phases.sweep[phases.count++] = s;
    phases.units = most(phases.units, s.units);
    phases.packed += s.packed_size;
    phases.taps += s.taps;
    phases.steps += s.steps;
  }
}

// The sweep that a tap of the kernel belongs to, or -1, and its number there.
struct PhaseTap { int32_t sweep, index; };

CNNKERN_INLINE const int32_t* phase_taps(const Phases& p, int64_t sweep) {
  return reinterpret_cast<const int32_t*>(&p + 1) + p.first_tap[sweep];
}
CNNKERN_INLINE const PhaseTap* phase_places(const Phases& p) {
  return reinterpret_cast<const PhaseTap*>(reinterpret_cast<const int32_t*>(&p + 1) + p.taps);
}
CNNKERN_INLINE const int32_t* phase_offsets(const Phases& p) {
  return reinterpret_cast<const int32_t*>(phase_places(p) + p.all_taps);
}

// Writes the table. `fill(sweep, tap_offset, offsets)` writes the offsets of one sweep.
template <class Fill>
CNNKERN_INLINE void phases_table(const Conv& c, const Phases& phases, Fill&& fill, void* table) {
  Phases& p = *static_cast<Phases*>(table);
  p = phases;
  int32_t* taps = reinterpret_cast<int32_t*>(&p + 1);
  PhaseTap* const places = reinterpret_cast<PhaseTap*>(taps + p.taps);
  int32_t* const offsets = reinterpret_cast<int32_t*>(places + p.all_taps);
  for (int64_t tap = 0; tap < p.all_taps; ++tap) places[tap] = {-1, 0};
  for (int64_t i = 0; i < p.count; ++i) {
    const PhaseStart start = phase_start(c, p.phase[i]);
    int32_t index = 0;
    for_phase_taps(c, start, [&](int64_t tap) {
      places[tap] = {static_cast<int32_t>(i), index};
      taps[index++] = static_cast<int32_t>(tap);
    });
    const auto offset = [&](int64_t tap) { return phase_offset(c, start, taps[tap]); };
    fill(p.sweep[i], offset, offsets + p.sweep[i].offsets);
    taps += p.sweep[i].taps;
  }
}

CNNKERN_INLINE void phases_work(const Phases& p, Work* work) {
  *work = {};
  work->phases = 1;
  work->units[0] = p.units;
  work->packed_bytes = p.packed * static_cast<int64_t>(sizeof(float));
  work->pack_units = p.packed ? p.sweep[0].groups * p.sweep[0].blocks : 0;
  work->table_bytes = static_cast<int64_t>(sizeof(Phases)) +
                      (p.taps + p.steps) * static_cast<int64_t>(sizeof(int32_t)) +
                      p.all_taps * static_cast<int64_t>(sizeof(PhaseTap));
}

// run(sweep, first unit, last unit) for what the units [first, last) of the whole are in each sweep.
template <class Run>
CNNKERN_INLINE void for_phases(const Phases& p, int64_t first, int64_t last, Run&& run) {
  for (int64_t i = 0; i < p.count; ++i) {
    const int64_t units = p.sweep[i].units;
    const int64_t begin = first * units / p.units, end = last * units / p.units;
    if (begin < end) run(p.sweep[i], begin, end);
  }
}

}  // namespace
}  // namespace CNNKERN_NAMESPACE
