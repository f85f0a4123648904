// How to wait for something that has to be asked again and again.

#ifndef RTPURBO_DIST_PATIENCE_H_
#define RTPURBO_DIST_PATIENCE_H_

#include <algorithm>
#include <chrono>
#include <thread>

namespace rtpurbo::internal {

// Pauses without sleeping for the time `spin`, then for an eighth of the time
// that it has waited, up to a millisecond: what it waits for is noticed soon,
// and who waits long hardly computes.
class Patience {
 public:
  using Clock = std::chrono::steady_clock;

  explicit Patience(std::chrono::microseconds spin) : spin_(spin) {}

  void Pause() {
    const Clock::duration waited = Clock::now() - start_;
    if (waited < spin_) {
      std::this_thread::yield();
      return;
    }
    std::this_thread::sleep_for(
        std::clamp<Clock::duration>(waited / 8, kShortest, kLongest));
  }

 private:
  static constexpr std::chrono::microseconds kShortest{20};
  static constexpr std::chrono::microseconds kLongest{1000};
  Clock::duration spin_;
  Clock::time_point start_ = Clock::now();
};

}  // namespace rtpurbo::internal

#endif  // RTPURBO_DIST_PATIENCE_H_
