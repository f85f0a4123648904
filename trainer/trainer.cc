#include "trainer/trainer.h"

#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "data/checkpoint_folder.h"
#include "kernels/core/log.h"
#include "kernels/core/process.h"
#include "kernels/core/status_macros.h"
#include "kernels/core/trace.h"
#include "trainer/evaluation/statistics.h"
#include "trainer/stage_checkpoint.h"

namespace rtpurbo {
namespace {

constexpr std::int64_t kMaxBadSteps = 3;  // in a row

// The sums of a micro-batch as numbers that ranks can add up.
std::vector<double> NumbersOf(const StepSums& sums) {
  std::vector<double> numbers = {sums.loss, sums.kl, sums.rows,
                                 static_cast<double>(sums.tokens)};
  numbers.insert(numbers.end(), sums.kl_of_layer.begin(),
                 sums.kl_of_layer.end());
  return numbers;
}

void AddNumbers(const std::vector<double>& numbers, StepSums* sums) {
  constexpr std::size_t kFixed = 4;
  sums->loss += numbers[0];
  sums->kl += numbers[1];
  sums->rows += numbers[2];
  sums->tokens += static_cast<std::int64_t>(numbers[3]);
  sums->kl_of_layer.resize(numbers.size() - kFixed);
  for (std::size_t l = 0; l < sums->kl_of_layer.size(); ++l) {
    sums->kl_of_layer[l] += numbers[kFixed + l];
  }
}

// One call of Train().
class Loop {
 public:
  Loop(const ExecContext& ctx, FileSystem& files, Communicator& ranks,
       Stage& stage, const TrainOptions& options, Recorder& recorder)
      : ctx_(ctx),
        files_(files),
        ranks_(ranks),
        stage_(stage),
        options_(options),
        recorder_(recorder),
        team_(options.team.value_or(WorkTeam{ranks.rank(), ranks.size()})),
        optimizer_(ctx, stage.trained(), options.optimizer),
        meter_(ctx, ranks, options.groups),
        profile_(ctx, files, ranks, options.profile) {}

  absl::StatusOr<TrainResult> Run();

 private:
  absl::Status Start();
  absl::StatusOr<std::string> NewestCheckpoint();
  absl::Status Resume(const std::string& dir);
  absl::Status CleanAfterResume(const std::string& dir);
  absl::Status RunStep();
  absl::Status Update(StepRecord* record);
  absl::Status SumOverStep(StepRecord* record);
  absl::Status StopIfAsked();
  absl::StatusOr<StepSums> Accumulate();
  absl::Status Failed(const absl::Status& status);
  absl::Status MeasureIfDue(StepRecord* record);
  absl::Status SaveIfDue();
  absl::Status Save();
  absl::Status RemoveOld() {
    return RemoveOldCheckpoints(
        files_, options_.folder, options_.keep_last,
        [this](std::int64_t step) { return SaveIsDueAt(step); });
  }
  absl::Status Record(const StepRecord& record) {
    return OnFirstRank(ctx_, ranks_, [&] { return recorder_.Record(record); });
  }
  // Lines of the log that all ranks could write are the first one's.
  void LogOnce(LogLevel level, absl::string_view message,
               std::initializer_list<LogField> fields) {
    if (ranks_.rank() == 0) {
      Log(level, stage_.name(), message, fields);
    }
  }
  bool HeldOutIsDueAt(std::int64_t step) const {
    return step % options_.held_out_every == 0 || step == options_.steps;
  }
  bool SaveIsDueAt(std::int64_t step) const {
    return HeldOutIsDueAt(step) || step % options_.checkpoint_every == 0;
  }

  ExecContext ctx_;
  FileSystem& files_;
  Communicator& ranks_;
  Stage& stage_;
  const TrainOptions& options_;
  Recorder& recorder_;
  const WorkTeam team_;
  Optimizer optimizer_;
  StepMeter meter_;
  Profile profile_;
  StageState state_;
  bool is_asked_to_stop_ = false;  // the same on all ranks
};

absl::StatusOr<TrainResult> Loop::Run() {
  RETURN_IF_ERROR(Start());
  while (state_.step < options_.steps) {
    RETURN_IF_ERROR(RunStep());
  }
  const auto load_best = [this]() -> absl::Status {
    ASSIGN_OR_RETURN(
        const Checkpoint checkpoint,
        Checkpoint::Open(files_, JoinPath(options_.folder,
                                          CheckpointName(state_.best_step))));
    return LoadWeights(ctx_, checkpoint, optimizer_.tensors());
  };
  RETURN_IF_ERROR(AgreeOn(ctx_, ranks_, load_best()));
  return TrainResult{state_.best_step, state_.first_held_out,
                     state_.best_held_out};
}

absl::Status Loop::Start() {
  optimizer_.ZeroGrads();
  ASSIGN_OR_RETURN(
      const std::string newest,
      FromFirstRank(ctx_, ranks_, [this] { return NewestCheckpoint(); }));
  if (!newest.empty()) {
    return Resume(newest);
  }
  RETURN_IF_ERROR(OnFirstRank(
      ctx_, ranks_, [this] { return recorder_.Resume(stage_.name(), -1); }));
  StepRecord record;
  record.stage = std::string(stage_.name());
  RETURN_IF_ERROR(MeasureIfDue(&record));
  RETURN_IF_ERROR(Record(record));
  return SaveIfDue();
}

// On the first rank: its folder; empty if there is none.
absl::StatusOr<std::string> Loop::NewestCheckpoint() {
  std::vector<std::string> skipped;
  const absl::StatusOr<CheckpointRef> newest =
      NewestIntactCheckpoint(files_, options_.folder, &skipped);
  for (const std::string& message : skipped) {
    Log(LogLevel::kWarning, stage_.name(),
        absl::StrCat("passing over a damaged checkpoint: ", message));
  }
  if (newest.ok()) {
    return newest->dir;
  }
  if (absl::IsNotFound(newest.status())) {
    return std::string();
  }
  return newest.status();
}

absl::Status Loop::Resume(const std::string& dir) {
  const auto load = [&]() -> absl::Status {
    ASSIGN_OR_RETURN(const Checkpoint checkpoint,
                     Checkpoint::Open(files_, dir));
    if (checkpoint.config() != options_.config_text) {
      return absl::FailedPreconditionError(
          absl::StrCat(dir, " was made with another configuration; remove ",
                       options_.folder, " to start the stage again"));
    }
    ASSIGN_OR_RETURN(state_, LoadStage(ctx_, checkpoint, optimizer_));
    return absl::OkStatus();
  };
  RETURN_IF_ERROR(AgreeOn(ctx_, ranks_, load()));
  return OnFirstRank(ctx_, ranks_, [&] { return CleanAfterResume(dir); });
}

// On the first rank.
absl::Status Loop::CleanAfterResume(const std::string& dir) {
  RETURN_IF_ERROR(RemoveCheckpointsAfter(files_, options_.folder, state_.step));
  RETURN_IF_ERROR(SetBestCheckpoint(files_, options_.folder, state_.best_step));
  RETURN_IF_ERROR(RemoveOld());
  Log(LogLevel::kInfo, stage_.name(), "resuming after a checkpoint",
      {{"step", state_.step}, {"of", options_.steps}, {"folder", dir}});
  return recorder_.Resume(stage_.name(), state_.step);
}

absl::Status Loop::RunStep() {
  const bool is_last = state_.step + 1 == options_.steps;
  RETURN_IF_ERROR(profile_.BeginStep(is_last));
  const double start = SteadySeconds();
  meter_.Begin();
  StepRecord record;
  record.stage = std::string(stage_.name());
  record.learning_rate = options_.schedule.At(state_.step);
  RETURN_IF_ERROR(Update(&record));
  ++state_.step;
  record.step = state_.step;
  record.seconds = SteadySeconds() - start;
  ASSIGN_OR_RETURN(record.costs, meter_.End());
  RETURN_IF_ERROR(profile_.EndStep(is_last));
  RETURN_IF_ERROR(MeasureIfDue(&record));
  RETURN_IF_ERROR(Record(record));
  RETURN_IF_ERROR(SaveIfDue());
  return StopIfAsked();
}

absl::Status Loop::StopIfAsked() {
  if (!is_asked_to_stop_ || state_.step == options_.steps) {
    return absl::OkStatus();
  }
  if (!SaveIsDueAt(state_.step)) {
    RETURN_IF_ERROR(Save());
  }
  return absl::CancelledError(
      absl::StrCat(stage_.name(), " was stopped after step ", state_.step,
                   " of ", options_.steps, ", as asked, with a checkpoint in ",
                   options_.folder, "; start the same command again to go on"));
}

absl::Status Loop::Update(StepRecord* record) {
  const absl::StatusOr<StepSums> accumulated = Accumulate();
  if (!accumulated.ok()) {
    return Failed(accumulated.status());
  }
  const StepSums& sums = *accumulated;
  record->loss = sums.loss / sums.rows;
  record->kl = sums.kl / sums.rows;
  record->tokens = sums.tokens;
  record->label_tokens = static_cast<std::int64_t>(sums.rows);
  for (const double kl : sums.kl_of_layer) {
    record->kl_of_layer.push_back(kl / sums.rows);
  }
  RETURN_IF_ERROR(SumOverStep(record));
  const TraceSpan span("optimizer", "update");
  if (std::isfinite(record->loss) && std::isfinite(record->grad_norm)) {
    state_.bad_steps = 0;
    optimizer_.Step(state_.step, record->learning_rate, record->grad_norm);
    return absl::OkStatus();
  }
  optimizer_.ZeroGrads();
  ++state_.bad_steps;
  LogOnce(LogLevel::kWarning, "a step that is no number was skipped",
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

// What all ranks must know of a step: the norms of its gradient, and whether
// one of them was asked to stop.
absl::Status Loop::SumOverStep(StepRecord* record) {
  {
    const TraceSpan span("sum replicas", "update");
    RETURN_IF_ERROR(optimizer_.SumReplicas());
  }
  std::vector<double> mine = optimizer_.GradSquares();
  mine.push_back(options_.control.MayGoOn() ? 0 : 1);
  ASSIGN_OR_RETURN(const std::vector<double> all,
                   SumOverRanks(ctx_, ranks_, mine));
  double squares = 0;
  for (std::size_t i = 0; i < optimizer_.roles().size(); ++i) {
    squares += all[i];
    record->grad_norm_of_role[optimizer_.roles()[i]] = std::sqrt(all[i]);
  }
  record->grad_norm = std::sqrt(squares);
  is_asked_to_stop_ = all.back() > 0;
  return absl::OkStatus();
}

// The error of a piece of work that the others do not know of: they hear why
// this rank ends, wherever they wait. If another rank has failed before, so
// that this one could not go on, what that one said.
absl::Status Loop::Failed(const absl::Status& status) {
  RETURN_IF_ERROR(ranks_.Poll());
  ranks_.Abort(status.message());
  return status;
}

absl::StatusOr<StepSums> Loop::Accumulate() {
  const std::int64_t n = stage_.num_micro_batches();
  double rows = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    ASSIGN_OR_RETURN(const double more, stage_.RowsOf(state_.step, i));
    rows += more;
  }
  const auto run = [&](std::int64_t i,
                       bool counts) -> absl::StatusOr<std::vector<double>> {
    options_.control.GiveSignOfLife();
    const TraceSpan span("micro-batch", "step");
    StepSums sums;
    RETURN_IF_ERROR(stage_.RunMicroBatch(
        state_.step, i, counts ? static_cast<float>(1 / rows) : 0.0F, &sums));
    return NumbersOf(sums);
  };
  ASSIGN_OR_RETURN(const auto micro_batches,
                   ShareOut(ctx_, ranks_, team_, n, run));
  StepSums sums;
  for (const std::vector<double>& one : micro_batches) {
    AddNumbers(one, &sums);
  }
  return sums;
}

absl::Status Loop::MeasureIfDue(StepRecord* record) {
  if (!HeldOutIsDueAt(state_.step)) {
    return absl::OkStatus();
  }
  const auto measure =
      [this](std::int64_t i,
             bool /*counts*/) -> absl::StatusOr<std::vector<double>> {
    options_.control.GiveSignOfLife();
    ASSIGN_OR_RETURN(const double mean, stage_.HeldOutMean(i));
    return std::vector<double>{mean};
  };
  const auto means =
      ShareOut(ctx_, ranks_, team_, stage_.num_held_out(), measure);
  if (!means.ok()) {
    return Failed(means.status());
  }
  for (const std::vector<double>& one : *means) {
    record->held_out.push_back(one[0]);
  }
  const double mean = Mean(record->held_out);
  LogOnce(LogLevel::kInfo, "held-out KL",
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
  return SaveIsDueAt(state_.step) ? Save() : absl::OkStatus();
}

absl::Status Loop::Save() {
  const TraceSpan span("checkpoint", "step");
  RETURN_IF_ERROR(SaveStage(ctx_, files_, ranks_, options_.folder,
                            options_.config_text, optimizer_, state_,
                            options_.control.incarnation));
  return OnFirstRank(ctx_, ranks_, [this] { return RemoveOld(); });
}

}  // namespace

absl::StatusOr<TrainResult> Train(const ExecContext& ctx, FileSystem& files,
                                  Communicator& ranks, Stage& stage,
                                  const TrainOptions& options,
                                  Recorder& recorder) {
  return Loop(ctx, files, ranks, stage, options, recorder).Run();
}

}  // namespace rtpurbo
