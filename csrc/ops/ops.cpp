// SPDX-License-Identifier: BSD-3-Clause
#include "ops/ops.hpp"

#include <algorithm>

#include "core/check.hpp"

namespace cnnkern {
namespace {

constexpr unsigned bits() { return 0; }
template <class... Rest>
constexpr unsigned bits(int first, Rest... rest) {
  return 1u << first | bits(rest...);
}

const OpInfo kOps[] = {
    // name, kind, arguments, maps, outputs, integers, optional, planewise, make, lanes
    {"conv2d", OpKind::kConv2d, 5, bits(0, 3, 4), bits(4), 0, bits(2, 3), false, make_conv2d, Lanes::kKnown},
    {"conv2d_scaled", OpKind::kConv2dScaled, 8, bits(0, 3, 4, 5), bits(4), 0, bits(2, 3, 6, 7), false, make_conv2d},
    {"conv2d_grad_input", OpKind::kConv2dGradInput, 5, bits(0, 2, 3, 4), bits(4), 0, bits(2, 3), false, make_conv2d,
     Lanes::kKnown},
    {"conv2d_grad_weight", OpKind::kConv2dGradWeight, 3, bits(0, 1), bits(2), 0, 0, false, make_conv2d, Lanes::kKnown},
    {"conv2d_chain", OpKind::kConv2dChain, 5, bits(0, 3, 4), bits(4), 0, bits(3), false, make_conv2d_chain},
    {"matmul", OpKind::kMatmul, 4, 0, bits(3), 0, bits(2), false, make_matmul},
    {"max_pool2d", OpKind::kMaxPool2d, 3, bits(0, 1, 2), bits(1, 2), bits(2), bits(2), true, make_pool2d,
     Lanes::kBlocked},
    {"max_pool2d_grad", OpKind::kMaxPool2dGrad, 3, bits(0, 1, 2), bits(2), bits(1), 0, true, make_pool2d,
     Lanes::kBlocked},
    {"avg_pool2d", OpKind::kAvgPool2d, 2, bits(0, 1), bits(1), 0, 0, true, make_pool2d, Lanes::kBlocked},
    {"avg_pool2d_grad", OpKind::kAvgPool2dGrad, 2, bits(0, 1), bits(1), 0, 0, true, make_pool2d, Lanes::kBlocked},
    {"max_unpool", OpKind::kMaxPool2dGrad, 3, 0, bits(2), bits(1), 0, false, make_max_unpool},
    {"max_unpool_grad", OpKind::kMaxPool2d, 3, 0, bits(1), bits(2), 0, false, make_max_unpool},
    {"fractional_max_pool", OpKind::kFractionalMaxPool, 4, 0, bits(2, 3), bits(3), 0, false, make_fractional_max_pool},
    {"batch_norm", OpKind::kBatchNorm, 6, bits(0, 5), bits(5), 0, bits(3, 4), false, make_batch_norm, Lanes::kPlain},
    {"batch_norm_training", OpKind::kBatchNormTraining, 9, bits(0, 5, 6), bits(3, 4, 6, 7, 8), 0, bits(1, 2, 3, 4, 5),
     false, make_batch_norm, Lanes::kPlain},
    {"batch_norm_grad", OpKind::kBatchNormGrad, 10, bits(0, 1, 6, 7), bits(7, 8, 9), 0, bits(4, 5, 6), false,
     make_batch_norm, Lanes::kPlain},
    {"unary", OpKind::kUnary, 2, bits(0, 1), bits(1), 0, 0, false, make_unary, Lanes::kPlain},
    {"unary_grad", OpKind::kUnaryGrad, 3, bits(0, 1, 2), bits(2), 0, 0, false, make_unary, Lanes::kPlain},
    {"binary", OpKind::kBinary, 3, bits(0, 1, 2), bits(2), 0, 0, false, make_binary, Lanes::kPlain},
    {"sum_to", OpKind::kSumTo, 2, bits(0), bits(1), 0, 0, false, make_sum_to, Lanes::kPlain},
    {"copy", OpKind::kCopy, 2, bits(0, 1), bits(1), 0, 0, false, make_copy, Lanes::kReorder},
    {"softmax", OpKind::kSoftmax, 2, 0, bits(1), 0, 0, false, make_softmax},
    {"log_softmax", OpKind::kLogSoftmax, 2, 0, bits(1), 0, 0, false, make_softmax},
    {"softmax_grad", OpKind::kSoftmaxGrad, 3, 0, bits(2), 0, 0, false, make_softmax},
    {"log_softmax_grad", OpKind::kLogSoftmaxGrad, 3, 0, bits(2), 0, 0, false, make_softmax},
    {"cross_entropy", OpKind::kCrossEntropy, 4, 0, bits(3), bits(1), bits(2), false, make_cross_entropy},
    {"cross_entropy_grad", OpKind::kCrossEntropyGrad, 5, 0, bits(4), bits(2), bits(3), false, make_cross_entropy},
    {"dropout", OpKind::kDropout, 3, bits(0, 2), bits(2), bits(1), 0, false, make_dropout},
    {"uniform", OpKind::kUniform, 2, 0, bits(1), bits(0), 0, false, make_uniform},
    {"sgd_step", OpKind::kSgdStep, 4, 0, bits(0, 2), 0, bits(2), false, make_optimizer},
    {"adam_step", OpKind::kAdamStep, 5, 0, bits(0, 2, 3), 0, 0, false, make_optimizer},
    {"adaptive_step", OpKind::kAdaptiveStep, 5, 0, bits(0, 2, 3), 0, bits(3), false, make_optimizer},
    {"group_norm", OpKind::kGroupNorm, 6, bits(0, 3), bits(3, 4, 5), 0, bits(1, 2), false, make_group_norm},
    {"group_norm_grad", OpKind::kGroupNormGrad, 8, bits(0, 1, 5), bits(5, 6, 7), 0, bits(4), false, make_group_norm},
    {"local_response_norm", OpKind::kLocalResponseNorm, 2, bits(0, 1), bits(1), 0, 0, false, make_local_response_norm},
    {"local_response_norm_grad", OpKind::kLocalResponseNormGrad, 3, bits(0, 1, 2), bits(2), 0, 0, false,
     make_local_response_norm},
    {"resample", OpKind::kResample, 5, bits(0, 4), bits(4), bits(1, 2), 0, false, make_resample},
    {"permute", OpKind::kPermute, 2, 0, bits(1), 0, 0, false, make_permute},
    {"grid_sample", OpKind::kGridSample, 3, 0, bits(2), 0, 0, false, make_grid_sample},
    {"grid_sample_grad_input", OpKind::kGridSampleGradInput, 3, 0, bits(2), 0, 0, false, make_grid_sample},
    {"grid_sample_grad_grid", OpKind::kGridSampleGradGrid, 4, 0, bits(3), 0, 0, false, make_grid_sample},
    {"peak", OpKind::kPeak, 1, 0, bits(0), 0, 0, false, make_peak},
};

}  // namespace

const Attributes::Value* Attributes::find(const std::string& name) const {
  used_[name] = true;
  const auto found = values_.find(name);
  return found == values_.end() ? nullptr : &found->second;
}

int64_t Attributes::integer(const std::string& name, int64_t otherwise) const {
  const Value* value = find(name);
  if (!value) return otherwise;
  if (const auto* whole = std::get_if<int64_t>(value)) return *whole;
  throw std::invalid_argument("attribute '" + name + "' must be an integer");
}

double Attributes::precise(const std::string& name, double otherwise) const {
  const Value* value = find(name);
  if (!value) return otherwise;
  if (const auto* whole = std::get_if<int64_t>(value)) return static_cast<double>(*whole);
  if (const auto* number = std::get_if<double>(value)) return *number;
  throw std::invalid_argument("attribute '" + name + "' must be a number");
}

float Attributes::real(const std::string& name, double otherwise) const {
  return static_cast<float>(precise(name, otherwise));
}

std::string Attributes::word(const std::string& name, const std::string& otherwise) const {
  const Value* value = find(name);
  if (!value) return otherwise;
  if (const auto* text = std::get_if<std::string>(value)) return *text;
  throw std::invalid_argument("attribute '" + name + "' must be a string");
}

std::vector<int64_t> Attributes::list(const std::string& name) const {
  const Value* value = find(name);
  if (!value) return {};
  if (const auto* numbers = std::get_if<std::vector<int64_t>>(value)) return *numbers;
  throw std::invalid_argument("attribute '" + name + "' must be a list of integers");
}

Attributes Attributes::part(const std::string& prefix) const {
  Attributes found;
  for (const auto& [name, value] : values_)
    if (name.compare(0, prefix.size(), prefix) == 0) {
      used_[name] = true;
      found.set(name.substr(prefix.size()), value);
    }
  return found;
}

void Attributes::spatial(const std::string& name, int64_t otherwise, int64_t out[3]) const {
  const std::vector<int64_t> numbers = list(name);
  for (int i = 0; i < 3; ++i) out[i] = otherwise;
  if (numbers.empty()) return;
  if (numbers.size() != 2 && numbers.size() != 3)
    throw std::invalid_argument("attribute '" + name + "' must have 2 or 3 entries");
  for (size_t i = 0; i < numbers.size(); ++i) out[3 - numbers.size() + i] = numbers[i];
}

void Attributes::all_used(const char* op) const {
  for (const auto& [name, value] : values_) require(used_.count(name), op, "unknown attribute '" + name + "'");
}

std::string Attributes::text() const {
  std::string all;
  const auto put = [&](const auto& number) { all.append(reinterpret_cast<const char*>(&number), sizeof(number)); };
  for (const auto& [name, value] : values_) {
    all += name;
    all += static_cast<char>(value.index());
    if (const auto* whole = std::get_if<int64_t>(&value))
      put(*whole);
    else if (const auto* number = std::get_if<double>(&value))
      put(*number);
    else if (const auto* word = std::get_if<std::string>(&value))
      all += *word + '\0';
    else
      for (int64_t entry : std::get<std::vector<int64_t>>(value)) put(entry);
    all += '\0';
  }
  return all;
}

const OpInfo& op_info(const std::string& name) {
  for (const OpInfo& info : kOps)
    if (name == info.name) return info;
  throw std::invalid_argument("there is no operation '" + name + "'");
}

Epilogue read_epilogue(const char* op, const Attributes& attributes, bool long_ones) {
  const std::string name = attributes.word("activation", "none");
  Epilogue e{};
  e.slope = attributes.real("slope", 0.01);
  e.low = attributes.real("low", 0);
  e.high = attributes.real("high", 0);
  constexpr const char* kNames[] = {"none", "relu",      "leaky_relu", "clamp",
                                    "silu", "hardswish", "sigmoid",    "hardsigmoid"};
  for (int i = 0; i <= static_cast<int>(long_ones ? Activation::kHardSigmoid : Activation::kClamp); ++i)
    if (name == kNames[i]) {
      e.activation = static_cast<Activation>(i);
      return e;
    }
  throw std::invalid_argument(std::string(op) + ": there is no activation '" + name + "' in an epilogue");
}

namespace {

// The arguments as the operation's kernels can take them.
Tensors without_lanes(const OpInfo& info, const Attributes& attributes, const Tensors& args) {
  const auto in_lanes = [](const Tensor& t) { return t.layout == Layout::kLanes; };
  Tensors seen = args;
  if (info.lanes == Lanes::kKnown || std::none_of(args.begin(), args.end(), in_lanes)) return seen;
  require(info.lanes != Lanes::kNone, info.name, "does not serve images in lanes");
  const bool between = info.lanes == Lanes::kReorder && !std::all_of(args.begin(), args.end(), in_lanes);
  if (info.lanes == Lanes::kReorder) {
    const std::vector<int64_t> offset = attributes.list("offset");
    const bool whole = std::all_of(offset.begin(), offset.end(), [](int64_t each) { return each == 0; });
    require(whole && same_shape(args[0], args[1]), info.name, "images in lanes are copied as a whole");
  }
  for (Tensor& t : seen) {
    require(!between || t.layout != Layout::kBlocked, info.name, "lanes hold either channels or images");
    if (between)
      t = images_as_channels(t);
    else
      t = info.lanes == Lanes::kBlocked ? lanes_as_blocked(t) : lanes_as_plain(t);
  }
  return seen;
}

}  // namespace

Op make_op(const OpInfo& info, const Attributes& attributes, const Tensors& args) {
  require(static_cast<int>(args.size()) == info.arguments, info.name,
          "expects " + std::to_string(info.arguments) + " arguments, found " + std::to_string(args.size()));
  for (int i = 0; i < info.arguments; ++i) {
    require(args[i].present || (info.optional >> i & 1), info.name, "argument " + std::to_string(i) + " is missing");
    require(!args[i].present || args[i].layout == Layout::kPlain || (info.maps >> i & 1), info.name,
            "argument " + std::to_string(i) + " must be plain");
  }
  Op op{};
  op.kind = info.kind;
  info.make(info, attributes, without_lanes(info, attributes, args), op);
  attributes.all_used(info.name);
  return op;
}

Border border_needed(const Op& op, int index, Layout layout) {
  Border border;
  if (op.kind == OpKind::kConv2dChain) {
    Op first{};
    first.kind = index == ConvChain::kX ? OpKind::kConv2d : OpKind::kCount;
    first.conv = op.conv_chain.head.w.present ? op.conv_chain.head : op.conv_chain.middle;
    return border_needed(first, Conv::kX);
  }
  const Conv& conv = op.conv;
  const bool forward_input = ((op.kind == OpKind::kConv2d || op.kind == OpKind::kConv2dScaled) && index == Conv::kX) ||
                             (op.kind == OpKind::kConv2dGradWeight && index == Conv::kGwX);
  const bool gradient_input = op.kind == OpKind::kConv2dGradInput && index == Conv::kGiDy;
  const int64_t size[3] = {conv.x.d, conv.x.h, conv.x.w}, out[3] = {conv.y.d, conv.y.h, conv.y.w};
  const int64_t taps[3] = {conv.w.d, conv.w.h, conv.w.w};
  if (layout == Layout::kPlain || (!forward_input && !gradient_input)) return border;
  const bool sides = layout == Layout::kLanes && op.kind != OpKind::kConv2dGradWeight;
  for (int i = sides ? 2 : 0; i < 3; ++i) {
    const int64_t reach = (taps[i] - 1) * conv.dilation[i];
    if (forward_input) {
      border.before[i] = static_cast<int32_t>(conv.padding[i]);
      const int64_t last = (out[i] - 1) * conv.stride[i] + reach - conv.padding[i];  // the last pixel that is read
      border.after[i] = static_cast<int32_t>(last >= size[i] ? last - size[i] + 1 : 0);
    } else {
      border.before[i] = border.after[i] = static_cast<int32_t>(reach);
    }
  }
  return border;
}

}  // namespace cnnkern
