// SPDX-License-Identifier: BSD-3-Clause
// The sums of normalization: mean and squares of deviations of a chunk, and the two sums of its gradient.
#pragma once
#include "simd/norm.hpp"
#include "simd/slope.hpp"

namespace CNNKERN_NAMESPACE {

constexpr int kWays = kVecs == 1   ? 4
                      : kVecs == 2 ? 2
                                   : 1;      // sums side by side: two of them, the mean, and what is read
constexpr int64_t kLevelSteps = 32 * kWays;  // a sum takes 32 additions before it is added to the chunk's: rounding

// Of one chunk, per channel of the group: a value near the mean, the sum of the deviations from it, that of their
// squares.
struct Partial { double centre[kBlock], sum[kBlock], squares[kBlock]; };
// Of one chunk, per channel of the group: the sums of dy and of dy (x - mean).
struct GradPartial { double dy[kBlock], product[kBlock]; };
CNNKERN_INLINE void clear(Block (&sum)[kWays]) {
  unroll<kWays>([&](auto k) CNNKERN_LAMBDA { sum[k] = block_zero(); });
}
CNNKERN_INLINE Block total(const Block (&sum)[kWays]) {
  Block all = sum[0];
  unroll<kWays - 1>([&](auto k) CNNKERN_LAMBDA { all = add(all, sum[k + 1]); });
  return all;
}

template <bool kFull>
CNNKERN_INLINE void add_steps(const float* x, int64_t step, int64_t steps, int lanes, Block& sum) {
  for (int64_t i = 0; i < steps;) {
    const int64_t end = least(steps, i + kLevelSteps);
    Block level[kWays];
    clear(level);
    for (; i + kWays <= end; i += kWays)
      unroll<kWays>([&](auto k)
                        CNNKERN_LAMBDA { level[k] = add(level[k], read_step<kFull>(x + (i + k) * step, lanes)); });
    for (; i < end; ++i) level[0] = add(level[0], read_step<kFull>(x + i * step, lanes));
    sum = add(sum, total(level));
  }
}

template <bool kFull>
CNNKERN_INLINE void add_deviations(const float* x, int64_t step, int64_t steps, int lanes, Block centre, Block& sum,
                                   Block& squares) {
  const BlockMask exist = first_channels(lanes);
  const auto one = [&](int64_t i, Block& into, Block& into_squares) CNNKERN_LAMBDA {
    Block d = sub(read_step<kFull>(x + i * step, lanes), centre);
    if (!kFull) d = select(exist, d, block_zero());
    into = add(into, d);
    into_squares = fma(d, d, into_squares);
  };
  for (int64_t i = 0; i < steps;) {
    const int64_t end = least(steps, i + kLevelSteps);
    Block level[kWays], level_squares[kWays];
    clear(level);
    clear(level_squares);
    for (; i + kWays <= end; i += kWays)
      unroll<kWays>([&](auto k) CNNKERN_LAMBDA { one(i + k, level[k], level_squares[k]); });
    for (; i < end; ++i) one(i, level[0], level_squares[0]);
    sum = add(sum, total(level));
    squares = add(squares, total(level_squares));
  }
}

CNNKERN_INLINE void statistics(const NormLoop& loop, int64_t group, int64_t chunk, const float* x, Partial& partial) {
  const int64_t step = loop.step_stride[0];
  Block sum = block_zero(), squares = block_zero();
  for_steps(loop, group, chunk, [&](const int64_t* offset, int64_t steps, int lanes) CNNKERN_LAMBDA {
    if (lanes == kBlock)
      add_steps<true>(x + offset[0], step, steps, lanes, sum);
    else
      add_steps<false>(x + offset[0], step, steps, lanes, sum);
  });
  lane_sums(loop, sum, partial.centre);
  const double count = static_cast<double>(chunk_elements(loop, chunk));
  float centre[kBlock];
  for (int i = 0; i < kBlock; ++i) {
    centre[i] = static_cast<float>(partial.centre[loop.per_lane ? i : 0] / count);
    if (!(__builtin_fabsf(centre[i]) < __builtin_inff()))
      centre[i] = 0.0f;  // the sum overflowed: any other value serves
  }
  for (int i = 0; i < kBlock; ++i) partial.centre[i] = static_cast<double>(centre[i]);
  sum = block_zero();
  const Block about = block_load(centre);
  for_steps(loop, group, chunk, [&](const int64_t* offset, int64_t steps, int lanes) CNNKERN_LAMBDA {
    if (lanes == kBlock)
      add_deviations<true>(x + offset[0], step, steps, lanes, about, sum, squares);
    else
      add_deviations<false>(x + offset[0], step, steps, lanes, about, sum, squares);
  });
  lane_sums(loop, sum, partial.sum);
  lane_sums(loop, squares, partial.squares);
}

// Of the channels of a group: y = (x - mean) scale + shift, the value that an activation after it got.
struct Normalized { Block mean, scale, shift; };

template <bool kFull, class Slope>
CNNKERN_INLINE void add_products(const float* dy, int64_t dy_step, const float* x, int64_t x_step, int64_t steps,
                                 int lanes, const Normalized& by, Slope&& slope, Block& sum, Block& product) {
  const BlockMask exist = first_channels(lanes);
  const auto one = [&](int64_t i, Block& into, Block& into_product) CNNKERN_LAMBDA {
    Block centred = sub(read_step<kFull>(x + i * x_step, lanes), by.mean);
    const Block d = slope(read_step<kFull>(dy + i * dy_step, lanes), fma(centred, by.scale, by.shift));
    if (!kFull) centred = select(exist, centred, block_zero());
    into = add(into, d);
    into_product = fma(d, centred, into_product);
  };
  for (int64_t i = 0; i < steps;) {
    const int64_t end = least(steps, i + kLevelSteps);
    Block level[kWays], level_product[kWays];
    unroll<kWays>([&](auto k) CNNKERN_LAMBDA { level[k] = level_product[k] = block_zero(); });
    for (; i + kWays <= end; i += kWays)
      unroll<kWays>([&](auto k) CNNKERN_LAMBDA { one(i + k, level[k], level_product[k]); });
    for (; i < end; ++i) one(i, level[0], level_product[0]);
    sum = add(sum, total(level));
    product = add(product, total(level_product));
  }
}

template <class Slope>
CNNKERN_INLINE void sum_products(const NormLoop& loop, int64_t group, int64_t chunk, const float* dy, const float* x,
                                 const Normalized& by, Slope&& slope, GradPartial& partial) {
  Block sum = block_zero(), product = block_zero();
  for_steps(loop, group, chunk, [&](const int64_t* offset, int64_t steps, int lanes) CNNKERN_LAMBDA {
    const float *from_dy = dy + offset[0], *from_x = x + offset[1];
    const int64_t dy_step = loop.step_stride[0], x_step = loop.step_stride[1];
    if (lanes == kBlock)
      add_products<true>(from_dy, dy_step, from_x, x_step, steps, lanes, by, slope, sum, product);
    else
      add_products<false>(from_dy, dy_step, from_x, x_step, steps, lanes, by, slope, sum, product);
  });
  lane_sums(loop, sum, partial.dy);
  lane_sums(loop, product, partial.product);
}

}  // namespace CNNKERN_NAMESPACE
