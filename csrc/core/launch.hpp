// SPDX-License-Identifier: BSD-3-Clause
// Choosing, preparing and running kernels: written once for all of them.
#pragma once
#include <cstdlib>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "core/cpu.hpp"
#include "core/parallel.hpp"
#include "core/tensor.hpp"

namespace cnnkern {

// 64-byte aligned memory; of two megabytes and more, aligned and advised for huge pages.
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(int64_t bytes);
  Buffer(std::shared_ptr<char> memory, int64_t bytes) : memory_(std::move(memory)), bytes_(bytes) {}
  char* data() const { return memory_.get(); }
  int64_t bytes() const { return bytes_; }

 private:
  std::shared_ptr<char> memory_;
  int64_t bytes_ = 0;
};

// Buffers that are smaller than a huge page, in huge pages that they share: weights are read once in order, and the
// processor's prefetching stops at the end of a page (a 1x1 convolution with 1 MB of them: 4 to 8% faster).
class Pages {
 public:
  Buffer take(int64_t bytes);

 private:
  std::shared_ptr<char> room_;
  int64_t used_ = 0, size_ = 0;
};

// Buffers kept for the next call, bounded in number and size. The lock is only tried: one that another thread held at the
// moment of a fork stays locked in the child, which then merely allocates.
class BufferList {
 public:
  BufferList(size_t most_kept, int64_t largest_kept) : most_kept_(most_kept), largest_kept_(largest_kept) {}
  Buffer take(int64_t bytes);
  void give(Buffer buffer);

 private:
  const size_t most_kept_;
  const int64_t largest_kept_;
  std::mutex mutex_;
  std::vector<Buffer> free_;
};

struct Choice {
  const Kernel* kernel = nullptr;
  Variant variant{};
};

// Every variant of every kernel that can serve `op` on the active instruction set (a kernel that it lacks comes from the
// next one down), the cheapest first. `algorithm` keeps only that kernel; "" keeps all, but those named winograd_* only if
// `winograd` allows their rounding. `packed`: the weights are packed once, so that packing costs nothing.
std::vector<Choice> choices(const Op& op, const std::string& algorithm = "", bool winograd = false,
                            bool packed = false);

// A kernel made ready for one operation, with the memory of its table.
struct Ready {
  const Kernel* kernel = nullptr;
  Prepared prepared{};
  Buffer table;
};
std::shared_ptr<const Ready> make_ready(const Op& op, const Choice& choice);

// The argument of `op` that pack() takes, or -1.
int weight_argument(OpKind kind);

// One prepared kernel with its arguments. `packed` is filled in this run (from args[weight_argument]) if pack is set.
struct Step {
  const Ready* ready = nullptr;
  void* args[kMaxArgs] = {};
  void* packed = nullptr;
  bool pack = false;
  const char* prefetch = nullptr;
  int64_t prefetch_bytes = 0;
  // Outputs whose border has to be made zero, with their pointers.
  int zero_count = 0;
  Tensor zero_tensor[3];
  float* zero_pointer[3] = {};
};

struct Workspace {  // what the steps of one run share
  char* shared = nullptr;
  char* scratch = nullptr;  // `threads` pieces of scratch_bytes
  int64_t scratch_bytes = 0;
};

// One thread's share of a step, with a barrier after each phase.
void run_step(const Step& step, const Workspace& workspace, int thread, int threads, Barrier& barrier);
// Runs the steps one after the other in one parallel region.
void execute(const std::vector<Step>& steps, const Workspace& workspace, int threads);

// Threads that are worth waking for so much predicted time of all nominal threads.
int useful_threads(double predicted_ns);
// For tests: 0 divides the smallest work among all threads; a negative number goes back to what is sensible.
void set_worth_a_thread(double ns);

}  // namespace cnnkern
