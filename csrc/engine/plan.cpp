// SPDX-License-Identifier: BSD-3-Clause
#include "engine/plan.hpp"

#include <algorithm>
#include <chrono>

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
    put(chain.head.w), put(chain.middle.w), put(chain.tail.w);
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
  slots_.push_back({tensor, Place::kNone, 0, 0, -1, nullptr});
  return static_cast<int>(slots_.size()) - 1;
}

int Plan::add_view(int whole, const Tensor& plain, int64_t channel) {
  require(!frozen_, "plan", "is frozen");
  const Slot& slot = slots_.at(whole);
  Tensor t = slot.tensor;
  const bool whole_channels = slot.place != Place::kInside || slot.round != 0;
  require(t.layout == Layout::kBlocked && whole_channels && channel >= 0 && channel % kBlock == 0 && plain.c > 0 &&
              channel + plain.c <= t.c && (plain.c % kBlock == 0 || channel + plain.c == t.c) && plain.n == t.n &&
              plain.d == t.d && plain.h == t.h && plain.w == t.w,
          "plan", "a view must be whole channel blocks of a blocked tensor");
  t.c = plain.c;
  slots_.push_back({t, Place::kInside, channel / kBlock * t.sc, 0, whole, nullptr});
  return static_cast<int>(slots_.size()) - 1;
}

int Plan::add_part(int whole, int64_t images) {
  require(!frozen_, "plan", "is frozen");
  Tensor t = slots_.at(whole).tensor;
  const int64_t unit = t.layout == Layout::kLanes ? kBlock : 1;  // images that lie between each other
  require(images > 0 && t.n % images == 0 && images % unit == 0, "plan", "parts must divide the images");
  t.n = images;
  slots_.push_back({t, Place::kInside, 0, images / unit * t.sn, whole, nullptr});
  return static_cast<int>(slots_.size()) - 1;
}

int Plan::root(int tensor) const {
  while (slots_.at(tensor).place == Place::kInside) tensor = slots_[tensor].whole;
  return tensor;
}

void Plan::end_rounds(int rounds) {
  require(!frozen_ && rounds > 0 && repeated_ == 0, "plan", "has its rounds once");
  for (const Slot& slot : slots_)
    require(slot.round == 0 || slots_[slot.whole].tensor.n == rounds * slot.tensor.n, "plan",
            "the parts of all rounds must be the whole");
  repeated_ = entries_.size(), rounds_ = rounds;
  predicted_ns_ *= rounds;
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
    if (args[i] >= 0 && (info.outputs >> i & 1) && t.layout != Layout::kPlain) {
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
      const Slot& slot = slots_[root(arg)];
      require(slot.place != Place::kNone, "plan", "tensor " + std::to_string(arg) + " has no place");
      require(slot.place != Place::kArena || slot.where + tensor_bytes(slot.tensor) <= arena_bytes_, "plan",
              "tensor " + std::to_string(arg) + " leaves the arena");
    }
    shared_bytes_ = std::max(shared_bytes_, round_up(entry.ready->prepared.work.shared_bytes));
    scratch_bytes_ = std::max(scratch_bytes_, round_up(entry.ready->prepared.work.scratch_bytes));
  }
  measure_rounds();
  pack_constants();
  scale_constants();
  frozen_ = true;
}

// The part of the arena with the tensors of the rounds that only one round touches.
void Plan::measure_rounds() {
  int64_t begin = arena_bytes_, end = 0;
  for (size_t i = 0; i < repeated_; ++i)
    for (int arg : entries_[i].args) {
      bool part = false;
      for (; arg >= 0 && slots_[arg].place == Place::kInside; arg = slots_[arg].whole) part |= slots_[arg].round != 0;
      if (arg < 0 || part || slots_[arg].place != Place::kArena) continue;
      begin = std::min(begin, slots_[arg].where);
      end = std::max(end, slots_[arg].where + round_up(tensor_bytes(slots_[arg].tensor)));
    }
  round_begin_ = begin, round_bytes_ = std::max<int64_t>(end - begin, 0);
}

int64_t Plan::memory_bytes(int threads) const {
  const int owners = std::min(threads, rounds_);  // threads with rounds of their own
  return arena_bytes_ + (owners - 1) * round_bytes_ + owners * shared_bytes_ + pack_bytes_ + threads * scratch_bytes_;
}

// What a step of this thread alone works in.
Workspace Plan::Run::workspace(int thread) const {
  return {shared + thread * plan.shared_bytes_, scratch + thread * plan.scratch_bytes_, plan.scratch_bytes_};
}

// In this round, whose memory is that of thread `owner`.
void* Plan::Run::resolve(const Slot& slot, int round, int owner) const {
  switch (slot.place) {
    case Place::kArena: {
      char* const own = owner == 0 ? arena : rounds + (owner - 1) * plan.round_bytes_ - plan.round_begin_;
      return reinterpret_cast<float*>(own + slot.where) + origin_offset(slot.tensor);
    }
    case Place::kInput: return inputs[slot.where];
    case Place::kOutput: return outputs[slot.where];
    case Place::kInside: {
      void* const whole = resolve(plan.slots_[slot.whole], round, slot.round != 0 ? 0 : owner);
      return static_cast<float*>(whole) + slot.where + round * slot.round;
    }
    default: return slot.pointer;
  }
}

Step Plan::Run::make_step(size_t index, int round, int owner) const {
  const Entry& entry = plan.entries_[index];
  Step step;
  step.ready = entry.ready.get();
  for (size_t a = 0; a < entry.args.size(); ++a)
    if (entry.args[a] >= 0) step.args[a] = resolve(plan.slots_[entry.args[a]], round, owner);
  step.pack = entry.pack;
  step.packed = entry.pack ? pack : entry.packed ? entry.packed->data() : nullptr;
  for (int tensor : entry.zero) {
    step.zero_tensor[step.zero_count] = lanes_as_blocked(plan.slots_[tensor].tensor);
    step.zero_pointer[step.zero_count++] = static_cast<float*>(resolve(plan.slots_[tensor], round, owner));
  }
  if (index + 1 < plan.entries_.size())
    if (const auto& next = plan.entries_[index + 1].packed) {
      step.prefetch = next->data();
      step.prefetch_bytes = next->bytes();
    }
  return step;
}

void Plan::Run::work(int thread, int threads, Barrier& barrier) const {
  using Clock = std::chrono::steady_clock;
  auto last = Clock::now();
  const auto run = [&](size_t index, int round, int owner, int of, Barrier& meeting) {
    const bool alone = of == 1;
    run_step(make_step(index, round, owner), workspace(owner), alone ? 0 : thread, of, meeting);
    if (!nanoseconds || thread != 0) return;
    const auto now = Clock::now();
    nanoseconds[index] += std::chrono::duration<double, std::nano>(now - last).count();
    last = now;
  };
  const int own = plan.repeated_ ? plan.rounds_ / threads : 0;
  Barrier alone(1);
  for (int round = thread * own; round < (thread + 1) * own; ++round)
    for (size_t i = 0; i < plan.repeated_; ++i) run(i, round, thread, 1, alone);
  if (own > 0) barrier.wait();
  for (int round = own * threads; round < plan.rounds_; ++round)
    for (size_t i = 0; i < plan.repeated_; ++i) run(i, round, 0, threads, barrier);
  for (size_t i = plan.repeated_; i < plan.entries_.size(); ++i) run(i, 0, 0, threads, barrier);
}

void Plan::run(void* const* inputs, void* const* outputs, int threads, double* nanoseconds) const {
  require(frozen_, "plan", "is not frozen");
  threads = std::min(threads, useful_threads(predicted_ns_));
  const int owners = std::min(threads, rounds_);
  Buffer buffer = arenas_.take(memory_bytes(threads));
  char* const rounds = buffer.data() + arena_bytes_;
  char* const shared = rounds + (owners - 1) * round_bytes_;
  char* const pack = shared + owners * shared_bytes_;
  if (nanoseconds) std::fill_n(nanoseconds, entries_.size(), 0.0);
  Run run{*this, inputs, outputs, buffer.data(), rounds, shared, pack, pack + pack_bytes_, nanoseconds};
  run_parallel(
      threads,
      [](void* context, int thread, int count, Barrier& barrier) {
        static_cast<const Run*>(context)->work(thread, count, barrier);
      },
      &run);
  arenas_.give(std::move(buffer));
}

}  // namespace cnnkern
