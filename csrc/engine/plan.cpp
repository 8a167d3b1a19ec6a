// SPDX-License-Identifier: BSD-3-Clause
#include "engine/plan.hpp"

#include <algorithm>
#include <cstring>

#include "core/check.hpp"
#include "core/parallel.hpp"

namespace cnnkern {
namespace {

int64_t round_up(int64_t bytes) { return (bytes + 63) / 64 * 64; }

// What a packed layout can depend on: the kernel, its tile and the operation apart from the image sizes.
std::string pack_key(const Ready& ready, const Weights& weights) {
  const Prepared& p = ready.prepared;
  std::string key;
  const auto put = [&](const auto& value) { key.append(reinterpret_cast<const char*>(&value), sizeof(value)); };
  put(ready.kernel), put(weights.rows), put(weights.scale), put(p.variant.tile);
  put(p.work.packed_bytes), put(p.work.pack_units);
  if (p.op.kind == OpKind::kMatmul) {
    put(p.op.matmul.n), put(p.op.matmul.k), put(p.op.matmul.transpose_b);
  } else if (p.op.kind == OpKind::kConv2dChain) {
    const ConvChain& chain = p.op.conv_chain;
    put(chain.head.w), put(chain.middle.w), put(chain.tail.w), put(chain.max_pool);
  } else {
    put(p.op.conv.w), put(p.op.conv.stride), put(p.op.conv.padding), put(p.op.conv.dilation), put(p.op.conv.groups);
  }
  return key;
}

struct PackJob {
  const Ready* ready;  // null: scaling is all there is to do
  Weights weights;
  float* scaled;  // null: nothing to scale
  void* packed;
};

void run_pack(void* opaque, int thread, int threads, Barrier& barrier) {
  const PackJob& job = *static_cast<const PackJob*>(opaque);
  const Weights& w = job.weights;
  if (job.scaled) {
    const Range part = share(w.row_count, thread, threads);
    for (int64_t row = part.first; row < part.last; ++row)
      for (int64_t i = row * w.row_size; i < (row + 1) * w.row_size; ++i)
        job.scaled[i] = static_cast<float>(w.rows[i] * w.scale[row]);
    barrier.wait();
  }
  if (!job.ready) return;
  const Prepared& prepared = job.ready->prepared;
  const Range part = share(prepared.work.pack_units, thread, threads);
  if (part.first < part.last)
    job.ready->kernel->pack(prepared, part.first, part.last, job.scaled ? job.scaled : w.rows, job.packed);
}

Buffer room_to_scale(const Weights& w) { return Buffer(w.scale ? w.row_count * w.row_size * 4 : 0); }

}  // namespace

std::shared_ptr<const Buffer> PackedWeights::find_or_pack(const std::string& key, const Ready& ready,
                                                          const Weights& weights) {
  std::lock_guard<std::mutex> lock(mutex_);
  std::shared_ptr<const Buffer>& entry = entries_[key];
  if (!entry) {
    auto buffer = std::make_shared<Buffer>(pages_.take(ready.prepared.work.packed_bytes));
    const Buffer scaled = room_to_scale(weights);
    PackJob job{&ready, weights, reinterpret_cast<float*>(scaled.data()), buffer->data()};
    run_parallel(num_threads(), run_pack, &job);
    entry = std::move(buffer);
  }
  return entry;
}

std::shared_ptr<const Buffer> PackedWeights::find_or_scale(const Weights& weights) {
  std::lock_guard<std::mutex> lock(mutex_);
  const void* pointers[] = {weights.rows, weights.scale};
  std::shared_ptr<const Buffer>& entry =
      entries_[std::string(reinterpret_cast<const char*>(pointers), sizeof(pointers))];
  if (!entry) {
    auto buffer = std::make_shared<Buffer>(room_to_scale(weights));
    PackJob job{nullptr, weights, reinterpret_cast<float*>(buffer->data()), nullptr};
    run_parallel(num_threads(), run_pack, &job);
    entry = std::move(buffer);
  }
  return entry;
}

int64_t PackedWeights::bytes() const {
  std::lock_guard<std::mutex> lock(mutex_);
  int64_t sum = 0;
  for (const auto& [key, buffer] : entries_) sum += buffer->bytes();
  return sum;
}

int Plan::add_tensor(const Tensor& tensor) {
  require(!frozen_, "plan", "is frozen");
  slots_.push_back({tensor, Place::kNone, 0, -1, nullptr});
  return static_cast<int>(slots_.size()) - 1;
}

int Plan::add_view(int whole, const Tensor& plain, int64_t channel) {
  require(!frozen_, "plan", "is frozen");
  const Slot& slot = slots_.at(whole);
  Tensor t = slot.tensor;
  require(t.layout == Layout::kBlocked && slot.place != Place::kInside && channel >= 0 && channel % kBlock == 0 &&
              plain.c > 0 && channel + plain.c <= t.c && (plain.c % kBlock == 0 || channel + plain.c == t.c) &&
              plain.n == t.n && plain.d == t.d && plain.h == t.h && plain.w == t.w,
          "plan", "a view must be whole channel blocks of a blocked tensor");
  t.c = plain.c;
  slots_.push_back({t, Place::kInside, channel / kBlock * t.sc, whole, nullptr});
  return static_cast<int>(slots_.size()) - 1;
}

void Plan::place(int tensor, Place place, int64_t where, void* pointer) {
  require(!frozen_, "plan", "is frozen");
  Slot& slot = slots_.at(tensor);
  require(slot.place == Place::kNone, "plan", "a tensor has one place");
  slot.place = place, slot.where = where, slot.pointer = pointer;
}

void Plan::place_arena(int tensor, int64_t offset) {
  require(offset >= 0 && offset % 64 == 0, "plan", "an arena offset must be a multiple of 64");
  place(tensor, Place::kArena, offset, nullptr);
}

void Plan::place_input(int tensor, int index) {
  require(index == static_cast<int>(inputs_.size()), "plan", "inputs are placed in order");
  require(slots_.at(tensor).tensor.layout == Layout::kPlain, "plan", "inputs are plain");
  place(tensor, Place::kInput, index, nullptr);
  inputs_.push_back(tensor);
}

void Plan::place_output(int tensor, int index) {
  require(index == static_cast<int>(outputs_.size()), "plan", "outputs are placed in order");
  require(slots_.at(tensor).tensor.layout == Layout::kPlain, "plan", "outputs are plain");
  place(tensor, Place::kOutput, index, nullptr);
  outputs_.push_back(tensor);
}

void Plan::place_constant(int tensor, void* pointer, const double* scale) {
  require(!scale || packed_, "plan", "only weights that are packed once can be scaled");
  place(tensor, Place::kConstant, 0, pointer);
  slots_[tensor].scale = scale;
}

StepReport Plan::add_step(const std::string& name, const Attributes& attributes, const std::vector<int>& args,
                          const Tensors& views, const std::string& algorithm) {
  require(!frozen_, "plan", "is frozen");
  const OpInfo& info = op_info(name);
  Tensors tensors;
  Entry entry;
  for (size_t i = 0; i < args.size(); ++i) {
    Tensor t{};
    if (args[i] >= 0) t = slots_.at(args[i]).tensor;
    if (i < views.size() && views[i].present) {
      require(t.present && t.layout == Layout::kPlain && element_count(t) == element_count(views[i]), name.c_str(),
              "a view must have as many elements as the plain tensor behind it");
      t = views[i];
    }
    tensors.push_back(t);
    if (args[i] >= 0 && (info.outputs >> i & 1) && t.layout == Layout::kBlocked) {
      Border border;
      std::copy(t.before, t.before + 3, border.before);
      std::copy(t.after, t.after + 3, border.after);
      if (border.any()) entry.zero.push_back(args[i]);
    }
  }
  require(entry.zero.size() <= 3, name.c_str(), "too many outputs with a border");
  bool empty = false;
  for (const Tensor& t : tensors) empty |= t.present && element_count(t) == 0;
  require(!empty, name.c_str(), "a plan cannot hold empty tensors");
  const Op op = make_op(info, attributes, tensors);
  const int weight = weight_argument(op.kind);
  const bool packed = packed_ && weight >= 0 && slots_.at(args[weight]).place == Place::kConstant;
  const std::vector<Choice> found = choices(op, algorithm, winograd_, packed);
  if (found.empty())
    throw std::invalid_argument(name + ": " +
                                (algorithm.empty() ? "no kernel" : "algorithm '" + algorithm + "' not able") +
                                " to serve " + shape_text(tensors[0]) + " in this layout");
  entry.ready = make_ready(op, found.front());
  entry.args = args;
  const Work& work = entry.ready->prepared.work;
  StepReport report{name,
                    found.front().kernel->name,
                    found.front().variant.ns,
                    {},
                    work.packed_bytes,
                    work.shared_bytes,
                    work.scratch_bytes};
  for (const Choice& choice : found) {
    const bool known = std::any_of(report.alternatives.begin(), report.alternatives.end(),
                                   [&](const auto& other) { return other.first == choice.kernel->name; });
    if (!known) report.alternatives.emplace_back(choice.kernel->name, choice.variant.ns);
  }
  predicted_ns_ += report.predicted_ns;
  entries_.push_back(std::move(entry));
  return report;
}

void Plan::pack_constants() {
  for (Entry& entry : entries_) {
    const Work& work = entry.ready->prepared.work;
    if (work.packed_bytes == 0) continue;
    const Slot& weight = slots_[entry.args[weight_argument(entry.ready->prepared.op.kind)]];
    if (packed_ && weight.place == Place::kConstant) {
      entry.packed = packed_->find_or_pack(pack_key(*entry.ready, weights(weight)), *entry.ready, weights(weight));
    } else {
      entry.pack = true;
      pack_bytes_ = std::max(pack_bytes_, round_up(work.packed_bytes));
    }
  }
}

Weights Plan::weights(const Slot& slot) {
  const int64_t rows = slot.tensor.n;
  return {static_cast<const float*>(slot.pointer), slot.scale, rows, element_count(slot.tensor) / rows};
}

// What a kernel takes as it is, it takes scaled.
void Plan::scale_constants() {
  for (const Entry& entry : entries_)
    for (size_t i = 0; i < entry.args.size(); ++i) {
      if (entry.args[i] < 0 || (entry.packed && static_cast<int>(i) == weight_argument(entry.ready->prepared.op.kind)))
        continue;
      Slot& slot = slots_[entry.args[i]];
      if (!slot.scale) continue;
      scaled_.push_back(packed_->find_or_scale(weights(slot)));
      slot.pointer = scaled_.back()->data(), slot.scale = nullptr;
    }
}

void Plan::freeze(int64_t arena_bytes) {
  require(!frozen_, "plan", "is frozen");
  arena_bytes_ = round_up(arena_bytes);
  for (const Entry& entry : entries_) {
    for (int arg : entry.args) {
      if (arg < 0) continue;
      const Slot& slot = slots_[slots_[arg].place == Place::kInside ? slots_[arg].whole : arg];
      require(slot.place != Place::kNone, "plan", "tensor " + std::to_string(arg) + " has no place");
      require(slot.place != Place::kArena || slot.where + tensor_bytes(slot.tensor) <= arena_bytes_, "plan",
              "tensor " + std::to_string(arg) + " leaves the arena");
    }
    shared_bytes_ = std::max(shared_bytes_, round_up(entry.ready->prepared.work.shared_bytes));
    scratch_bytes_ = std::max(scratch_bytes_, round_up(entry.ready->prepared.work.scratch_bytes));
  }
  pack_constants();
  scale_constants();
  frozen_ = true;
}

int64_t Plan::memory_bytes(int threads) const {
  return arena_bytes_ + shared_bytes_ + pack_bytes_ + threads * scratch_bytes_;
}

void* Plan::resolve(const Slot& slot, char* arena, void* const* inputs, void* const* outputs) const {
  switch (slot.place) {
    case Place::kArena: return reinterpret_cast<float*>(arena + slot.where) + origin_offset(slot.tensor);
    case Place::kInput: return inputs[slot.where];
    case Place::kOutput: return outputs[slot.where];
    case Place::kInside: return static_cast<float*>(resolve(slots_[slot.whole], arena, inputs, outputs)) + slot.where;
    default: return slot.pointer;
  }
}

void Plan::run(void* const* inputs, void* const* outputs, int threads, double* nanoseconds) const {
  require(frozen_, "plan", "is not frozen");
  threads = std::min(threads, useful_threads(predicted_ns_));
  const int64_t bytes = memory_bytes(threads);
  Buffer memory = arenas_.take(bytes);
  char* const shared = memory.data() + arena_bytes_;
  char* const pack = shared + shared_bytes_;
  const Workspace workspace{shared, pack + pack_bytes_, scratch_bytes_};

  std::vector<Step> steps(entries_.size());
  for (size_t i = 0; i < entries_.size(); ++i) {
    const Entry& entry = entries_[i];
    Step& step = steps[i];
    step.ready = entry.ready.get();
    for (size_t a = 0; a < entry.args.size(); ++a)
      if (entry.args[a] >= 0) step.args[a] = resolve(slots_[entry.args[a]], memory.data(), inputs, outputs);
    step.pack = entry.pack;
    step.packed = entry.pack ? pack : entry.packed ? entry.packed->data() : nullptr;
    for (int tensor : entry.zero) {
      step.zero_tensor[step.zero_count] = slots_[tensor].tensor;
      step.zero_pointer[step.zero_count++] =
          static_cast<float*>(resolve(slots_[tensor], memory.data(), inputs, outputs));
    }
    if (i > 0 && entry.packed) {
      steps[i - 1].prefetch = entry.packed->data();
      steps[i - 1].prefetch_bytes = entry.packed->bytes();
    }
  }
  execute(steps.data(), static_cast<int>(steps.size()), workspace, threads, nanoseconds);
  arenas_.give(std::move(memory));
}

}  // namespace cnnkern
