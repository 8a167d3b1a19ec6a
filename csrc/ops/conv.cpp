// SPDX-License-Identifier: BSD-3-Clause
#include "core/check.hpp"
#include "ops/ops.hpp"

namespace cnnkern {
namespace {

constexpr int64_t kMaxExtent = 1 << 24;  // of a kernel, stride, padding or dilation: offsets inside a map fit 32 bits

void check_geometry(const char* name, const Conv& conv) {
  const int64_t size[3] = {conv.x.d, conv.x.h, conv.x.w}, out[3] = {conv.y.d, conv.y.h, conv.y.w};
  const int64_t taps[3] = {conv.w.d, conv.w.h, conv.w.w};
  for (int i = 0; i < 3; ++i) {
    require(conv.stride[i] >= 1 && conv.stride[i] <= kMaxExtent, name, "stride must be positive");
    require(conv.dilation[i] >= 1 && conv.dilation[i] <= kMaxExtent, name, "dilation must be positive");
    require(conv.padding[i] >= 0 && conv.padding[i] <= kMaxExtent, name, "padding must not be negative");
    require(taps[i] >= 1 && taps[i] <= kMaxExtent, name, "the kernel must not be empty");
    const int64_t reach = checked_product(taps[i] - 1, conv.dilation[i], name);
    require(reach <= kMaxExtent, name, "the dilated kernel is too large");
    // What stands after the map follows from the output; between nothing and one kernel less a pixel it is padding.
    const int64_t last = checked_product(out[i] > 0 ? out[i] - 1 : 0, conv.stride[i], name) + reach - conv.padding[i];
    require(last - size[i] + 1 <= reach + conv.padding[i] + conv.stride[i], name,
            "output " + shape_text(conv.y) + " does not belong to input " + shape_text(conv.x));
  }
}

// One number per input channel; `images`: may differ from image to image.
void check_channels(const char* name, const char* what, const Tensor& t, const Tensor& x, bool images) {
  require(!t.present || (t.c == x.c && t.d * t.h * t.w == 1 && (t.n == 1 || (images && t.n == x.n))), name,
          std::string(what) + " must have one entry per input channel");
}

void read_scaling(const char* name, const Attributes& attributes, const Tensors& args, Conv& conv) {
  conv.scale = args[Conv::kScale], conv.shift = args[Conv::kShift], conv.centre = args[Conv::kCentre];
  check_channels(name, "scale", conv.scale, conv.x, true);
  check_channels(name, "shift", conv.shift, conv.x, false);
  check_channels(name, "centre", conv.centre, conv.x, false);
  const std::string word = attributes.word("input_activation", "none");
  require(word == "none" || word == "relu", name, "there is no input_activation '" + word + "'");
  conv.input_activation = word == "relu" ? Activation::kRelu : Activation::kNone;
}

}  // namespace

void make_conv2d(const OpInfo& info, const Attributes& attributes, const Tensors& args, Op& op) {
  Conv& conv = op.conv;
  switch (info.kind) {
    case OpKind::kConv2d:
    case OpKind::kConv2dScaled:
      conv.x = args[Conv::kX], conv.w = args[Conv::kW], conv.y = args[Conv::kY];
      conv.bias = args[Conv::kBias], conv.residual = args[Conv::kResidual];
      break;
    case OpKind::kConv2dGradInput:
      conv.y = args[Conv::kGiDy], conv.w = args[Conv::kGiW], conv.x = args[Conv::kGiDx];
      conv.residual = args[Conv::kGiResidual], conv.gate = args[Conv::kGiGate];
      break;
    default: conv.x = args[Conv::kGwX], conv.y = args[Conv::kGwDy], conv.w = args[Conv::kGwDw];
  }
  const bool forward = info.kind == OpKind::kConv2d || info.kind == OpKind::kConv2dScaled;
  if (info.kind == OpKind::kConv2dScaled) read_scaling(info.name, attributes, args, conv);
  attributes.spatial("stride", 1, conv.stride);
  attributes.spatial("padding", 0, conv.padding);
  attributes.spatial("dilation", 1, conv.dilation);
  conv.groups = attributes.integer("groups", 1);
  conv.epilogue = forward ? read_epilogue(info.name, attributes, true) : Epilogue{};
  require(conv.groups >= 1, info.name, "groups must be positive");
  require(conv.w.n % conv.groups == 0 && conv.x.c == checked_product(conv.w.c, conv.groups, info.name), info.name,
          "weight " + shape_text(conv.w) + " in " + std::to_string(conv.groups) + " groups does not fit input " +
              shape_text(conv.x));
  require(conv.y.n == conv.x.n && conv.y.c == conv.w.n, info.name,
          "output " + shape_text(conv.y) + " does not fit weight " + shape_text(conv.w));
  require(!conv.bias.present || (conv.bias.n == 1 && element_count(conv.bias) == conv.w.n && conv.bias.c == conv.w.n),
          info.name, "bias must have one entry per output channel");
  const Tensor& result = info.kind == OpKind::kConv2dGradInput ? conv.x : conv.y;
  require(!conv.residual.present || same_shape(conv.residual, result), info.name,
          "residual must have the output's shape");
  require(!conv.gate.present || same_shape(conv.gate, result), info.name, "gate must have the output's shape");
  check_geometry(info.name, conv);
}

void make_matmul(const OpInfo& info, const Attributes& attributes, const Tensors& args, Op& op) {
  Matmul& m = op.matmul;
  m.a = args[Matmul::kA], m.b = args[Matmul::kB], m.bias = args[Matmul::kBias], m.y = args[Matmul::kY];
  m.transpose_a = attributes.integer("transpose_a", 0) != 0;
  m.transpose_b = attributes.integer("transpose_b", 0) != 0;
  m.epilogue = read_epilogue(info.name, attributes);
  m.m = m.transpose_a ? m.a.c : m.a.n;
  m.k = m.transpose_a ? m.a.n : m.a.c;
  m.n = m.transpose_b ? m.b.n : m.b.c;
  for (const Tensor* t : {&m.a, &m.b, &m.y})
    require(t->d == 1 && t->h == 1 && t->w == 1, info.name, "operands must be matrices");
  require((m.transpose_b ? m.b.c : m.b.n) == m.k, info.name,
          "inner dimensions differ: " + shape_text(m.a) + " and " + shape_text(m.b));
  require(m.y.n == m.m && m.y.c == m.n, info.name, "output " + shape_text(m.y) + " does not fit the operands");
  require(!m.bias.present || (m.bias.n == 1 && m.bias.c == m.n && element_count(m.bias) == m.n), info.name,
          "bias must have one entry per column");
}

void make_peak(const OpInfo& info, const Attributes& attributes, const Tensors& args, Op& op) {
  op.peak.units = element_count(args[0]);
  op.peak.steps = attributes.integer("steps", 1000);
  require(op.peak.steps > 0, info.name, "steps must be positive");
}

}  // namespace cnnkern
