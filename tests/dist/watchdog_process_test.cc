// Ranks as processes that are killed, stopped, hung and cut off.

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "data/file_system.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/core/check.h"
#include "tests/dist/watchdog_testing.h"
#include "tests/status_matchers.h"
#include "tests/temporary_directory.h"

namespace rtpurbo::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr int kStillRuns = -1;

std::int64_t NowMs() {
  return std::chrono::duration_cast<milliseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

pid_t Spawn(std::vector<std::string> words) {
  std::vector<char*> argv;
  argv.reserve(words.size() + 1);
  for (std::string& word : words) {
    argv.push_back(word.data());
  }
  argv.push_back(nullptr);
  pid_t pid = 0;
  CHECK_EQ(posix_spawnp(&pid, argv[0], nullptr, nullptr, argv.data(), environ),
           0);
  return pid;
}

// Whether the command ended with 0.
bool Succeeds(const std::string& command) {
  return std::system((command + " > /dev/null 2>&1").c_str()) == 0;
}

struct Report {
  std::int64_t after_ms = 0;  // since what was done to the run
  std::string message;
};

class ProcessRun {
 public:
  // hosts: by rank. prefixes: by rank, words to put before the command.
  explicit ProcessRun(const std::vector<std::string>& hosts,
                      std::vector<std::vector<std::string>> prefixes = {}) {
    prefixes.resize(hosts.size());
    for (std::size_t rank = 0; rank < hosts.size(); ++rank) {
      std::vector<std::string> words = prefixes[rank];
      words.insert(words.end(), {WATCHDOG_RANK, dir_.path(), absl::StrCat(rank),
                                 absl::StrCat(hosts.size()), hosts[rank]});
      pids_.push_back(Spawn(words));
      ends_.push_back(kStillRuns);
    }
    for (int rank = 0; rank < size(); ++rank) {
      EXPECT_TRUE(Becomes([&] { return Has("started", rank); })) << rank;
    }
  }
  ~ProcessRun() {
    for (int rank = 0; rank < size(); ++rank) {
      if (End(rank) == kStillRuns) {
        Signal(rank, SIGKILL);
        waitpid(pids_[static_cast<std::size_t>(rank)], nullptr, 0);
      }
    }
  }

  int size() const { return static_cast<int>(pids_.size()); }
  void Signal(int rank, int signal) {
    done_at_ms_ = NowMs();
    kill(pids_[static_cast<std::size_t>(rank)], signal);
  }
  void Tell(absl::string_view what, int rank) {
    done_at_ms_ = NowMs();
    CHECK(files_.WriteFileAtomically(Path(what, rank), "").ok());
  }
  void StartClock() { done_at_ms_ = NowMs(); }

  // Of a rank that must report.
  Report ReportOf(int rank) {
    EXPECT_TRUE(Becomes([&] { return Has("report", rank); })) << rank;
    Report report;
    std::ifstream file(Path("report", rank));
    file >> report.after_ms;
    std::getline(file, report.message);
    report.after_ms -= done_at_ms_;
    return report;
  }
  // Waits for its end. An exit code, or 128 and the signal.
  int ExitCode(int rank) {
    EXPECT_TRUE(Becomes([&] { return End(rank) != kStillRuns; })) << rank;
    return End(rank);
  }

 private:
  std::string Path(absl::string_view what, int rank) const {
    return absl::StrCat(dir_.path(), "/", what, "_", rank);
  }
  bool Has(absl::string_view what, int rank) {
    return *files_.Exists(Path(what, rank));
  }
  int End(int rank) {
    const auto i = static_cast<std::size_t>(rank);
    int state = 0;
    if (ends_[i] == kStillRuns && waitpid(pids_[i], &state, WNOHANG) > 0) {
      ends_[i] = WIFEXITED(state) ? WEXITSTATUS(state) : 128 + WTERMSIG(state);
    }
    return ends_[i];
  }

  TemporaryDirectory dir_{TemporaryDirectory::Where::kInMemory};
  FileSystem& files_ = RealFileSystem();
  std::vector<pid_t> pids_;
  std::vector<int> ends_;
  std::int64_t done_at_ms_ = 0;
};

std::vector<std::string> Localhosts(std::size_t size) {
  return std::vector<std::string>(size, "localhost");
}

// Every rank but `lost` names it, for that reason, no sooner and not much later
// than that, and ends.
void ExpectNamed(ProcessRun& run, int lost, const std::string& why,
                 std::int64_t from_ms) {
  for (int rank = 0; rank < run.size(); ++rank) {
    if (rank == lost) {
      continue;
    }
    const Report report = run.ReportOf(rank);
    EXPECT_THAT(report.message,
                AllOf(HasSubstr(absl::StrCat("lost 1 of ", run.size(),
                                             " ranks: rank ", lost)),
                      HasSubstr(why)));
    EXPECT_GE(report.after_ms, from_ms);
    EXPECT_LE(report.after_ms, from_ms + 8000);
    EXPECT_EQ(run.ExitCode(rank), 6);
    std::cout << why << ": rank " << rank << " told after " << report.after_ms
              << " ms\n";
  }
}

class WatchdogProcessTest : public ::testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(AnyRank, WatchdogProcessTest, ::testing::Values(0, 2));

TEST_P(WatchdogProcessTest, AKilledProcessIsNamed) {
  ProcessRun run(Localhosts(4));
  run.Signal(GetParam(), SIGKILL);
  ExpectNamed(run, GetParam(), "its process died", 0);
}

TEST_P(WatchdogProcessTest, AStoppedProcessIsNamedAndNamesItselfWhenItGoesOn) {
  ProcessRun run(Localhosts(4));
  run.Signal(GetParam(), SIGSTOP);
  ExpectNamed(run, GetParam(), "no beat for", 700);
  run.Signal(GetParam(), SIGCONT);
  EXPECT_THAT(run.ReportOf(GetParam()).message,
              AllOf(HasSubstr("lost 1 of 4 ranks"),
                    HasSubstr(absl::StrCat("rank ", GetParam(),
                                           " (this one) on localhost"))));
  EXPECT_EQ(run.ExitCode(GetParam()), 6);
}

TEST_P(WatchdogProcessTest, AHungMainThreadIsNamedAndItsProcessEnds) {
  ProcessRun run(Localhosts(4));
  for (int rank = 0; rank < 4; ++rank) {
    if (rank != GetParam()) {
      run.Tell("wait", rank);
    }
  }
  run.Tell("hang", GetParam());
  ExpectNamed(run, GetParam(), "its main thread is stuck", 700);
  EXPECT_EQ(run.ExitCode(GetParam()), 6);  // by kill_after
}

TEST(WatchdogExitTest, RanksEndInOrderInAnyOrder) {
  std::vector<int> order = {0, 1, 2};
  do {
    ProcessRun run(Localhosts(3));
    for (const int rank : order) {
      run.Tell("stop", rank);
      EXPECT_EQ(run.ExitCode(rank), 0);
    }
  } while (std::next_permutation(order.begin(), order.end()));
}

// Two hosts, as network namespaces with one cable between them.
class Cable {
 public:
  Cable()
      : a_(absl::StrCat("rtwd", getpid(), "a")),
        b_(absl::StrCat("rtwd", getpid(), "b")),
        works_(geteuid() == 0 && Make()) {}
  ~Cable() {
    Succeeds("ip netns del " + a_);
    Succeeds("ip netns del " + b_);
  }
  bool works() const { return works_; }
  bool Cut() const { return Succeeds("ip -n " + a_ + " link set eth0 down"); }
  std::vector<std::string> InA() const { return {"ip", "netns", "exec", a_}; }
  std::vector<std::string> InB() const { return {"ip", "netns", "exec", b_}; }

 private:
  bool Make() const {
    bool ok = Succeeds("ip netns add " + a_) &&
              Succeeds("ip netns add " + b_) &&
              Succeeds(absl::StrCat("ip -n ", a_, " link add eth0 type veth ",
                                    "peer name eth0 netns ", b_));
    for (const std::string& host : {a_ + " 10.79.0.1", b_ + " 10.79.0.2"}) {
      const std::vector<std::string> words = absl::StrSplit(host, ' ');
      ok = ok &&
           Succeeds(absl::StrCat("ip -n ", words[0], " addr add ", words[1],
                                 "/24 dev eth0")) &&
           Succeeds("ip -n " + words[0] + " link set eth0 up") &&
           Succeeds("ip -n " + words[0] + " link set lo up");
    }
    return ok;
  }

  std::string a_;
  std::string b_;
  bool works_;
};

TEST(WatchdogCableTest, EachHalfNamesTheOtherWhenTheCableIsCut) {
  const Cable cable;
  if (!cable.works()) {
    GTEST_SKIP() << "network namespaces need root and `ip netns`";
  }
  ProcessRun run({"10.79.0.1", "10.79.0.1", "10.79.0.2", "10.79.0.2"},
                 {cable.InA(), cable.InA(), cable.InB(), cable.InB()});
  run.StartClock();
  ASSERT_TRUE(cable.Cut());
  for (int rank = 0; rank < 4; ++rank) {
    const bool in_a = rank < 2;
    const Report report = run.ReportOf(rank);
    EXPECT_THAT(report.message,
                AllOf(HasSubstr("lost 2 of 4 ranks"),
                      HasSubstr(in_a ? "rank 2 on 10.79.0.2: no beat"
                                     : "rank 0 on 10.79.0.1: no beat"),
                      HasSubstr(in_a ? "rank 3 on 10.79.0.2: no beat"
                                     : "rank 1 on 10.79.0.1: no beat"),
                      HasSubstr("its link is down")));
    EXPECT_LE(report.after_ms, 8000);
    EXPECT_EQ(run.ExitCode(rank), 6);
    std::cout << "cut cable: rank " << rank << " told after " << report.after_ms
              << " ms\n";
  }
}

}  // namespace
}  // namespace rtpurbo::testing
