// SPDX-License-Identifier: BSD-3-Clause
// y[i] = the sum of weight[t] x[index[t]] along one axis of blocked maps, 16 channels at once. A unit is one row of pixels
// of one channel block. Along W each pixel is a sum of pixels; along N, D and H the row is a sum of rows. Along C every
// lane has a source of its own: where it is one number (a channel shuffle, a flip of channels) the lanes are permuted
// from the few vectors that hold them, else single numbers are gathered. Limited by memory.
#include "simd/permute.hpp"
#include "simd/taps.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

constexpr double kGatherNs = 0.3;  // per tap and element of channels with several taps, one core

int candidates(const Op& op, const Machine& machine, Variant* out) {
  const Resample& resample = op.resample;
  if (!is_blocked(resample.x) || !is_blocked(resample.y)) return 0;
  const double size = static_cast<double>(axis_of(resample.y, resample.axis));
  const double taps = static_cast<double>(resample.taps) / (size > 0 ? size : 1);
  out[0] = Variant{};
  out[0].ns = stream_ns(machine, elements(resample.y) * (1 + taps));
  if (resample.axis == 1 && taps > 1)
    out[0].ns += static_cast<float>(elements(resample.y) * taps * kGatherNs / machine.threads);
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

// Of one vector of y the lanes that come from one vector of x, which stands at `offset`.
struct Source {
  int64_t offset;
  int32_t lane[kLanes], taken[kLanes];  // taken: 1 for the lanes of y that come from here
};

constexpr int kMostSources = 4;  // a shuffle of two groups has two (AVX2: three)

// How a block of y is made of x. `count` is 0 where a channel has several taps or a vector too many sources.
struct Shuffle {
  int count;  // sources of every vector; those that one needs less are empty
  Source source[kVecs][kMostSources];
  float weight[kBlock];
};

CNNKERN_INLINE Shuffle shuffle_of(const Resample& op, const Taps& taps, int64_t block) {
  Shuffle shuffle{};
  shuffle.count = 1;
  for (int v = 0; v < kVecs; ++v) {
    int used = 0;
    for (int i = 0; i < kLanes; ++i) {
      const int64_t channel = block * kBlock + v * kLanes + i;
      if (channel >= op.y.c || first_tap(taps, channel) == first_tap(taps, channel + 1)) continue;
      const int64_t tap = first_tap(taps, channel), from = place(taps, tap);
      const int64_t offset = from / kBlock * op.x.sc + from % kBlock / kLanes * kLanes;
      int s = 0;
      while (s < used && shuffle.source[v][s].offset != offset) ++s;
      if (s == kMostSources || first_tap(taps, channel + 1) != tap + 1) {
        shuffle.count = 0;
        return shuffle;
      }
      used = s == used ? used + 1 : used;
      Source& source = shuffle.source[v][s];
      source.offset = offset;
      source.lane[i] = static_cast<int32_t>(from % kLanes);
      source.taken[i] = 1;
      shuffle.weight[v * kLanes + i] = taps.weight[tap];
    }
    shuffle.count = used > shuffle.count ? used : shuffle.count;
  }
  return shuffle;
}

// x: the row of channel block 0; y: that of the shuffle's block. A lane without a tap stays zero.
template <int kSources>
void shuffled_row(const Shuffle& shuffle, const float* x, float* y, int64_t width) {
  for (int v = 0; v < kVecs; ++v) {
    VecI lane[kSources];
    Mask taken[kSources];
    const float* from[kSources];
    unroll<kSources>([&](auto s) CNNKERN_LAMBDA {
      const Source& source = shuffle.source[v][s];
      lane[s] = load_i(source.lane);
      taken[s] = equal(load_i(source.taken), set1_i(1));
      from[s] = x + source.offset;
    });
    const Vec weight = load(shuffle.weight + v * kLanes);
    for (int64_t pixel = 0; pixel < width; ++pixel) {
      Vec sum = zero();
      unroll<kSources>([&](auto s) CNNKERN_LAMBDA {
        sum = select(taken[s], permute(load(from[s] + pixel * kBlock), lane[s]), sum);
      });
      store(y + pixel * kBlock + v * kLanes, mul(sum, weight));
    }
  }
}

// x: the row of channel block 0; y: that of `block`.
void channels_of_row(const Resample& op, const Taps& taps, const Shuffle& shuffle, int64_t block, const float* x,
                     float* y) {
  switch (shuffle.count) {
    case 1: return shuffled_row<1>(shuffle, x, y, op.y.w);
    case 2: return shuffled_row<2>(shuffle, x, y, op.y.w);
    case 3: return shuffled_row<3>(shuffle, x, y, op.y.w);
    case 4: return shuffled_row<4>(shuffle, x, y, op.y.w);
    default: break;
  }
  for (int64_t pixel = 0; pixel < op.y.w; ++pixel)
    for (int i = 0; i < kBlock; ++i) {
      const int64_t channel = block * kBlock + i;
      float sum = 0;
      if (channel < op.y.c)
        for (int64_t t = first_tap(taps, channel); t < first_tap(taps, channel + 1); ++t) {
          const int64_t from = place(taps, t);
          sum += x[from / kBlock * op.x.sc + from % kBlock + pixel * kBlock] * taps.weight[t];
        }
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
  Shuffle shuffle;
  int64_t shuffled = -1;  // the block that the shuffle is for
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
      if (shuffled != at[1]) shuffle = shuffle_of(op, taps, shuffled = at[1]);
      channels_of_row(op, taps, shuffle, at[1], from, to);
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
