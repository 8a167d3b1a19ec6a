// SPDX-License-Identifier: BSD-3-Clause
// The depthwise convolution of depthwise.cpp for 3x3 and 5x5 kernels, stride 1 or 2, no dilation: every pixel of the
// input is loaded once for all the taps and outputs of a tile of two rows (simd/window_tile.hpp). The zero border
// stands for the padding.
//
// Zen 5, AVX-512, one thread: 3x3 stride 1 of MobileNetV2 at batch 1 150 to 195 GFLOP/s (depthwise.cpp: 86 to 108), stride
// 2 90 to 116 (75 to 79), 5x5 207 to 217 (133 to 138).
#include "simd/window_tile.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

bool serves(const Conv& c) {
  for (const int taps : {3, 5})
    for (const int stride : {1, 2})
      if (window_serves(c, taps, stride, 1)) return true;
  return false;
}

int candidates(const Op& op, const Machine& machine, Variant* out) {
  if (!serves(op.conv)) return 0;
  *out = {0, 0, {}, window_ns(op.conv, machine)};
  return 1;
}

void prepare(const Op& op, const Variant&, Work* work, void*) { window_work(op.conv, work); }

void pack(const Prepared& prepared, int64_t first, int64_t last, const float* weight, void* packed) {
  window_pack(prepared.op.conv, first, last, weight, static_cast<float*>(packed));
}

void run(const Prepared& prepared, int, int64_t first, int64_t last, const Context& context) {
  const Conv& c = prepared.op.conv;
  if (c.w.w == 3)
    c.stride[1] == 1 ? window_run<3, 1, 1>(prepared, first, last, context)
                     : window_run<3, 2, 1>(prepared, first, last, context);
  else
    c.stride[1] == 1 ? window_run<5, 1, 1>(prepared, first, last, context)
                     : window_run<5, 2, 1>(prepared, first, last, context);
}

}  // namespace

extern const Kernel conv2d_depthwise_window;
const Kernel conv2d_depthwise_window = {"depthwise_window", OpKind::kConv2d, candidates, prepare, pack, run};

}  // namespace CNNKERN_NAMESPACE
