// A start of the program that goes on while a test does something to it.

#ifndef RTPURBO_TESTS_LAUNCH_RUNNING_BINARY_H_
#define RTPURBO_TESTS_LAUNCH_RUNNING_BINARY_H_

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "tests/launch/run_binary.h"
#include "tests/temporary_directory.h"

namespace rtpurbo::testing {

// Polls for at most a minute; whether it came true.
bool Becomes(const std::function<bool()>& is_true);

// Holds the main thread of a child while the others of it run: it hangs. The
// process must end before this does.
class HeldThread {
 public:
  explicit HeldThread(pid_t pid);
  // Whether it is held.
  const absl::Status& status() const { return status_; }
  // Whether its process has ended. Called until it has.
  bool HasEnded() const;

 private:
  pid_t pid_;
  absl::Status status_;
};

class RunningBinary {
 public:
  // On so many ranks, by mpirun if more than one. `environment` as for
  // RunBinary(). Its processes are told from others by `--out`, which must be
  // among the arguments and be used by no other start that runs.
  RunningBinary(int num_ranks, const std::vector<std::string>& arguments,
                const std::vector<std::string>& environment = {});
  // Kills what is left.
  ~RunningBinary();
  RunningBinary(const RunningBinary&) = delete;
  RunningBinary& operator=(const RunningBinary&) = delete;

  // Waits until it has said `text` on standard error; false if it ends, or a
  // minute passes, without that.
  bool Says(const std::string& text);
  std::string err() const;
  bool has_ended();

  // Of a rank that runs; 0 if there is none.
  pid_t Pid(int rank) const;
  // The rank must be there.
  void Signal(int rank, int signal) const;
  // Of all its ranks that are still there, zombies aside.
  std::vector<pid_t> Left() const;

  // Waits for its end.
  Finished Wait();

 private:
  TemporaryDirectory folder_{TemporaryDirectory::Where::kInMemory};
  std::string out_argument_;
  pid_t pid_ = 0;
  int status_ = 0;
  bool has_ended_ = false;
};

}  // namespace rtpurbo::testing

#endif  // RTPURBO_TESTS_LAUNCH_RUNNING_BINARY_H_
