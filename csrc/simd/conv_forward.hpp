// SPDX-License-Identifier: BSD-3-Clause
// The forward convolution as one sweep: what the direct and pointwise kernels share.
#pragma once
#include "simd/conv_geometry.hpp"
#include "simd/conv_sweep.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

// Whether the blocked kernels can serve at all: layouts, borders, groups, range of the offsets.
CNNKERN_INLINE bool forward_serves(const Conv& c) {
  return c.x.layout == Layout::kBlocked && c.y.layout == Layout::kBlocked && is_blocked(c.residual) &&
         groups_fit_blocks(c) && border_suffices(c) && offsets_fit(c.x);
}

CNNKERN_INLINE Sweep forward_sweep(const Conv& c) {
  const int64_t one[3] = {1, 1, 1};
  Sweep s{};
  s.n = c.y.n, s.d = c.y.d, s.h = c.y.h, s.w = c.y.w;
  s.groups = c.groups;
  s.lanes = c.w.n / c.groups;
  s.reduction = c.w.c;
  s.taps = taps_of(c);
  s.x = sweep_map(c.x, s.reduction, c.stride);
  s.y = sweep_map(c.y, s.lanes, one);
  s.residual = sweep_map(c.residual, s.lanes, one);
  far_result(s, c.y, c.epilogue);
  s.x.start = -(c.padding[0] * c.x.sd + c.padding[1] * c.x.sh + c.padding[2] * kBlock);
  return s;
}

// The sweep of a 1x1 kernel.
CNNKERN_INLINE Sweep pointwise_sweep(const Conv& c) {
  Sweep s = forward_sweep(c);
  if (is_flat(c)) {
    flatten(s);
    s.x.w = kBlock;
  }
  s.far_pixels = map_bytes(c.x) > kFarBytes;
  complete_sweep(s);
  return s;
}

// Predicted time: the arithmetic, and half of the memory traffic (prefetching hides the other half).
CNNKERN_INLINE float forward_ns(const Sweep& s, const Conv& c, const Machine& machine) {
  double x = map_bytes(c.x);
  for (int i = 0; i < 3; ++i) {
    const int64_t taps[3] = {c.w.d, c.w.h, c.w.w};
    if (taps[i] < c.stride[i]) x *= static_cast<double>(taps[i]) / static_cast<double>(c.stride[i]);
  }
  // Weights that do not fit L2 bring all pixels in once more per chunk.
  const int64_t chunks = (s.panels + s.chunk - 1) / s.chunk;
  if (x > static_cast<double>(machine.l2_bytes)) x *= static_cast<double>(chunks);
  const double bytes = x + map_bytes(c.y) + map_bytes(c.residual) + 4.0 * static_cast<double>(s.packed_size);
  return static_cast<float>(sweep_ns(s, machine) + 0.5 * traffic_ns(bytes, machine) + 1000);
}

CNNKERN_INLINE void forward_work(const Sweep& s, Work* work) {
  *work = {};
  work->phases = 1;
  work->units[0] = s.units;
  work->packed_bytes = s.packed_size * static_cast<int64_t>(sizeof(float));
  work->pack_units = s.groups * s.blocks;
  work->table_bytes = static_cast<int64_t>(sizeof(Sweep)) + s.steps * static_cast<int64_t>(sizeof(int32_t));
}

// The table is the sweep and, behind it, its offsets.
CNNKERN_INLINE void forward_table(const Sweep& s, const Conv& c, void* table) {
  *static_cast<Sweep*>(table) = s;
  fill_offsets(
      s, [&](int64_t tap) { return tap_offset(c, tap); }, reinterpret_cast<int32_t*>(static_cast<Sweep*>(table) + 1));
}

CNNKERN_INLINE void forward_pack(const Prepared& prepared, int64_t first, int64_t last, const float* weight,
                                 void* packed) {
  const Sweep& s = *static_cast<const Sweep*>(prepared.table);
  for (int64_t unit = first; unit < last; ++unit) pack_lanes(s, unit, weight, static_cast<float*>(packed));
}

CNNKERN_INLINE SweepPointers forward_pointers(const Sweep& s, int64_t first, const Context& context) {
  const auto argument = [&](int i) { return static_cast<float*>(context.args[i]); };
  // The next step is probably divided as this one is.
  const int64_t bytes = static_cast<int64_t>(context.prefetch_bytes);
  const int64_t offset = s.by_channels ? bytes * first / s.units / 64 * 64 : 0;
  const bool enough = bytes - offset >= s.chunk * panel_floats(s, kTileBlocks) * kFloat;
  return {argument(Conv::kX),    static_cast<const float*>(context.packed),
          argument(Conv::kBias), argument(Conv::kResidual),
          argument(Conv::kY),    enough ? context.prefetch + offset : nullptr};
}

CNNKERN_INLINE void forward_run(const Prepared& prepared, int64_t first, int64_t last, const Context& context) {
  const Sweep& s = *static_cast<const Sweep*>(prepared.table);
  run_sweep(s, reinterpret_cast<const int32_t*>(&s + 1), prepared.op.conv.epilogue, forward_pointers(s, first, context),
            first, last);
}

}  // namespace
}  // namespace CNNKERN_NAMESPACE
