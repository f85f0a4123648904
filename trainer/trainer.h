// The training loop: for each step, its micro-batches; then the norm, the
// update, the numbers, and what is due of held-out loss and checkpoints.
//
// The ranks of a run all call Train(). Micro-batches and held-out sequences go
// to them in turn, or to teams of ranks that share the rows of a sequence, and
// their numbers come back in order, so that records and decisions are the same
// on every rank, and the losses of a step do not depend on how many there are
// but through the order of the sums in a gradient. Every rank writes its own
// part of a checkpoint; the first commits it, keeps the folder and records.
//
// Asked to stop, on any rank, it does so after the step that it is in: the word
// rides on the sum of the gradient's squares, so that all ranks stop after the
// same one, with a checkpoint.
//
// Nothing is lost on a crash: the loop resumes at the stage's last intact
// checkpoint, and ends with the bytes of a run that was never interrupted.

#ifndef RTPURBO_TRAINER_TRAINER_H_
#define RTPURBO_TRAINER_TRAINER_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "data/file_system.h"
#include "dist/agree.h"
#include "dist/communicator.h"
#include "dist/mesh.h"
#include "trainer/optimizer.h"
#include "trainer/profile.h"
#include "trainer/run_control.h"
#include "trainer/schedule.h"
#include "trainer/stage.h"
#include "trainer/step_costs.h"

namespace rtpurbo {

// One line of metrics.jsonl. Steps count from 1; step 0 is the held-out loss
// before any update.
struct StepRecord {
  std::string stage;
  std::int64_t step = 0;
  double loss = 0;  // means over the step's rows
  double kl = 0;
  double learning_rate = 0;
  double grad_norm = 0;
  std::map<std::string, double> grad_norm_of_role;
  std::vector<double> kl_of_layer;  // empty if the stage does not know it
  std::int64_t tokens = 0;
  std::int64_t label_tokens = 0;
  double seconds = 0;
  StepCosts costs;
  std::vector<double> held_out;  // mean KL of each sequence; empty: not due
};

struct TrainOptions {
  std::int64_t steps = 0;
  Schedule schedule;
  Optimizer::Options optimizer;
  std::int64_t held_out_every = 0;    // steps; the start and the end count
  std::int64_t checkpoint_every = 0;  // steps
  std::int64_t keep_last = 2;         // checkpoints, besides the best
  std::string folder;                 // of the checkpoints
  std::string config_text;            // stored in each checkpoint
  RunControl control;
  std::vector<NamedGroup> groups;  // over which the ranks speak
  Profile::Options profile;
  // Ranks of one index work on the same sequences. None: each rank alone.
  std::optional<WorkTeam> team;
};

// What becomes of the numbers: a file, a picture. Used by the first rank alone.
class Recorder {
 public:
  virtual ~Recorder() = default;
  // Before anything is computed: a run goes on after `step`, so what was
  // recorded of later steps is dropped. -1: nothing was done yet.
  virtual absl::Status Resume(absl::string_view stage, std::int64_t step) = 0;
  virtual absl::Status Record(const StepRecord& record) = 0;
};

struct TrainResult {
  std::int64_t best_step = 0;  // of the lowest mean held-out KL
  std::vector<double> first_held_out;
  std::vector<double> best_held_out;
};

// Trains `stage` to the end. Weights are those of the best checkpoint after it.
// Collective over `ranks`, all ranks of the run. An error of one rank is told
// to the others, who return it when they call the next time; those who wait for
// this one inside the model may still do so: it has to end.
// Returns Cancelled when it was asked to stop and has; Aborted after the third
// step in a row whose loss or gradient is not finite (such steps are skipped),
// FailedPrecondition if the checkpoints that are there are of another
// configuration or none is intact, or what files say.
absl::StatusOr<TrainResult> Train(const ExecContext& ctx, FileSystem& files,
                                  Communicator& ranks, Stage& stage,
                                  const TrainOptions& options,
                                  Recorder& recorder);

}  // namespace rtpurbo

#endif  // RTPURBO_TRAINER_TRAINER_H_
