// SPDX-License-Identifier: BSD-3-Clause
// From a name, attributes and argument shapes to a checked Op. No Python, no intrinsics.
#pragma once
#include <map>
#include <string>
#include <variant>
#include <vector>

#include "core/tensor.hpp"

namespace cnnkern {

// What a call says beside its tensors: numbers, lists of whole numbers, words. A missing entry has its default; an entry
// that the operation does not know is an error.
class Attributes {
 public:
  using Value = std::variant<int64_t, double, std::string, std::vector<int64_t>>;

  void set(const std::string& name, Value value) { values_[name] = std::move(value); }
  int64_t integer(const std::string& name, int64_t otherwise) const;
  double precise(const std::string& name, double otherwise) const;
  float real(const std::string& name, double otherwise) const;
  std::string word(const std::string& name, const std::string& otherwise) const;
  // Two entries are H and W (D gets `otherwise`), three are D, H, W.
  void spatial(const std::string& name, int64_t otherwise, int64_t out[3]) const;
  std::vector<int64_t> list(const std::string& name) const;
  Attributes part(const std::string& prefix) const;  // the entries whose names start so, without that start
  void all_used(const char* op) const;
  std::string text() const;  // equal for equal attributes only

 private:
  const Value* find(const std::string& name) const;
  std::map<std::string, Value> values_;
  mutable std::map<std::string, bool> used_;
};

using Tensors = std::vector<Tensor>;  // in the operation's argument order; present = 0 where left out

// How an operation's maps may be images in lanes: not at all; known to its kernels; or seen as blocked or as plain maps, which
// is the same where every channel, or every element, is for itself. A reorder leads to and from plain maps.
enum class Lanes { kNone, kKnown, kBlocked, kPlain, kReorder };

struct OpInfo {
  const char* name;
  OpKind kind;
  int arguments;
  unsigned maps;      // bit i: argument i is a map (N, C, D, H, W) that may be blocked
  unsigned outputs;   // bit i: written
  unsigned integers;  // bit i: int32
  unsigned optional;  // bit i: may be left out
  bool planewise;     // every (n, c) plane for itself, so that plain maps may be seen as one image of n * c channels
  void (*make)(const OpInfo&, const Attributes&, const Tensors&, Op&);
  Lanes lanes = Lanes::kNone;
};

const OpInfo& op_info(const std::string& name);  // std::invalid_argument for an unknown name

// Checks everything that protects memory: ranks, shapes against each other and against the attributes, layouts.
Op make_op(const OpInfo& info, const Attributes& attributes, const Tensors& args);

// The zeros that kernels want around map argument `index` in this layout. Those on images in lanes leave out rows of taps
// beyond the map, except the gradient by the weights.
Border border_needed(const Op& op, int index, Layout layout = Layout::kBlocked);

// One per family, in a file each.
void make_conv2d(const OpInfo&, const Attributes&, const Tensors&, Op&);
void make_conv2d_chain(const OpInfo&, const Attributes&, const Tensors&, Op&);
void make_matmul(const OpInfo&, const Attributes&, const Tensors&, Op&);
void make_pool2d(const OpInfo&, const Attributes&, const Tensors&, Op&);
void make_fractional_max_pool(const OpInfo&, const Attributes&, const Tensors&, Op&);
void make_max_unpool(const OpInfo&, const Attributes&, const Tensors&, Op&);
void make_batch_norm(const OpInfo&, const Attributes&, const Tensors&, Op&);
void make_unary(const OpInfo&, const Attributes&, const Tensors&, Op&);
void make_binary(const OpInfo&, const Attributes&, const Tensors&, Op&);
void make_sum_to(const OpInfo&, const Attributes&, const Tensors&, Op&);
void make_copy(const OpInfo&, const Attributes&, const Tensors&, Op&);
void make_softmax(const OpInfo&, const Attributes&, const Tensors&, Op&);
void make_cross_entropy(const OpInfo&, const Attributes&, const Tensors&, Op&);
void make_dropout(const OpInfo&, const Attributes&, const Tensors&, Op&);
void make_uniform(const OpInfo&, const Attributes&, const Tensors&, Op&);
void make_optimizer(const OpInfo&, const Attributes&, const Tensors&, Op&);
void make_group_norm(const OpInfo&, const Attributes&, const Tensors&, Op&);
void make_local_response_norm(const OpInfo&, const Attributes&, const Tensors&, Op&);
void make_resample(const OpInfo&, const Attributes&, const Tensors&, Op&);
void make_grid_sample(const OpInfo&, const Attributes&, const Tensors&, Op&);
void make_permute(const OpInfo&, const Attributes&, const Tensors&, Op&);
void make_peak(const OpInfo&, const Attributes&, const Tensors&, Op&);

// long_ones: activations that only some kernels know.
Epilogue read_epilogue(const char* op, const Attributes& attributes, bool long_ones = false);

}  // namespace cnnkern
