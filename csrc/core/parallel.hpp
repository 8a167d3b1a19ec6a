// SPDX-License-Identifier: BSD-3-Clause
// The only file that knows threads: how many, the pool, the barrier. Kernels never see any of it.
#pragma once
#include <atomic>
#include <string>

namespace cnnkern {

// From set_num_threads, else CNNKERN_NUM_THREADS, else OMP_NUM_THREADS, else the physical cores of the affinity mask, at
// most the cgroup's quota rounded down.
int num_threads();
std::string thread_rule();
// 0 goes back to the rule of the environment.
void set_num_threads(int count);
constexpr int kMaxThreads = 255;

// Meeting point of the threads of one region.
class Barrier {
 public:
  explicit Barrier(int count);
  void wait();

 private:
  const int count_;
  const int spins_;
  alignas(64) std::atomic<int> arrived_{0};
  alignas(64) std::atomic<unsigned> round_{0};
};

// Calls body(context, thread, threads, barrier) once per thread and returns when all have ended; the caller is thread 0. A
// caller that finds the pool busy runs alone (threads == 1). All of them flush denormals for the time of the call.
void run_parallel(int threads, void (*body)(void* context, int thread, int threads, Barrier& barrier), void* context);

// The part of [0, total) that belongs to `thread`.
struct Range { long long first, last; };
inline Range share(long long total, int thread, int threads) {
  return {total * thread / threads, total * (thread + 1) / threads};
}

}  // namespace cnnkern
