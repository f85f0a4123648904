// One start at a time writes to a run folder, and a start that was replaced can
// tell: also one on a lost node, whose ranks go on for minutes after Slurm has
// started the job anew elsewhere.
//
// Each start is an incarnation of the run with a number of its own:
//
//   run.lock.00000003     the claim of incarnation 3: who it is (one line of
//                         JSON) and a count that its holder raises (a beat)
//
// The highest claim holds the folder. Whoever finds the highest, n, free makes
// n + 1, which the file system grants to one (WriteMode::kNew; also on NFS and
// Lustre, unlike flock), then removes those below. A claim is changed in place
// and never made again by its holder, and the highest file is never removed: a
// release marks it. So no number is given twice, and an old incarnation sees a
// higher claim, or none of its own, for ever after.
//
// A claim is free if
//   - it was released;
//   - it is of this Slurm job, requeued less often than this start;
//   - its process was on this host and is gone;
//   - else (another host, a damaged file), if it did not change while this
//     start looked on for `gone_after`. No two clocks are compared; a beat must
//     only become visible to the other host within gone_after - beat_every.
//
// How a command uses it (launch/run_session.h), on rank 0:
//   1. Acquire() before anything in the folder is written.
//   2. Broadcast incarnation(): files that several ranks write carry the number
//      in their path (data/checkpoint.h).
//   3. CheckHeld() right before whatever changes the folder, on the other ranks
//      CheckIncarnation() (data/fenced_file_system.h does it): nothing is
//      written when it fails: exit code 6. Held then, the folder stays so for
//      gone_after, but for a requeued job.
//   4. Read the newest checkpoint after Acquire(): an old incarnation may have
//      committed one meanwhile, which is as good.
//   5. Release() at the end, after the last write of all ranks.

#ifndef RTPURBO_DATA_RUN_LOCK_H_
#define RTPURBO_DATA_RUN_LOCK_H_

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "data/file_system.h"
#include "data/process_identity.h"

namespace rtpurbo {

struct RunLockOptions {
  std::chrono::milliseconds beat_every{5000};
  // At least 4 beats.
  std::chrono::milliseconds gone_after{30000};
  ProcessIdentity self = ThisProcess();
};

// Threads: any.
class RunLock {
 public:
  // Takes the folder, which is made if it is not there. Waits for gone_after if
  // that is how a former holder is found to be gone.
  // Returns FailedPrecondition if another start holds it, with its host,
  // process and job and what to do.
  // `files` must outlive the lock.
  static absl::StatusOr<std::unique_ptr<RunLock>> Acquire(
      FileSystem& files, const std::string& run_dir,
      const RunLockOptions& options = {});
  // Release(); its errors are lost.
  ~RunLock();
  RunLock(const RunLock&) = delete;
  RunLock& operator=(const RunLock&) = delete;

  std::int64_t incarnation() const { return incarnation_; }

  // OK if this incarnation holds the folder. Beats.
  // Returns Unavailable with the one that took over; the file system's error if
  // it cannot be known.
  absl::Status CheckHeld();

  // Gives the folder back. No error if it was taken over. Calling it again does
  // nothing.
  absl::Status Release();

 private:
  RunLock(FileSystem& files, std::string run_dir, RunLockOptions options,
          std::int64_t incarnation);

  // Makes the claim. AlreadyExists if another start was faster.
  absl::Status Claim();
  absl::Status WriteClaim(WritableFile& file);
  // Marks a claim that was made but not completed.
  void Withdraw();
  absl::Status RemoveOlderClaims();
  absl::Status WriteLastLine(const std::string& line, bool sync);
  absl::Status Beat();
  void KeepBeating();

  FileSystem& files_;
  const std::string run_dir_;
  const RunLockOptions options_;
  const std::int64_t incarnation_;
  const std::string path_;
  const std::string first_line_;
  std::mutex mutex_;  // guards the claim and what follows
  std::condition_variable changed_;
  std::int64_t beats_ = 0;
  bool held_ = false;
  std::thread beater_;
};

// For ranks that do not hold the lock themselves: OK if `incarnation` is the
// newest. Unavailable as CheckHeld().
absl::Status CheckIncarnation(FileSystem& files, const std::string& run_dir,
                              std::int64_t incarnation);

}  // namespace rtpurbo

#endif  // RTPURBO_DATA_RUN_LOCK_H_
