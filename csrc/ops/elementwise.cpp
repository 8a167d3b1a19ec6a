// SPDX-License-Identifier: BSD-3-Clause
#include <cstring>

#include "core/check.hpp"
#include "ops/ops.hpp"

namespace cnnkern {
namespace {

// In the order of Function.
constexpr const char* kUnary[] = {
    "relu",       "leaky_relu", "sigmoid",  "tanh",       "clamp",      "negative",    "exp",  "log",       "sqrt",
    "square",     "scale",      "elu",      "silu",       "hardswish",  "hardsigmoid", "gelu", "gelu_tanh", "mish",
    "logsigmoid", "softsign",   "softplus", "hardshrink", "softshrink", "threshold",   "abs",  "power"};
constexpr const char* kBinary[] = {"add", "subtract", "multiply", "divide", "maximum", "minimum"};

template <size_t kCount>
Function function_named(const OpInfo& info, const Attributes& attributes, const char* const (&names)[kCount],
                        Function first) {
  const std::string name = attributes.word("function", "");
  for (size_t i = 0; i < kCount; ++i)
    if (name == names[i]) return static_cast<Function>(static_cast<int32_t>(first) + static_cast<int32_t>(i));
  throw std::invalid_argument(std::string(info.name) + ": there is no function '" + name + "'");
}

void one_layout(const OpInfo& info, const Tensors& args) {
  for (const Tensor& t : args) require(t.layout == args[0].layout, info.name, "layouts differ");
}

}  // namespace

void make_unary(const OpInfo& info, const Attributes& attributes, const Tensors& args, Op& op) {
  one_layout(info, args);
  for (const Tensor& t : args) require(same_shape(t, args[0]), info.name, "shapes differ");
  op.unary.x = args[args.size() - 2];
  op.unary.y = args.back();
  if (info.kind == OpKind::kUnaryGrad) op.unary.dy = args[Unary::kDy];
  op.unary.function = function_named(info, attributes, kUnary, Function::kRelu);
  op.unary.alpha = attributes.real("alpha", op.unary.function == Function::kLeakyRelu ? 0.01 : 1.0);
  op.unary.beta = attributes.real("beta", 0);
  op.unary.gamma = attributes.real("gamma", 1);
}

void make_binary(const OpInfo& info, const Attributes& attributes, const Tensors& args, Op& op) {
  Binary& binary = op.binary;
  binary.a = args[Binary::kA], binary.b = args[Binary::kB], binary.y = args[Binary::kY];
  for (Tensor* t : {&binary.a, &binary.b}) {
    const auto broadcast = [&](int64_t size, int64_t wanted, int64_t& stride) {
      require(size == wanted || size == 1, info.name,
              "cannot broadcast " + shape_text(*t) + " to " + shape_text(binary.y));
      if (size != wanted) stride = 0;
    };
    int64_t column = 1;
    broadcast(t->n, binary.y.n, t->sn);
    broadcast(t->c, binary.y.c, t->sc);
    broadcast(t->d, binary.y.d, t->sd);
    broadcast(t->h, binary.y.h, t->sh);
    broadcast(t->w, binary.y.w, column);
    require(t->layout == binary.y.layout, info.name, "layouts differ");
    require(t->layout == Layout::kPlain || t->c == binary.y.c, info.name, "blocked operands cannot broadcast channels");
  }
  const bool prelu = attributes.word("function", "") == "prelu";  // the leaky ReLU whose slope is an operand
  binary.function = prelu ? Function::kLeakyRelu : function_named(info, attributes, kBinary, Function::kAdd);
  binary.epilogue = read_epilogue(info.name, attributes);
}

void make_sum_to(const OpInfo& info, const Attributes& attributes, const Tensors& args, Op& op) {
  op.sum_to.x = args[SumTo::kX], op.sum_to.y = args[SumTo::kY];
  op.sum_to.scale = attributes.real("scale", 1);
  const Tensor &x = op.sum_to.x, &y = op.sum_to.y;
  const bool fits = (y.n == x.n || y.n == 1) && (y.c == x.c || y.c == 1) && (y.d == x.d || y.d == 1) &&
                    (y.h == x.h || y.h == 1) && (y.w == x.w || y.w == 1);
  require(fits, info.name, "cannot sum " + shape_text(x) + " to " + shape_text(y));
}

void make_copy(const OpInfo& info, const Attributes& attributes, const Tensors& args, Op& op) {
  Copy& copy = op.copy;
  copy.x = args[Copy::kX], copy.y = args[Copy::kY];
  const std::vector<int64_t> offset = attributes.list("offset");
  require(offset.empty() || offset.size() == 5, info.name, "offset must have 5 entries: N, C, D, H, W");
  for (size_t i = 0; i < offset.size(); ++i) {
    require(offset[i] > -kMaxElements && offset[i] < kMaxElements, info.name, "offset is too large");
    copy.offset[i] = offset[i];
  }
  copy.fill = attributes.integer("fill", 0) != 0;
  copy.value = attributes.real("value", 0);
}

void make_softmax(const OpInfo& info, const Attributes& attributes, const Tensors& args, Op& op) {
  (void)attributes;
  const Tensor& x = args[0];
  for (const Tensor& t : args)
    require(same_shape(t, x) && t.d == 1 && t.h == 1, info.name, "expects equal shapes of rank 3");
  op.softmax.outer = x.n, op.softmax.size = x.c, op.softmax.inner = x.w;
}

void make_cross_entropy(const OpInfo& info, const Attributes& attributes, const Tensors& args, Op& op) {
  Softmax& s = op.softmax;
  const bool gradient = info.kind == OpKind::kCrossEntropyGrad;
  const auto pick = [&](int backward, int forward) -> const Tensor& { return args[gradient ? backward : forward]; };
  const Tensor& logits = pick(Softmax::kGLogits, Softmax::kLogits);
  const Tensor& target = pick(Softmax::kGTarget, Softmax::kTarget);
  const Tensor& weight = pick(Softmax::kGClassWeight, Softmax::kClassWeight);
  const Tensor& loss = pick(Softmax::kDloss, Softmax::kLoss);
  require(logits.d == 1 && logits.h == 1, info.name, "logits must be (outer, size, inner)");
  s.outer = logits.n, s.size = logits.c, s.inner = logits.w;
  s.reduction = static_cast<int32_t>(attributes.integer("reduction", 1));
  s.ignore_index = attributes.integer("ignore_index", -100);
  s.label_smoothing = attributes.real("label_smoothing", 0);
  s.log_probabilities = attributes.integer("log_probabilities", 0) != 0;
  require(!s.log_probabilities || s.label_smoothing == 0, info.name, "labels of log-probabilities cannot be smoothed");
  s.has_weight = weight.present;
  require(s.reduction >= 0 && s.reduction <= 2, info.name, "reduction must be 0, 1 or 2");
  require(element_count(target) == s.outer * s.inner, info.name, "target must be (outer, inner)");
  require(!weight.present || element_count(weight) == s.size, info.name, "weight must have one entry per class");
  require(element_count(loss) == (s.reduction == 0 ? s.outer * s.inner : 1), info.name, "loss has the wrong size");
  require(!gradient || same_shape(args[Softmax::kGDx], logits), info.name, "dx must have the logits' shape");
}

void make_dropout(const OpInfo& info, const Attributes& attributes, const Tensors& args, Op& op) {
  op.dropout.x = args[0], op.dropout.y = args[2];
  op.dropout.p = attributes.real("p", 0.5);
  op.dropout.node = static_cast<uint32_t>(attributes.integer("node", 0));
  require(op.dropout.p >= 0 && op.dropout.p <= 1, info.name, "p must lie in [0, 1]");
  require(element_count(args[1]) == 2, info.name, "rng must hold seed and step");
  require(same_shape(args[0], args[2]) && args[0].layout == args[2].layout, info.name, "output must be like the input");
}

void make_uniform(const OpInfo& info, const Attributes& attributes, const Tensors& args, Op& op) {
  op.dropout.y = args[1];
  op.dropout.node = static_cast<uint32_t>(attributes.integer("node", 0));
  require(element_count(args[0]) == 2, info.name, "rng must hold seed and step");
}

void make_optimizer(const OpInfo& info, const Attributes& attributes, const Tensors& args, Op& op) {
  Optimizer& o = op.optimizer;
  o.count = element_count(args[0]);
  for (size_t i = 1; i + 1 < args.size(); ++i)
    require(!args[i].present || element_count(args[i]) == o.count, info.name,
            "state and gradient must be as the parameter");
  require(element_count(args.back()) == 8, info.name, "hyper must have 8 entries");
  o.weight_decay = attributes.real("weight_decay", 0);
  if (info.kind == OpKind::kSgdStep) {
    o.momentum = attributes.real("momentum", 0);
    o.dampening = attributes.real("dampening", 0);
    o.nesterov = attributes.integer("nesterov", 0) != 0;
    o.has_buffer = args[Optimizer::kBuffer].present;
    require(o.has_buffer || o.momentum == 0, info.name, "momentum needs a buffer");
  } else if (info.kind == OpKind::kAdaptiveStep) {
    o.momentum = attributes.real("momentum", 0);
    o.eps = attributes.real("eps", 1e-8);
    o.has_buffer = args[Optimizer::kDBuffer].present;
    require(o.has_buffer || o.momentum == 0, info.name, "momentum needs a buffer");
  } else {
    o.beta1 = attributes.precise("beta1", 0.9);
    o.beta2 = attributes.precise("beta2", 0.999);
    o.eps = attributes.real("eps", 1e-8);
    o.decoupled = attributes.integer("decoupled", 0) != 0;
  }
}

}  // namespace cnnkern
