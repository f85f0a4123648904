// What a command that writes a run folder holds while it works: the ranks, the
// lock of the folder, and the run.
//
// The first rank takes the lock before anything is written, and gives it back
// when all ranks are done. All writes of every rank go through a fence
// (data/fenced_file_system.h) that knows whether the lock is still theirs.

#ifndef RTPURBO_LAUNCH_RUN_SESSION_H_
#define RTPURBO_LAUNCH_RUN_SESSION_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "data/fenced_file_system.h"
#include "data/run_lock.h"
#include "dist/bootstrap.h"
#include "kernels/core/context.h"
#include "launch/run_flags.h"
#include "trainer/conversion/conversion.h"

namespace rtpurbo {

class RunSession {
 public:
  // A call of all ranks. Sets the number of threads: the ranks of a host share
  // its processors.
  // Returns what RunFlags::Load(), RunLock::Acquire() and Conversion::Open()
  // return.
  static absl::StatusOr<std::unique_ptr<RunSession>> Open(
      const RunFlags& flags);
  RunSession(const RunSession&) = delete;
  RunSession& operator=(const RunSession&) = delete;

  Conversion& conversion() { return *conversion_; }
  bool is_first() const { return ranks_->rank() == 0; }

  // Ends a run that went well: gives the lock back and leaves the ranks. A call
  // of all ranks; nothing may follow. Without it, a rank has failed.
  absl::Status Close();

 private:
  RunSession() = default;
  absl::Status Lock(const std::string& folder);

  std::unique_ptr<Device> device_;
  std::unique_ptr<Bootstrap> ranks_;
  std::unique_ptr<RunLock> lock_;  // on the first rank
  std::unique_ptr<FencedFileSystem> files_;
  RunControl control_;
  std::unique_ptr<Conversion> conversion_;
};

// Opens a session, calls `work` and closes it.
absl::Status InRunSession(const RunFlags& flags,
                          const std::function<absl::Status(RunSession&)>& work);

}  // namespace rtpurbo

#endif  // RTPURBO_LAUNCH_RUN_SESSION_H_
