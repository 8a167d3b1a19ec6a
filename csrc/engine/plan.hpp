// SPDX-License-Identifier: BSD-3-Clause
// A frozen list of prepared steps over one arena: what a compiled network or training step is when it runs. No Python.
#pragma once
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/launch.hpp"
#include "ops/ops.hpp"

namespace cnnkern {

// Weights as they are given: row i (of the first axis) counts scale[i] times, as folding a batch norm wants it; null: once.
struct Weights {
  const float* rows;
  const double* scale;
  int64_t row_count, row_size;
};

// Packed weights, shared by all plans of one model: the key says which weight, kernel and variant.
class PackedWeights {
 public:
  std::shared_ptr<const Buffer> find_or_pack(const std::string& key, const Ready& ready, const Weights& weights);
  // The scaled weights themselves, for kernels that take them as they are.
  std::shared_ptr<const Buffer> find_or_scale(const Weights& weights);
  int64_t bytes() const;

 private:
  mutable std::mutex mutex_;
  Pages pages_;
  std::unordered_map<std::string, std::shared_ptr<const Buffer>> entries_;
};

struct StepReport {
  std::string op, algorithm;
  double predicted_ns;
  std::vector<std::pair<std::string, double>> alternatives;  // algorithms and predicted times, the chosen one first
  int64_t packed_bytes, shared_bytes, scratch_bytes;
};

constexpr int64_t kMaxArenaBytes = int64_t{1} << 62;  // an arena of any size is kept: its plan needs it again

class Plan {
 public:
  // `packed` is null where weights change from run to run (training): they are packed in every run. `winograd` allows
  // that algorithm.
  Plan(std::shared_ptr<PackedWeights> packed, bool winograd) : packed_(std::move(packed)), winograd_(winograd) {}

  // Tensors get their place once: in the arena, from the caller's inputs or outputs, or constant memory that outlives the plan.
  int add_tensor(const Tensor& tensor);
  // Part of a blocked tensor, from `channel` (a multiple of 16) on, with the shape of `plain` and the whole's strides and border.
  int add_view(int whole, const Tensor& plain, int64_t channel);
  // So many images of a tensor, others in every round.
  int add_part(int whole, int64_t images);
  void place_arena(int tensor, int64_t offset);
  void place_input(int tensor, int index);
  void place_output(int tensor, int index);
  // `scale`, one number for each of the first axis, or null: lives as long as the constant.
  void place_constant(int tensor, void* pointer, const double* scale = nullptr);

  // `args` are tensor numbers, -1 where left out; `view[i]`, if present, replaces the shape of plain argument i (same size).
  StepReport add_step(const std::string& op, const Attributes& attributes, const std::vector<int>& args,
                      const Tensors& views, const std::string& algorithm);
  // The steps so far run so often, one after the other and over again, before those that are added later run once. Each
  // thread takes rounds of its own, with an arena of its own for what lives in them; those that are left they share.
  void end_rounds(int rounds);
  // After this nothing can be added. Checks that every tensor in use has its place.
  void freeze(int64_t arena_bytes);

  const Tensor& tensor(int index) const { return slots_.at(index).tensor; }
  int64_t memory_bytes(int threads) const;  // of one run
  int step_count() const { return static_cast<int>(entries_.size()); }
  double predicted_ns() const { return predicted_ns_; }
  size_t input_count() const { return inputs_.size(); }
  size_t output_count() const { return outputs_.size(); }
  const Tensor& input(size_t index) const { return slots_[inputs_.at(index)].tensor; }
  const Tensor& output(size_t index) const { return slots_[outputs_.at(index)].tensor; }

  // Thread-safe: every call takes an arena of its own from a bounded list. `nanoseconds`: of each step, all rounds of it
  // together, or null.
  void run(void* const* inputs, void* const* outputs, int threads, double* nanoseconds = nullptr) const;

 private:
  enum class Place { kNone, kArena, kInput, kOutput, kConstant, kInside };
  struct Slot {
    Tensor tensor;
    Place place = Place::kNone;
    int64_t where = 0;  // bytes into the arena, index of the caller's array, or elements into the whole
    int64_t round = 0;  // elements further into the whole in every round
    int whole = -1;     // the tensor that it lives in
    void* pointer = nullptr;
    const double* scale = nullptr;  // constants: the rows count so many times
  };
  struct Entry {
    std::shared_ptr<const Ready> ready;
    std::vector<int> args;
    std::vector<int> zero;  // tensors whose border has to be made zero
    std::shared_ptr<const Buffer> packed;
    bool pack = false;
  };
  static Weights weights(const Slot& slot);
  void place(int tensor, Place place, int64_t where, void* pointer);
  int root(int tensor) const;  // the tensor that it lives in, at last
  void measure_rounds();
  // What one run works on. `rounds`: pieces of round_bytes_, for the rounds of all threads but the first, whose place is
  // the arena itself.
  struct Run {
    const Plan& plan;
    void* const* inputs;
    void* const* outputs;
    char *arena, *rounds, *shared, *pack, *scratch;
    double* nanoseconds;
    Workspace workspace(int thread) const;
    void* resolve(const Slot& slot, int round, int owner) const;
    Step make_step(size_t entry, int round, int owner) const;
    void work(int thread, int threads, Barrier& barrier) const;
  };
  void pack_constants();
  void scale_constants();

  std::shared_ptr<PackedWeights> packed_;
  const bool winograd_;
  std::vector<Slot> slots_;
  std::vector<int> inputs_, outputs_;
  std::vector<Entry> entries_;
  size_t repeated_ = 0;  // of them, the first ones
  int rounds_ = 1;
  std::vector<std::shared_ptr<const Buffer>> scaled_;
  bool frozen_ = false;
  int64_t arena_bytes_ = 0, shared_bytes_ = 0, scratch_bytes_ = 0, pack_bytes_ = 0;
  int64_t round_begin_ = 0, round_bytes_ = 0;  // of the arena, where what lives within one round stands
  double predicted_ns_ = 0;
  mutable BufferList arenas_{8, kMaxArenaBytes};  // as many callers at once
};

}  // namespace cnnkern
