// How a watchdog watches.

#ifndef RTPURBO_DIST_WATCHDOG_OPTIONS_H_
#define RTPURBO_DIST_WATCHDOG_OPTIONS_H_

#include <chrono>
#include <string>

#include "absl/status/status.h"
#include "kernels/core/stop_request.h"

namespace rtpurbo {

struct WatchdogOptions {
  int rank = 0;
  int size = 1;
  // The name or number (IPv4 or IPv6) by which the other ranks reach this
  // host; empty: its host name.
  std::string host;
  std::chrono::milliseconds interval{1000};
  // Longest time without a beat: at least 4 intervals, less than 30 s.
  std::chrono::milliseconds limit{10000};
  // Longest time between two calls of Beat() or BeginWait().
  std::chrono::milliseconds stuck_after{20000};
  // How long Start() waits for the other ranks.
  std::chrono::milliseconds start_timeout{30000};
  // If not 0: the process is ended (_exit(6)) when it is still there this long
  // after the report. A main thread that is blocked in a library cannot be
  // freed in another way.
  std::chrono::milliseconds kill_after{0};
  // If not null: of this rank. Set when that of another rank is.
  StopRequest* stop = nullptr;
};

// InvalidArgument if they contradict themselves.
absl::Status CheckOptions(const WatchdogOptions& options);

}  // namespace rtpurbo

#endif  // RTPURBO_DIST_WATCHDOG_OPTIONS_H_
