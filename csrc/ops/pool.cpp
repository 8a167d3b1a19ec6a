// SPDX-License-Identifier: BSD-3-Clause
#include "core/check.hpp"
#include "ops/ops.hpp"

namespace cnnkern {

namespace {

void check_pixels(const char* name, const Tensor& x) {
  require(checked_product(checked_product(x.d, x.h, name), x.w, name) < int64_t{1} << 31, name,
          "an input plane must have less than 2^31 pixels");
}

}  // namespace

void make_pool2d(const OpInfo& info, const Attributes& attributes, const Tensors& args, Op& op) {
  Pool& pool = op.pool;
  switch (info.kind) {
    case OpKind::kMaxPool2d: pool.x = args[0], pool.y = args[1], pool.indices = args[2]; break;
    case OpKind::kMaxPool2dGrad: pool.y = args[0], pool.indices = args[1], pool.x = args[2]; break;
    case OpKind::kAvgPool2d: pool.x = args[0], pool.y = args[1]; break;
    default: pool.y = args[0], pool.x = args[1];
  }
  const bool maximum = info.kind == OpKind::kMaxPool2d || info.kind == OpKind::kMaxPool2dGrad;
  pool.windows = attributes.integer("adaptive", 0) ? Pool::kAdaptive : Pool::kFixed;
  attributes.spatial("kernel", 1, pool.kernel);
  attributes.spatial("stride", 1, pool.stride);
  attributes.spatial("padding", 0, pool.padding);
  if (maximum) {
    attributes.spatial("dilation", 1, pool.dilation);
  } else {
    pool.dilation[0] = pool.dilation[1] = pool.dilation[2] = 1;
    pool.count_include_pad = attributes.integer("count_include_pad", 1) != 0;
    pool.divisor = attributes.integer("divisor", 0);
  }
  require(pool.x.n == pool.y.n && pool.x.c == pool.y.c, info.name,
          "output " + shape_text(pool.y) + " does not fit input " + shape_text(pool.x));
  require(!pool.indices.present || same_shape(pool.indices, pool.y), info.name, "indices must have the output's shape");
  check_pixels(info.name, pool.x);
  const int64_t size[3] = {pool.x.d, pool.x.h, pool.x.w}, out[3] = {pool.y.d, pool.y.h, pool.y.w};
  for (int i = 0; i < 3; ++i) {
    if (pool.windows == Pool::kAdaptive) {
      require(size[i] >= 1 || out[i] == 0, info.name, "an adaptive pool needs a pixel to read");
      continue;
    }
    require(pool.kernel[i] >= 1 && pool.stride[i] >= 1 && pool.dilation[i] >= 1, info.name,
            "kernel, stride and dilation must be positive");
    const int64_t extent = checked_product(pool.kernel[i] - 1, pool.dilation[i], info.name) + 1;
    require(extent < int64_t{1} << 31 && pool.stride[i] < int64_t{1} << 31, info.name, "the window is too large");
    require(pool.padding[i] >= 0 && 2 * pool.padding[i] <= extent, info.name,
            "padding must be at most half the window");
    // Every window begins on the map or its left padding and holds at least one pixel of the map.
    if (out[i] > 0) {
      const int64_t start = checked_product(out[i] - 1, pool.stride[i], info.name) - pool.padding[i];
      require(start < size[i] && extent > pool.padding[i], info.name,
              "output " + shape_text(pool.y) + " does not belong to input " + shape_text(pool.x));
    }
  }
}

void make_max_unpool(const OpInfo& info, const Attributes& attributes, const Tensors& args, Op& op) {
  const bool backward = info.kind == OpKind::kMaxPool2d;
  Pool& pool = op.pool;
  pool.x = args[backward ? 0 : 2], pool.y = args[backward ? 1 : 0], pool.indices = args[backward ? 2 : 1];
  pool.windows = attributes.integer("add", 0) && !backward ? Pool::kAddByIndex : Pool::kByIndex;
  require(pool.x.n == pool.y.n && pool.x.c == pool.y.c, info.name,
          "input " + shape_text(pool.y) + " does not fit output " + shape_text(pool.x));
  require(same_shape(pool.indices, pool.y), info.name, "indices must have the input's shape");
  check_pixels(info.name, pool.x);
}

void make_fractional_max_pool(const OpInfo& info, const Attributes& attributes, const Tensors& args, Op& op) {
  FractionalPool& pool = op.fractional_pool;
  const Tensor& x = pool.x = args[FractionalPool::kX];
  const Tensor& y = pool.y = args[FractionalPool::kY];
  const Tensor& samples = pool.samples = args[FractionalPool::kSamples];
  require(x.n == y.n && x.c == y.c, info.name, "output " + shape_text(y) + " does not fit input " + shape_text(x));
  require(same_shape(args[FractionalPool::kIndices], y), info.name, "indices must have the output's shape");
  require(samples.n == x.n && samples.c == x.c && samples.d == 1 && samples.h == 1 &&
              (samples.w == 3 || (samples.w == 2 && x.d == 1)),
          info.name, "samples must be (N, C, 2) or (N, C, 3)");
  check_pixels(info.name, x);
  attributes.spatial("kernel", 1, pool.kernel);
  const int64_t size[3] = {x.d, x.h, x.w}, out[3] = {y.d, y.h, y.w};
  for (int i = 0; i < 3; ++i)
    require(pool.kernel[i] >= 1 && pool.kernel[i] <= size[i] && out[i] - 1 <= size[i] - pool.kernel[i], info.name,
            "the windows do not fit the input " + shape_text(x));
}

void make_batch_norm(const OpInfo& info, const Attributes& attributes, const Tensors& args, Op& op) {
  BatchNorm& norm = op.batch_norm;
  const auto vector = [&](int index) {
    const Tensor& t = args[index];
    require(!t.present || (t.n == 1 && element_count(t) == norm.x.c && t.c == norm.x.c), info.name,
            "argument " + std::to_string(index) + " must have one entry per channel");
    return t.present;
  };
  if (info.kind == OpKind::kBatchNormGrad) {
    norm.y = args[BatchNorm::kGDy], norm.x = args[BatchNorm::kGX], norm.dx = args[BatchNorm::kGDx];
    norm.residual = args[BatchNorm::kGResidual];
    require(same_shape(args[BatchNorm::kGDx], norm.x), info.name, "dx must have the input's shape");
    require(args[BatchNorm::kGDx].layout == norm.x.layout && norm.y.layout == norm.x.layout, info.name,
            "layouts differ");
    for (int i : {BatchNorm::kGMean, BatchNorm::kGRstd, BatchNorm::kGDweight, BatchNorm::kGDbias}) vector(i);
    norm.has_weight = vector(BatchNorm::kGWeight), norm.has_bias = vector(BatchNorm::kGBias);
    norm.training = attributes.integer("training", 1) != 0;
  } else if (info.kind == OpKind::kBatchNorm) {
    norm.x = args[BatchNorm::kX], norm.y = args[BatchNorm::kY];
    vector(BatchNorm::kMean), vector(BatchNorm::kVar);
    norm.has_weight = vector(BatchNorm::kWeight), norm.has_bias = vector(BatchNorm::kBias);
  } else {
    norm.x = args[BatchNorm::kTX], norm.y = args[BatchNorm::kTY], norm.residual = args[BatchNorm::kTResidual];
    norm.training = 1;
    norm.has_weight = vector(BatchNorm::kTWeight), norm.has_bias = vector(BatchNorm::kTBias);
    norm.has_running = vector(BatchNorm::kTRunningMean);
    require(norm.has_running == vector(BatchNorm::kTRunningVar), info.name, "running mean and variance go together");
    vector(BatchNorm::kTSaveMean), vector(BatchNorm::kTSaveRstd);
    norm.momentum = attributes.real("momentum", 0.1);
  }
  norm.epilogue = read_epilogue(info.name, attributes, info.kind != OpKind::kBatchNorm);
  if (info.kind != OpKind::kBatchNormGrad) {
    norm.eps = attributes.real("eps", 1e-5);
    require(norm.x.layout == norm.y.layout, info.name, "layouts differ");
  }
  require(same_shape(norm.x, norm.y), info.name, "output must have the input's shape");
  require(!norm.residual.present || (same_shape(norm.residual, norm.x) && norm.residual.layout == norm.x.layout),
          info.name, "residual must have the input's shape and layout");
}

}  // namespace cnnkern
