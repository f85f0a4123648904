#include "kernels/core/parallel.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "kernels/core/check.h"

namespace rtpurbo {
namespace {

using Piece = std::function<void(std::int64_t begin, std::int64_t end)>;

thread_local bool inside_piece = false;

// Workers sleep between loops. A loop is published under the mutex and taken
// apart with an atomic counter; it ends when every worker has left it.
class Pool {
 public:
  explicit Pool(int num_threads) {
    for (int i = 1; i < num_threads; ++i) {
      workers_.emplace_back([this] { Work(); });
    }
  }
  ~Pool() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_all();
    for (std::thread& worker : workers_) {
      worker.join();
    }
  }
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  int size() const { return static_cast<int>(workers_.size()) + 1; }

  void Run(std::int64_t n, std::int64_t grain, const Piece& fn) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      fn_ = &fn;
      n_ = n;
      grain_ = grain;
      next_.store(0);
      busy_ = static_cast<int>(workers_.size());
      ++generation_;
    }
    wake_.notify_all();
    TakePieces();
    std::unique_lock<std::mutex> lock(mutex_);
    idle_.wait(lock, [this] { return busy_ == 0; });
  }

 private:
  void TakePieces() {
    inside_piece = true;
    for (;;) {
      const std::int64_t begin = next_.fetch_add(1) * grain_;
      if (begin >= n_) {
        break;
      }
      (*fn_)(begin, std::min(n_, begin + grain_));
    }
    inside_piece = false;
  }

  void Work() {
    std::uint64_t seen = 0;
    for (;;) {
      {
        std::unique_lock<std::mutex> lock(mutex_);
        wake_.wait(lock, [&] { return stopping_ || generation_ != seen; });
        if (stopping_) {
          return;
        }
        seen = generation_;
      }
      TakePieces();
      const std::lock_guard<std::mutex> lock(mutex_);
      if (--busy_ == 0) {
        idle_.notify_one();
      }
    }
  }

  std::vector<std::thread> workers_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::condition_variable idle_;
  const Piece* fn_ = nullptr;
  std::int64_t n_ = 0;
  std::int64_t grain_ = 1;
  std::atomic<std::int64_t> next_{0};
  int busy_ = 0;
  std::uint64_t generation_ = 0;
  bool stopping_ = false;
};

int DefaultThreads() {
  if (const char* text = std::getenv("RTPURBO_THREADS"); text != nullptr) {
    return std::max(1, std::atoi(text));
  }
  cpu_set_t set;
  CPU_ZERO(&set);
  return sched_getaffinity(0, sizeof(set), &set) == 0
             ? std::max(1, CPU_COUNT(&set))
             : 1;
}

// Held while a loop runs, so that thread ranks do not share the workers.
std::mutex& PoolMutex() {
  static std::mutex mutex;
  return mutex;
}

std::unique_ptr<Pool>& ThePool() {
  static std::unique_ptr<Pool> pool = std::make_unique<Pool>(DefaultThreads());
  return pool;
}

}  // namespace

int NumThreads() {
  const std::lock_guard<std::mutex> lock(PoolMutex());
  return ThePool()->size();
}

void SetNumThreads(int n) {
  CHECK_LE(1, n);
  const std::lock_guard<std::mutex> lock(PoolMutex());
  ThePool() = std::make_unique<Pool>(n);
}

void ParallelFor(std::int64_t n, std::int64_t grain, const Piece& fn) {
  CHECK_LE(1, grain);
  if (n > grain && !inside_piece) {
    const std::unique_lock<std::mutex> lock(PoolMutex(), std::try_to_lock);
    if (lock.owns_lock() && ThePool()->size() > 1) {
      return ThePool()->Run(n, grain, fn);
    }
  }
  for (std::int64_t begin = 0; begin < n; begin += grain) {
    fn(begin, std::min(n, begin + grain));
  }
}

}  // namespace rtpurbo
