#include "dist/watchdog_options.h"

#include "absl/strings/str_cat.h"

namespace rtpurbo {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kLongestLimit{30000};

}  // namespace

absl::Status CheckOptions(const WatchdogOptions& options) {
  if (options.interval < milliseconds(10) ||
      options.limit < 4 * options.interval || options.limit >= kLongestLimit ||
      options.stuck_after < 4 * options.interval) {
    return absl::InvalidArgumentError(absl::StrCat(
        "watchdog: the interval (", options.interval.count(),
        " ms) must be 10 ms or more, the limit (", options.limit.count(),
        " ms) and stuck_after (", options.stuck_after.count(),
        " ms) at least 4 intervals, and the limit less than ",
        kLongestLimit.count(), " ms"));
  }
  return absl::OkStatus();
}

}  // namespace rtpurbo
