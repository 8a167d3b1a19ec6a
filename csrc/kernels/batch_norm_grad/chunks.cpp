// SPDX-License-Identifier: BSD-3-Clause
// dbias = sum dy, dweight = rstd * sum dy (x - mean), and
//   dx = weight * rstd * (dy - dbias / count - (x - mean) * rstd * dweight / count)   statistics of the batch
//   dx = weight * rstd * dy                                                           statistics that are constants
// With an activation dy stands for dy act'(y), y = weight rstd (x - mean) + bias: y is computed again from x, which is
// read anyway, so that neither y nor a mask of it has to be kept or read. A residual is added to dx.
// Phase 0 sums fixed chunks of a group of channels, phase 1 puts them together in double, phase 2 makes dx as a linear
// combination of dy and x - mean. Blocked maps, plain maps and matrices. Limited by memory: dy and x twice, dx once.
// Measured, one core (Zen 5, AVX-512, from the last cache): 57 to 95 bytes/ns; rms error 6e-8 of dx.
#include "simd/norm_sums.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

// dx = along_dy * dy + along_x * (x - mean) + constant.
struct Combination { float mean[kBlock], along_dy[kBlock], along_x[kBlock], constant[kBlock]; };

struct Vectors {
  const float *mean, *rstd, *weight, *bias;
  float *dweight, *dbias;
};

bool loops_of(const BatchNorm& op, NormLoops& loops) {
  const Tensor* const tensors[4] = {&op.y, &op.x, op.dx.present ? &op.dx : &op.x, &op.residual};
  return norm_loops(tensors, 2, op.residual.present ? 4 : 3, loops);
}

int candidates(const Op& op, const Machine& machine, Variant* out) {
  NormLoops loops;
  if (!loops_of(op.batch_norm, loops)) return 0;
  out[0] = Variant{};
  out[0].ns = stream_ns(machine, (op.batch_norm.residual.present ? 6 : 5) * elements(op.batch_norm.x));
  return 1;
}

void prepare(const Op& op, const Variant&, Work* work, void* table) {
  NormLoops loops;
  loops_of(op.batch_norm, loops);
  norm_work<GradPartial, Combination>(loops, work, table);
}

CNNKERN_INLINE Normalized normalized(const NormLoop& loop, const Vectors& vectors, int64_t group) {
  const Block rstd = channel_block(loop, vectors.rstd, group);
  return {channel_block(loop, vectors.mean, group),
          vectors.weight ? mul(rstd, channel_block(loop, vectors.weight, group)) : rstd,
          vectors.bias ? channel_block(loop, vectors.bias, group) : block_zero()};
}

// Channel i of the group from its chunks.
CNNKERN_INLINE void combine(const BatchNorm& op, const NormLoop& loop, const GradPartial* partials, int i,
                            int64_t channel, const Vectors& vectors, Combination& to) {
  double dy = 0, product = 0;
  for (int64_t k = 0; k < loop.chunks; ++k) {
    dy += partials[k].dy[i];
    product += partials[k].product[i];
  }
  const double rstd = static_cast<double>(vectors.rstd[channel]), count = static_cast<double>(loop.count);
  const double scale = rstd * (op.has_weight ? static_cast<double>(vectors.weight[channel]) : 1.0);
  vectors.dbias[channel] = static_cast<float>(dy);
  vectors.dweight[channel] = static_cast<float>(product * rstd);
  to.mean[i] = vectors.mean[channel];
  to.along_dy[i] = static_cast<float>(scale);
  to.along_x[i] = static_cast<float>(-scale * rstd * rstd * product / count);
  to.constant[i] = static_cast<float>(-scale * dy / count);
}

// residual: null, or what is added.
template <bool kFull, bool kTraining, class Slope>
CNNKERN_INLINE void combine_steps(const NormLoop& loop, const float* dy, const float* x, float* dx,
                                  const float* residual, int64_t steps, int lanes, const Combination& by,
                                  const Normalized& y, Slope&& slope) {
  const Block mean = block_load(by.mean), along_dy = block_load(by.along_dy), along_x = block_load(by.along_x);
  const Block constant = block_load(by.constant);
  for (int64_t i = 0; i < steps; ++i) {
    const Block centred = sub(read_step<kFull>(x + i * loop.step_stride[1], lanes), mean);
    const Block d = slope(read_step<kFull>(dy + i * loop.step_stride[0], lanes), fma(centred, y.scale, y.shift));
    Block v = mul(d, along_dy);
    if constexpr (kTraining) {
      v = fma(d, along_dy, fma(centred, along_x, constant));
    }
    if (residual) v = add(v, read_step<kFull>(residual + i * loop.step_stride[3], lanes));
    write_step<kFull>(dx + i * loop.step_stride[2], v, lanes, loop.streams);
  }
}

// Phases 0 and 2 with the gradient of the activation as a function.
template <class Slope>
CNNKERN_INLINE void run_maps(const BatchNorm& op, const NormLoop& loop, int phase, int64_t first, int64_t last,
                             const Context& context, const Vectors& vectors, GradPartial* partials,
                             const Combination* combinations, Slope&& slope) {
  const float* const dy = static_cast<const float*>(context.args[BatchNorm::kGDy]);
  const float* const x = static_cast<const float*>(context.args[BatchNorm::kGX]);
  const float* const residual = static_cast<const float*>(context.args[BatchNorm::kGResidual]);
  float* const dx = static_cast<float*>(context.args[BatchNorm::kGDx]);
  for (int64_t unit = first; unit < last; ++unit) {
    const auto [group, chunk] = norm_unit(loop, unit);
    const Normalized y = normalized(loop, vectors, group);
    if (phase == 0) {
      sum_products(loop, group, chunk, dy, x, y, slope, partials[group * loop.chunks + chunk]);
      continue;
    }
    const Combination& by = combinations[group];
    for_steps(loop, group, chunk, [&](const int64_t* offset, int64_t steps, int lanes) CNNKERN_LAMBDA {
      const float *from_dy = dy + offset[0], *from_x = x + offset[1];
      const float* beside = residual ? residual + offset[3] : nullptr;
      float* to = dx + offset[2];
      if (lanes < kBlock && op.training)
        combine_steps<false, true>(loop, from_dy, from_x, to, beside, steps, lanes, by, y, slope);
      else if (lanes < kBlock)
        combine_steps<false, false>(loop, from_dy, from_x, to, beside, steps, lanes, by, y, slope);
      else if (op.training)
        combine_steps<true, true>(loop, from_dy, from_x, to, beside, steps, lanes, by, y, slope);
      else
        combine_steps<true, false>(loop, from_dy, from_x, to, beside, steps, lanes, by, y, slope);
    });
  }
}

void run(const Prepared& prepared, int phase, int64_t first, int64_t last, const Context& context) {
  const BatchNorm& op = prepared.op.batch_norm;
  const NormLoops& loops = *static_cast<const NormLoops*>(prepared.table);
  const NormLoop& loop = phase == 2 ? loops.all : loops.sums;
  const auto vector = [&](int i) CNNKERN_LAMBDA { return static_cast<float*>(context.args[i]); };
  const Vectors vectors{vector(BatchNorm::kGMean), vector(BatchNorm::kGRstd),    vector(BatchNorm::kGWeight),
                        vector(BatchNorm::kGBias), vector(BatchNorm::kGDweight), vector(BatchNorm::kGDbias)};
  GradPartial* const partials = static_cast<GradPartial*>(context.shared);
  Combination* const combinations = reinterpret_cast<Combination*>(partials + loop.groups * loops.sums.chunks);
  if (phase != 1) {
    return with_slope(op.epilogue, [&](auto slope) CNNKERN_LAMBDA {
      run_maps(op, loop, phase, first, last, context, vectors, partials, combinations, slope);
    });
  }
  for (int64_t group = first; group < last; ++group) {
    Combination& to = combinations[group];
    to = Combination{};  // unused lanes come out as zero
    for (int i = 0; i < group_channels(loop, group); ++i)
      combine(op, loop, partials + group * loop.chunks, i, first_channel(loop, group) + i, vectors, to);
    if (loop.per_lane) continue;
    for (int i = 1; i < kBlock; ++i) {
      to.mean[i] = to.mean[0], to.along_dy[i] = to.along_dy[0];
      to.along_x[i] = to.along_x[0], to.constant[i] = to.constant[0];
    }
  }
}

}  // namespace

extern const Kernel batch_norm_grad_chunks;
const Kernel batch_norm_grad_chunks = {"chunks", OpKind::kBatchNormGrad, candidates, prepare, nullptr, run};

}  // namespace CNNKERN_NAMESPACE
