// SPDX-License-Identifier: BSD-3-Clause
#include "ops/eager.hpp"

#include <algorithm>
#include <cstring>
#include <mutex>

#include "core/check.hpp"
#include "core/launch.hpp"

namespace cnnkern {
namespace {

// One way to serve a call: the operation with some of its maps blocked.
struct Form {
  const char* layout;
  Op op;
  Tensors args;
  unsigned reordered;  // bit i: argument i goes through a blocked copy
  Choice choice;
  double ns;
};

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

// Keeps a few buffers from call to call: fresh pages cost more than many kernels. Bounded in number and size. The lock is
// only tried: one that another thread held at the moment of a fork stays locked in the child, which then merely allocates.
class BufferList {
 public:
  Buffer take(int64_t bytes) {
    if (std::unique_lock<std::mutex> lock(mutex_, std::try_to_lock); lock.owns_lock())
      for (auto it = free_.begin(); it != free_.end(); ++it)
        if (it->bytes() >= bytes) {
          Buffer found = std::move(*it);
          free_.erase(it);
          return found;
        }
    return Buffer(bytes);
  }
  void give(Buffer buffer) {
    constexpr int64_t kLargestKept = int64_t{256} << 20;
    constexpr size_t kMostKept = 4;
    if (buffer.bytes() > kLargestKept) return;
    std::unique_lock<std::mutex> lock(mutex_, std::try_to_lock);
    if (!lock.owns_lock()) return;
    if (free_.size() == kMostKept) free_.erase(free_.begin());
    free_.push_back(std::move(buffer));
  }

 private:
  std::mutex mutex_;
  std::vector<Buffer> free_;
};

BufferList& buffers() {
  static BufferList* list = new BufferList;  // never destroyed: daemon threads may still compute at exit
  return *list;
}

// The steps of one call and the single buffer behind them.
class Composition {
 public:
  Composition(const OpInfo& info, const Form& form, const Tensors& plain, const std::vector<void*>& pointers, int threads)
      : threads_(threads) {
    std::vector<void*> args = pointers;
    std::vector<int64_t> offsets(plain.size(), -1);
    for (size_t i = 0; i < plain.size(); ++i)
      if (form.reordered >> i & 1) offsets[i] = reserve(tensor_bytes(form.args[i]));
    auto main = make_ready(form.op, form.choice);
    for (size_t i = 0; i < plain.size(); ++i)
      if (offsets[i] >= 0 && !(info.outputs >> i & 1)) keep_copy(source(info, plain[i]), form.args[i]);
    const size_t position = ready_.size();
    keep(std::move(main));
    for (size_t i = 0; i < plain.size(); ++i)
      if (offsets[i] >= 0 && (info.outputs >> i & 1)) keep_copy(form.args[i], source(info, plain[i]));
    const int64_t packed = reserve(ready_[position]->prepared.work.packed_bytes);
    const int64_t shared = reserve(shared_);
    const int64_t scratch = reserve(scratch_ * threads_);
    buffer_ = buffers().take(bytes_);

    for (size_t i = 0; i < plain.size(); ++i)
      if (offsets[i] >= 0)
        args[i] = reinterpret_cast<float*>(buffer_.data() + offsets[i]) + origin_offset(form.args[i]);
    size_t step = 0;
    for (size_t i = 0; i < plain.size(); ++i) {
      if (offsets[i] < 0 || (info.outputs >> i & 1)) continue;
      steps_[step].args[Copy::kX] = pointers[i], steps_[step].args[Copy::kY] = args[i];
      steps_[step].zero_count = 1;
      steps_[step].zero_tensor[0] = form.args[i];
      steps_[step++].zero_pointer[0] = static_cast<float*>(args[i]);
    }
    std::copy(args.begin(), args.end(), steps_[step].args);
    if (ready_[position]->prepared.work.packed_bytes > 0) {
      steps_[step].packed = buffer_.data() + packed;
      steps_[step].pack = true;
    }
    ++step;
    for (size_t i = 0; i < plain.size(); ++i) {
      if (offsets[i] < 0 || !(info.outputs >> i & 1)) continue;
      steps_[step].args[Copy::kX] = args[i], steps_[step++].args[Copy::kY] = pointers[i];
    }
    workspace_ = {buffer_.data() + shared, buffer_.data() + scratch, scratch_};
  }
  ~Composition() { buffers().give(std::move(buffer_)); }
  Composition(const Composition&) = delete;

  void run() const { execute(steps_.data(), static_cast<int>(steps_.size()), workspace_, threads_, nullptr); }

 private:
  static Tensor source(const OpInfo& info, const Tensor& plain) { return info.planewise ? planes_as_channels(plain) : plain; }

  int64_t reserve(int64_t bytes) {
    const int64_t at = bytes_;
    bytes_ += (bytes + 63) / 64 * 64;
    return at;
  }

  void keep(std::shared_ptr<const Ready> ready) {
    shared_ = std::max(shared_, ready->prepared.work.shared_bytes);
    scratch_ = std::max(scratch_, (ready->prepared.work.scratch_bytes + 63) / 64 * 64);
    steps_.emplace_back().ready = ready.get();
    ready_.push_back(std::move(ready));
  }

  void keep_copy(const Tensor& from, const Tensor& to) {
    Op op{};
    op.kind = OpKind::kCopy;
    op.copy.x = from, op.copy.y = to;
    const std::vector<Choice> found = choices(op);
    require(!found.empty(), "copy", "no kernel for this reorder");
    keep(make_ready(op, found.front()));
  }

  int64_t bytes_ = 0, shared_ = 0, scratch_ = 0;
  const int threads_;
  std::vector<std::shared_ptr<const Ready>> ready_;
  std::vector<Step> steps_;
  Buffer buffer_;
  Workspace workspace_;
};

// Nothing to read but something to write (an empty batch, a sum over it): zeros.
bool empty_call(const OpInfo& info, const Tensors& plain, const std::vector<void*>& pointers) {
  bool empty = false;
  for (const Tensor& t : plain) empty |= t.present && element_count(t) == 0;
  if (!empty) return false;
  for (size_t i = 0; i < plain.size(); ++i)
    if (plain[i].present && (info.outputs >> i & 1)) std::memset(pointers[i], 0, element_count(plain[i]) * 4);
  return true;
}

[[noreturn]] void refuse(const OpInfo& info, const Attributes& attributes, const Tensors& plain, const std::string& algorithm) {
  std::string able;
  for (const Algorithm& a : eager_algorithms(info, attributes, plain)) able += (able.empty() ? "" : ", ") + a.name;
  throw std::invalid_argument(std::string(info.name) + ": algorithm '" + algorithm + "' cannot serve this call; these can: " + able);
}

}  // namespace

std::vector<Algorithm> eager_algorithms(const OpInfo& info, const Attributes& attributes, const Tensors& plain) {
  std::vector<Algorithm> found;
  for (const Form& form : Forms(info, attributes, plain, "").forms) {
    const std::string name = form.choice.kernel->name;
    if (std::none_of(found.begin(), found.end(), [&](const Algorithm& a) { return a.name == name; }))
      found.push_back({name, form.layout, form.ns});
  }
  return found;
}

std::string eager_launch(const OpInfo& info, const Attributes& attributes, const Tensors& plain,
                         const std::vector<void*>& pointers, const std::string& algorithm) {
  if (empty_call(info, plain, pointers)) {
    make_op(info, attributes, plain);
    return "empty";
  }
  const Forms forms(info, attributes, plain, algorithm);
  if (forms.forms.empty()) {
    if (!algorithm.empty()) refuse(info, attributes, plain, algorithm);
    throw std::invalid_argument(std::string(info.name) + ": no kernel can serve this call");
  }
  const Form& best = forms.forms.front();
  const Composition composition(info, best, plain, pointers, useful_threads(best.ns));
  composition.run();
  return best.choice.kernel->name;
}

}  // namespace cnnkern
