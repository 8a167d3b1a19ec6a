// SPDX-License-Identifier: BSD-3-Clause
#include "core/check.hpp"
#include "ops/ops.hpp"

namespace cnnkern {
namespace {

// One convolution of the chain, checked like any other. `weight` in the attributes is the shape of its weights, `size` the
// height and width of its result.
Conv make_stage(const Attributes& part, const Tensor& x, const Tensor& residual) {
  const std::vector<int64_t> weight = part.list("weight"), size = part.list("size");
  require(weight.size() == 4 && size.size() == 2, "conv2d_chain", "a weight's shape has four entries, a size two");
  const int64_t result[4] = {x.n, weight[0], size[0], size[1]};
  const Tensor bias = plain_tensor(weight.data(), 1);
  Op op{};
  op.kind = OpKind::kConv2d;
  make_conv2d(op_info("conv2d"), part, {x, plain_tensor(weight.data(), 4), bias, residual, plain_tensor(result, 4)},
              op);
  part.all_used("conv2d_chain");
  return op.conv;
}

// The same map in blocks, with the border that its reader wants.
Tensor between(const Conv& reader) {
  Op op{};
  op.kind = OpKind::kConv2d;
  op.conv = reader;
  return blocked_tensor(reader.x, border_needed(op, Conv::kX));
}

}  // namespace

void make_conv2d_chain(const OpInfo& info, const Attributes& attributes, const Tensors& args, Op& op) {
  ConvChain& chain = op.conv_chain;
  const Attributes head = attributes.part("head_"), middle = attributes.part("middle_"),
                   tail = attributes.part("tail_");
  const bool has_head = !head.list("weight").empty(), has_tail = !tail.list("weight").empty();
  const Tensor &x = args[ConvChain::kX], &y = args[ConvChain::kY], &residual = args[ConvChain::kResidual];
  if (has_head) chain.head = make_stage(head, x, {});
  chain.middle = make_stage(middle, has_head ? chain.head.y : x, {});
  if (has_tail) chain.tail = make_stage(tail, chain.middle.y, residual);
  require(has_head || has_tail, info.name, "has one convolution only");
  require(has_tail || !residual.present, info.name, "a residual needs a tail");
  require(same_shape(has_tail ? chain.tail.y : chain.middle.y, y), info.name, "the output has another shape");
  if (has_head) chain.head.y = chain.middle.x = between(chain.middle);
  if (has_tail) chain.middle.y = chain.tail.x = between(chain.tail);
  (has_tail ? chain.tail.y : chain.middle.y) = y;
  int64_t weights = 0, biases = 0;
  for (const Conv* conv : {&chain.head, &chain.middle, &chain.tail}) {
    if (!conv->w.present) continue;
    weights += element_count(conv->w), biases += conv->w.n;
  }
  require(element_count(args[ConvChain::kW]) == weights && element_count(args[ConvChain::kBias]) == biases, info.name,
          "expects " + std::to_string(weights) + " weights and " + std::to_string(biases) + " biases");
}

}  // namespace cnnkern
