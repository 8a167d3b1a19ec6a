// SPDX-License-Identifier: BSD-3-Clause
#include "core/launch.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <new>

#include "core/parallel.hpp"

namespace cnnkern {
namespace {

constexpr int64_t kHugePage = 2 << 20;
constexpr int64_t kRoom = 4 * kHugePage;  // pages that are never touched cost nothing
constexpr double kWorthAThread = 20000;   // waking a sleeping pool costs 5 to 50 microseconds
std::atomic<double> g_worth_a_thread{kWorthAThread};

// Zeros around the interior of the channel blocks [first, last) of all images.
void zero_border(const Tensor& t, float* origin, int64_t first, int64_t last) {
  const int64_t blocks = (t.c + kBlock - 1) / kBlock;
  const int64_t left = int64_t{t.before[2]} * kBlock;
  const auto clear = [](float* from, float* to) { std::memset(from, 0, (to - from) * sizeof(float)); };
  for (int64_t unit = first; unit < last; ++unit) {
    float* const block = origin + unit / blocks * t.sn + unit % blocks * t.sc;
    for (int64_t d = -t.before[0]; d < t.d + t.after[0]; ++d) {
      const bool inside = d >= 0 && d < t.d;
      float* zeros = block + d * t.sd - t.before[1] * t.sh - left;  // where those begin that have not been written
      // Behind the end of a row and before the next one they follow each other.
      for (int64_t h = 0; inside && h < t.h; ++h) {
        float* const row = block + d * t.sd + h * t.sh;
        clear(zeros, row);
        zeros = row + t.w * kBlock;
      }
      clear(zeros, block + d * t.sd + (t.h + t.after[1]) * t.sh - left);
    }
  }
}

struct Region {
  const std::vector<Step>& steps;
  const Workspace& workspace;
};

void run_region(void* opaque, int thread, int threads, Barrier& barrier) {
  const Region& region = *static_cast<const Region*>(opaque);
  for (const Step& step : region.steps) run_step(step, region.workspace, thread, threads, barrier);
}

}  // namespace

Buffer::Buffer(int64_t bytes) : bytes_(bytes) {
  if (bytes <= 0) return;
  const int64_t alignment = bytes >= kHugePage ? kHugePage : 64;
  const int64_t rounded = (bytes + alignment - 1) / alignment * alignment;
  void* memory = std::aligned_alloc(alignment, rounded);
  if (!memory) throw std::bad_alloc();
  if (bytes >= kHugePage) madvise(memory, rounded, MADV_HUGEPAGE);
  memory_.reset(static_cast<char*>(memory), std::free);
}

Buffer Pages::take(int64_t bytes) {
  if (bytes >= kHugePage) return Buffer(bytes);
  if (used_ + bytes > size_) {
    size_ = kRoom, used_ = 0;
    const auto room = std::make_shared<Buffer>(size_);
    room_ = std::shared_ptr<char>(room, room->data());
  }
  const int64_t begin = used_;
  used_ += (bytes + 63) / 64 * 64;
  return {std::shared_ptr<char>(room_, room_.get() + begin), bytes};
}

Buffer BufferList::take(int64_t bytes) {
  if (std::unique_lock<std::mutex> lock(mutex_, std::try_to_lock); lock.owns_lock())
    for (auto it = free_.begin(); it != free_.end(); ++it)
      if (it->bytes() >= bytes) {
        Buffer found = std::move(*it);
        free_.erase(it);
        return found;
      }
  return Buffer(bytes);
}

void BufferList::give(Buffer buffer) {
  if (buffer.bytes() > largest_kept_) return;
  std::unique_lock<std::mutex> lock(mutex_, std::try_to_lock);
  if (!lock.owns_lock()) return;
  if (free_.size() == most_kept_) free_.erase(free_.begin());
  free_.push_back(std::move(buffer));
}

namespace {

// What packing the matrix of a product costs: in every run the time of all nominal threads transposing, which a product of
// few rows does not take; if it is done once, memory. A second copy of a large matrix must save a seventh of the time
// (AlexNet with 8 images: 315 MB instead of 540, in the same time). Weights of convolutions are always packed.
float with_packing(const Kernel& kernel, const Op& op, const Variant& variant, bool once) {
  constexpr float kBytesPerNs = 16, kCopy = 1.15f;
  constexpr int64_t kLarge = 8 << 20;
  Work work{};
  kernel.prepare(op, variant, &work, nullptr);
  if (once) return work.packed_bytes > kLarge ? kCopy * variant.ns : variant.ns;
  return variant.ns + static_cast<float>(work.packed_bytes) / kBytesPerNs;
}

}  // namespace

std::vector<Choice> choices(const Op& op, const std::string& algorithm, bool winograd, bool packed) {
  const Isa active = active_isa();
  std::vector<Choice> found;
  for (int i = 0; i < kKernelCount; ++i) {
    const Kernel* kernel = kKernelTable[i].kernel;
    if (kernel->kind != op.kind || kKernelTable[i].isa > active) continue;
    const bool allowed = winograd || std::strncmp(kernel->name, "winograd", 8) != 0;
    if (algorithm.empty() ? !allowed : algorithm != kernel->name) continue;
    const bool better_exists = std::any_of(kKernelTable, kKernelTable + kKernelCount, [&](const KernelRow& row) {
      return row.isa > kKernelTable[i].isa && row.isa <= active && row.kernel->kind == op.kind &&
             std::strcmp(row.kernel->name, kernel->name) == 0;
    });
    if (better_exists) continue;
    Variant variants[kMaxVariants];
    const int count = kernel->candidates(op, nominal_machine(kKernelTable[i].isa), variants);
    for (int v = 0; v < count; ++v) {
      if (op.kind == OpKind::kMatmul) variants[v].ns = with_packing(*kernel, op, variants[v], packed);
      found.push_back({kernel, variants[v]});
    }
  }
  std::stable_sort(found.begin(), found.end(),
                   [](const Choice& a, const Choice& b) { return a.variant.ns < b.variant.ns; });
  return found;
}

std::shared_ptr<const Ready> make_ready(const Op& op, const Choice& choice) {
  auto ready = std::make_shared<Ready>();
  ready->kernel = choice.kernel;
  ready->prepared.op = op;
  ready->prepared.variant = choice.variant;
  choice.kernel->prepare(op, choice.variant, &ready->prepared.work, nullptr);
  if (ready->prepared.work.table_bytes > 0) {
    ready->table = Buffer(ready->prepared.work.table_bytes);
    ready->prepared.table = ready->table.data();
    choice.kernel->prepare(op, choice.variant, &ready->prepared.work, ready->prepared.table);
  }
  return ready;
}

int weight_argument(OpKind kind) {
  switch (kind) {
    case OpKind::kConv2d:
    case OpKind::kConv2dScaled: return Conv::kW;
    case OpKind::kConv2dGradInput: return 1;
    case OpKind::kConv2dChain: return ConvChain::kW;
    case OpKind::kMatmul: return Matmul::kB;
    default: return -1;
  }
}

void run_step(const Step& step, const Workspace& workspace, int thread, int threads, Barrier& barrier) {
  const Prepared& prepared = step.ready->prepared;
  const Kernel& kernel = *step.ready->kernel;
  if (step.pack) {
    const Range part = share(prepared.work.pack_units, thread, threads);
    const float* weight = static_cast<const float*>(step.args[weight_argument(prepared.op.kind)]);
    if (part.first < part.last) kernel.pack(prepared, part.first, part.last, weight, step.packed);
    barrier.wait();
  }
  for (int i = 0; i < step.zero_count; ++i) {
    const Tensor& t = step.zero_tensor[i];
    const Range part = share(t.n * ((t.c + kBlock - 1) / kBlock), thread, threads);
    zero_border(t, step.zero_pointer[i], part.first, part.last);
  }
  const Context context{step.args,        step.packed,
                        workspace.shared, workspace.scratch + thread * workspace.scratch_bytes,
                        step.prefetch,    static_cast<size_t>(step.prefetch_bytes)};
  for (int phase = 0; phase < prepared.work.phases; ++phase) {
    const Range part = share(prepared.work.units[phase], thread, threads);
    if (part.first < part.last) kernel.run(prepared, phase, part.first, part.last, context);
    barrier.wait();
  }
}

void execute(const std::vector<Step>& steps, const Workspace& workspace, int threads) {
  Region region{steps, workspace};
  run_parallel(threads, run_region, &region);
}

int useful_threads(double predicted_ns) {
  const double worth = g_worth_a_thread.load(std::memory_order_relaxed);
  const double wanted = worth > 0 ? predicted_ns * 2 / worth : kMaxThreads;
  return std::max(1, static_cast<int>(std::min<double>(num_threads(), wanted)));
}

void set_worth_a_thread(double ns) { g_worth_a_thread.store(ns < 0 ? kWorthAThread : ns, std::memory_order_relaxed); }

}  // namespace cnnkern
