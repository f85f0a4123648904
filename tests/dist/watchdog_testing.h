// Short limits, so that a test of the watchdog takes seconds, and what waits
// for it.

#ifndef RTPURBO_TESTS_DIST_WATCHDOG_TESTING_H_
#define RTPURBO_TESTS_DIST_WATCHDOG_TESTING_H_

#include <chrono>
#include <functional>
#include <thread>

#include "dist/watchdog.h"

namespace rtpurbo::testing {

using std::chrono::milliseconds;
using std::chrono::seconds;

// A busy machine may be late; nothing here needs to be in time.
constexpr milliseconds kPatience{20000};

inline WatchdogOptions ShortOptions(int rank, int size) {
  return {.rank = rank,
          .size = size,
          .host = "localhost",
          .interval = milliseconds(50),
          .limit = milliseconds(1000),
          .stuck_after = milliseconds(15000),
          .start_timeout = milliseconds(15000)};
}

// False if it did not come true in time.
inline bool Becomes(const std::function<bool()>& is_true) {
  const auto end = std::chrono::steady_clock::now() + kPatience;
  while (!is_true()) {
    if (std::chrono::steady_clock::now() > end) {
      return false;
    }
    std::this_thread::sleep_for(milliseconds(2));
  }
  return true;
}

}  // namespace rtpurbo::testing

#endif  // RTPURBO_TESTS_DIST_WATCHDOG_TESTING_H_
