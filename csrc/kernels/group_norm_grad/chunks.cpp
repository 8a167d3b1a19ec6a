// SPDX-License-Identifier: BSD-3-Clause
// With L elements in a group of channels of an image, A = the sum of weight dy over them, B that of weight dy (x - mean):
//   dx = rstd weight dy - rstd A / L - rstd^3 B / L (x - mean)
//   dbias = sum of dy, dweight = sum of rstd dy (x - mean), over all images
// Maps of either layout. Phase 0 sums fixed chunks of every channel of every image, phase 1 puts them together in double,
// phase 2 makes dx. Limited by memory: dy and x twice, dx once.
#include "simd/norm_sums.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

struct Sums { double a, b; };
// dx = along_dy * dy + along_x * (x - mean) + constant.
struct Combination { float mean[kBlock], along_dy[kBlock], along_x[kBlock], constant[kBlock]; };

// The loop over one image: dy, x, dx.
bool loop_of(const GroupNorm& op, NormLoop& loop) {
  Tensor dy = op.y, x = op.x, dx = op.dx;
  dy.n = x.n = dx.n = 1;
  const Tensor* const tensors[3] = {&dy, &x, &dx};
  return norm_loop(tensors, 3, loop) && !loop.matrix;
}

int candidates(const Op& op, const Machine& machine, Variant* out) {
  NormLoop loop;
  if (!loop_of(op.group_norm, loop)) return 0;
  out[0] = Variant{};
  out[0].ns = stream_ns(machine, 5 * elements(op.group_norm.x));
  return 1;
}

void prepare(const Op& op, const Variant&, Work* work, void* table) {
  const GroupNorm& norm = op.group_norm;
  NormLoop loop;
  loop_of(norm, loop);
  work->phases = 3;
  work->units[0] = work->units[2] = norm.x.n * loop.groups * loop.chunks;
  work->units[1] = norm.x.n * norm.groups + norm.x.c;
  work->shared_bytes = work->units[0] * static_cast<int64_t>(sizeof(GradPartial)) +
                       norm.x.n * norm.groups * static_cast<int64_t>(sizeof(Sums));
  work->table_bytes = sizeof(NormLoop);
  if (table) *static_cast<NormLoop*>(table) = loop;
}

struct Vectors {
  const float *mean, *rstd, *weight;
  float *dweight, *dbias;
};

CNNKERN_INLINE double weight_of(const GroupNorm& op, const Vectors& vectors, int64_t channel) {
  return op.has_weight ? static_cast<double>(vectors.weight[channel]) : 1.0;
}

// The two sums of one channel of one image, whose partials are given.
CNNKERN_INLINE Sums channel_sums(const NormLoop& loop, const GradPartial* partials, int64_t channel) {
  const GradPartial* chunks = partials + (loop.per_lane ? channel / kBlock : channel) * loop.chunks;
  const int lane = loop.per_lane ? static_cast<int>(channel % kBlock) : 0;
  Sums sums{0, 0};
  for (int64_t k = 0; k < loop.chunks; ++k) {
    sums.a += chunks[k].dy[lane];
    sums.b += chunks[k].product[lane];
  }
  return sums;
}

Sums group_sums(const GroupNorm& op, const NormLoop& loop, const GradPartial* partials, int64_t group,
                const Vectors& vectors) {
  const int64_t channels = op.x.c / op.groups;
  Sums total{0, 0};
  for (int64_t c = group * channels; c < (group + 1) * channels; ++c) {
    const Sums one = channel_sums(loop, partials, c);
    total.a += weight_of(op, vectors, c) * one.a;
    total.b += weight_of(op, vectors, c) * one.b;
  }
  return total;
}

void channel_gradients(const GroupNorm& op, const NormLoop& loop, const GradPartial* partials, int64_t channel,
                       const Vectors& vectors) {
  const int64_t per_group = op.x.c / op.groups;
  double dweight = 0, dbias = 0;
  for (int64_t n = 0; n < op.x.n; ++n) {
    const Sums one = channel_sums(loop, partials + n * loop.groups * loop.chunks, channel);
    dbias += one.a;
    dweight += one.b * static_cast<double>(vectors.rstd[n * op.groups + channel / per_group]);
  }
  vectors.dweight[channel] = static_cast<float>(dweight);
  vectors.dbias[channel] = static_cast<float>(dbias);
}

// Of the channels of a loop group (16 of them, or one) of image n; unused lanes come out as zero.
Combination combination_of(const GroupNorm& op, const NormLoop& loop, const Sums* sums, int64_t n, int64_t group,
                           const Vectors& vectors) {
  Combination to{};
  const int64_t per_group = op.x.c / op.groups;
  const int channels = group_channels(loop, group);
  const double count = static_cast<double>(per_group * loop.count);
  for (int i = 0; i < kBlock; ++i) {
    if (loop.per_lane && i >= channels) break;
    const int64_t c = first_channel(loop, group) + (loop.per_lane ? i : 0), g = n * op.groups + c / per_group;
    const double rstd = static_cast<double>(vectors.rstd[g]);
    to.mean[i] = vectors.mean[g];
    to.along_dy[i] = static_cast<float>(rstd * weight_of(op, vectors, c));
    to.along_x[i] = static_cast<float>(-rstd * rstd * rstd * sums[g].b / count);
    to.constant[i] = static_cast<float>(-rstd * sums[g].a / count);
  }
  return to;
}

// The mean of its group for each channel of a loop group.
CNNKERN_INLINE Block means_of(const GroupNorm& op, const NormLoop& loop, const float* mean, int64_t n, int64_t group) {
  float values[kBlock] = {};
  const int64_t per_group = op.x.c / op.groups;
  for (int i = 0; i < kBlock; ++i) {
    if (loop.per_lane && i >= group_channels(loop, group)) break;
    const int64_t c = first_channel(loop, group) + (loop.per_lane ? i : 0);
    values[i] = mean[n * op.groups + c / per_group];
  }
  return block_load(values);
}

template <bool kFull>
CNNKERN_INLINE void combine_steps(const NormLoop& loop, const float* dy, const float* x, float* dx, int64_t steps,
                                  int lanes, const Combination& by) {
  const Block mean = block_load(by.mean), along_dy = block_load(by.along_dy), along_x = block_load(by.along_x);
  const Block constant = block_load(by.constant);
  for (int64_t i = 0; i < steps; ++i) {
    const Block d = read_step<kFull>(dy + i * loop.step_stride[0], lanes);
    const Block centred = sub(read_step<kFull>(x + i * loop.step_stride[1], lanes), mean);
    write_step<kFull>(dx + i * loop.step_stride[2], fma(d, along_dy, fma(centred, along_x, constant)), lanes);
  }
}

void run(const Prepared& prepared, int phase, int64_t first, int64_t last, const Context& context) {
  const GroupNorm& op = prepared.op.group_norm;
  const NormLoop& loop = *static_cast<const NormLoop*>(prepared.table);
  const auto vector = [&](int i) CNNKERN_LAMBDA { return static_cast<float*>(context.args[i]); };
  const Vectors vectors{vector(GroupNorm::kGMean), vector(GroupNorm::kGRstd), vector(GroupNorm::kGWeight),
                        vector(GroupNorm::kGDweight), vector(GroupNorm::kGDbias)};
  const int64_t per_image = loop.groups * loop.chunks, groups = op.x.n * op.groups;
  GradPartial* partials = static_cast<GradPartial*>(context.shared);
  Sums* sums = reinterpret_cast<Sums*>(partials + op.x.n * per_image);
  for (int64_t unit = first; unit < last; ++unit) {
    if (phase == 1) {
      if (unit < groups)
        sums[unit] = group_sums(op, loop, partials + unit / op.groups * per_image, unit % op.groups, vectors);
      else
        channel_gradients(op, loop, partials, unit - groups, vectors);
      continue;
    }
    const int64_t n = unit / per_image, group = unit % per_image / loop.chunks, chunk = unit % loop.chunks;
    const float *dy = vector(GroupNorm::kGDy) + n * op.y.sn, *x = vector(GroupNorm::kGX) + n * op.x.sn;
    if (phase == 0) {
      const Normalized by{means_of(op, loop, vectors.mean, n, group), block_zero(), block_zero()};
      const auto as_it_is = [](Block d, Block) CNNKERN_LAMBDA { return d; };
      sum_products(loop, group, chunk, dy, x, by, as_it_is, partials[unit]);
      continue;
    }
    float* dx = vector(GroupNorm::kGDx) + n * op.dx.sn;
    const Combination by = combination_of(op, loop, sums, n, group, vectors);
    for_steps(loop, group, chunk, [&](const int64_t* offset, int64_t steps, int lanes) CNNKERN_LAMBDA {
      if (lanes == kBlock)
        combine_steps<true>(loop, dy + offset[0], x + offset[1], dx + offset[2], steps, lanes, by);
      else
        combine_steps<false>(loop, dy + offset[0], x + offset[1], dx + offset[2], steps, lanes, by);
    });
  }
}

}  // namespace

extern const Kernel group_norm_grad_chunks;
const Kernel group_norm_grad_chunks = {"chunks", OpKind::kGroupNormGrad, candidates, prepare, nullptr, run};

}  // namespace CNNKERN_NAMESPACE
