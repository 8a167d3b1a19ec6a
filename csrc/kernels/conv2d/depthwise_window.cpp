// SPDX-License-Identifier: BSD-3-Clause
// The depthwise convolution of depthwise.cpp for 3x3 and 5x5 kernels, stride 1 or 2, no dilation: every pixel of the
// input is loaded once for all the taps and outputs of a tile of two rows (simd/depthwise_window.hpp). The zero border
// stands for the padding. A unit is a band of two rows of one channel block.
//
// Zen 5, AVX-512, one thread: 3x3 stride 1 of MobileNetV2 at batch 1 150 to 195 GFLOP/s (depthwise.cpp: 86 to 108), stride
// 2 90 to 116 (75 to 79), 5x5 207 to 217 (133 to 138).
#include "simd/depthwise_window.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

int64_t bands_of(const Conv& c) { return (c.y.h + kWindowRows - 1) / kWindowRows; }

bool serves(const Conv& c) {
  if (c.x.layout != Layout::kBlocked || c.y.layout != Layout::kBlocked || !is_blocked(c.residual)) return false;
  if (c.groups != c.x.c || c.groups != c.y.c || !border_suffices(c)) return false;
  if (c.w.d != 1 || c.x.d != 1 || c.y.d != 1 || c.padding[0] != 0) return false;
  if (c.w.h != c.w.w || (c.w.w != 3 && c.w.w != 5)) return false;
  if (c.stride[1] != c.stride[2] || (c.stride[1] != 1 && c.stride[1] != 2)) return false;
  return c.dilation[1] == 1 && c.dilation[2] == 1 && c.y.w >= kWindowPixels;
}

int candidates(const Op& op, const Machine& machine, Variant* out) {
  const Conv& c = op.conv;
  if (!serves(c)) return 0;
  const double tiles = static_cast<double>(c.y.n * blocks_of(c.y.c) * bands_of(c) * kVecs) *
                       static_cast<double>((c.y.w + kWindowPixels - 1) / kWindowPixels);
  const double slots = tiles * (kWindowRows * kWindowPixels * static_cast<double>(taps_of(c)) * 1.2 + 30);
  const double bytes = map_bytes(c.x) + map_bytes(c.y) + map_bytes(c.residual);
  const double ns = slots * 2 * kLanes / (machine.flops_per_ns * machine.threads) + 0.5 * traffic_ns(bytes, machine);
  *out = {0, 0, {}, static_cast<float>(ns + 1000)};
  return 1;
}

void prepare(const Op& op, const Variant&, Work* work, void*) {
  const Conv& c = op.conv;
  *work = {};
  work->phases = 1;
  work->units[0] = c.y.n * blocks_of(c.y.c) * bands_of(c);
  work->pack_units = blocks_of(c.y.c);
  work->packed_bytes = work->pack_units * taps_of(c) * kBlock * static_cast<int64_t>(sizeof(float));
}

// [block][tap][16]
void pack(const Prepared& prepared, int64_t first, int64_t last, const float* weight, void* packed) {
  const Conv& c = prepared.op.conv;
  const int64_t taps = taps_of(c);
  float* to = static_cast<float*>(packed) + first * taps * kBlock;
  for (int64_t block = first; block < last; ++block)
    for (int64_t tap = 0; tap < taps; ++tap)
      for (int64_t lane = 0; lane < kBlock; ++lane) {
        const int64_t channel = block * kBlock + lane;
        *to++ = channel < c.y.c ? weight[channel * taps + tap] : 0.0f;
      }
}

template <int kTaps, int kStride>
void run_bands(const Prepared& prepared, int64_t first, int64_t last, const Context& context) {
  const Conv& c = prepared.op.conv;
  const int64_t bands = bands_of(c), blocks = blocks_of(c.y.c);
  const auto argument = [&](int i) { return static_cast<float*>(context.args[i]); };
  const float* const bias = argument(Conv::kBias);
  const float* const residual = argument(Conv::kResidual);
  for (int64_t unit = first; unit < last; ++unit) {
    const int64_t h = unit % bands * kWindowRows, block = unit / bands % blocks, n = unit / (bands * blocks);
    const int lanes = static_cast<int>(least(kBlock, c.y.c - block * kBlock));
    for (int v = 0; v < kVecs; ++v) {
      WindowArgs a;
      a.lanes = lanes_of(lanes, v);
      a.x = at_block(c.x, argument(Conv::kX), n, block, 0, h * kStride - c.padding[1], -c.padding[2]) + v * kLanes;
      a.x_row = c.x.sh;
      a.w = static_cast<const float*>(context.packed) + block * kTaps * kTaps * kBlock + v * kLanes;
      a.bias = bias ? load_n(bias + block * kBlock + v * kLanes, a.lanes) : zero();
      a.y = at_block(c.y, argument(Conv::kY), n, block, 0, h, 0) + v * kLanes;
      a.y_row = c.y.sh;
      a.residual = residual ? at_block(c.residual, residual, n, block, 0, h, 0) + v * kLanes : nullptr;
      a.residual_row = c.residual.sh;
      a.epilogue = c.epilogue;
      if (c.y.h - h >= kWindowRows)
        window_row<kTaps, kStride, kWindowRows>(a, c.y.w);
      else
        window_row<kTaps, kStride, 1>(a, c.y.w);
    }
  }
}

void run(const Prepared& prepared, int, int64_t first, int64_t last, const Context& context) {
  const Conv& c = prepared.op.conv;
  if (c.w.w == 3)
    c.stride[1] == 1 ? run_bands<3, 1>(prepared, first, last, context)
                     : run_bands<3, 2>(prepared, first, last, context);
  else
    c.stride[1] == 1 ? run_bands<5, 1>(prepared, first, last, context)
                     : run_bands<5, 2>(prepared, first, last, context);
}

}  // namespace

extern const Kernel conv2d_depthwise_window;
const Kernel conv2d_depthwise_window = {"depthwise_window", OpKind::kConv2d, candidates, prepare, pack, run};

}  // namespace CNNKERN_NAMESPACE
