// What a stage needs to go on: its weights, AdamW's moments, and where it is.
//
// Tensors of a checkpoint are the parameters under their own names, and their
// moments under "adam.m/" and "adam.v/". Each rank writes and reads its own
// elements, so any number of ranks can go on.

#ifndef RTPURBO_TRAINER_STAGE_CHECKPOINT_H_
#define RTPURBO_TRAINER_STAGE_CHECKPOINT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "data/checkpoint.h"
#include "data/file_system.h"
#include "dist/communicator.h"
#include "trainer/optimizer.h"

namespace rtpurbo {

// Where a stage is after a step.
struct StageState {
  std::int64_t step = 0;       // steps done
  std::int64_t bad_steps = 0;  // in a row, up to this one
  std::int64_t best_step = -1;
  std::vector<double> first_held_out;  // per sequence, before the first step
  std::vector<double> best_held_out;
};

// Writes and commits the checkpoint of state.step, and names the best one.
// Collective over `ranks`, all ranks of the run, which get the same result. Of
// replicas the first writes.
//   incarnation: of the run, as for PrepareCheckpoint().
absl::Status SaveStage(const ExecContext& ctx, FileSystem& files,
                       Communicator& ranks, const std::string& folder,
                       const std::string& config_text,
                       const Optimizer& optimizer, const StageState& state,
                       std::int64_t incarnation = 0);

// Fills weights and moments from a checkpoint.
absl::StatusOr<StageState> LoadStage(const ExecContext& ctx,
                                     const Checkpoint& checkpoint,
                                     const Optimizer& optimizer);
// Fills the weights alone.
absl::Status LoadWeights(const ExecContext& ctx, const Checkpoint& checkpoint,
                         const std::vector<TrainedTensor>& tensors);

}  // namespace rtpurbo

#endif  // RTPURBO_TRAINER_STAGE_CHECKPOINT_H_
