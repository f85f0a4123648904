// Finds the rank that died, hangs or cannot be reached, and tells every
// survivor: MPI alone does not (a link that is down leaves its ranks waiting
// for ever).
//
// Each rank runs one thread with a TCP connection to every other, apart from
// MPI and NCCL, and sends a beat of 32 bytes over each, once an interval.
//
//   what happens                    how it is seen                      when
//   a process dies                  its connections close            at once
//   a process is stopped, its host  no beat for `limit`          limit + 3 i
//     hangs or its link is down       (i: the interval)
//   a main thread makes no progress its own watchdog says so     stuck_after
//   a rank ends with an error       it says so (Fail)            at once
//
// Who notices first tells all others, and each waits a little (two intervals
// after a silence, else a quarter) so that what fell together is named
// together; then it calls its caller's function, once. A rank that has done so
// may end without being taken for dead. When the network is cut in two, each
// half names the ranks of the other; when the pair (a, b) alone cannot talk,
// both are named.
//
// All to all, for thousands of ranks also: nobody's death can make another
// rank unheard, and ranks may leave in any order, which a ring or a star has to
// mend itself for. It costs a rank size - 1 descriptors and as many sends and
// receives an interval.
//
// A thread that waits for others is not the one that hangs. So the main thread
// says which it does: Beat() when its own work goes on, BeginWait() before it
// waits for other ranks (a collective, a barrier). Only if all ranks wait, for
// longer than stuck_after, are they named for it.
//
// The beats also tell the others that a rank was asked to stop, so that those
// who work while the rest waits hear of it.
//
// How a command uses it (launch/run_session.h):
//   1. Open() on every rank; exchange address() by any means (bootstrap).
//   2. Start(addresses, fn), all ranks; fn aborts the communicators.
//   3. Beat() between pieces of work; Beat(a) before a long one of at most a.
//      Communicator::set_watchdog() calls BeginWait() before each collective
//      and Beat() after it.
//   4. When a call fails: status() says whose fault it was; Fail(); exit code
//      6.
//   5. Stop() after the last collective, in any order of ranks.

#ifndef RTPURBO_DIST_WATCHDOG_H_
#define RTPURBO_DIST_WATCHDOG_H_

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "dist/watchdog_options.h"

namespace rtpurbo {

// Threads: Beat(), BeginWait() and status() from any; the others from one.
class Watchdog {
 public:
  using Report = std::function<void(const absl::Status& status)>;

  // Listens; others may connect from now on.
  // Returns InvalidArgument if the options contradict themselves,
  // ResourceExhausted if the limit of open files is too low for the ranks.
  static absl::StatusOr<std::unique_ptr<Watchdog>> Open(
      const WatchdogOptions& options);
  // Stop().
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  // For the other ranks' Start(): one word.
  const std::string& address() const;

  // Returns when all ranks have called it and are connected.
  //   addresses: of all ranks, in their order, with this one.
  //   report: called at most once, with Unavailable that names each lost rank,
  //     its host and why, on a thread of its own. Must not call Stop().
  // Returns InvalidArgument for a bad address; Unavailable with the ranks that
  // did not come or were lost meanwhile: `report` is not called then.
  // REQUIRES: called once.
  absl::Status Start(const std::vector<std::string>& addresses, Report report);

  // The main thread goes on with work of its own, and will call again within
  // the greater of `allowance` and stuck_after.
  void Beat(std::chrono::milliseconds allowance = {});
  // The same, but it now waits for other ranks.
  void BeginWait(std::chrono::milliseconds allowance = {});

  // OK, or what was reported. Never blocks.
  absl::Status status() const;

  // Leaves in order: the others go on without this rank. Takes two intervals
  // at most, or as long as `report` runs, which is not called afterwards.
  void Stop();
  // The same, but tells the others that this rank is lost, because it ends with
  // an error.
  void Fail();

 private:
  class Loop;
  explicit Watchdog(std::unique_ptr<Loop> loop);
  std::unique_ptr<Loop> loop_;
};

}  // namespace rtpurbo

#endif  // RTPURBO_DIST_WATCHDOG_H_
