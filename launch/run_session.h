// What a command that writes a run folder holds while it works: the ranks, the
// lock of the folder, and the run.
//
// Several ranks watch each other (dist/watchdog.h): when one is lost, calls of
// the others that wait for it return, and they end with exit code 6; one that
// does not within kKillAfter is ended.
//
// SIGUSR1, SIGTERM and SIGINT on any rank stop the run where nothing is lost.
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
#include "dist/watchdog.h"
#include "kernels/core/context.h"
#include "launch/run_flags.h"
#include "launch/run_log.h"
#include "launch/stop_signals.h"
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

  // Ends the session, after `work` was its result: if it is OK or was stopped
  // (Cancelled), as on all ranks then, gives the lock back and leaves the ranks
  // in order; else tells them that this one has failed. Returns `work`, with
  // the ranks that were lost, or what went wrong on the way.
  absl::Status Close(const absl::Status& work);

 private:
  RunSession() : stop_(StopOnSignals()) {}
  absl::Status Begin(const configs::Run& run, const RunFlags& flags);
  absl::Status Watch(const configs::Watch& watch);
  absl::Status Lock(const std::string& folder);
  absl::Status Leave();
  bool MayGoOn();

  StopRequest& stop_;
  bool has_said_stop_ = false;
  std::unique_ptr<Device> device_;
  std::unique_ptr<Bootstrap> ranks_;
  std::unique_ptr<Watchdog> watchdog_;  // of several ranks
  std::unique_ptr<RunLock> lock_;       // on the first rank
  std::unique_ptr<FencedFileSystem> files_;
  std::unique_ptr<RunLog> log_;
  RunControl control_;
  std::unique_ptr<Conversion> conversion_;
};

// Opens a session, calls `work` and closes it.
absl::Status InRunSession(const RunFlags& flags,
                          const std::function<absl::Status(RunSession&)>& work);

}  // namespace rtpurbo

#endif  // RTPURBO_LAUNCH_RUN_SESSION_H_
