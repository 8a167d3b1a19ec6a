// SPDX-License-Identifier: BSD-3-Clause
// y[i] = the sum of weight[t] x[index[t]] along one axis of blocked maps, 16 channels at once. A unit is one row of pixels
// of one channel block. Along W each pixel is a sum of pixels; along N, D and H the row is a sum of rows. Along C, where
// every lane has a source of its own, single numbers are gathered: a channel shuffle or a flip of channels.
// Limited by memory, but for channels.
#include "simd/taps.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

constexpr double kGatherNs = 0.3;  // per tap and element of a channel gather, one core

int candidates(const Op& op, const Machine& machine, Variant* out) {
  const Resample& resample = op.resample;
  if (!is_blocked(resample.x) || !is_blocked(resample.y)) return 0;
  const double size = static_cast<double>(axis_of(resample.y, resample.axis));
  const double taps = static_cast<double>(resample.taps) / (size > 0 ? size : 1);
  out[0] = Variant{};
  out[0].ns = stream_ns(machine, elements(resample.y) * (1 + taps));
  if (resample.axis == 1) out[0].ns += static_cast<float>(elements(resample.y) * taps * kGatherNs / machine.threads);
  return 1;
}

void prepare(const Op& op, const Variant&, Work* work, void*) {
  const Tensor& y = op.resample.y;
  work->phases = 1;
  work->units[0] = y.n * blocks_of(y.c) * y.d * y.h;
}

void pixels_of_row(const Taps& taps, const float* x, float* y, int64_t width) {
  for (int64_t i = 0; i < width; ++i) {
    const int64_t begin = first_tap(taps, i), end = first_tap(taps, i + 1);
    Block sum = block_zero();
    if (begin < end) sum = mul(block_load(x + place(taps, begin) * kBlock), block_set1(taps.weight[begin]));
    for (int64_t t = begin + 1; t < end; ++t)
      sum = fma(block_load(x + place(taps, t) * kBlock), block_set1(taps.weight[t]), sum);
    block_store(y + i * kBlock, sum);
  }
}

// x: the row of channel block 0; y: that of `block`.
void channels_of_row(const Resample& op, const Taps& taps, int64_t block, const float* x, float* y) {
  const int64_t channel = block * kBlock;
  const int lanes = static_cast<int>(least(kBlock, op.y.c - channel));
  const auto source = [&](int64_t t) CNNKERN_LAMBDA {
    const int64_t from = place(taps, t);
    return x + from / kBlock * op.x.sc + from % kBlock;
  };
  const float* from[kBlock];
  float weight[kBlock] = {};
  bool single = true;
  for (int i = 0; i < lanes; ++i) {
    const int64_t begin = first_tap(taps, channel + i);
    single &= first_tap(taps, channel + i + 1) == begin + 1;
    from[i] = single ? source(begin) : x;
    weight[i] = single ? taps.weight[begin] : 0.0f;
  }
  for (int i = lanes; i < kBlock; ++i) from[i] = from[0];
  if (single) {
    const Block factor = block_load(weight);
    for (int64_t pixel = 0; pixel < op.y.w; ++pixel) {
      float value[kBlock];
      unroll<kBlock>([&](auto i) CNNKERN_LAMBDA { value[i] = from[i][pixel * kBlock]; });
      const Block moved = mul(block_load(value), factor);
      block_store(y + pixel * kBlock, lanes == kBlock ? moved : select(first_channels(lanes), moved, block_zero()));
    }
    return;
  }
  for (int64_t pixel = 0; pixel < op.y.w; ++pixel)
    for (int i = 0; i < kBlock; ++i) {
      float sum = 0;
      if (i < lanes)
        for (int64_t t = first_tap(taps, channel + i); t < first_tap(taps, channel + i + 1); ++t)
          sum += source(t)[pixel * kBlock] * taps.weight[t];
      y[pixel * kBlock + i] = sum;
    }
}

void run(const Prepared& prepared, int, int64_t first, int64_t last, const Context& context) {
  const Resample& op = prepared.op.resample;
  const Taps taps = taps_of(op, context);
  const float* x = static_cast<const float*>(context.args[Resample::kX]);
  float* y = static_cast<float*>(context.args[Resample::kY]);
  const int64_t blocks = blocks_of(op.y.c);
  const int64_t stride[4] = {op.x.sn, op.x.sc, op.x.sd, op.x.sh};
  for (int64_t unit = first; unit < last; ++unit) {
    int64_t at[4];  // n, block, d, h of the row of y
    at[3] = unit % op.y.h;
    at[2] = unit / op.y.h % op.y.d;
    at[1] = unit / (op.y.h * op.y.d) % blocks;
    at[0] = unit / (op.y.h * op.y.d * blocks);
    float* to = at_block(op.y, y, at[0], at[1], at[2], at[3], 0);
    const float* from = x;  // the row of x with the same place on the other axes
    for (int i = 0; i < 4; ++i)
      if (i != op.axis) from += at[i] * stride[i];
    if (op.axis == 1) {
      channels_of_row(op, taps, at[1], from, to);
      continue;
    }
    if (op.axis == 4) {
      pixels_of_row(taps, from, to, op.y.w);
    } else {
      const int64_t i = at[op.axis];
      weighted_row(taps, first_tap(taps, i), first_tap(taps, i + 1), from, stride[op.axis], to, op.y.w * kBlock);
    }
    const int lanes = static_cast<int>(least(kBlock, op.y.c - at[1] * kBlock));
    if (lanes < kBlock) empty_tail(to, op.y.w * kBlock, lanes);  // a negative weight leaves -0
  }
}

}  // namespace

extern const Kernel resample_blocked;
const Kernel resample_blocked = {"blocked", OpKind::kResample, candidates, prepare, nullptr, run};

}  // namespace CNNKERN_NAMESPACE
