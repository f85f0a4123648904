// That a program was asked to stop soon: set by the handler of a signal or by
// word from another rank, looked at by whoever works, between two pieces of it.

#ifndef RTPURBO_KERNELS_CORE_STOP_REQUEST_H_
#define RTPURBO_KERNELS_CORE_STOP_REQUEST_H_

#include <atomic>

namespace rtpurbo {

// Threads: any. Set() may also be called by the handler of a signal.
class StopRequest {
 public:
  void Set() { is_set_.store(true, std::memory_order_relaxed); }
  bool is_set() const { return is_set_.load(std::memory_order_relaxed); }

 private:
  static_assert(std::atomic<bool>::is_always_lock_free);
  std::atomic<bool> is_set_ = false;
};

}  // namespace rtpurbo

#endif  // RTPURBO_KERNELS_CORE_STOP_REQUEST_H_
