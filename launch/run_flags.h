// The flags of every command that works on a run: --run, --out, --set,
// --profile.

#ifndef RTPURBO_LAUNCH_RUN_FLAGS_H_
#define RTPURBO_LAUNCH_RUN_FLAGS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "configs/schema/run.pb.h"
#include "launch/flags.h"

namespace rtpurbo {

struct RunFlags {
  std::string run;  // file of the configuration
  std::string out;  // folder of the run
  std::vector<std::string> set;
  std::int64_t profile = 0;  // steps of each training

  void AddTo(FlagSet* flags);
  // The configuration, edited and validated. Without --run: the one that `out`
  // was made with (out/run.textproto).
  // Returns InvalidArgument if --out is missing, or as LoadRun().
  absl::StatusOr<configs::Run> Load(int num_ranks = 1) const;
};

}  // namespace rtpurbo

#endif  // RTPURBO_LAUNCH_RUN_FLAGS_H_
