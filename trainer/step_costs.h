// What a step costs the ranks: work, words between them, memory; and which of
// them all others wait for.
//
// On the CPU a rank waits inside its calls (dist/communicator.h), so a step is
// work and calls, and the rank with the most work is the straggler.

#ifndef RTPURBO_TRAINER_STEP_COSTS_H_
#define RTPURBO_TRAINER_STEP_COSTS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "dist/communicator.h"
#include "dist/mesh.h"
#include "kernels/core/context.h"

namespace rtpurbo {

struct StepCosts {
  struct Axis {
    std::string name;
    double seconds = 0;           // of a rank inside its calls, the mean
    std::int64_t bytes_sent = 0;  // by all ranks
  };
  std::vector<Axis> axes;   // empty for one rank
  double work_seconds = 0;  // of a rank outside its calls, the mean
  double slowest_work_seconds = 0;
  int slowest_rank = 0;
  std::int64_t peak_bytes = 0;  // of the rank's allocator so far, the largest
};

class StepMeter {
 public:
  // `axes` are those that the ranks speak over.
  StepMeter(const ExecContext& ctx, Communicator& ranks,
            std::vector<NamedGroup> axes);

  void Begin();
  // What it cost since Begin(). Collective over the ranks: all get the same.
  absl::StatusOr<StepCosts> End();

 private:
  ExecContext ctx_;
  Communicator& ranks_;
  std::vector<NamedGroup> axes_;
  double start_ = 0;
  std::vector<CommStats::Entry> before_;
};

}  // namespace rtpurbo

#endif  // RTPURBO_TRAINER_STEP_COSTS_H_
