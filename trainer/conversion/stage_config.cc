#include "trainer/conversion/stage_config.h"

#include "absl/strings/str_cat.h"
#include "configs/load.h"
#include "kernels/core/log.h"
#include "trainer/evaluation/statistics.h"

namespace rtpurbo {

std::string StageConfigText(const configs::Run& run, absl::string_view stage) {
  configs::Run part;
  part.set_seed(run.seed());
  *part.mutable_model() = run.model();
  *part.mutable_data() = run.data();
  if (stage == "prepare") {
    // What training reads from the store is not in the store.
    configs::Data data;
    *data.mutable_paths() = run.data().paths();
    data.set_held_out_share(run.data().held_out_share());
    data.set_long_document(run.data().long_document());
    *part.mutable_data() = data;
    part.clear_seed();
    part.mutable_model()->clear_compute_type();
  } else if (stage != "labels") {
    *part.mutable_attention() = run.attention();
  }
  if (stage == "calibrate") {
    *part.mutable_calibration() = run.calibration();
  } else if (stage == "align") {
    *part.mutable_optimizer() = run.optimizer();
    *part.mutable_align() = run.align();
  } else if (stage == "distill") {
    *part.mutable_optimizer() = run.optimizer();
    *part.mutable_distill() = run.distill();
  } else if (stage == "labels") {
    part.mutable_distill()->set_steps(run.distill().steps());
    part.mutable_distill()->set_sequences_per_step(
        run.distill().sequences_per_step());
    part.mutable_distill()->set_held_out_sequences(
        run.distill().held_out_sequences());
  } else if (stage == "evaluate") {
    *part.mutable_evaluation() = run.evaluation();
  }
  return ResolvedText(part);
}

void LogFall(const std::string& stage, const TrainResult& result) {
  const PairedDifference fall =
      Paired(result.first_held_out, result.best_held_out);
  Log(fall.falls() ? LogLevel::kInfo : LogLevel::kWarning, stage,
      fall.falls() ? "held-out KL fell"
                   : "held-out KL did not fall by 1.96 standard errors",
      {{"before", Mean(result.first_held_out)},
       {"after", Mean(result.best_held_out)},
       {"fall", fall.mean},
       {"standard_error", fall.standard_error},
       {"best_step", result.best_step}});
}

std::map<std::string, double> HeldOutNumbers(const std::string& stage,
                                             const TrainResult& result) {
  const PairedDifference fall =
      Paired(result.first_held_out, result.best_held_out);
  return {{absl::StrCat(stage, "_before"), Mean(result.first_held_out)},
          {absl::StrCat(stage, "_after"), Mean(result.best_held_out)},
          {absl::StrCat(stage, "_fall"), fall.mean},
          {absl::StrCat(stage, "_fall_error"), fall.standard_error},
          {absl::StrCat(stage, "_best_step"),
           static_cast<double>(result.best_step)}};
}

}  // namespace rtpurbo
