// How to wait for something that has to be asked again and again.

#ifndef RTPURBO_DIST_PATIENCE_H_
#define RTPURBO_DIST_PATIENCE_H_

#include <algorithm>
#include <chrono>
#include <thread>

namespace rtpurbo::internal {

// Pauses without sleeping for the time `spin`, then for longer and longer, up
// to a millisecond.
class Patience {
 public:
  using Clock = std::chrono::steady_clock;

  explicit Patience(std::chrono::microseconds spin)
      : sleep_after_(Clock::now() + spin) {}

  void Pause() {
    if (Clock::now() < sleep_after_) {
      std::this_thread::yield();
      return;
    }
    std::this_thread::sleep_for(sleep_);
    sleep_ = std::min(2 * sleep_, kLongest);
  }

 private:
  static constexpr std::chrono::microseconds kLongest{1000};
  Clock::time_point sleep_after_;
  std::chrono::microseconds sleep_{20};
};

}  // namespace rtpurbo::internal

#endif  // RTPURBO_DIST_PATIENCE_H_
