// Starts of a run on hosts that are made up.

#ifndef RTPURBO_TESTS_DATA_RUN_LOCK_TESTING_H_
#define RTPURBO_TESTS_DATA_RUN_LOCK_TESTING_H_

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "data/run_claim.h"
#include "data/run_lock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/status_matchers.h"
#include "tests/temporary_directory.h"

namespace rtpurbo::testing {

using Lock = std::unique_ptr<RunLock>;

// For tests in which nobody else is alive.
inline constexpr std::chrono::milliseconds kShort{300};

class RunLockTest : public ::testing::Test {
 protected:
  // A start on another host: nothing is known of its process. gone_after is
  // for tests in which others are alive, on a machine that is busy.
  static RunLockOptions OnHost(
      const std::string& host,
      std::chrono::milliseconds gone_after = std::chrono::milliseconds(1500)) {
    RunLockOptions options;
    options.beat_every = std::chrono::milliseconds(20);
    options.gone_after = gone_after;
    options.self.host = host;
    options.self.place = host;
    options.self.pid = 4711;
    return options;
  }
  // Does not beat of itself: for tests that count calls.
  static RunLockOptions Silent() {
    RunLockOptions options = OnHost("a");
    options.beat_every = std::chrono::hours(1);
    options.gone_after = std::chrono::hours(4);
    return options;
  }
  // Eight of them, on as many hosts.
  static std::vector<RunLockOptions> EightStarts() {
    std::vector<RunLockOptions> starts(8);
    for (std::size_t i = 0; i < starts.size(); ++i) {
      starts[i] = OnHost("n" + std::to_string(i));
    }
    return starts;
  }
  static RunLockOptions InJob(std::int64_t restarts) {
    RunLockOptions options = OnHost("n" + std::to_string(restarts));
    options.self.job = "t/12";
    options.self.job_restarts = restarts;
    return options;
  }
  absl::StatusOr<Lock> Acquire(const RunLockOptions& options) {
    return RunLock::Acquire(files_, root_, options);
  }
  std::string Claim(std::int64_t incarnation) const {
    return internal::ClaimPath(root_, incarnation);
  }
  // Leaves the claim of a holder that is gone without a word.
  void Crash(const RunLockOptions& options) {
    auto lock = Acquire(options);
    ASSERT_OK(lock);
    const std::string path = Claim((*lock)->incarnation());
    const std::string claim = *files_.ReadFile(path);
    lock->reset();
    ASSERT_OK(files_.WriteFileAtomically(path, claim));
  }
  // Starts `options` in as many threads and returns those that won.
  std::vector<Lock> Race(const std::vector<RunLockOptions>& starts) {
    std::vector<absl::StatusOr<Lock>> results(starts.size());
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < starts.size(); ++i) {
      threads.emplace_back(
          [this, i, &starts, &results] { results[i] = Acquire(starts[i]); });
    }
    for (std::thread& thread : threads) {
      thread.join();
    }
    std::vector<Lock> winners;
    for (absl::StatusOr<Lock>& result : results) {
      if (result.ok()) {
        winners.push_back(*std::move(result));
      } else {
        EXPECT_THAT(result, StatusIs(absl::StatusCode::kFailedPrecondition));
      }
    }
    return winners;
  }

  TemporaryDirectory dir_{TemporaryDirectory::Where::kInMemory};
  std::string root_ = dir_ / "run";
  FileSystem& files_ = RealFileSystem();
};

}  // namespace rtpurbo::testing

#endif  // RTPURBO_TESTS_DATA_RUN_LOCK_TESTING_H_
