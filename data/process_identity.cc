#include "data/process_identity.h"

#include <unistd.h>

#include <array>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <optional>
#include <sstream>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace rtpurbo {
namespace {

// What the kernel says about a process or itself: no file on a disk, so not by
// way of a FileSystem. Empty if it says nothing.
std::string KernelText(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string LinkTarget(const char* path) {
  std::array<char, 256> target = {};
  return readlink(path, target.data(), target.size() - 1) > 0 ? target.data()
                                                              : "";
}

// Where the process started, if it runs (proc(5), fields 3 and 22 of stat).
std::optional<std::int64_t> StartTicks(std::int64_t pid) {
  const std::string stat = KernelText(absl::StrCat("/proc/", pid, "/stat"));
  const std::size_t name_end = stat.rfind(')');  // a name may hold anything
  if (name_end == std::string::npos) {
    return std::nullopt;
  }
  std::istringstream fields(stat.substr(name_end + 1));
  std::string state;
  std::string field;
  std::int64_t ticks = 0;
  fields >> state;
  for (int i = 4; i <= 21; ++i) {
    fields >> field;
  }
  if (!(fields >> ticks) || state == "Z" || state == "X") {
    return std::nullopt;
  }
  return ticks;
}

std::string Place() {
  return absl::StrCat(
      KernelText("/proc/sys/kernel/random/boot_id").substr(0, 36), " ",
      LinkTarget("/proc/self/ns/pid"));
}

std::string Environment(const char* name) {
  const char* const text = std::getenv(name);
  return text == nullptr ? "" : text;
}

}  // namespace

ProcessIdentity ThisProcess() {
  ProcessIdentity process;
  std::array<char, 256> host = {};
  process.host = gethostname(host.data(), host.size() - 1) == 0 ? host.data()
                                                                : "localhost";
  process.place = Place();
  process.pid = getpid();
  process.start_ticks = StartTicks(process.pid).value_or(0);
  if (const std::string id = Environment("SLURM_JOB_ID"); !id.empty()) {
    process.job = absl::StrCat(Environment("SLURM_CLUSTER_NAME"), "/", id);
    if (!absl::SimpleAtoi(Environment("SLURM_RESTART_COUNT"),
                          &process.job_restarts)) {
      process.job_restarts = 0;  // not set in the first run
    }
  }
  return process;
}

ProcessState StateOf(const ProcessIdentity& process) {
  if (process.place != Place()) {
    return ProcessState::kUnknown;
  }
  return StartTicks(process.pid) == process.start_ticks ? ProcessState::kRuns
                                                        : ProcessState::kGone;
}

}  // namespace rtpurbo
