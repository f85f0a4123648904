// Which process this is, so that another can tell whether it still runs.
//
// A number alone does not say: it is given again. A process is the same if
// number, start time, boot of the kernel and namespace of numbers (containers)
// are. Of a process elsewhere nothing can be told.

#ifndef RTPURBO_DATA_PROCESS_IDENTITY_H_
#define RTPURBO_DATA_PROCESS_IDENTITY_H_

#include <cstdint>
#include <string>

namespace rtpurbo {

struct ProcessIdentity {
  std::string host;   // for people
  std::string place;  // boot and namespace, in which numbers mean one thing
  std::int64_t pid = 0;
  std::int64_t start_ticks = 0;  // since boot
  // Slurm: "cluster/id" and how often it was requeued; "" outside a job.
  std::string job;
  std::int64_t job_restarts = 0;

  friend bool operator==(const ProcessIdentity&,
                         const ProcessIdentity&) = default;
};

// From /proc and SLURM_CLUSTER_NAME, SLURM_JOB_ID, SLURM_RESTART_COUNT.
ProcessIdentity ThisProcess();

enum class ProcessState : std::uint8_t { kRuns, kGone, kUnknown };
// kUnknown if it is or was at another place. A process that has ended but was
// not waited for is gone.
ProcessState StateOf(const ProcessIdentity& process);

}  // namespace rtpurbo

#endif  // RTPURBO_DATA_PROCESS_IDENTITY_H_
