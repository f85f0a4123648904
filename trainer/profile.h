// A trace of some steps of a stage, over all ranks in one file, which
// ui.perfetto.dev opens: a process a rank.

#ifndef RTPURBO_TRAINER_PROFILE_H_
#define RTPURBO_TRAINER_PROFILE_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "data/file_system.h"
#include "dist/communicator.h"
#include "kernels/core/context.h"

namespace rtpurbo {

class Profile {
 public:
  // Of `steps` steps; none, as at first, if 0. Written to name.json in
  // `folder`, which is made.
  struct Options {
    std::int64_t steps = 0;
    std::string folder;
    std::string name;
  };

  Profile(const ExecContext& ctx, FileSystem& files, Communicator& ranks,
          Options options);

  // Before and after each step. The first step of a run is left out, for it
  // takes memory and reads files that later ones do not, unless it is the last.
  // Collective: the ranks begin together, and the first one writes the file.
  absl::Status BeginStep(bool is_last);
  absl::Status EndStep(bool is_last);

 private:
  absl::Status Write();

  ExecContext ctx_;
  FileSystem& files_;
  Communicator& ranks_;
  Options options_;
  std::int64_t num_steps_ = 0;  // begun
  std::int64_t traced_ = 0;     // of them
};

}  // namespace rtpurbo

#endif  // RTPURBO_TRAINER_PROFILE_H_
