// What becomes of a run on several ranks that is asked to stop, loses a rank,
// or is started twice.

#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "data/file_system.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/launch/run_binary.h"
#include "tests/launch/running_binary.h"
#include "tests/status_matchers.h"
#include "tests/temporary_directory.h"
#include "tests/trainer/test_model.h"
#include "trainer/conversion/artefacts.h"

namespace rtpurbo::testing {
namespace {

using std::chrono::milliseconds;
using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using Clock = std::chrono::steady_clock;

class FaultsTest : public ::testing::Test {
 protected:
  FaultsTest() { WriteTestModel(model_.path(), 3); }

  std::string Out(const std::string& name) const { return out_ / name; }
  // A run whose ranks are lost after 1.5 seconds of silence.
  std::vector<std::string> Arguments(
      const std::string& out, std::vector<std::string> edits = {}) const {
    edits.emplace_back("watch.silent_seconds=1.5");
    return TestRunArguments("run", model_.path(), Out(out), edits);
  }
  // Long enough to be caught in the middle of it.
  std::vector<std::string> LongArguments(const std::string& out) const {
    return Arguments(out, {"align.steps=100", "distill.steps=60",
                           "distill.held_out_every=40", "checkpoint.every=30"});
  }
  // A folder of text that takes seconds to prepare.
  std::string LongText() const {
    FileSystem& files = RealFileSystem();
    const std::string text = files.ReadFile(model_ / "text/a.txt").value();
    std::string folder = model_ / "long_text";
    EXPECT_OK(files.CreateDirectories(folder));
    for (int i = 0; i < 600; ++i) {
      EXPECT_OK(files.WriteFileAtomically(
          JoinPath(folder, absl::StrCat(i, ".txt")), text));
    }
    return folder;
  }
  void Finish(int num_ranks, const std::vector<std::string>& arguments) const {
    const Finished finished = RunBinaryOnRanks(num_ranks, arguments);
    EXPECT_EQ(finished.exit_code, 0) << finished.err;
  }
  // Of all that must not depend on what happened.
  std::string Digest(const std::string& out) const {
    std::string digests;
    for (const char* name : {"heads.textproto", "prepare", "align", "distill",
                             "export", "evaluate"}) {
      digests +=
          DigestOf(RealFileSystem(), JoinPath(Out(out), name)).value() + " ";
    }
    return digests;
  }
  static void ExpectNothingLeft(const RunningBinary& run) {
    EXPECT_TRUE(Becomes([&] { return run.Left().empty(); }));
  }

  TemporaryDirectory model_{TemporaryDirectory::Where::kInMemory};
  TemporaryDirectory out_{TemporaryDirectory::Where::kInMemory};
};

// Between documents, between labels, and between steps.
TEST_F(FaultsTest, AskedToStopOnAnyRankItStopsAndGoesOn) {
  Finish(2, LongArguments("whole"));
  struct Moment {
    const char* says;
    int signal;
    int rank;
    const char* stopped;
  };
  for (const Moment& moment :
       {Moment{"calibrate starts", SIGUSR1, 1, " was stopped, as asked"},
        {"I labels ", SIGUSR1, 1, " was stopped, as asked"},
        {"align held-out KL", SIGUSR1, 1, "align was stopped after step "}}) {
    RunningBinary run(2, LongArguments("stopped"));
    ASSERT_TRUE(run.Says(moment.says)) << run.err();
    run.Signal(moment.rank, moment.signal);
    const Finished finished = run.Wait();
    EXPECT_EQ(finished.exit_code, 75) << finished.err;
    EXPECT_THAT(finished.err,
                AllOf(HasSubstr(moment.stopped),
                      HasSubstr("start the same command again to go on")));
    ExpectNothingLeft(run);
  }
  Finish(2, LongArguments("stopped"));
  EXPECT_EQ(Digest("stopped"), Digest("whole"));
}

TEST_F(FaultsTest, OneProcessStopsAndGoesOnToo) {
  Finish(1, LongArguments("whole"));
  for (const int signal : {SIGINT, SIGTERM}) {
    RunningBinary run(1, LongArguments("stopped"));
    ASSERT_TRUE(run.Says("align held-out KL")) << run.err();
    run.Signal(0, signal);
    const Finished finished = run.Wait();
    EXPECT_EQ(finished.exit_code, 75) << finished.err;
    EXPECT_THAT(finished.err, HasSubstr("align was stopped after step "));
    ASSERT_OK(RealFileSystem().RemoveTree(Out("stopped") + "/align"));
  }
  Finish(1, LongArguments("stopped"));
  EXPECT_EQ(Digest("stopped"), Digest("whole"));
}

// Where it can't stop in order.
TEST_F(FaultsTest, ASecondInterruptEndsItAtOnce) {
  RunningBinary run(1, LongArguments("a"));
  ASSERT_TRUE(run.Says("align held-out KL")) << run.err();
  const pid_t pid = run.Pid(0);
  HeldThread main_thread(pid);
  ASSERT_OK(main_thread.status());
  ASSERT_EQ(kill(pid, SIGINT), 0);
  std::this_thread::sleep_for(milliseconds(200));
  EXPECT_FALSE(main_thread.HasEnded());
  ASSERT_EQ(kill(pid, SIGINT), 0);
  EXPECT_TRUE(Becomes([&] { return main_thread.HasEnded(); }));
  EXPECT_EQ(run.Wait().exit_code, 130);
}

// RTPURBO_KILLS of them (10) in one run after the other; RTPURBO_SEED to see
// the same again.
TEST_F(FaultsTest, KilledRanksAreNamedAndTheRunEndsAsIfNothingHadHappened) {
  const auto number = [](const char* variable, unsigned otherwise) {
    unsigned value = otherwise;
    const char* const text = std::getenv(variable);
    EXPECT_TRUE(text == nullptr || absl::SimpleAtoi(text, &value)) << variable;
    return value;
  };
  constexpr int kRanks = 3;
  const unsigned seed = number("RTPURBO_SEED", std::random_device()());
  std::cout << "RTPURBO_SEED=" << seed << std::endl;
  std::mt19937 random(seed);
  Finish(kRanks, Arguments("whole"));
  unsigned kills = 0;
  while (kills < number("RTPURBO_KILLS", 10)) {
    RunningBinary run(kRanks, Arguments("killed"));
    ASSERT_TRUE(run.Says("prepare ")) << run.err();
    std::this_thread::sleep_for(milliseconds(random() % 700));
    const int rank = static_cast<int>(random() % kRanks);
    const pid_t pid = run.Pid(rank);
    if (pid == 0 || kill(pid, SIGKILL) != 0) {  // it has ended
      ASSERT_EQ(run.Wait().exit_code, 0) << run.err();
      EXPECT_EQ(Digest("killed"), Digest("whole"));
      ASSERT_OK(RealFileSystem().RemoveTree(Out("killed")));
      continue;
    }
    ++kills;
    const Finished finished = run.Wait();
    EXPECT_NE(finished.exit_code, 0);
    // Unless it was about to end.
    EXPECT_THAT(finished.err,
                AnyOf(ContainsRegex(absl::StrCat("rank ", rank,
                                                 " on .*: its process died")),
                      HasSubstr("evaluate done")));
    ExpectNothingLeft(run);
  }
  Finish(kRanks, Arguments("killed"));
  EXPECT_EQ(Digest("killed"), Digest("whole"));
}

TEST_F(FaultsTest, AStoppedRankIsNamedAndNoProcessIsLeft) {
  RunningBinary run(3, LongArguments("a"));
  ASSERT_TRUE(run.Says("align held-out KL")) << run.err();
  const Clock::time_point begin = Clock::now();
  run.Signal(0, SIGSTOP);
  const Finished finished = run.Wait();
  EXPECT_LT(Clock::now() - begin, std::chrono::seconds(20));
  EXPECT_EQ(finished.exit_code, 6) << finished.err;
  EXPECT_THAT(finished.err,
              ContainsRegex("lost 1 of 3 ranks: rank 0 on .*: no beat for "));
  ExpectNothingLeft(run);
}

// A main thread that is blocked for ever, in a process that is well. The other
// rank waits for it.
TEST_F(FaultsTest, AHungRankIsNamedAndNoProcessIsLeft) {
  std::vector<std::string> arguments = LongArguments("a");
  arguments.emplace_back("--set=watch.stuck_seconds=5");
  arguments.emplace_back("--set=data.paths=[\"" + LongText() + "\"]");
  RunningBinary run(2, arguments);
  // Then the first rank works alone for long, with a sign of life for every
  // 4 MiB.
  ASSERT_TRUE(run.Says("prepare starts")) << run.err();
  std::this_thread::sleep_for(milliseconds(200));
  HeldThread main_thread(run.Pid(0));
  ASSERT_OK(main_thread.status()) << run.err();
  EXPECT_TRUE(Becomes([&] { return main_thread.HasEnded(); }));
  const Finished finished = run.Wait();
  EXPECT_EQ(finished.exit_code, 6) << finished.err;
  EXPECT_THAT(finished.err,
              ContainsRegex("lost 1 of 2 ranks: rank 0 on .*: alive, but its "
                            "main thread is stuck: no progress for "));
  ExpectNothingLeft(run);
}

TEST_F(FaultsTest, ASecondStartIsRefused) {
  RunningBinary run(2, LongArguments("a"));
  ASSERT_TRUE(run.Says("align held-out KL")) << run.err();
  for (const std::string command : {"run", "evaluate", "export"}) {
    std::vector<std::string> arguments = LongArguments("a");
    arguments[0] = command;
    const Finished second = RunBinary(arguments);
    EXPECT_EQ(second.exit_code, 3) << second.err;
    EXPECT_THAT(second.err,
                AllOf(HasSubstr(absl::StrCat("is in use by incarnation 1: ",
                                             "process ", run.Pid(0), " on ")),
                      HasSubstr("choose another folder")));
  }
  const Finished verified = RunBinary({"verify", Out("a")});
  EXPECT_EQ(verified.exit_code, 0) << verified.err;
}

TEST_F(FaultsTest, ARequeuedJobTakesOverAndTheOldOneWritesNothingMore) {
  const std::vector<std::string> arguments = LongArguments("a");
  Finish(1, LongArguments("whole"));
  RunningBinary old(1, arguments, {"SLURM_JOB_ID=12"});
  ASSERT_TRUE(old.Says("align held-out KL")) << old.err();
  const pid_t pid = old.Pid(0);
  ASSERT_EQ(kill(pid, SIGSTOP), 0);
  {
    const Finished finished =
        RunBinary(arguments, {"SLURM_JOB_ID=12", "SLURM_RESTART_COUNT=1"});
    ASSERT_EQ(finished.exit_code, 0) << finished.err;
  }
  ASSERT_EQ(kill(pid, SIGCONT), 0);
  const Finished finished = old.Wait();
  EXPECT_EQ(finished.exit_code, 6) << finished.err;
  EXPECT_THAT(finished.err, AllOf(HasSubstr("incarnation 2 took over this run"),
                                  HasSubstr("this process is incarnation 1")));
  EXPECT_EQ(Digest("a"), Digest("whole"));
}

}  // namespace
}  // namespace rtpurbo::testing
