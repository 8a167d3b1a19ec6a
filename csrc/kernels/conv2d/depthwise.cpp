// SPDX-License-Identifier: BSD-3-Clause
// y[n, c, p] = act(bias[c] + residual[n, c, p] + sum over taps t of x[n, c, p * stride - padding + t * dilation] w[c,
// t]) on blocked maps: groups = input channels = output channels. Any kernel, stride and dilation; the zero border
// stands for the padding. Channels stay in the lanes, so there is nothing to shuffle and nothing to reduce.
//
// Registers: simd/depthwise_tile.hpp. Zen 5, MobileNetV2's 3x3 layers, batch 1, one thread: 120 GFLOP/s with AVX-512
// (43% of the FMA peak), 70 with AVX2; maps that do not fit the cache are bound by memory.
#include "simd/conv_geometry.hpp"
#include "simd/depthwise_tile.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

Sweep make_sweep(const Conv& c) {
  const int64_t one[3] = {1, 1, 1};
  Sweep s{};
  s.n = c.y.n, s.d = c.y.d, s.h = c.y.h, s.w = c.y.w;
  s.taps = taps_of(c);
  s.x = sweep_map(c.x, kBlock, c.stride);
  s.y = sweep_map(c.y, kBlock, one);
  s.residual = sweep_map(c.residual, kBlock, one);
  s.x.start = -(c.padding[0] * c.x.sd + c.padding[1] * c.x.sh + c.padding[2] * kBlock);
  complete_depthwise(s, c.x.c);
  return s;
}

int candidates(const Op& op, const Machine& machine, Variant* out) {
  const Conv& c = op.conv;
  if (c.x.layout != Layout::kBlocked || c.y.layout != Layout::kBlocked || !is_blocked(c.residual)) return 0;
  if (c.groups != c.x.c || c.groups != c.y.c || !border_suffices(c) || !offsets_fit(c.x)) return 0;
  const double bytes = map_bytes(c.x) + map_bytes(c.y) + map_bytes(c.residual);
  const double ns = depthwise_ns(make_sweep(c), machine) + 0.5 * traffic_ns(bytes, machine) + 1000;
  *out = {0, 0, {}, static_cast<float>(ns)};
  return 1;
}

void prepare(const Op& op, const Variant&, Work* work, void* table) {
  const Conv& c = op.conv;
  const Sweep s = make_sweep(c);
  *work = {};
  work->phases = 1;
  work->units[0] = s.units;
  work->packed_bytes = s.packed_size * static_cast<int64_t>(sizeof(float));
  work->pack_units = s.groups;
  work->table_bytes = static_cast<int64_t>(sizeof(Sweep)) + s.taps * static_cast<int64_t>(sizeof(int32_t));
  if (!table) return;
  *static_cast<Sweep*>(table) = s;
  int32_t* const offsets = reinterpret_cast<int32_t*>(static_cast<Sweep*>(table) + 1);
  for (int64_t tap = 0; tap < s.taps; ++tap) offsets[tap] = static_cast<int32_t>(tap_offset(c, tap));
}

void pack(const Prepared& prepared, int64_t first, int64_t last, const float* weight, void* packed) {
  const Sweep& s = *static_cast<const Sweep*>(prepared.table);
  for (int64_t block = first; block < last; ++block)
    pack_depthwise(s, block, [](int64_t tap) { return tap; }, s.taps, weight, static_cast<float*>(packed));
}

void run(const Prepared& prepared, int, int64_t first, int64_t last, const Context& context) {
  const Sweep& s = *static_cast<const Sweep*>(prepared.table);
  const auto argument = [&](int i) { return static_cast<float*>(context.args[i]); };
  const SweepPointers pointers = {argument(Conv::kX), static_cast<const float*>(context.packed), argument(Conv::kBias),
                                  argument(Conv::kResidual), argument(Conv::kY)};
  run_depthwise(s, reinterpret_cast<const int32_t*>(&s + 1), prepared.op.conv.epilogue, pointers, first, last);
}

}  // namespace

extern const Kernel conv2d_depthwise;
const Kernel conv2d_depthwise = {"depthwise", OpKind::kConv2d, candidates, prepare, pack, run};

}  // namespace CNNKERN_NAMESPACE
