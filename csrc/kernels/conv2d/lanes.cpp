// SPDX-License-Identifier: BSD-3-Clause
// y[n, o, p] = act(bias[o] + residual[n, o, p] + sum over c and taps t of x[n, c, p * stride - padding + t * dilation]
// w[o, c, t]) with 16 images in the lanes: for few channels, which would leave most lanes of a block empty. Any kernel,
// stride and dilation, no groups. Registers: simd/lanes_tile.hpp. Zen 4, LeNet's second layer, 1,024 images: 87% of the FMA
// peak with AVX-512.
#include "simd/lanes_conv.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

LanesConv make_plan(const Conv& c) {
  LanesConv p = lanes_conv(c, c.x, c.y, c.stride);
  p.x.start = -(c.padding[1] * c.x.sh + c.padding[2] * kBlock);
  p.filter = p.steps, p.channel = taps_of(c);
  p.rows.start = -c.padding[1], p.rows.step = c.dilation[1];
  return p;
}

int candidates(const Op& op, const Machine& machine, Variant* out) {
  const Conv& c = op.conv;
  if (!lanes_serve(c) || !border_suffices(c, 2) || !lanes_offsets_fit(c.x)) return 0;
  *out = {0, 0, {}, lanes_ns(make_plan(c), c, machine)};
  return 1;
}

void prepare(const Op& op, const Variant&, Work* work, void* table) {
  const Conv& c = op.conv;
  const LanesConv p = make_plan(c);
  lanes_work(p, work);
  if (table) lanes_table(p, [&](int64_t tap) { return tap_offset(c, tap); }, table);
}

void run(const Prepared& prepared, int, int64_t first, int64_t last, const Context& context) {
  const auto argument = [&](int i) { return static_cast<float*>(context.args[i]); };
  SweepPointers pointers{};
  pointers.x = argument(Conv::kX), pointers.y = argument(Conv::kY);
  pointers.bias = argument(Conv::kBias), pointers.residual = argument(Conv::kResidual);
  lanes_run(prepared, first, last, context, pointers);
}

}  // namespace

extern const Kernel conv2d_lanes;
const Kernel conv2d_lanes = {"lanes", OpKind::kConv2d, candidates, prepare, lanes_pack, run};

}  // namespace CNNKERN_NAMESPACE
