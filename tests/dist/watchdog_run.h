// Ranks of one run in one process, for tests of the watchdog.

#ifndef RTPURBO_TESTS_DIST_WATCHDOG_RUN_H_
#define RTPURBO_TESTS_DIST_WATCHDOG_RUN_H_

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "dist/peer_net.h"
#include "dist/watchdog.h"
#include "gtest/gtest.h"
#include "kernels/core/check.h"
#include "tests/dist/watchdog_testing.h"
#include "tests/status_matchers.h"

namespace rtpurbo::testing {

// Watchdogs, and (the last ones) impostors that join like a rank and then do
// what the test wants.
class TestRun {
 public:
  explicit TestRun(int num_watchdogs, int num_impostors = 0,
                   const WatchdogOptions& options = ShortOptions(0, 1),
                   std::vector<StopRequest>* stops = nullptr)
      : reports_(static_cast<std::size_t>(num_watchdogs)) {
    const int size = num_watchdogs + num_impostors;
    for (int rank = 0; rank < num_watchdogs; ++rank) {
      WatchdogOptions mine = options;
      mine.rank = rank;
      mine.size = size;
      if (stops != nullptr) {
        mine.stop = &(*stops)[static_cast<std::size_t>(rank)];
      }
      auto watchdog = Watchdog::Open(mine);
      CHECK(watchdog.ok()) << watchdog.status();
      watchdogs_.push_back(*std::move(watchdog));
      addresses_.push_back(watchdogs_.back()->address());
    }
    for (int rank = num_watchdogs; rank < size; ++rank) {
      auto impostor = internal::PeerNet::Listen(rank, size, options.host);
      CHECK(impostor.ok()) << impostor.status();
      impostors_.push_back(*std::move(impostor));
      addresses_.push_back(impostors_.back()->address());
    }
  }

  // Starts all ranks; what each Start() returned.
  std::vector<absl::Status> Start() {
    std::vector<absl::Status> statuses(watchdogs_.size());
    std::vector<std::thread> threads;
    for (std::size_t rank = 0; rank < watchdogs_.size(); ++rank) {
      threads.emplace_back([this, rank, &statuses] {
        statuses[rank] = watchdogs_[rank]->Start(
            addresses_,
            [this, rank](const absl::Status&) { ++reports_[rank]; });
      });
    }
    for (const auto& impostor : impostors_) {
      threads.emplace_back([this, &impostor] {
        EXPECT_OK(impostor->Connect(
            addresses_, std::chrono::steady_clock::now() + seconds(15)));
        EXPECT_TRUE(Becomes([&] {
          impostor->Wait(milliseconds(10));
          return impostor->all_joined();
        }));
      });
    }
    for (std::thread& thread : threads) {
      thread.join();
    }
    return statuses;
  }
  void StartAll() {
    for (const absl::Status& status : Start()) {
      ASSERT_OK(status);
    }
  }

  Watchdog& At(int rank) { return *watchdogs_[static_cast<std::size_t>(rank)]; }
  internal::PeerNet& impostor(int i) {
    return *impostors_[static_cast<std::size_t>(i)];
  }
  void Kill(int impostor) {
    impostors_[static_cast<std::size_t>(impostor)].reset();
  }
  const std::vector<std::string>& addresses() const { return addresses_; }
  int reports(int rank) const {
    return reports_[static_cast<std::size_t>(rank)];
  }

  // Waits until all watchdogs have reported, and returns what they said.
  std::vector<std::string> Reports() {
    std::vector<std::string> said;
    for (std::size_t rank = 0; rank < watchdogs_.size(); ++rank) {
      EXPECT_TRUE(Becomes([&] { return reports_[rank] > 0; })) << rank;
      EXPECT_THAT(watchdogs_[rank]->status(),
                  StatusIs(absl::StatusCode::kUnavailable));
      said.emplace_back(watchdogs_[rank]->status().message());
    }
    return said;
  }

 private:
  std::vector<std::atomic<int>> reports_;  // calls, by rank
  std::vector<std::unique_ptr<Watchdog>> watchdogs_;
  std::vector<std::unique_ptr<internal::PeerNet>> impostors_;
  std::vector<std::string> addresses_;
};

}  // namespace rtpurbo::testing

#endif  // RTPURBO_TESTS_DIST_WATCHDOG_RUN_H_
