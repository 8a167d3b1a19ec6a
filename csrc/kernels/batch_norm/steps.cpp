// SPDX-License-Identifier: BSD-3-Clause
// y = act((x - mean) * weight / sqrt(var + eps) + bias): batch normalization with given statistics. Blocked maps, plain
// maps and matrices; one fixed chunk of one group of channels per unit. The mean is taken off before the product, so
// that a large mean does not cost digits. Limited by memory.
// Measured, one core (Zen 5, AVX-512, from the last cache): 60 to 100 bytes/ns.
#include "simd/norm.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

bool loop_of(const BatchNorm& op, NormLoop& loop) {
  const Tensor* const tensors[2] = {&op.x, &op.y};
  return norm_loop(tensors, 2, loop);
}

int candidates(const Op& op, const Machine& machine, Variant* out) {
  NormLoop loop;
  if (!loop_of(op.batch_norm, loop)) return 0;
  out[0] = Variant{};
  out[0].ns = stream_ns(machine, elements(op.batch_norm.x) + elements(op.batch_norm.y));
  return 1;
}

void prepare(const Op& op, const Variant&, Work* work, void* table) {
  NormLoop loop;
  loop_of(op.batch_norm, loop);
  work->phases = 1;
  work->units[0] = loop.groups * loop.chunks;
  work->table_bytes = sizeof(NormLoop);
  if (table) *static_cast<NormLoop*>(table) = loop;
}

struct Affine { Block mean, scale, bias; };

template <bool kFull, bool kActive>
CNNKERN_INLINE void apply(const float* x, int64_t x_step, float* y, int64_t y_step, int64_t steps, int lanes,
                          const Affine& affine, const Epilogue& epilogue) {
  for (int64_t i = 0; i < steps; ++i) {
    const Block centred = sub(read_step<kFull>(x + i * x_step, lanes), affine.mean);
    const Block v = fma(centred, affine.scale, affine.bias);
    write_step<kFull>(y + i * y_step, kActive ? activate(epilogue, v) : v, lanes);
  }
}

void run(const Prepared& prepared, int, int64_t first, int64_t last, const Context& context) {
  const BatchNorm& op = prepared.op.batch_norm;
  const NormLoop& loop = *static_cast<const NormLoop*>(prepared.table);
  const float* x = static_cast<const float*>(context.args[BatchNorm::kX]);
  const float* mean = static_cast<const float*>(context.args[BatchNorm::kMean]);
  const float* var = static_cast<const float*>(context.args[BatchNorm::kVar]);
  const float* weight = static_cast<const float*>(context.args[BatchNorm::kWeight]);
  const float* bias = static_cast<const float*>(context.args[BatchNorm::kBias]);
  float* y = static_cast<float*>(context.args[BatchNorm::kY]);
  const Epilogue epilogue = op.epilogue;
  const bool active = epilogue.activation != Activation::kNone;
  for (int64_t unit = first; unit < last; ++unit) {
    const int64_t group = unit / loop.chunks;
    const int channels = group_channels(loop, group);
    Affine affine;
    affine.mean = channel_block(loop, mean, group);
    affine.scale = op.has_weight ? channel_block(loop, weight, group) : block_set1(1.0f);
    affine.scale = div(affine.scale, sqrt(add(channel_block(loop, var, group), block_set1(op.eps))));
    affine.bias = op.has_bias ? channel_block(loop, bias, group) : block_zero();
    const bool tail = loop.per_lane && channels < kBlock;
    if (tail) affine.scale = select(first_channels(channels), affine.scale, block_zero());
    for_steps(loop, group, unit % loop.chunks, [&](const int64_t* offset, int64_t steps, int lanes) CNNKERN_LAMBDA {
      const float* from = x + offset[0];
      float* to = y + offset[1];
      const int64_t x_step = loop.step_stride[0], y_step = loop.step_stride[1];
      if (lanes == kBlock && active)
        apply<true, true>(from, x_step, to, y_step, steps, lanes, affine, epilogue);
      else if (lanes == kBlock)
        apply<true, false>(from, x_step, to, y_step, steps, lanes, affine, epilogue);
      else
        apply<false, true>(from, x_step, to, y_step, steps, lanes, affine, epilogue);
      if (tail && active && !loop.matrix) empty_steps(to, y_step, steps, channels);
    });
  }
}

}  // namespace

extern const Kernel batch_norm_steps;
const Kernel batch_norm_steps = {"steps", OpKind::kBatchNorm, candidates, prepare, nullptr, run};

}  // namespace CNNKERN_NAMESPACE
