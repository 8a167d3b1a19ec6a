// SPDX-License-Identifier: BSD-3-Clause
#include "core/parallel.hpp"

#include <pthread.h>
#include <sched.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <mutex>
#include <set>
#include <system_error>
#include <thread>
#include <vector>

namespace cnnkern {
namespace {

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

// Flush-to-zero and denormals-are-zero while alive.
class FlushDenormals {
 public:
#if defined(__x86_64__)
  FlushDenormals() : saved_(__builtin_ia32_stmxcsr()) { __builtin_ia32_ldmxcsr(saved_ | 0x8040u); }
  ~FlushDenormals() { __builtin_ia32_ldmxcsr(saved_); }

 private:
  unsigned saved_;
#endif
};

int affinity_size() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) != 0) return 1;
  const int count = CPU_COUNT(&set);
  return count > 0 ? count : 1;
}

// Two hyper-threads of a core share its multipliers, so one thread per core is the best default.
int physical_cores() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) != 0) return 1;
  std::set<std::string> cores;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &set)) continue;
    std::ifstream file("/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/thread_siblings_list");
    std::string siblings;
    if (!std::getline(file, siblings)) siblings = "cpu" + std::to_string(cpu);
    cores.insert(siblings);
  }
  return cores.empty() ? 1 : static_cast<int>(cores.size());
}

int cgroup_quota() {
  double quota = 0, period = 0;
  std::ifstream v2("/sys/fs/cgroup/cpu.max");
  std::string word;
  if (v2 >> word >> period && word != "max") quota = std::atof(word.c_str());
  if (!v2.is_open()) {
    std::ifstream q("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"), p("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
    if (!(q >> quota && p >> period)) quota = 0;
  }
  if (quota <= 0 || period <= 0) return kMaxThreads;
  const int whole = static_cast<int>(quota / period);
  return whole > 0 ? whole : 1;
}

struct ThreadCount {
  int count;
  std::string rule;
};

int positive(const char* text) {
  if (!text || !*text) return 0;
  char* end = nullptr;
  const long value = std::strtol(text, &end, 10);  // OMP_NUM_THREADS may be a list: the first number counts
  return (*end == 0 || *end == ',') && value > 0 ? static_cast<int>(value < kMaxThreads ? value : kMaxThreads) : 0;
}

ThreadCount from_environment() {
  for (const char* name : {"CNNKERN_NUM_THREADS", "OMP_NUM_THREADS"})
    if (const int count = positive(std::getenv(name))) return {count, name};
  const int cores = physical_cores(), quota = cgroup_quota();
  if (quota < cores) return {quota, "cgroup quota"};
  return {cores < kMaxThreads ? cores : kMaxThreads, "physical cores of the affinity mask"};
}

std::mutex g_count_mutex;
ThreadCount g_count{0, ""};

ThreadCount thread_count() {
  std::lock_guard<std::mutex> lock(g_count_mutex);
  if (g_count.count == 0) g_count = from_environment();
  return g_count;
}

// About 20 microseconds: longer than the gap between two steps, too short to cost a neighbour anything.
constexpr int kSpins = 1000;

struct Job {
  void (*body)(void*, int, int, Barrier&);
  void* context;
  Barrier* barrier;
};

class Pool {
 public:
  bool run(int threads, const Job& job) {
    std::unique_lock<std::mutex> lock(busy_, std::try_to_lock);
    if (!lock.owns_lock()) return false;
    try {
      while (static_cast<int>(workers_.size()) < threads - 1) {
        const int id = static_cast<int>(workers_.size()) + 1;
        workers_.emplace_back([this, id, seen = ticket_.load()] { work(id, seen); });
      }
    } catch (const std::system_error&) {  // the system gives no more threads: the caller computes alone
      return false;
    }
    job_ = job;
    running_.store(threads - 1, std::memory_order_relaxed);
    // One word carries the turn and the number of threads wanted, so that a worker that is not wanted reads nothing else.
    const uint32_t turn = (ticket_.load(std::memory_order_relaxed) >> 8) + 1;
    ticket_.store(turn << 8 | static_cast<uint32_t>(threads), std::memory_order_release);
    ticket_.notify_all();
    job.body(job.context, 0, threads, *job.barrier);
    for (int spin = 0; running_.load(std::memory_order_acquire) != 0; ++spin)
      spin < kSpins ? pause() : void(sched_yield());
    return true;
  }

 private:
  void work(int id, uint32_t seen) {
    FlushDenormals flush;
    for (;;) {
      uint32_t ticket = ticket_.load(std::memory_order_acquire);
      for (int spin = 0; ticket == seen && spin < kSpins; ++spin) {
        pause();
        ticket = ticket_.load(std::memory_order_acquire);
      }
      if (ticket == seen) {
        ticket_.wait(seen, std::memory_order_acquire);
        continue;
      }
      seen = ticket;
      const int threads = static_cast<int>(ticket & 0xff);
      if (id >= threads) continue;
      job_.body(job_.context, id, threads, *job_.barrier);
      running_.fetch_sub(1, std::memory_order_release);
    }
  }

  std::mutex busy_;
  std::vector<std::thread> workers_;
  Job job_{};
  alignas(64) std::atomic<uint32_t> ticket_{0};
  alignas(64) std::atomic<int> running_{0};
};

// Never destroyed: its threads may outlive static destructors. After a fork the child has none of the threads, so it
// starts with a pool and locks of its own.
Pool* g_pool = nullptr;
std::once_flag g_once;

Pool& pool() {
  std::call_once(g_once, [] {
    g_pool = new Pool;
    pthread_atfork(nullptr, nullptr, [] {
      g_pool = new Pool;
      new (&g_count_mutex) std::mutex;
    });
  });
  return *g_pool;
}

}  // namespace

int num_threads() { return thread_count().count; }
std::string thread_rule() { return thread_count().rule; }

void set_num_threads(int count) {
  const ThreadCount chosen =
      count > 0 ? ThreadCount{count < kMaxThreads ? count : kMaxThreads, "set_num_threads"} : from_environment();
  std::lock_guard<std::mutex> lock(g_count_mutex);
  g_count = chosen;
}

// Spinning helps only where every thread has a CPU.
Barrier::Barrier(int count) : count_(count), spins_(count <= affinity_size() ? 2 * kSpins : 0) {}

void Barrier::wait() {
  if (count_ == 1) return;
  const unsigned round = round_.load(std::memory_order_relaxed);
  // A locked instruction on x86: it also waits for what kernels have stored past the caches.
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) == count_ - 1) {
    arrived_.store(0, std::memory_order_relaxed);
    round_.store(round + 1, std::memory_order_release);
    return;
  }
  for (int spin = 0; round_.load(std::memory_order_acquire) == round; ++spin)
    spin < spins_ ? pause() : void(sched_yield());
}

void run_parallel(int threads, void (*body)(void*, int, int, Barrier&), void* context) {
  FlushDenormals flush;
  if (threads > 1) {
    Barrier barrier(threads);
    if (pool().run(threads, {body, context, &barrier})) return;
  }
  Barrier alone(1);
  body(context, 0, 1, alone);
}

}  // namespace cnnkern
