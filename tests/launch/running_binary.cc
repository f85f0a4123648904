#include "tests/launch/running_binary.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <thread>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gtest/gtest.h"
#include "kernels/core/check.h"

namespace rtpurbo::testing {
namespace {

std::string Contents(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::vector<std::string> WordsOf(const std::string& path) {
  return absl::StrSplit(Contents(path), '\0', absl::SkipEmpty());
}

// The rank, if the process is one of the start with this argument.
std::optional<int> RankOf(const std::string& process,
                          const std::string& argument) {
  const std::vector<std::string> words = WordsOf(process + "/cmdline");
  if (words.empty() || words[0] != RTPURBO_BINARY ||
      std::find(words.begin(), words.end(), argument) == words.end()) {
    return std::nullopt;
  }
  int rank = 0;
  for (const std::string& variable : WordsOf(process + "/environ")) {
    constexpr char kName[] = "OMPI_COMM_WORLD_RANK=";
    if (absl::StartsWith(variable, kName)) {
      CHECK(absl::SimpleAtoi(variable.substr(sizeof(kName) - 1), &rank));
    }
  }
  return rank;
}

// {rank, pid} of the start with this argument. A zombie has no command line.
std::vector<std::pair<int, pid_t>> RanksWith(const std::string& argument) {
  std::vector<std::pair<int, pid_t>> ranks;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    pid_t pid = 0;
    if (absl::SimpleAtoi(entry.path().filename().string(), &pid)) {
      const std::optional<int> rank = RankOf(entry.path().string(), argument);
      if (rank.has_value()) {
        ranks.emplace_back(*rank, pid);
      }
    }
  }
  return ranks;
}

// In the child: becomes `words`, with its output in `folder`.
[[noreturn]] void Become(const std::vector<std::string>& words,
                         const std::string& folder) {
  const char* root = std::getenv("RTPURBO_ROOT");
  CHECK(root != nullptr && chdir(root) == 0) << "run this test by ctest";
  for (const auto& [name, fd] : {std::pair{"/out", 1}, {"/err", 2}}) {
    const int file =
        open((folder + name).c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
    CHECK(file >= 0 && dup2(file, fd) >= 0) << name;
  }
  std::vector<char*> arguments;
  arguments.reserve(words.size() + 1);
  for (const std::string& word : words) {
    arguments.push_back(const_cast<char*>(word.c_str()));
  }
  arguments.push_back(nullptr);
  execvp(arguments[0], arguments.data());
  _exit(127);
}

}  // namespace

bool Becomes(const std::function<bool()>& is_true) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  while (!is_true()) {
    if (std::chrono::steady_clock::now() > end) {
      return false;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return true;
}

HeldThread::HeldThread(pid_t pid) : pid_(pid) {
  int state = 0;
  if (pid == 0 || ptrace(PTRACE_SEIZE, pid, nullptr, nullptr) != 0 ||
      ptrace(PTRACE_INTERRUPT, pid, nullptr, nullptr) != 0 ||
      waitpid(pid, &state, __WALL) != pid || !WIFSTOPPED(state)) {
    status_ = absl::UnavailableError(absl::StrCat(
        "cannot hold a thread of process ", pid, ": error ", errno));
  }
}

bool HeldThread::HasEnded() const {
  int state = 0;
  return waitpid(pid_, &state, __WALL | WNOHANG) == pid_ && !WIFSTOPPED(state);
}

RunningBinary::RunningBinary(int num_ranks,
                             const std::vector<std::string>& arguments,
                             const std::vector<std::string>& environment) {
  std::vector<std::string> words = {"env"};
  for (const auto& more :
       {RankEnvironment(), environment, RankWords(num_ranks, arguments)}) {
    words.insert(words.end(), more.begin(), more.end());
  }
  for (const std::string& argument : arguments) {
    if (absl::StartsWith(argument, "--out=")) {
      out_argument_ = argument;
    }
  }
  CHECK(!out_argument_.empty());
  pid_ = fork();
  CHECK_LE(0, pid_);
  if (pid_ == 0) {
    Become(words, folder_.path());
  }
}

RunningBinary::~RunningBinary() {
  for (const pid_t pid : Left()) {
    kill(pid, SIGKILL);
  }
  if (!has_ended()) {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
}

bool RunningBinary::Says(const std::string& text) {
  const bool came = Becomes([&] {
    // In this order: what it says last counts.
    const bool is_over = has_ended();
    return absl::StrContains(err(), text) || is_over;
  });
  return came && absl::StrContains(err(), text);
}

std::string RunningBinary::err() const {
  return Contents(folder_ / "err");
}

bool RunningBinary::has_ended() {
  has_ended_ = has_ended_ || waitpid(pid_, &status_, WNOHANG) == pid_;
  return has_ended_;
}

pid_t RunningBinary::Pid(int rank) const {
  for (const auto& [its_rank, pid] : RanksWith(out_argument_)) {
    if (its_rank == rank) {
      return pid;
    }
  }
  return 0;
}

void RunningBinary::Signal(int rank, int signal) const {
  const pid_t pid = Pid(rank);
  ASSERT_NE(pid, 0) << "rank " << rank << " is not there\n" << err();
  kill(pid, signal);
}

std::vector<pid_t> RunningBinary::Left() const {
  std::vector<pid_t> left;
  for (const auto& [rank, pid] : RanksWith(out_argument_)) {
    left.push_back(pid);
  }
  return left;
}

Finished RunningBinary::Wait() {
  if (!has_ended_) {
    waitpid(pid_, &status_, 0);
    has_ended_ = true;
  }
  return {WIFEXITED(status_) ? WEXITSTATUS(status_) : 128 + WTERMSIG(status_),
          Contents(folder_ / "out"), err()};
}

}  // namespace rtpurbo::testing
