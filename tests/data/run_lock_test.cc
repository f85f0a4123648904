#include "data/run_lock.h"

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "data/fenced_file_system.h"
#include "data/run_claim.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/data/failing_file_system.h"
#include "tests/data/run_lock_testing.h"
#include "tests/status_matchers.h"
#include "tests/temporary_directory.h"

namespace rtpurbo::testing {
namespace {

using std::chrono::milliseconds;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Clock = std::chrono::steady_clock;

TEST_F(RunLockTest, NumbersGoUpAndOnlyTheNewestClaimStays) {
  for (const std::int64_t incarnation : {1, 2, 3}) {
    ASSERT_OK_AND_ASSIGN(const Lock lock, Acquire(OnHost("a")));
    EXPECT_EQ(lock->incarnation(), incarnation);
    EXPECT_OK(lock->CheckHeld());
    EXPECT_OK(lock->Release());
    EXPECT_OK(lock->Release());
  }
  EXPECT_THAT(*files_.List(root_), ElementsAre("run.lock.00000003"));
}

TEST_F(RunLockTest, ASecondStartOnThisHostIsRefusedAtOnce) {
  RunLockOptions options = OnHost("a");
  options.self = ThisProcess();
  options.self.job = "t/12";
  ASSERT_OK_AND_ASSIGN(const Lock lock, Acquire(options));
  options.gone_after = milliseconds(60000);
  EXPECT_THAT(
      Acquire(options),
      StatusIs(absl::StatusCode::kFailedPrecondition,
               AllOf(HasSubstr(root_ + " is in use by incarnation 1: process " +
                               std::to_string(getpid()) + " on " +
                               ThisProcess().host + ", Slurm job t/12, "),
                     HasSubstr("stop it, or choose another folder"))));
  EXPECT_OK(lock->CheckHeld());
}

TEST_F(RunLockTest, AProcessOfThisHostThatIsGoneIsReplacedAtOnce) {
  RunLockOptions options = OnHost("a");
  options.self = ThisProcess();
  options.self.start_ticks -= 1;  // its number is ours now
  Crash(options);
  options.gone_after = milliseconds(60000);
  ASSERT_OK_AND_ASSIGN(const Lock lock, Acquire(options));
  EXPECT_EQ(lock->incarnation(), 2);
}

TEST_F(RunLockTest, AHolderOnAnotherHostThatBeatsIsAlive) {
  ASSERT_OK_AND_ASSIGN(const Lock lock, Acquire(OnHost("a")));
  EXPECT_THAT(Acquire(OnHost("b")),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       HasSubstr("process 4711 on a, started 20")));
}

TEST_F(RunLockTest, AHolderOnAnotherHostIsGoneWhenItNoLongerBeats) {
  Crash(OnHost("a"));
  const Clock::time_point begin = Clock::now();
  ASSERT_OK_AND_ASSIGN(const Lock lock, Acquire(OnHost("b", kShort)));
  EXPECT_GE(Clock::now() - begin, kShort);
  EXPECT_EQ(lock->incarnation(), 2);
}

TEST_F(RunLockTest, ARequeuedJobTakesOverFromOldRanksThatAreAlive) {
  ASSERT_OK_AND_ASSIGN(const Lock old, Acquire(InJob(0)));
  RunLockOptions options = InJob(1);
  options.gone_after = milliseconds(60000);
  ASSERT_OK_AND_ASSIGN(const Lock lock, Acquire(options));
  EXPECT_OK(lock->CheckHeld());
  EXPECT_THAT(old->CheckHeld(),
              StatusIs(absl::StatusCode::kUnavailable,
                       AllOf(HasSubstr("incarnation 2 took over this run"),
                             HasSubstr("on n1, Slurm job t/12"),
                             HasSubstr("this process is incarnation 1"))));
  EXPECT_OK(old->Release());
  EXPECT_OK(lock->CheckHeld());
  // Neither an old run of the job nor another job may do the same.
  EXPECT_THAT(Acquire(InJob(0)),
              StatusIs(absl::StatusCode::kFailedPrecondition));
  options = InJob(2);
  options.self.job = "t/13";
  EXPECT_THAT(Acquire(options),
              StatusIs(absl::StatusCode::kFailedPrecondition));
}

TEST_F(RunLockTest, AnOldIncarnationStaysOutWhenTheNewOneHasEnded) {
  ASSERT_OK_AND_ASSIGN(const Lock old, Acquire(InJob(0)));
  ASSERT_OK_AND_ASSIGN(const Lock lock, Acquire(InJob(1)));
  ASSERT_OK(lock->Release());
  std::this_thread::sleep_for(milliseconds(100));  // the old one tries to beat
  EXPECT_THAT(old->CheckHeld(), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_FALSE(*files_.Exists(Claim(1)));
  EXPECT_THAT(CheckIncarnation(files_, root_, 1),
              StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_OK(CheckIncarnation(files_, root_, 2));
}

TEST_F(RunLockTest, AClaimThatWasRemovedOrReplacedIsNotHeld) {
  ASSERT_OK_AND_ASSIGN(const Lock lock, Acquire(OnHost("a")));
  const std::string claim = *files_.ReadFile(Claim(1));
  ASSERT_OK(files_.Remove(Claim(1)));
  EXPECT_THAT(lock->CheckHeld(),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("removed")));
  ASSERT_OK(files_.WriteFileAtomically(
      Claim(1), internal::ClaimLine(OnHost("b").self, 1)));
  EXPECT_THAT(lock->CheckHeld(),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("replaced")));
}

TEST_F(RunLockTest, OfManyStartsAtOnceOneWins) {
  for (int round = 0; round < 10; ++round) {
    std::vector<Lock> winners = Race(EightStarts());
    ASSERT_EQ(winners.size(), 1U);
    EXPECT_OK(winners[0]->CheckHeld());
  }
}

TEST_F(RunLockTest, OfManyWhoTakeOverOneWins) {
  for (int round = 0; round < 3; ++round) {
    SCOPED_TRACE(round);
    Crash(OnHost("gone"));
    EXPECT_EQ(Race(EightStarts()).size(), 1U);
    ASSERT_OK_AND_ASSIGN(const Lock old, Acquire(InJob(0)));
    const std::vector<Lock> winners =
        Race(std::vector<RunLockOptions>(8, InJob(1)));
    EXPECT_EQ(winners.size(), 1U);
    EXPECT_FALSE(old->CheckHeld().ok());
  }
}

TEST_F(RunLockTest, OfManyProcessesOneWins) {
  ASSERT_OK(files_.CreateDirectories(root_));
  std::vector<pid_t> pids;
  for (int i = 0; i < 8; ++i) {
    const pid_t pid = fork();
    if (pid == 0) {
      RunLockOptions options = OnHost("");
      options.self = ThisProcess();
      const auto lock = Acquire(options);
      if (!lock.ok()) {
        _exit(absl::IsFailedPrecondition(lock.status()) ? 1 : 2);
      }
      std::this_thread::sleep_for(milliseconds(1000));
      _exit((*lock)->CheckHeld().ok() ? 0 : 3);
    }
    pids.push_back(pid);
  }
  std::vector<int> ends(4, 0);
  for (const pid_t pid : pids) {
    int state = 0;
    waitpid(pid, &state, 0);
    ASSERT_TRUE(WIFEXITED(state));
    ++ends[static_cast<std::size_t>(WEXITSTATUS(state))];
  }
  EXPECT_THAT(ends, ElementsAre(1, 7, 0, 0));
  // It ended without a word.
  RunLockOptions options = OnHost("");
  options.self = ThisProcess();
  EXPECT_OK(Acquire(options));
}

// It was so slow to write its claim that another start took it for gone.
TEST_F(RunLockTest, WhoMeetsAHigherClaimWhenItsOwnIsWrittenDoesNotHold) {
  const std::string other =
      internal::ClaimLine(OnHost("other").self, 2) + internal::BeatLine(1);
  bool is_there = false;
  FencedFileSystem slow(
      files_,
      [&]() -> absl::Status {
        if (*files_.Exists(Claim(1)) && !std::exchange(is_there, true)) {
          return files_.AppendToFile(Claim(2), other);
        }
        return absl::OkStatus();
      },
      milliseconds(0));
  ASSERT_OK_AND_ASSIGN(const Lock lock,
                       RunLock::Acquire(slow, root_, OnHost("b", kShort)));
  EXPECT_TRUE(is_there);
  EXPECT_EQ(lock->incarnation(), 3);  // the other is gone, too
}

TEST_F(RunLockTest, AProcessOfThisHostThatIsStoppedIsNotReplaced) {
  RunLockOptions options = OnHost("a");
  options.self = ThisProcess();
  Crash(options);  // the process runs, but nobody beats
  options.gone_after = kShort;
  EXPECT_THAT(Acquire(options),
              StatusIs(absl::StatusCode::kFailedPrecondition));
}

TEST_F(RunLockTest, AHigherClaimIsEnough) {
  ASSERT_OK_AND_ASSIGN(const Lock lock, Acquire(OnHost("a")));
  ASSERT_OK(files_.AppendToFile(Claim(5), ""));  // the first step of a taker
  EXPECT_THAT(lock->CheckHeld(),
              StatusIs(absl::StatusCode::kUnavailable,
                       HasSubstr("incarnation 5 took over this run")));
  EXPECT_THAT(CheckIncarnation(files_, root_, 1),
              StatusIs(absl::StatusCode::kUnavailable));
}

// Whatever fails, there is one holder at most, and the next start gets in.
TEST_F(RunLockTest, AnyFailingCallLeavesOneHolderAtMostAndAWayIn) {
  for (const bool is_final : {false, true}) {
    for (std::int64_t k = 1;; ++k) {
      SCOPED_TRACE(k);
      ASSERT_OK(files_.RemoveTree(root_));
      ASSERT_OK_AND_ASSIGN(Lock old, Acquire(InJob(0)));
      FailingFileSystem failing(files_);
      is_final ? failing.FailFrom(k, EIO) : failing.FailOnce(k, EIO);
      RunLockOptions options = InJob(1);
      options.beat_every = milliseconds(100);  // calls are counted
      auto lock = RunLock::Acquire(failing, root_, options);
      const std::int64_t calls = failing.calls();
      const bool is_held = lock.ok() && (*lock)->CheckHeld().ok();
      EXPECT_LE(int{old->CheckHeld().ok()} + int{is_held}, 1);
      if (!lock.ok()) {
        EXPECT_THAT(lock, StatusIs(absl::StatusCode::kUnavailable));
        old.reset();
        // At once, where the failed start could still say that it failed.
        EXPECT_OK(
            Acquire(OnHost("next", is_final ? kShort : std::chrono::hours(1))));
      }
      if (calls < k) {
        EXPECT_OK(lock);
        EXPECT_GT(k, 10);
        break;
      }
    }
  }
}

TEST_F(RunLockTest, ACheckThatCannotLookDoesNotPass) {
  for (std::int64_t k = 1;; ++k) {
    ASSERT_OK(files_.RemoveTree(root_));
    FailingFileSystem failing(files_);
    ASSERT_OK_AND_ASSIGN(const Lock lock,
                         RunLock::Acquire(failing, root_, Silent()));
    const std::int64_t before = failing.calls();
    failing.FailOnce(before + k, EIO);
    const absl::Status status = lock->CheckHeld();
    if (failing.calls() - before < k) {
      EXPECT_OK(status);
      EXPECT_GT(k, 5);
      break;
    }
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kUnavailable)) << k;
  }
}

TEST_F(RunLockTest, AReleaseThatFailsLeavesAClaimThatGrowsOld) {
  for (std::int64_t k = 1;; ++k) {
    ASSERT_OK(files_.RemoveTree(root_));
    FailingFileSystem failing(files_);
    ASSERT_OK_AND_ASSIGN(const Lock lock,
                         RunLock::Acquire(failing, root_, Silent()));
    const std::int64_t before = failing.calls();
    failing.FailFrom(before + k, EIO);
    const absl::Status status = lock->Release();
    EXPECT_OK(Acquire(OnHost("next", kShort)));
    if (failing.calls() - before < k) {
      EXPECT_OK(status);
      break;
    }
    EXPECT_FALSE(status.ok());
  }
}

}  // namespace
}  // namespace rtpurbo::testing
