// SPDX-License-Identifier: BSD-3-Clause
#include "core/check.hpp"
#include "ops/ops.hpp"

namespace cnnkern {
namespace {

void sizes_of(const Tensor& t, int64_t (&size)[5]) {
  size[0] = t.n, size[1] = t.c, size[2] = t.d, size[3] = t.h, size[4] = t.w;
}

}  // namespace

void make_resample(const OpInfo& info, const Attributes& attributes, const Tensors& args, Op& op) {
  Resample& resample = op.resample;
  resample.x = args[Resample::kX], resample.y = args[Resample::kY];
  const int64_t axis = attributes.integer("axis", 4);
  require(axis >= 0 && axis < 5, info.name, "axis must be one of N, C, D, H, W");
  resample.axis = static_cast<int32_t>(axis);
  int64_t x[5], y[5];
  sizes_of(resample.x, x), sizes_of(resample.y, y);
  for (int i = 0; i < 5; ++i)
    require(i == axis || x[i] == y[i], info.name,
            "output " + shape_text(resample.y) + " does not fit input " + shape_text(resample.x));
  resample.taps = element_count(args[Resample::kIndex]);
  constexpr int64_t kMost = (int64_t{1} << 31) - 1;  // what the tables can say
  require(x[axis] <= kMost && y[axis] < kMost && resample.taps <= kMost, info.name, "the axis is too long");
  require(resample.taps == 0 || x[axis] > 0, info.name, "there is nothing to read along the axis");
  require(element_count(args[Resample::kStart]) == y[axis] + 1, info.name, "start must have one entry more than y");
  require(element_count(args[Resample::kWeight]) == resample.taps, info.name, "index and weight differ in length");
  require(resample.x.layout == resample.y.layout, info.name, "layouts differ");
}

void make_grid_sample(const OpInfo& info, const Attributes& attributes, const Tensors& args, Op& op) {
  GridSample& sample = op.grid_sample;
  switch (info.kind) {
    case OpKind::kGridSample: sample.x = args[0], sample.grid = args[1], sample.y = args[2]; break;
    case OpKind::kGridSampleGradInput: sample.y = args[0], sample.grid = args[1], sample.x = args[2]; break;
    default:
      sample.y = args[0], sample.x = args[1], sample.grid = args[2];
      require(same_shape(args[GridSample::kGgDgrid], sample.grid), info.name, "dgrid must have the grid's shape");
  }
  const Tensor &x = sample.x, &grid = sample.grid, &y = sample.y;
  require(grid.d == 1 && grid.h == 1 && (grid.w == 2 || grid.w == 3), info.name, "grid must be (N, P, 2) or (N, P, 3)");
  require(grid.w == 3 || x.d == 1, info.name, "a grid of two coordinates reads images");
  require(y.d == 1 && y.h == 1 && y.w == grid.c && y.c == x.c && y.n == x.n && grid.n == x.n, info.name,
          "output " + shape_text(y) + " does not fit input " + shape_text(x) + " and grid " + shape_text(grid));
  require(x.d >= 1 && x.h >= 1 && x.w >= 1, info.name, "the input has no pixels");
  require(checked_product(checked_product(x.d, x.h, info.name), x.w, info.name) < int64_t{1} << 31, info.name,
          "an input plane must have less than 2^31 pixels");
  const int64_t taps = attributes.integer("taps", 2), padding = attributes.integer("padding", 0);
  require(taps == 1 || taps == 2 || (taps == 4 && grid.w == 2), info.name, "taps must be 1, 2 or, of images, 4");
  require(padding >= 0 && padding <= 2, info.name, "padding must be 0, 1 or 2");
  sample.taps = static_cast<int32_t>(taps), sample.padding = static_cast<int32_t>(padding);
  sample.align_corners = attributes.integer("align_corners", 0) != 0;
}

void make_permute(const OpInfo& info, const Attributes& attributes, const Tensors& args, Op& op) {
  Permute& permute = op.permute;
  permute.x = args[Permute::kX], permute.y = args[Permute::kY];
  const std::vector<int64_t> axes = attributes.list("axes");
  require(axes.size() == 5, info.name, "axes must have 5 entries: N, C, D, H, W");
  int64_t x[5], y[5];
  sizes_of(permute.x, x), sizes_of(permute.y, y);
  unsigned seen = 0;
  for (int i = 0; i < 5; ++i) {
    require(axes[i] >= 0 && axes[i] < 5, info.name, "axes must be a permutation of 0 .. 4");
    seen |= 1u << axes[i];
    permute.axes[i] = static_cast<int32_t>(axes[i]);
    require(y[i] == x[axes[i]], info.name,
            "output " + shape_text(permute.y) + " does not fit input " + shape_text(permute.x));
  }
  require(seen == 31, info.name, "axes must be a permutation of 0 .. 4");
}

void make_local_response_norm(const OpInfo& info, const Attributes& attributes, const Tensors& args, Op& op) {
  LocalResponseNorm& norm = op.local_response_norm;
  norm.x = args[args.size() - 2], norm.y = args.back();
  if (info.kind == OpKind::kLocalResponseNormGrad) norm.dy = args[LocalResponseNorm::kDy];
  for (const Tensor& t : args) {
    require(same_shape(t, norm.x), info.name, "shapes differ");
    require(t.layout == norm.x.layout, info.name, "layouts differ");
  }
  norm.size = attributes.integer("size", 5);
  require(norm.size >= 1 && norm.size < int64_t{1} << 31, info.name, "size must be positive");
  norm.alpha = attributes.real("alpha", 1e-4);
  norm.beta = attributes.real("beta", 0.75);
  norm.k = attributes.real("k", 1);
}

void make_group_norm(const OpInfo& info, const Attributes& attributes, const Tensors& args, Op& op) {
  GroupNorm& norm = op.group_norm;
  const bool gradient = info.kind == OpKind::kGroupNormGrad;
  const auto pick = [&](int backward, int forward) -> const Tensor& { return args[gradient ? backward : forward]; };
  norm.x = pick(GroupNorm::kGX, GroupNorm::kX), norm.y = pick(GroupNorm::kGDy, GroupNorm::kY);
  if (gradient) norm.dx = args[GroupNorm::kGDx];
  for (const Tensor* t : {&norm.y, gradient ? &norm.dx : &norm.x}) {
    require(same_shape(*t, norm.x), info.name, "shapes differ");
    require(t->layout == norm.x.layout, info.name, "layouts differ");
  }
  norm.groups = attributes.integer("groups", 1);
  require(norm.groups >= 1 && norm.x.c % norm.groups == 0, info.name, "groups must divide the channels");
  const auto vector = [&](int index) {
    const Tensor& t = args[index];
    require(!t.present || (t.n == 1 && t.c == norm.x.c && element_count(t) == t.c), info.name,
            "argument " + std::to_string(index) + " must have one entry per channel");
    return t.present;
  };
  for (int i : {GroupNorm::kMean, GroupNorm::kRstd}) {
    const Tensor& t = args[gradient ? i - GroupNorm::kMean + GroupNorm::kGMean : i];
    require(t.n == norm.x.n && t.c == norm.groups && element_count(t) == t.n * t.c, info.name,
            "mean and rstd must be (N, groups)");
  }
  norm.has_weight = vector(gradient ? int{GroupNorm::kGWeight} : int{GroupNorm::kWeight});
  if (gradient) {
    vector(GroupNorm::kGDweight), vector(GroupNorm::kGDbias);
  } else {
    norm.has_bias = vector(GroupNorm::kBias);
    norm.eps = attributes.real("eps", 1e-5);
  }
}

}  // namespace cnnkern
