// SPDX-License-Identifier: BSD-3-Clause
#include "ops/eager.hpp"

#include <algorithm>
#include <cstring>
#include <mutex>
#include <unordered_map>

#include "core/check.hpp"
#include "ops/forms.hpp"

namespace cnnkern {
namespace {

int64_t round_up(int64_t bytes) { return (bytes + 63) / 64 * 64; }

// Fresh pages cost more than many kernels, so a few buffers are kept from call to call.
BufferList& buffers() {
  static BufferList* list =
      new BufferList(4, int64_t{256} << 20);  // never destroyed: daemon threads may still compute at exit
  return *list;
}

// The steps of a call, ready to run on any pointers: reorders of the inputs, the kernel, reorders of the outputs.
class EagerCall {
 public:
  EagerCall(const OpInfo& info, const Form& form, const Tensors& plain)
      : name(form.choice.kernel->name), predicted_ns_(form.ns), tensors_(form.args), temporary_(plain.size(), -1) {
    for (size_t i = 0; i < plain.size(); ++i)
      if (form.reordered >> i & 1) temporary_[i] = reserve(tensor_bytes(form.args[i]));
    const auto source = [&](size_t i) { return info.planewise ? planes_as_channels(plain[i]) : plain[i]; };
    for (size_t i = 0; i < plain.size(); ++i)
      if (temporary_[i] >= 0 && !(info.outputs >> i & 1)) keep_copy(source(i), form.args[i], static_cast<int>(i), true);
    main_ = ready_.size();
    keep(make_ready(form.op, form.choice), -1);
    for (size_t i = 0; i < plain.size(); ++i)
      if (temporary_[i] >= 0 && (info.outputs >> i & 1)) keep_copy(form.args[i], source(i), static_cast<int>(i), false);
    packed_ = reserve(ready_[main_].ready->prepared.work.packed_bytes);
    shared_ = reserve(shared_bytes_);
    scratch_ = bytes_;
  }

  void run(const std::vector<void*>& pointers) const {
    const int threads = useful_threads(predicted_ns_);
    Buffer buffer = buffers().take(bytes_ + threads * scratch_bytes_);
    const auto temporary = [&](size_t i) {
      return reinterpret_cast<float*>(buffer.data() + temporary_[i]) + origin_offset(tensors_[i]);
    };
    std::vector<Step> steps(ready_.size());
    for (size_t s = 0; s < ready_.size(); ++s) {
      Step& step = steps[s];
      step.ready = ready_[s].ready.get();
      if (s == main_) {
        for (size_t i = 0; i < pointers.size(); ++i) step.args[i] = temporary_[i] >= 0 ? temporary(i) : pointers[i];
        step.pack = step.ready->prepared.work.packed_bytes > 0;
        step.packed = step.pack ? buffer.data() + packed_ : nullptr;
        continue;
      }
      const int i = ready_[s].argument;
      step.args[ready_[s].inward ? Copy::kX : Copy::kY] = pointers[i];
      step.args[ready_[s].inward ? Copy::kY : Copy::kX] = temporary(i);
      if (ready_[s].inward) {
        step.zero_count = 1;
        step.zero_tensor[0] = tensors_[i];
        step.zero_pointer[0] = temporary(i);
      }
    }
    const Workspace workspace{buffer.data() + shared_, buffer.data() + scratch_, scratch_bytes_};
    execute(steps, workspace, threads);
    buffers().give(std::move(buffer));
  }

  const std::string name;

 private:
  struct Part {
    std::shared_ptr<const Ready> ready;
    int argument;  // of a reorder
    bool inward;
  };

  int64_t reserve(int64_t bytes) {
    const int64_t at = bytes_;
    bytes_ += round_up(bytes);
    return at;
  }

  void keep(std::shared_ptr<const Ready> ready, int argument, bool inward = false) {
    shared_bytes_ = std::max(shared_bytes_, round_up(ready->prepared.work.shared_bytes));
    scratch_bytes_ = std::max(scratch_bytes_, round_up(ready->prepared.work.scratch_bytes));
    ready_.push_back({std::move(ready), argument, inward});
  }

  void keep_copy(const Tensor& from, const Tensor& to, int argument, bool inward) {
    Op op{};
    op.kind = OpKind::kCopy;
    op.copy.x = from, op.copy.y = to;
    const std::vector<Choice> found = choices(op);
    require(!found.empty(), "copy", "no kernel for this reorder");
    keep(make_ready(op, found.front()), argument, inward);
  }

  const double predicted_ns_;
  const Tensors tensors_;
  std::vector<int64_t> temporary_;  // where the blocked copy of an argument stands, or -1
  std::vector<Part> ready_;
  size_t main_ = 0;
  int64_t bytes_ = 0, packed_ = 0, shared_ = 0, scratch_ = 0, shared_bytes_ = 0, scratch_bytes_ = 0;
};

// The last calls, by everything that their choice depended on: choosing costs more than many small kernels.
class CallCache {
 public:
  std::shared_ptr<const EagerCall> find(const std::string& key) {
    std::unique_lock<std::mutex> lock(mutex_, std::try_to_lock);
    if (!lock.owns_lock()) return nullptr;
    const auto found = calls_.find(key);
    return found == calls_.end() ? nullptr : found->second;
  }
  void keep(const std::string& key, std::shared_ptr<const EagerCall> call) {
    constexpr size_t kMostCalls = 256;
    std::unique_lock<std::mutex> lock(mutex_, std::try_to_lock);
    if (!lock.owns_lock()) return;
    if (calls_.size() >= kMostCalls) calls_.clear();
    calls_.emplace(key, std::move(call));
  }

 private:
  std::mutex mutex_;
  std::unordered_map<std::string, std::shared_ptr<const EagerCall>> calls_;
};

CallCache& calls() {
  static CallCache* cache = new CallCache;
  return *cache;
}

std::string call_key(const OpInfo& info, const Attributes& attributes, const Tensors& plain,
                     const std::string& algorithm) {
  std::string key = attributes.text();
  key += info.name;
  key += '\0';
  key += algorithm;
  key += '\0';
  const int32_t isa = static_cast<int32_t>(active_isa());
  key.append(reinterpret_cast<const char*>(&isa), sizeof(isa));
  for (const Tensor& t : plain) {
    const int64_t shape[6] = {t.present, t.n, t.c, t.d, t.h, t.w};
    key.append(reinterpret_cast<const char*>(shape), sizeof(shape));
  }
  return key;
}

// Nothing to read but something to write (an empty batch, a sum over it): zeros.
bool empty_call(const OpInfo& info, const Tensors& plain, const std::vector<void*>& pointers) {
  bool empty = false;
  for (const Tensor& t : plain) empty |= t.present && element_count(t) == 0;
  if (!empty) return false;
  for (size_t i = 0; i < plain.size(); ++i)
    if (plain[i].present && (info.outputs >> i & 1)) std::memset(pointers[i], 0, element_count(plain[i]) * 4);
  return true;
}

[[noreturn]] void refuse(const OpInfo& info, const Attributes& attributes, const Tensors& plain,
                         const std::string& algorithm) {
  std::string able;
  for (const Algorithm& a : eager_algorithms(info, attributes, plain)) able += (able.empty() ? "" : ", ") + a.name;
  throw std::invalid_argument(std::string(info.name) + ": algorithm '" + algorithm +
                              "' cannot serve this call; these can: " + able);
}

}  // namespace

std::vector<Algorithm> eager_algorithms(const OpInfo& info, const Attributes& attributes, const Tensors& plain) {
  std::vector<Algorithm> found;
  for (const Form& form : eager_forms(info, attributes, plain, "")) {
    const std::string name = form.choice.kernel->name;
    if (std::none_of(found.begin(), found.end(), [&](const Algorithm& a) { return a.name == name; }))
      found.push_back({name, form.layout, form.ns});
  }
  return found;
}

std::string eager_launch(const OpInfo& info, const Attributes& attributes, const Tensors& plain,
                         const std::vector<void*>& pointers, const std::string& algorithm) {
  const std::string key = call_key(info, attributes, plain, algorithm);
  std::shared_ptr<const EagerCall> call = calls().find(key);
  if (!call) {
    if (empty_call(info, plain, pointers)) {
      make_op(info, attributes, plain);
      return "empty";
    }
    const std::vector<Form> forms = eager_forms(info, attributes, plain, algorithm);
    if (forms.empty() && !algorithm.empty()) refuse(info, attributes, plain, algorithm);
    require(!forms.empty(), info.name, "no kernel can serve this call");
    call = std::make_shared<EagerCall>(info, forms.front(), plain);
    calls().keep(key, call);
  }
  call->run(pointers);
  return call->name;
}

}  // namespace cnnkern
