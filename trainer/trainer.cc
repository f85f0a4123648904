#include "trainer/trainer.h"

#include <chrono>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "data/checkpoint_folder.h"
#include "kernels/core/log.h"
#include "kernels/core/status_macros.h"
#include "trainer/evaluation/statistics.h"
#include "trainer/stage_checkpoint.h"

namespace rtpurbo {
namespace {

constexpr std::int64_t kMaxBadSteps = 3;  // in a row

double Seconds() {
  return std::chrono::duration<double>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

// One call of Train().
class Loop {
 public:
  Loop(const ExecContext& ctx, FileSystem& files, Stage& stage,
       const TrainOptions& options, Recorder& recorder)
      : ctx_(ctx),
        files_(files),
        stage_(stage),
        options_(options),
        recorder_(recorder),
        optimizer_(ctx, stage.trained(), options.optimizer) {}

  absl::StatusOr<TrainResult> Run();

 private:
  absl::Status Start();
  absl::Status Resume(const CheckpointRef& ref);
  absl::Status RunStep();
  absl::Status Update(StepRecord* record);
  absl::StatusOr<StepSums> Accumulate();
  absl::Status MeasureIfDue(StepRecord* record);
  absl::Status SaveIfDue();
  bool HeldOutIsDue() const {
    return state_.step % options_.held_out_every == 0 ||
           state_.step == options_.steps;
  }

  ExecContext ctx_;
  FileSystem& files_;
  Stage& stage_;
  const TrainOptions& options_;
  Recorder& recorder_;
  Optimizer optimizer_;
  StageState state_;
};

absl::StatusOr<TrainResult> Loop::Run() {
  RETURN_IF_ERROR(Start());
  while (state_.step < options_.steps) {
    RETURN_IF_ERROR(RunStep());
  }
  ASSIGN_OR_RETURN(const CheckpointRef best,
                   BestCheckpoint(files_, options_.folder));
  ASSIGN_OR_RETURN(const Checkpoint checkpoint,
                   Checkpoint::Open(files_, best.dir));
  RETURN_IF_ERROR(LoadWeights(ctx_, checkpoint, optimizer_.tensors()));
  return TrainResult{state_.best_step, state_.first_held_out,
                     state_.best_held_out};
}

absl::Status Loop::Start() {
  optimizer_.ZeroGrads();
  std::vector<std::string> skipped;
  const absl::StatusOr<CheckpointRef> newest =
      NewestIntactCheckpoint(files_, options_.folder, &skipped);
  for (const std::string& message : skipped) {
    Log(LogLevel::kWarning, stage_.name(),
        absl::StrCat("passing over a damaged checkpoint: ", message));
  }
  if (newest.ok()) {
    return Resume(*newest);
  }
  if (!absl::IsNotFound(newest.status())) {
    return newest.status();
  }
  RETURN_IF_ERROR(recorder_.Resume(stage_.name(), -1));
  StepRecord record;
  record.stage = std::string(stage_.name());
  RETURN_IF_ERROR(MeasureIfDue(&record));
  RETURN_IF_ERROR(recorder_.Record(record));
  return SaveIfDue();
}

absl::Status Loop::Resume(const CheckpointRef& ref) {
  ASSIGN_OR_RETURN(const Checkpoint checkpoint,
                   Checkpoint::Open(files_, ref.dir));
  if (checkpoint.config() != options_.config_text) {
    return absl::FailedPreconditionError(
        absl::StrCat(ref.dir, " was made with another configuration; remove ",
                     options_.folder, " to start the stage again"));
  }
  ASSIGN_OR_RETURN(state_, LoadStage(ctx_, checkpoint, optimizer_));
  RETURN_IF_ERROR(RemoveCheckpointsAfter(files_, options_.folder, state_.step));
  RETURN_IF_ERROR(SetBestCheckpoint(files_, options_.folder, state_.best_step));
  RETURN_IF_ERROR(
      RemoveOldCheckpoints(files_, options_.folder, options_.keep_last));
  Log(LogLevel::kInfo, stage_.name(), "resuming after a checkpoint",
      {{"step", state_.step}, {"of", options_.steps}, {"folder", ref.dir}});
  return recorder_.Resume(stage_.name(), state_.step);
}

absl::Status Loop::RunStep() {
  const double start = Seconds();
  StepRecord record;
  record.stage = std::string(stage_.name());
  record.learning_rate = options_.schedule.At(state_.step);
  RETURN_IF_ERROR(Update(&record));
  ++state_.step;
  record.step = state_.step;
  record.seconds = Seconds() - start;
  RETURN_IF_ERROR(MeasureIfDue(&record));
  RETURN_IF_ERROR(recorder_.Record(record));
  return SaveIfDue();
}

absl::Status Loop::Update(StepRecord* record) {
  ASSIGN_OR_RETURN(const StepSums sums, Accumulate());
  record->loss = sums.loss / sums.rows;
  record->kl = sums.kl / sums.rows;
  record->tokens = sums.tokens;
  record->label_tokens = static_cast<std::int64_t>(sums.rows);
  record->grad_norm = optimizer_.GradNorm();
  if (std::isfinite(record->loss) && std::isfinite(record->grad_norm)) {
    state_.bad_steps = 0;
    optimizer_.Step(state_.step, record->learning_rate, record->grad_norm);
    return absl::OkStatus();
  }
  optimizer_.ZeroGrads();
  ++state_.bad_steps;
  Log(LogLevel::kWarning, stage_.name(), "a step that is no number was skipped",
      {{"step", state_.step + 1},
       {"loss", record->loss},
       {"grad_norm", record->grad_norm}});
  if (state_.bad_steps < kMaxBadSteps) {
    return absl::OkStatus();
  }
  return absl::AbortedError(absl::StrCat(
      stage_.name(), ": loss or gradient is no finite number for the ",
      kMaxBadSteps, "rd step in a row (step ", state_.step + 1, ", loss ",
      record->loss, ", gradient norm ", record->grad_norm,
      "); checkpoints before that are in ", options_.folder,
      "; try a lower learning rate"));
}

absl::StatusOr<StepSums> Loop::Accumulate() {
  double rows = 0;
  for (std::int64_t i = 0; i < stage_.num_micro_batches(); ++i) {
    ASSIGN_OR_RETURN(const double more, stage_.RowsOf(state_.step, i));
    rows += more;
  }
  StepSums sums;
  for (std::int64_t i = 0; i < stage_.num_micro_batches(); ++i) {
    RETURN_IF_ERROR(stage_.RunMicroBatch(state_.step, i,
                                         static_cast<float>(1 / rows), &sums));
  }
  return sums;
}

absl::Status Loop::MeasureIfDue(StepRecord* record) {
  if (!HeldOutIsDue()) {
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(record->held_out, stage_.HeldOut());
  const double mean = Mean(record->held_out);
  Log(LogLevel::kInfo, stage_.name(), "held-out KL",
      {{"step", state_.step}, {"mean", mean}});
  if (state_.step == 0) {
    state_.first_held_out = record->held_out;
  }
  // Written so that a NaN is never better.
  if (state_.best_step < 0 || mean < Mean(state_.best_held_out)) {
    state_.best_step = state_.step;
    state_.best_held_out = record->held_out;
  }
  return absl::OkStatus();
}

absl::Status Loop::SaveIfDue() {
  if (!HeldOutIsDue() && state_.step % options_.checkpoint_every != 0) {
    return absl::OkStatus();
  }
  RETURN_IF_ERROR(SaveStage(ctx_, files_, options_.folder, options_.config_text,
                            optimizer_, state_));
  return RemoveOldCheckpoints(files_, options_.folder, options_.keep_last);
}

}  // namespace

absl::StatusOr<TrainResult> Train(const ExecContext& ctx, FileSystem& files,
                                  Stage& stage, const TrainOptions& options,
                                  Recorder& recorder) {
  return Loop(ctx, files, stage, options, recorder).Run();
}

}  // namespace rtpurbo
