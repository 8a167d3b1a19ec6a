// SPDX-License-Identifier: BSD-3-Clause
#include "ops/forms.hpp"

#include <algorithm>
#include <stdexcept>

#include "core/check.hpp"

namespace cnnkern {
namespace {

// A reorder reads and writes each element once.
double reorder_ns(const Tensors& plain, unsigned reordered) {
  const Machine& machine = nominal_machine(active_isa());
  double ns = 0;
  for (size_t i = 0; i < plain.size(); ++i)
    if (reordered >> i & 1) ns += 2000 + 8.0 * element_count(plain[i]) / machine.memory_bytes_per_ns;
  return ns;
}

class Forms {
 public:
  Forms(const OpInfo& info, const Attributes& attributes, const Tensors& plain, const std::string& algorithm)
      : info_(info), attributes_(attributes), algorithm_(algorithm) {
    add("plain", plain, plain, 0);
    const Op whole = make_op(info, attributes, plain);
    Tensors shapes = plain;
    if (info.planewise)
      for (Tensor& t : shapes)
        if (t.present) t = planes_as_channels(t);
    unsigned maps = 0;
    for (int i = 0; i < info.arguments; ++i)
      if (info.maps >> i & 1 && plain[i].present) maps |= 1u << i;
    add("blocked", shapes, block(whole, shapes, maps), maps);
    // A first convolution reads few channels: blocks of 16 of them would be mostly zeros.
    if (info.kind == OpKind::kConv2d && plain[Conv::kX].c <= 4) {
      const unsigned but_input = maps & ~(1u << Conv::kX);
      add("first", shapes, block(whole, shapes, but_input), but_input);
    }
    std::stable_sort(forms.begin(), forms.end(), [](const Form& a, const Form& b) { return a.ns < b.ns; });
  }

  std::vector<Form> forms;

 private:
  Tensors block(const Op& op, Tensors args, unsigned maps) {
    for (int i = 0; i < info_.arguments; ++i)
      if (maps >> i & 1) args[i] = blocked_tensor(args[i], border_needed(op, i));
    return args;
  }

  void add(const char* layout, const Tensors& plain, const Tensors& args, unsigned reordered) {
    // What cannot be said in this layout (a broadcast over blocked channels) is no candidate.
    Op op;
    try {
      op = make_op(info_, attributes_, args);
    } catch (const std::invalid_argument&) {
      if (reordered == 0) throw;
      return;
    }
    const double extra = reorder_ns(plain, reordered);
    std::vector<std::string> seen;
    for (const Choice& choice : choices(op, algorithm_)) {
      if (std::find(seen.begin(), seen.end(), choice.kernel->name) != seen.end()) continue;
      seen.push_back(choice.kernel->name);
      forms.push_back({layout, op, args, reordered, choice, choice.variant.ns + extra});
    }
  }

  const OpInfo& info_;
  const Attributes& attributes_;
  const std::string& algorithm_;
};

}  // namespace

std::vector<Form> eager_forms(const OpInfo& info, const Attributes& attributes, const Tensors& plain,
                              const std::string& algorithm) {
  return Forms(info, attributes, plain, algorithm).forms;
}

}  // namespace cnnkern
