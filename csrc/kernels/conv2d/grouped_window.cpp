// SPDX-License-Identifier: BSD-3-Clause
// Grouped 3x3 convolutions, stride 1 or 2, with groups of 4 or 8 channels (ResNeXt's first stages), many groups to a
// channel block: simd/window_tile.hpp. Wider groups are whole blocks, which direct.cpp serves.
#include "simd/window_tile.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

bool serves(const Conv& c, int group) {
  return group <= kLanes && (window_serves(c, 3, 1, group) || window_serves(c, 3, 2, group));
}

int candidates(const Op& op, const Machine& machine, Variant* out) {
  if (!serves(op.conv, 4) && !serves(op.conv, 8)) return 0;
  *out = {0, 0, {}, window_ns(op.conv, machine)};
  return 1;
}

void prepare(const Op& op, const Variant&, Work* work, void*) { window_work(op.conv, work); }

void pack(const Prepared& prepared, int64_t first, int64_t last, const float* weight, void* packed) {
  window_pack(prepared.op.conv, first, last, weight, static_cast<float*>(packed));
}

void run(const Prepared& prepared, int, int64_t first, int64_t last, const Context& context) {
  const Conv& c = prepared.op.conv;
  if (c.w.c == 4)
    return c.stride[1] == 1 ? window_run<3, 1, 4>(prepared, first, last, context)
                            : window_run<3, 2, 4>(prepared, first, last, context);
  if constexpr (kLanes >= 8)
    c.stride[1] == 1 ? window_run<3, 1, 8>(prepared, first, last, context)
                     : window_run<3, 2, 8>(prepared, first, last, context);
}

}  // namespace

extern const Kernel conv2d_grouped_window;
const Kernel conv2d_grouped_window = {"grouped_window", OpKind::kConv2d, candidates, prepare, pack, run};

}  // namespace CNNKERN_NAMESPACE
