// SPDX-License-Identifier: BSD-3-Clause
// dx[n, c, i] = sum over o and taps t of dy[n, o, i + padding - t * dilation] w[o, c, t] with 16 images in the lanes: the
// forward tile on turned filters, for stride 1. dy needs a zero border at its sides, as wide as the kernel reaches.
#include "simd/conv_phases.hpp"
#include "simd/lanes_conv.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

LanesConv make_plan(const Conv& c) {
  LanesConv p = lanes_conv(c, c.y, c.x, c.stride);
  p.filter = taps_of(c), p.channel = p.outputs * p.filter;
  p.rows.start = c.padding[1], p.rows.step = -c.dilation[1];
  return p;
}

int candidates(const Op& op, const Machine& machine, Variant* out) {
  const Conv& c = op.conv;
  if (!lanes_serve(c) || c.stride[1] != 1 || c.stride[2] != 1) return 0;
  if (!gradient_border_suffices(c, 2) || !lanes_offsets_fit(c.y)) return 0;
  *out = {0, 0, {}, lanes_ns(make_plan(c), c, machine)};
  return 1;
}

void prepare(const Op& op, const Variant&, Work* work, void* table) {
  const Conv& c = op.conv;
  const LanesConv p = make_plan(c);
  lanes_work(p, work);
  if (table) lanes_table(p, [&](int64_t tap) { return phase_offset(c, phase_start(c, 0), tap); }, table);
}

void run(const Prepared& prepared, int, int64_t first, int64_t last, const Context& context) {
  const auto argument = [&](int i) { return static_cast<float*>(context.args[i]); };
  SweepPointers pointers{};
  pointers.x = argument(Conv::kGiDy), pointers.y = argument(Conv::kGiDx);
  pointers.residual = argument(Conv::kGiResidual), pointers.gate = argument(Conv::kGiGate);
  lanes_run(prepared, first, last, context, pointers);
}

}  // namespace

extern const Kernel conv2d_grad_input_lanes;
const Kernel conv2d_grad_input_lanes = {"lanes", OpKind::kConv2dGradInput, candidates, prepare, lanes_pack, run};

}  // namespace CNNKERN_NAMESPACE
