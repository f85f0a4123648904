// The file behind an incarnation of a run: its name, its two lines, and whether
// another start may take over from it. data/run_lock.h has the idea.

#ifndef RTPURBO_DATA_RUN_CLAIM_H_
#define RTPURBO_DATA_RUN_CLAIM_H_

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "data/file_system.h"
#include "data/process_identity.h"

namespace rtpurbo::internal {

struct RunClaim {
  ProcessIdentity holder;
  std::string started;  // UTC, for people
};

std::string ClaimPath(const std::string& run_dir, std::int64_t incarnation);
// 0 if `name` is no claim's.
std::int64_t IncarnationOf(absl::string_view name);
// The highest of the folder; 0 if there is none.
absl::StatusOr<std::int64_t> NewestIncarnation(FileSystem& files,
                                               const std::string& run_dir);

// Who holds it: written once. Ends with a line break.
std::string ClaimLine(const ProcessIdentity& holder, std::int64_t incarnation);
// The second line, of one length: it is written over in place.
std::string BeatLine(std::int64_t beats);
std::string ReleasedLine();

// Nothing if the first line is not whole.
std::optional<RunClaim> ParseClaim(absl::string_view text);
bool IsReleased(absl::string_view text);

// "incarnation 3: process 4711 on n1, Slurm job t/12, started ...".
std::string DescribeClaim(std::int64_t incarnation,
                          const std::optional<RunClaim>& claim);

// Waits until it is known whether `self` may take over from that claim, at most
// about gone_after. True: it may; false: there is no such claim any more.
// FailedPrecondition if its holder is alive.
absl::StatusOr<bool> WaitUntilFree(FileSystem& files,
                                   const std::string& run_dir,
                                   std::int64_t incarnation,
                                   const ProcessIdentity& self,
                                   std::chrono::milliseconds look_every,
                                   std::chrono::milliseconds gone_after);

}  // namespace rtpurbo::internal

#endif  // RTPURBO_DATA_RUN_CLAIM_H_
