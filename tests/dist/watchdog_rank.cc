// A rank of a run that does nothing but be watched; watchdog_process_test.cc
// starts several and treats them badly.
//
//   watchdog_rank DIR RANK SIZE HOST
//
// The ranks meet through files in DIR: address_<rank> is written by each;
// started_<rank> when Start() has returned; report_<rank> when it was told of a
// loss: the steady clock in ms and the message. Until there is a file
// stop_<rank>, the main thread beats; with hang_<rank>, it loops for ever.
// Exit code: 0, 6 after a report, 3 if it cannot start.

#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <iostream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "data/file_system.h"
#include "kernels/core/status_macros.h"
#include "tests/dist/watchdog_testing.h"

namespace rtpurbo::testing {
namespace {

class Rank {
 public:
  Rank(std::string dir, const WatchdogOptions& options)
      : dir_(std::move(dir)), options_(options) {}

  int Run() {
    auto opened = Watchdog::Open(options_);
    if (!opened.ok()) {
      return Fail(opened.status());
    }
    Watchdog& watchdog = **opened;
    if (absl::Status status = Meet(watchdog); !status.ok()) {
      return Fail(status);
    }
    while (!Has("stop")) {
      if (!watchdog.status().ok()) {
        Becomes([&] { return Has("report"); });
        _exit(6);  // without Stop(), as a rank that gives up
      }
      while (Has("hang")) {
      }
      // All but the one that hangs wait for it.
      Has("wait") ? watchdog.BeginWait() : watchdog.Beat();
      std::this_thread::sleep_for(milliseconds(10));
    }
    watchdog.Stop();
    return watchdog.status().ok() ? 0 : 6;
  }

 private:
  static int Fail(const absl::Status& status) {
    std::cerr << status << std::endl;
    return 3;
  }
  std::string Path(absl::string_view what, int rank) const {
    return absl::StrCat(dir_, "/", what, "_", rank);
  }
  bool Has(absl::string_view what) const {
    return *files_.Exists(Path(what, options_.rank));
  }
  absl::Status Write(absl::string_view what, absl::string_view text) {
    return files_.WriteFileAtomically(Path(what, options_.rank), text);
  }

  absl::Status Meet(Watchdog& watchdog) {
    RETURN_IF_ERROR(Write("address", watchdog.address()));
    std::vector<std::string> addresses;
    for (int rank = 0; rank < options_.size; ++rank) {
      Becomes([&] { return *files_.Exists(Path("address", rank)); });
      ASSIGN_OR_RETURN(std::string address,
                       files_.ReadFile(Path("address", rank)));
      addresses.push_back(std::move(address));
    }
    RETURN_IF_ERROR(
        watchdog.Start(addresses, [this](const absl::Status& status) {
          const auto now = std::chrono::duration_cast<milliseconds>(
              std::chrono::steady_clock::now().time_since_epoch());
          Write("report", absl::StrCat(now.count(), " ", status.message()))
              .IgnoreError();
        }));
    return Write("started", "");
  }

  std::string dir_;
  WatchdogOptions options_;
  FileSystem& files_ = RealFileSystem();
};

}  // namespace
}  // namespace rtpurbo::testing

int main(int /*argc*/, char** argv) {
  rtpurbo::WatchdogOptions options =
      rtpurbo::testing::ShortOptions(std::atoi(argv[2]), std::atoi(argv[3]));
  options.host = argv[4];
  options.stuck_after = rtpurbo::testing::milliseconds(1000);
  options.kill_after = rtpurbo::testing::milliseconds(500);
  return rtpurbo::testing::Rank(argv[1], options).Run();
}
