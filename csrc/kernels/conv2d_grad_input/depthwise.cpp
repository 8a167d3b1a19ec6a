// SPDX-License-Identifier: BSD-3-Clause
// dx[n, c, i] = sum over taps t of dy[n, c, j] w[c, t] with j * stride - padding + t * dilation = i, on blocked maps:
// groups = input channels = output channels. The depthwise tile once per phase of the stride (simd/conv_phases.hpp); dy
// needs a zero border as wide as the kernel reaches.
//
// Registers: simd/depthwise_tile.hpp. Bound by memory like the forward direction.
#include "simd/conv_phases.hpp"
#include "simd/depthwise_tile.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

void make(const Conv& c, Phases& phases) {
  make_phases(c, kBlock, kBlock, [&](Sweep& s) { complete_depthwise(s, c.x.c); }, phases);
}

int candidates(const Op& op, const Machine& machine, Variant* out) {
  const Conv& c = op.conv;
  if (c.x.layout != Layout::kBlocked || c.y.layout != Layout::kBlocked) return 0;
  if (c.residual.present || c.gate.present) return 0;
  if (c.groups != c.x.c || c.groups != c.y.c || c.stride[0] * c.stride[1] * c.stride[2] > kMaxSweeps) return 0;
  if (!gradient_border_suffices(c) || !offsets_fit(c.y)) return 0;
  Phases phases;
  make(c, phases);
  double ns = 0;
  for (int64_t i = 0; i < phases.count; ++i) ns += depthwise_ns(phases.sweep[i], machine);
  ns = most_ns(ns, traffic_ns(map_bytes(c.x) + map_bytes(c.y), machine)) + 1000;
  *out = {0, 0, {}, static_cast<float>(ns)};
  return 1;
}

void prepare(const Op& op, const Variant&, Work* work, void* table) {
  Phases phases;
  make(op.conv, phases);
  phases_work(phases, work);
  if (!table) return;
  const auto fill = [](const Sweep& s, auto&& offset, int32_t* offsets) {
    for (int64_t tap = 0; tap < s.taps; ++tap) offsets[tap] = static_cast<int32_t>(offset(tap));
  };
  phases_table(op.conv, phases, fill, table);
}

void pack(const Prepared& prepared, int64_t first, int64_t last, const float* weight, void* packed) {
  const Phases& p = *static_cast<const Phases*>(prepared.table);
  for (int64_t block = first; block < last; ++block)
    for (int64_t i = 0; i < p.count; ++i) {
      const int32_t* const taps = phase_taps(p, i);
      pack_depthwise(
          p.sweep[i], block, [=](int64_t tap) { return taps[tap]; }, p.all_taps, weight, static_cast<float*>(packed));
    }
}

void run(const Prepared& prepared, int, int64_t first, int64_t last, const Context& context) {
  const Phases& p = *static_cast<const Phases*>(prepared.table);
  const SweepPointers pointers = {static_cast<const float*>(context.args[Conv::kGiDy]),
                                  static_cast<const float*>(context.packed), nullptr, nullptr,
                                  static_cast<float*>(context.args[Conv::kGiDx])};
  for_phases(p, first, last, [&](const Sweep& s, int64_t begin, int64_t end) {
    run_depthwise(s, phase_offsets(p), Epilogue{}, pointers, begin, end);
  });
}

}  // namespace

extern const Kernel conv2d_grad_input_depthwise;
const Kernel conv2d_grad_input_depthwise = {"depthwise", OpKind::kConv2dGradInput, candidates, prepare, pack, run};

}  // namespace CNNKERN_NAMESPACE
