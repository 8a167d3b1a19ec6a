// SPDX-License-Identifier: BSD-3-Clause
// y = weight (x - mean) rstd + bias with the statistics of each group of channels of each image. Maps of either layout.
// Phase 0 takes mean and squares of fixed chunks of every channel, as batch normalization does, but image by image;
// phase 1 puts the channels of a group together in double (Chan, Golub and LeVeque, 1979); phase 2 normalizes. Groups
// need not be whole blocks of channels. Limited by memory: x is read twice, y written once.
// Measured, one core (Zen 5, AVX-512, from the last cache): 39 bytes of x and y per ns.
#include "simd/norm_sums.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

struct Statistics { double mean, rstd; };
struct Affine { float mean[kBlock], scale[kBlock], shift[kBlock]; };

// The loop over one image.
bool loop_of(const GroupNorm& op, NormLoop& loop) {
  Tensor x = op.x, y = op.y;
  x.n = y.n = 1;
  const Tensor* const tensors[2] = {&x, &y};
  return norm_loop(tensors, 2, loop) && !loop.matrix;
}

int candidates(const Op& op, const Machine& machine, Variant* out) {
  NormLoop loop;
  if (!loop_of(op.group_norm, loop)) return 0;
  out[0] = Variant{};
  out[0].ns = stream_ns(machine, 2 * elements(op.group_norm.x) + elements(op.group_norm.y));
  return 1;
}

void prepare(const Op& op, const Variant&, Work* work, void* table) {
  const GroupNorm& norm = op.group_norm;
  NormLoop loop;
  loop_of(norm, loop);
  work->phases = 3;
  work->units[0] = work->units[2] = norm.x.n * loop.groups * loop.chunks;
  work->units[1] = norm.x.n * norm.groups;
  work->shared_bytes = work->units[0] * static_cast<int64_t>(sizeof(Partial)) +
                       work->units[1] * static_cast<int64_t>(sizeof(Statistics));
  work->table_bytes = sizeof(NormLoop);
  if (table) *static_cast<NormLoop*>(table) = loop;
}

// One group of one image from the chunks of its channels; partials are those of the image.
Statistics combine(const GroupNorm& op, const NormLoop& loop, const Partial* partials, int64_t group) {
  const int64_t channels = op.x.c / op.groups, first = group * channels;
  double sum = 0, squares = 0;
  const auto for_chunks = [&](auto&& body) CNNKERN_LAMBDA {
    for (int64_t c = first; c < first + channels; ++c) {
      const Partial* chunks = partials + (loop.per_lane ? c / kBlock : c) * loop.chunks;
      const int lane = loop.per_lane ? static_cast<int>(c % kBlock) : 0;
      for (int64_t k = 0; k < loop.chunks; ++k)
        body(static_cast<double>(chunk_elements(loop, k)), chunks[k].centre[lane], chunks[k].sum[lane],
             chunks[k].squares[lane]);
    }
  };
  for_chunks([&](double count, double centre, double part, double) CNNKERN_LAMBDA { sum += count * centre + part; });
  const double count = static_cast<double>(channels * loop.count), mean = sum / count;
  for_chunks([&](double elements, double centre, double part, double square) CNNKERN_LAMBDA {
    const double d = centre - mean;
    squares += square + 2 * d * part + elements * d * d;
  });
  if (squares < 0) squares = 0;
  return {mean, 1 / __builtin_sqrt(squares / count + static_cast<double>(op.eps))};
}

// What the channels of a loop group (16 of them, or one) are scaled with; unused lanes come out as zero.
Affine affine_of(const GroupNorm& op, const NormLoop& loop, const Statistics* image, int64_t group, const float* weight,
                 const float* bias) {
  Affine affine{};
  const int64_t per_group = op.x.c / op.groups;
  const int channels = group_channels(loop, group);
  for (int i = 0; i < kBlock; ++i) {
    if (loop.per_lane && i >= channels) break;
    const int64_t c = first_channel(loop, group) + (loop.per_lane ? i : 0);
    const Statistics& s = image[c / per_group];
    const double scale = s.rstd * (op.has_weight ? static_cast<double>(weight[c]) : 1.0);
    affine.mean[i] = static_cast<float>(s.mean);
    affine.scale[i] = static_cast<float>(scale);
    const double rest = (static_cast<double>(affine.mean[i]) - s.mean) * scale;
    affine.shift[i] = static_cast<float>((op.has_bias ? static_cast<double>(bias[c]) : 0.0) + rest);
  }
  return affine;
}

template <bool kFull>
CNNKERN_INLINE void normalize(const NormLoop& loop, const float* x, float* y, int64_t steps, int lanes,
                              const Affine& affine) {
  const Block mean = block_load(affine.mean), scale = block_load(affine.scale), shift = block_load(affine.shift);
  for (int64_t i = 0; i < steps; ++i) {
    const Block v = sub(read_step<kFull>(x + i * loop.step_stride[0], lanes), mean);
    write_step<kFull>(y + i * loop.step_stride[1], fma(v, scale, shift), lanes);
  }
}

void run(const Prepared& prepared, int phase, int64_t first, int64_t last, const Context& context) {
  const GroupNorm& op = prepared.op.group_norm;
  const NormLoop& loop = *static_cast<const NormLoop*>(prepared.table);
  const auto vector = [&](int i) CNNKERN_LAMBDA { return static_cast<float*>(context.args[i]); };
  const int64_t per_image = loop.groups * loop.chunks;
  Partial* partials = static_cast<Partial*>(context.shared);
  Statistics* statistics_of = reinterpret_cast<Statistics*>(partials + op.x.n * per_image);
  for (int64_t unit = first; unit < last; ++unit) {
    if (phase == 1) {
      const Statistics s = combine(op, loop, partials + unit / op.groups * per_image, unit % op.groups);
      statistics_of[unit] = s;
      vector(GroupNorm::kMean)[unit] = static_cast<float>(s.mean);
      vector(GroupNorm::kRstd)[unit] = static_cast<float>(s.rstd);
      continue;
    }
    const int64_t n = unit / per_image, group = unit % per_image / loop.chunks, chunk = unit % loop.chunks;
    const float* x = vector(GroupNorm::kX) + n * op.x.sn;
    if (phase == 0) {
      statistics(loop, group, chunk, x, partials[unit]);
      continue;
    }
    float* y = vector(GroupNorm::kY) + n * op.y.sn;
    const Affine affine =
        affine_of(op, loop, statistics_of + n * op.groups, group, vector(GroupNorm::kWeight), vector(GroupNorm::kBias));
    for_steps(loop, group, chunk, [&](const int64_t* offset, int64_t steps, int lanes) CNNKERN_LAMBDA {
      if (lanes == kBlock)
        normalize<true>(loop, x + offset[0], y + offset[1], steps, lanes, affine);
      else
        normalize<false>(loop, x + offset[0], y + offset[1], steps, lanes, affine);
    });
  }
}

}  // namespace

extern const Kernel group_norm_chunks;
const Kernel group_norm_chunks = {"chunks", OpKind::kGroupNorm, candidates, prepare, nullptr, run};

}  // namespace CNNKERN_NAMESPACE
